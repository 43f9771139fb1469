import { randomUUID } from 'node:crypto';
import { PublishCommand, type SNSClient } from '@aws-sdk/client-sns';
import type { Client } from '@temporalio/client';
import { publishInput, type AlertFacts } from '../domain/alert';
import type { Config } from '../domain/config';
import { KeywardenError } from '../domain/errors';
import { parseInput, recoverInput, revokeInput, type RecoverInput, type RevokeInput } from '../domain/inputs';
import { WORKFLOW_QUEUE, workflowIdFor } from '../domain/names';
import type { ProcedureStatus } from '../domain/status';

/** A procedure that was started: it goes on whatever happens to this process. */
export interface StartedProcedure {
  workflowId: string;
  firstRunId: string;
  /** Steps, pending approval, deadline, outcome. Rejects when no worker answers. */
  status(): Promise<ProcedureStatus>;
  /** Resolves when the procedure has ended; for a revocation that is the end of its recovery window. */
  result(): Promise<unknown>;
}

export interface KeyManagementOptions {
  /** Temporal client of the namespace in which Keywarden runs. */
  temporal: Client;
  /** Needed by `alertSecurityTeam` only. */
  sns?: SNSClient;
  config?: Pick<Config, 'application' | 'environment' | 'alerts'>;
}

/** Key operations for an application: starts procedures, never performs them. Signatures come from people (`keywarden sign`). */
export class KeyManagementService {
  constructor(private readonly options: KeyManagementOptions) {}

  /**
   * Takes a CMK out of use at once (`revokeKey`). With `proof`, signed for `workflowId`, it happens now; without, when an EmergencyKeyAdmin has signed.
   * @throws KW-INPUT with the path of the field, before anything is started
   */
  async emergencyRevokeKey(input: RevokeInput & { workflowId?: string }): Promise<StartedProcedure> {
    const { workflowId, ...rest } = input ?? {}; // from JavaScript, anything may come
    return this.start('revokeKey', parseInput(revokeInput, rest), workflowId);
  }

  /**
   * Brings a revoked CMK back inside its window (`recoverKey`), when two people have signed.
   * @throws KW-INPUT with the path of the field, before anything is started
   */
  async recoverKey(input: RecoverInput & { workflowId?: string }): Promise<StartedProcedure> {
    const { workflowId, ...rest } = input ?? {};
    return this.start('recoverKey', parseInput(recoverInput, rest), workflowId);
  }

  /**
   * Sends a message to the security topic. Give the same `eventId` when you repeat it.
   * @throws KW-SNS when SNS did not take it; KW-INPUT without `sns` and `config`
   */
  async alertSecurityTeam(alert: Omit<AlertFacts, 'kind'> & { kind?: AlertFacts['kind']; eventId?: string }): Promise<{ eventId: string; messageId: string }> {
    const { sns, config } = this.options;
    if (sns === undefined || config === undefined) throw new KeywardenError('KW-INPUT', 'alerts need an SNS client and the configuration', { path: 'options.sns', notDone: 'security was not told', next: 'give `sns` and `config` to KeyManagementService' });
    const { eventId = randomUUID(), kind = 'test', ...facts } = alert;
    const made = publishInput({ kind, ...facts }, { topicArn: config.alerts.topicArn, application: config.application, environment: config.environment, workflowId: 'library', runId: eventId });
    try {
      const { MessageId } = await sns.send(new PublishCommand(made.input));
      return { eventId: made.eventId, messageId: MessageId ?? '' };
    } catch (cause) {
      throw new KeywardenError('KW-SNS', `SNS did not take the message: ${String(cause)}`, { key: alert.key, notDone: 'security was not told', next: 'try again with the same eventId; tell security yourself meanwhile', cause });
    }
  }

  private async start(type: 'revokeKey' | 'recoverKey', input: RevokeInput | RecoverInput, workflowId = workflowIdFor(type, input.key, new Date())): Promise<StartedProcedure> {
    const handle = await this.options.temporal.workflow.start(type, { taskQueue: WORKFLOW_QUEUE, workflowId, args: [input] });
    return { workflowId, firstRunId: handle.firstExecutionRunId, status: () => handle.query<ProcedureStatus>('status'), result: () => handle.result() };
  }
}
