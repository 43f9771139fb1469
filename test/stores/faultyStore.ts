import type { Receipt } from '../../domain/approval';
import type { AuditEntry, AuditRow } from '../../domain/audit';
import { KeywardenError } from '../../domain/errors';
import type { ErasedKey, ErasureRow } from '../../domain/erasure';
import type { KeyRow } from '../../domain/keyRow';
import type { Bucket } from '../../domain/pacing';
import type { Acknowledged, AuditFilter, ColumnKey, ColumnKeyChange, Consumer, ConsumerSeen, KeyMark, PageCounts, Place, ProofUse, PreviousPage, RewrappedPage, SetAside, StaleRange, Store, SubjectKey } from '../../stores/store';

/**
 * How a call fails.
 *   down             rejects at once with KW-STORE; nothing was done
 *   hang             does not answer until the fault is taken away; then it is done after all (a late effect)
 *   failAfterEffect  is done, and then rejects with KW-STORE: the answer was lost
 */
export type Fault = 'down' | 'hang' | 'failAfterEffect';
export type StoreMethod = keyof Store;

/**
 * A store that fails on command, around a real one.
 *
 *   const store = new FaultyStore(real);
 *   store.fail('appendAudit', 'down');              every call of it, until heal()
 *   store.fail('all', 'hang');                      every method (but close)
 *   store.failOnce('changeKey', 'failAfterEffect'); the next call only; after n calls with `{ after: n }`
 *   store.heal();                                   all faults away; what hung goes on
 *   store.heal('appendAudit');                      this method's only
 *   store.calls('appendAudit')                      how often it was called, faults included
 *
 * withKeyLease: `down` and `hang` come before the lease is taken; `failAfterEffect` lets `act` run, then loses the answer.
 * readAudit: the fault shows when iteration begins; `failAfterEffect` gives all rows but the end.
 */
export class FaultyStore implements Store {
  private readonly lasting = new Map<StoreMethod, Fault>();
  private readonly once = new Map<StoreMethod, { fault: Fault; after: number }[]>();
  private readonly counted = new Map<StoreMethod, number>();
  private hanging: { method: StoreMethod; goOn: () => void }[] = [];

  constructor(readonly real: Store) {}

  fail(method: StoreMethod | 'all', fault: Fault): this {
    for (const m of method === 'all' ? METHODS : [method]) this.lasting.set(m, fault);
    return this;
  }

  failOnce(method: StoreMethod, fault: Fault, options: { after?: number } = {}): this {
    this.once.set(method, [...(this.once.get(method) ?? []), { fault, after: options.after ?? 0 }]);
    return this;
  }

  heal(method?: StoreMethod): this {
    for (const m of method === undefined ? METHODS : [method]) {
      this.lasting.delete(m);
      this.once.delete(m);
    }
    const freed = this.hanging.filter((h) => method === undefined || h.method === method);
    this.hanging = this.hanging.filter((h) => !freed.includes(h));
    for (const h of freed) h.goOn();
    return this;
  }

  calls(method: StoreMethod): number {
    return this.counted.get(method) ?? 0;
  }

  /** Calls that hang now. */
  get hung(): number {
    return this.hanging.length;
  }

  private async call<T>(method: StoreMethod, act: () => Promise<T>): Promise<T> {
    const fault = this.next(method);
    if (fault === 'down') throw outage(method, `${method} was not done`);
    if (fault === 'hang') await this.hang(method);
    const result = await act();
    if (fault === 'failAfterEffect') throw outage(method, `${method} may not have been done`);
    return result;
  }

  private next(method: StoreMethod): Fault | undefined {
    this.counted.set(method, this.calls(method) + 1);
    const waiting = this.once.get(method) ?? [];
    const due = waiting.findIndex((w) => w.after === 0);
    for (const w of waiting) w.after -= 1;
    if (due >= 0) return waiting.splice(due, 1)[0]?.fault;
    return this.lasting.get(method);
  }

  private hang(method: StoreMethod): Promise<void> {
    return new Promise((goOn) => this.hanging.push({ method, goOn }));
  }

  migrate(): Promise<number> {
    return this.call('migrate', () => this.real.migrate());
  }
  ping(): Promise<void> {
    return this.call('ping', () => this.real.ping());
  }
  /** Never fails, so that a test can always clean up. */
  close(): Promise<void> {
    return this.real.close();
  }
  readKey(keyId: string): Promise<KeyRow | undefined> {
    return this.call('readKey', () => this.real.readKey(keyId));
  }
  listKeys(): Promise<KeyRow[]> {
    return this.call('listKeys', () => this.real.listKeys());
  }
  changeKey<T>(keyId: string, change: (row: KeyRow | undefined) => { row: KeyRow; result: T }): Promise<T> {
    return this.call('changeKey', () => this.real.changeKey(keyId, change));
  }
  withKeyLease<T>(keyId: string, options: { leaseMs: number; waitMs: number }, act: () => Promise<T>): Promise<T> {
    return this.call('withKeyLease', () => this.real.withKeyLease(keyId, options, act));
  }
  appendAudit(entries: readonly AuditEntry[]): Promise<AuditRow[]> {
    return this.call('appendAudit', () => this.real.appendAudit(entries));
  }
  async *readAudit(filter?: AuditFilter): AsyncGenerator<AuditRow> {
    const fault = this.next('readAudit');
    if (fault === 'down') throw outage('readAudit', 'nothing was read');
    if (fault === 'hang') await this.hang('readAudit');
    yield* this.real.readAudit(filter);
    if (fault === 'failAfterEffect') throw outage('readAudit', 'not all was read');
  }
  auditHead(): Promise<{ seq: number; hash: string } | undefined> {
    return this.call('auditHead', () => this.real.auditHead());
  }
  consumeProof(use: ProofUse): Promise<'consumed' | 'same' | 'used'> {
    return this.call('consumeProof', () => this.real.consumeProof(use));
  }
  saveReceipt(receipt: Receipt, mac: string): Promise<void> {
    return this.call('saveReceipt', () => this.real.saveReceipt(receipt, mac));
  }
  receiptsFor(workflowId: string, firstRunId: string, duty: string): Promise<{ receipt: Receipt; mac: string }[]> {
    return this.call('receiptsFor', () => this.real.receiptsFor(workflowId, firstRunId, duty));
  }
  savePlan(digest: string, plan: string): Promise<void> {
    return this.call('savePlan', () => this.real.savePlan(digest, plan));
  }
  readPlan(digest: string): Promise<string | undefined> {
    return this.call('readPlan', () => this.real.readPlan(digest));
  }
  putSubjectKey(key: SubjectKey): Promise<SubjectKey> {
    return this.call('putSubjectKey', () => this.real.putSubjectKey(key));
  }
  readSubjectKey(subjectId: string, purpose: string): Promise<SubjectKey | undefined> {
    return this.call('readSubjectKey', () => this.real.readSubjectKey(subjectId, purpose));
  }
  countWrapped(keyId: string): Promise<{ columnKeyValues: number; subjectKeys: number }> {
    return this.call('countWrapped', () => this.real.countWrapped(keyId));
  }
  hashSubject(subjectId: string): Promise<string> {
    return this.call('hashSubject', () => this.real.hashSubject(subjectId));
  }
  requestErasure(subjectId: string): Promise<string> {
    return this.call('requestErasure', () => this.real.requestErasure(subjectId));
  }
  readErasure(subjectHash: string): Promise<ErasureRow | undefined> {
    return this.call('readErasure', () => this.real.readErasure(subjectHash));
  }
  changeErasure<T>(subjectHash: string, change: (row: ErasureRow | undefined, keys: ErasedKey[]) => { row: ErasureRow; result: T }): Promise<T> {
    return this.call('changeErasure', () => this.real.changeErasure(subjectHash, change));
  }
  erasuresSince(seq: number | undefined): Promise<{ seq: number; subjectIds: string[] }> {
    return this.call('erasuresSince', () => this.real.erasuresSince(seq));
  }
  listSubjects(o: { after?: string | undefined; createdUntil: string; limit: number }): Promise<{ subjectId: string; subjectHash: string }[]> {
    return this.call('listSubjects', () => this.real.listSubjects(o));
  }
  keyMarks(purposes: readonly string[]): Promise<KeyMark[]> {
    return this.call('keyMarks', () => this.real.keyMarks(purposes));
  }
  saveConsumer(consumer: Consumer, acknowledged: readonly Acknowledged[]): Promise<void> {
    return this.call('saveConsumer', () => this.real.saveConsumer(consumer, acknowledged));
  }
  removeConsumer(consumerId: string): Promise<void> {
    return this.call('removeConsumer', () => this.real.removeConsumer(consumerId));
  }
  consumersOf(purpose: string, keyId: string): Promise<ConsumerSeen[]> {
    return this.call('consumersOf', () => this.real.consumersOf(purpose, keyId));
  }
  readStale(page: StaleRange & { limit: number }): Promise<SubjectKey[]> {
    return this.call('readStale', () => this.real.readStale(page));
  }
  staleStretches(range: Omit<StaleRange, 'upTo'> & { size: number; count: number }): Promise<Place[]> {
    return this.call('staleStretches', () => this.real.staleStretches(range));
  }
  countStale(keyId: string, material: string): Promise<{ stale: number; setAside: number }> {
    return this.call('countStale', () => this.real.countStale(keyId, material));
  }
  settlePrevious(page: PreviousPage): Promise<number> {
    return this.call('settlePrevious', () => this.real.settlePrevious(page));
  }
  sampleSubjectKeys(keyId: string, count: number): Promise<SubjectKey[]> {
    return this.call('sampleSubjectKeys', () => this.real.sampleSubjectKeys(keyId, count));
  }
  writePage(page: RewrappedPage): Promise<PageCounts> {
    return this.call('writePage', () => this.real.writePage(page));
  }
  readSetAside(keyId: string, options: { limit: number }): Promise<SetAside[]> {
    return this.call('readSetAside', () => this.real.readSetAside(keyId, options));
  }
  listColumnKeys(keyId: string, options: { after?: string; limit: number }): Promise<ColumnKey[]> {
    return this.call('listColumnKeys', () => this.real.listColumnKeys(keyId, options));
  }
  readColumnKey(name: string): Promise<ColumnKey | undefined> {
    return this.call('readColumnKey', () => this.real.readColumnKey(name));
  }
  putColumnKey(key: ColumnKey, path: string): Promise<ColumnKey> {
    return this.call('putColumnKey', () => this.real.putColumnKey(key, path));
  }
  changeColumnKey(expected: ColumnKey, change: ColumnKeyChange): Promise<'done' | 'changed'> {
    return this.call('changeColumnKey', () => this.real.changeColumnKey(expected, change));
  }
  setColumnKeyAside(aside: SetAside): Promise<void> {
    return this.call('setColumnKeyAside', () => this.real.setColumnKeyAside(aside));
  }
  changeBucket<T>(name: string, change: (bucket: Bucket | undefined, now: number) => { bucket: Bucket; result: T }): Promise<T> {
    return this.call('changeBucket', () => this.real.changeBucket(name, change));
  }
}

/** Typed so that a method added to the port is missed here at compile time. */
const METHOD_SET: Record<Exclude<StoreMethod, 'close'>, true> = {
  migrate: true, ping: true, readKey: true, listKeys: true, changeKey: true, withKeyLease: true, appendAudit: true, readAudit: true, auditHead: true,
  consumeProof: true, saveReceipt: true, receiptsFor: true, savePlan: true, readPlan: true, putSubjectKey: true, readSubjectKey: true, countWrapped: true,
  hashSubject: true, requestErasure: true, readErasure: true, changeErasure: true, erasuresSince: true, listSubjects: true,
  keyMarks: true, saveConsumer: true, removeConsumer: true, consumersOf: true,
  readStale: true, staleStretches: true, countStale: true, writePage: true, settlePrevious: true, sampleSubjectKeys: true, readSetAside: true, listColumnKeys: true, readColumnKey: true, putColumnKey: true, changeColumnKey: true, setColumnKeyAside: true, changeBucket: true,
};
export const METHODS = Object.keys(METHOD_SET) as StoreMethod[];

function outage(method: StoreMethod, notDone: string): KeywardenError {
  return new KeywardenError('KW-STORE', `${method}: the database does not answer (a fault made by a test)`, { notDone, next: 'call again' });
}
