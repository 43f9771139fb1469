import type { Receipt } from '../../domain/approval';
import type { AuditEntry, AuditRow } from '../../domain/audit';
import type { ErasedKey, ErasureRow } from '../../domain/erasure';
import type { KeyRow } from '../../domain/keyRow';
import type { Bucket } from '../../domain/pacing';
import type { Acknowledged, AuditFilter, ColumnKey, ColumnKeyChange, Consumer, ConsumerSeen, KeyMark, PageCounts, Place, PreviousPage, ProofUse, RewrappedPage, SetAside, StaleRange, Store, SubjectKey } from '../store';
import * as approvals from './approvalRows';
import * as audit from './auditRows';
import { changeBucket } from './buckets';
import * as columnKeys from './columnKeys';
import { Connection } from './connection';
import * as consumers from './consumers';
import * as erasures from './erasures';
import { withKeyLease } from './keyLease';
import * as keys from './keyRows';
import { migrate, shippedMigrations, type Migration } from './migrate';
import * as rewrapping from './rewrapping';
import * as subjects from './subjectKeys';

/**
 * The store on one libsql file, shared by all processes of one machine. The file is opened by the first call, so that a worker
 * starts, and disables keys, whatever state the disk is in (rule 2).
 */
export class EmbeddedStore implements Store {
  private readonly connection: Connection;

  constructor(
    file: string,
    /** For tests of migrations; the shipped ones otherwise. */
    private readonly migrations: () => Migration[] = shippedMigrations,
  ) {
    this.connection = new Connection(file);
  }

  async migrate(): Promise<number> {
    return migrate(this.connection, this.migrations());
  }
  async ping(): Promise<void> {
    await this.connection.read('asking whether the database is there', 'SELECT count(*) FROM sqlite_schema');
  }
  close(): Promise<void> {
    return this.connection.close();
  }

  readKey(keyId: string): Promise<KeyRow | undefined> {
    return keys.readKey(this.connection, keyId);
  }
  listKeys(): Promise<KeyRow[]> {
    return keys.listKeys(this.connection);
  }
  changeKey<T>(keyId: string, change: (row: KeyRow | undefined) => { row: KeyRow; result: T }): Promise<T> {
    return keys.changeKey(this.connection, keyId, change);
  }
  withKeyLease<T>(keyId: string, options: { leaseMs: number; waitMs: number }, act: () => Promise<T>): Promise<T> {
    return withKeyLease(this.connection, keyId, options, act);
  }

  async appendAudit(entries: readonly AuditEntry[]): Promise<AuditRow[]> {
    return audit.appendAudit(this.connection, entries);
  }
  readAudit(filter?: AuditFilter): AsyncIterable<AuditRow> {
    return audit.readAudit(this.connection, filter);
  }
  auditHead(): Promise<{ seq: number; hash: string } | undefined> {
    return audit.auditHead(this.connection);
  }

  consumeProof(use: ProofUse): Promise<'consumed' | 'same' | 'used'> {
    return approvals.consumeProof(this.connection, use);
  }
  saveReceipt(receipt: Receipt, mac: string): Promise<void> {
    return approvals.saveReceipt(this.connection, receipt, mac);
  }
  receiptsFor(workflowId: string, firstRunId: string, duty: string): Promise<{ receipt: Receipt; mac: string }[]> {
    return approvals.receiptsFor(this.connection, workflowId, firstRunId, duty);
  }
  savePlan(digest: string, plan: string): Promise<void> {
    return approvals.savePlan(this.connection, digest, plan);
  }
  readPlan(digest: string): Promise<string | undefined> {
    return approvals.readPlan(this.connection, digest);
  }

  putSubjectKey(key: SubjectKey): Promise<SubjectKey> {
    return subjects.putSubjectKey(this.connection, key);
  }
  readSubjectKey(subjectId: string, purpose: string): Promise<SubjectKey | undefined> {
    return subjects.readSubjectKey(this.connection, subjectId, purpose);
  }
  countWrapped(keyId: string): Promise<{ columnKeyValues: number; subjectKeys: number }> {
    return subjects.countWrapped(this.connection, keyId);
  }

  hashSubject(subjectId: string): Promise<string> {
    return erasures.hashSubject(this.connection, subjectId);
  }
  requestErasure(subjectId: string): Promise<string> {
    return erasures.requestErasure(this.connection, subjectId);
  }
  readErasure(subjectHash: string): Promise<ErasureRow | undefined> {
    return erasures.readErasure(this.connection, subjectHash);
  }
  changeErasure<T>(subjectHash: string, change: (row: ErasureRow | undefined, keys: ErasedKey[]) => { row: ErasureRow; result: T }): Promise<T> {
    return erasures.changeErasure(this.connection, subjectHash, change);
  }
  erasuresSince(seq: number | undefined): Promise<{ seq: number; subjectIds: string[] }> {
    return erasures.erasuresSince(this.connection, seq);
  }
  listSubjects(o: { after?: string | undefined; createdUntil: string; limit: number }): Promise<{ subjectId: string; subjectHash: string }[]> {
    return erasures.listSubjects(this.connection, o);
  }

  keyMarks(purposes: readonly string[]): Promise<KeyMark[]> {
    return keys.keyMarks(this.connection, purposes);
  }
  saveConsumer(consumer: Consumer, acknowledged: readonly Acknowledged[]): Promise<void> {
    return consumers.saveConsumer(this.connection, consumer, acknowledged);
  }
  removeConsumer(consumerId: string): Promise<void> {
    return consumers.removeConsumer(this.connection, consumerId);
  }
  consumersOf(purpose: string, keyId: string): Promise<ConsumerSeen[]> {
    return consumers.consumersOf(this.connection, purpose, keyId);
  }
  readStale(page: StaleRange & { limit: number }): Promise<SubjectKey[]> {
    return rewrapping.readStale(this.connection, page);
  }
  staleStretches(range: Omit<StaleRange, 'upTo'> & { size: number; count: number }): Promise<Place[]> {
    return rewrapping.staleStretches(this.connection, range);
  }
  countStale(keyId: string, material: string): Promise<{ stale: number; setAside: number }> {
    return rewrapping.countStale(this.connection, keyId, material);
  }
  writePage(page: RewrappedPage): Promise<PageCounts> {
    return rewrapping.writePage(this.connection, page);
  }
  settlePrevious(page: PreviousPage): Promise<number> {
    return rewrapping.settlePrevious(this.connection, page);
  }
  sampleSubjectKeys(keyId: string, count: number): Promise<SubjectKey[]> {
    return rewrapping.sampleSubjectKeys(this.connection, keyId, count);
  }
  readSetAside(keyId: string, options: { limit: number }): Promise<SetAside[]> {
    return rewrapping.readSetAside(this.connection, keyId, options.limit);
  }

  listColumnKeys(keyId: string, options: { after?: string; limit: number }): Promise<ColumnKey[]> {
    return columnKeys.listColumnKeys(this.connection, keyId, options);
  }
  readColumnKey(name: string): Promise<ColumnKey | undefined> {
    return columnKeys.readColumnKey(this.connection, name);
  }
  putColumnKey(key: ColumnKey, path: string): Promise<ColumnKey> {
    return columnKeys.putColumnKey(this.connection, key, path);
  }
  changeColumnKey(expected: ColumnKey, change: ColumnKeyChange): Promise<'done' | 'changed'> {
    return columnKeys.changeColumnKey(this.connection, expected, change);
  }
  setColumnKeyAside(aside: SetAside): Promise<void> {
    return columnKeys.setColumnKeyAside(this.connection, aside);
  }

  changeBucket<T>(name: string, change: (bucket: Bucket | undefined, now: number) => { bucket: Bucket; result: T }): Promise<T> {
    return changeBucket(this.connection, name, change);
  }
}
