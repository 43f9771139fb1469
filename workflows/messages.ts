import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { ProcedureStatus } from '../domain/status';

/** What a waiting procedure answers to. Clients import this file without any workflow's body. */

export interface DecisionMessage {
  /** The token that `keywarden sign` prints. */
  proof: string;
  comment?: string;
}

export interface DecideAnswer {
  accepted: boolean;
  person?: string;
  /** Why not: a stable code, and a sentence. */
  code?: string;
  reason?: string;
  /** How many people must still sign. */
  missing?: number;
}

export const approve = defineSignal<[DecisionMessage]>('approve');
export const reject = defineSignal<[DecisionMessage]>('reject');
export const decide = defineUpdate<DecideAnswer, [DecisionMessage & { decision: 'approve' | 'reject' }]>('decide');
export const status = defineQuery<ProcedureStatus>('status');

/** "Something changed in the store: look." Says nothing itself, so nobody can lie with it. */
export const look = defineSignal('look');
