import type { Receipt } from '../domain/approval';
import { digest as digestOf } from '../domain/digest';
import { rolesOf } from '../domain/config';
import { KeywardenError } from '../domain/errors';
import type { KeyRow } from '../domain/keyRow';
import { firstHalf, quorumOf, type Plan } from '../domain/plan';
import { floorOf, quorumState } from '../domain/quorum';
import { digestsOf } from './considering';
import type { Deps } from './deps';
import { execution, type Execution } from './execution';
import { receiptsOf } from './receipts';

export interface Authority {
  plan: Plan;
  digest: string;
  e: Execution;
  row: KeyRow;
  approvers: string[];
}

/**
 * Whether this activity may act on a plan: verified here, before each attempt, from receipts and configuration (rules 3 and 5).
 * The workflow's word counts for nothing; the digest only says which plan it speaks of.
 */
export async function authority(deps: Deps, digest: string): Promise<Authority> {
  const { plan, e } = await signedPlan(deps, digest);
  const row = await deps.store.readKey(plan.keyId);
  if (row === undefined) throw missing('the store does not know the key');
  return { plan, digest, e, row, approvers: await signers(deps, e, plan, row.epoch) };
}

/** The plan that somebody has signed for this procedure, in this environment. How many have is said by `signers`. */
export async function signedPlan(deps: Deps, digest: string): Promise<Pick<Authority, 'plan' | 'e'>> {
  const e = await execution(deps);
  const text = await deps.store.readPlan(digest);
  const plan = text === undefined ? undefined : (JSON.parse(text) as Plan);
  if (plan === undefined || digestOf(plan) !== digest) throw missing('nobody has signed this plan');
  const { config } = deps;
  if (plan.workflowId !== e.workflowId || (plan.firstRunId !== undefined && plan.firstRunId !== e.firstRunId)) {
    throw new KeywardenError('KW-APPROVAL-WORKFLOW', `the plan is for ${plan.workflowId}`, { key: plan.keyId, notDone: 'nothing was done', next: 'start the procedure anew and have it signed' });
  }
  if (plan.application !== config.application || plan.environment !== config.environment || plan.account !== config.account) throw missing('the plan is for another environment');
  return { plan, e };
}

/** The people whose receipts of this epoch allow the plan; throws where they are too few, or one has rejected it. */
export async function signers(deps: Deps, e: Execution, plan: Plan, epoch: number): Promise<string[]> {
  const { config } = deps;
  const counted = (await receiptsOf(deps, e)).filter((r) => belongs(r, plan, epoch));
  const lapsed = (await receiptsOf(deps, e)).some((r) => r.epoch !== epoch && planDigests(plan).includes(r.planDigest));
  if (counted.some((r) => r.decision === 'reject')) throw missing('the plan was rejected', plan.keyId);
  const state = quorumState(floorOf(quorumOf(plan), config.quorum), counted.filter((r) => rolesOf(config, r.person).includes(r.role)));
  if (!state.met) {
    if (lapsed) throw new KeywardenError('KW-APPROVAL-LAPSED', 'a newer revocation of the key exists: what was signed before it has lapsed', { key: plan.keyId, notDone: 'nothing was done', next: 'have the plan signed again if it is still wanted' });
    throw missing(`${state.missing} more ${state.missing === 1 ? 'person' : 'people'} must sign (${state.eligible.join(' or ')})`, plan.keyId);
  }
  return state.signed.map((s) => s.person);
}

function belongs(r: Receipt, plan: Plan, epoch: number): boolean {
  return r.epoch === epoch && r.keyId === plan.keyId && planDigests(plan).includes(r.planDigest);
}

/** Digests under which signatures count for a plan: its own, and those of its first half. */
export function planDigests(plan: Plan): string[] {
  const first = firstHalf(plan);
  return [...digestsOf(plan), ...(first === undefined ? [] : digestsOf(first))];
}

function missing(why: string, key?: string): KeywardenError {
  return new KeywardenError('KW-APPROVAL-MISSING', why, { ...(key === undefined ? {} : { key }), notDone: 'nothing was done', next: 'look at `keywarden status` for who must sign' });
}
