import { randomUUID } from 'node:crypto';
import type { KMSClient } from '@aws-sdk/client-kms';
import { PublishCommand, type SNSClient } from '@aws-sdk/client-sns';
import type { Client } from '@temporalio/client';
import { publishInput, type AlertFacts } from '../domain/alert';
import type { Config } from '../domain/config';
import { KeywardenError } from '../domain/errors';
import { parseInput, recoverInput, revokeInput, rotateColumnKeyInput, type RecoverInput, type RevokeInput } from '../domain/inputs';
import { WORKFLOW_QUEUE, workflowIdFor } from '../domain/names';
import { unknownColumnKey } from '../domain/columnKey';
import type { ProcedureStatus } from '../domain/status';
import type { Store } from '../stores/store';
import { SubjectEncryption, type FieldOf, type SubjectEncryptionOptions } from './subjectEncryption';

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
  /** Temporal client of the namespace in which Keywarden runs. Needed to start procedures. */
  temporal?: Client;
  /** Needed by `alertSecurityTeam` only. */
  sns?: SNSClient;
  config?: Pick<Config, 'application' | 'environment' | 'alerts' | 'purposes'>;
  /** Where subject keys are kept, and revocations learned of. Needed to use subjects' keys, as `kms` and `config` are. */
  store?: Store;
  /** With the application's own rights; one for each Region that may serve, the nearest first. */
  kms?: readonly KMSClient[];
  /** Bounds of the cache, and how soon a revocation is learned of. */
  encryption?: Pick<SubjectEncryptionOptions, 'cache' | 'learnWithinMs' | 'storeGraceMs' | 'purposes' | 'name' | 'clock'>;
}

/**
 * Key operations for an application: starts procedures, never performs them (signatures come from people, `keywarden sign`), and encrypts
 * and decrypts fields under its subjects' own keys (docs/library.md).
 */
export class KeyManagementService {
  private made: SubjectEncryption | undefined;

  constructor(private readonly options: KeyManagementOptions) {}

  /**
   * Makes the subject's data key for a purpose (default `user-data`) where there is none. Safe to call again, and by many processes at once.
   * @throws KW-INPUT, KW-SUBJECT-ERASED, KW-KEY-REVOKED, KW-KMS…, KW-STORE
   */
  initializeUserEncryption(subjectId: string, o: { purpose?: string } = {}): Promise<{ created: boolean }> {
    return this.subjects((s) => s.initialize(subjectId, o.purpose));
  }

  /**
   * Encrypts one field of a subject; subject, purpose and field are bound to it.
   * @throws KW-INPUT, KW-SUBJECT-UNKNOWN, KW-SUBJECT-ERASED, KW-SUBJECT-KEY, KW-KEY-REVOKED, KW-KMS…, KW-STORE
   */
  encrypt(of: FieldOf, plaintext: Uint8Array | string): Promise<Buffer> {
    return this.subjects((s) => s.encrypt(of, plaintext));
  }

  /**
   * Decrypts what `encrypt` answered, for the same subject, purpose and field only.
   * @throws what `encrypt` throws; KW-FIELD-FORM, KW-FIELD-FORGED
   */
  decrypt(of: FieldOf, message: Uint8Array): Promise<Buffer> {
    return this.subjects((s) => s.decrypt(of, message));
  }

  /** Zeroes the keys that are held in the clear; a revocation need not wait for this process any more. The store is the caller's to close. */
  async close(): Promise<void> {
    await this.made?.close();
  }

  /**
   * Takes a CMK out of use at once (`revokeKey`). With `proof`, signed for `workflowId`, it happens now; without, when an EmergencyKeyAdmin has signed.
   * @throws KW-INPUT with the path of the field, before anything is started
   */
  async emergencyRevokeKey(input: RevokeInput & { workflowId?: string }): Promise<StartedProcedure> {
    const { workflowId, ...rest } = input ?? {}; // from JavaScript, anything may come
    const parsed = parseInput(revokeInput, rest);
    return this.start('revokeKey', parsed, workflowId ?? workflowIdFor('revokeKey', parsed.key, new Date()));
  }

  /**
   * Brings a revoked CMK back inside its window (`recoverKey`), when two people have signed.
   * @throws KW-INPUT with the path of the field, before anything is started
   */
  async recoverKey(input: RecoverInput & { workflowId?: string }): Promise<StartedProcedure> {
    const { workflowId, ...rest } = input ?? {};
    const parsed = parseInput(recoverInput, rest);
    return this.start('recoverKey', parsed, workflowId ?? workflowIdFor('recoverKey', parsed.key, new Date()));
  }

  /**
   * Re-wraps one column encryption key under the current material of its CMK (`rotateColumnEncryptionKey`). Nobody signs: it makes no material.
   * @throws KW-INPUT with the path of the field, before anything is started; a CEK that the catalog does not have too, where `store` is given
   */
  async rotateColumnEncryptionKey(cek: string, o: { workflowId?: string } = {}): Promise<StartedProcedure> {
    const input = parseInput(rotateColumnKeyInput, { cek });
    const { store } = this.options;
    if (store !== undefined && (await store.readColumnKey(input.cek)) === undefined) throw unknownColumnKey(input.cek);
    return this.start('rotateColumnEncryptionKey', input, o.workflowId ?? workflowIdFor('rotateColumnEncryptionKey', input.cek, new Date()));
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

  private async start(type: 'revokeKey' | 'recoverKey' | 'rotateColumnEncryptionKey', input: { key: string } | { cek: string }, workflowId: string): Promise<StartedProcedure> {
    const { temporal } = this.options;
    if (temporal === undefined) throw new KeywardenError('KW-INPUT', 'procedures are started through Temporal', { path: 'options.temporal', key: 'key' in input ? input.key : input.cek, notDone: 'nothing was started', next: 'give `temporal` to KeyManagementService' });
    const handle = await temporal.workflow.start(type, { taskQueue: WORKFLOW_QUEUE, workflowId, args: [input] });
    return { workflowId, firstRunId: handle.firstExecutionRunId, status: () => handle.query<ProcedureStatus>('status'), result: () => handle.result() };
  }

  private async subjects<T>(act: (s: SubjectEncryption) => Promise<T>): Promise<T> {
    const { store, kms, config, encryption } = this.options;
    if (this.made === undefined) {
      if (store === undefined || kms === undefined || config === undefined) throw new KeywardenError('KW-INPUT', "a subject's key needs the store, KMS and the configuration", { path: `options.${store === undefined ? 'store' : kms === undefined ? 'kms' : 'config'}`, notDone: 'nothing was encrypted or decrypted', next: 'give `store`, `kms` and `config` to KeyManagementService' });
      this.made = new SubjectEncryption({ ...encryption, store, kms, where: config });
    }
    return act(this.made);
  }
}
