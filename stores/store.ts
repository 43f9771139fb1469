import type { Receipt } from '../domain/approval';
import type { AuditEntry, AuditRow } from '../domain/audit';
import type { ErasedKey, ErasureRow } from '../domain/erasure';
import type { KeyRow } from '../domain/keyRow';
import type { Bucket } from '../domain/pacing';

/**
 * The database port: what activities need of a store. Two adapters (embedded/, sqlserver/), one contract suite.
 * Every method rejects with KeywardenError `KW-STORE` when the database does not answer, having done all of its work or nothing;
 * where the answer was lost, calling again is safe: every write is idempotent.
 */
export interface Store {
  /** Applies migrations that are missing; safe when run twice or by two at once. Refuses a schema newer than this build (`KW-SCHEMA`). Returns the version. */
  migrate(): Promise<number>;
  /** One round trip; rejects when the database does not answer. */
  ping(): Promise<void>;
  close(): Promise<void>;

  readKey(keyId: string): Promise<KeyRow | undefined>;
  listKeys(): Promise<KeyRow[]>;
  /** Read, change and write one row under its lock (rule: epoch). `change` is pure and may be called more than once; what it throws reaches the caller and nothing is written. */
  changeKey<T>(keyId: string, change: (row: KeyRow | undefined) => { row: KeyRow; result: T }): Promise<T>;
  /** Runs `act` while no other process runs one for the same key; waits up to `waitMs`, then `KW-STORE`. The lease ends by itself after `leaseMs`. */
  withKeyLease<T>(keyId: string, options: { leaseMs: number; waitMs: number }, act: () => Promise<T>): Promise<T>;

  /** Appends in order, one transaction; entries whose eventId stands already are left out. Returns the rows (new or found) in the order given. */
  appendAudit(entries: readonly AuditEntry[]): Promise<AuditRow[]>;
  /** Pages through the trail in order, in constant memory. */
  readAudit(filter?: AuditFilter): AsyncIterable<AuditRow>;
  auditHead(): Promise<{ seq: number; hash: string } | undefined>;

  /** Uses up a proof for one workflow, first run, plan and duty; the same use again answers `same`, any other `used` (rule 5). */
  consumeProof(use: ProofUse): Promise<'consumed' | 'same' | 'used'>;
  saveReceipt(receipt: Receipt, mac: string): Promise<void>;
  receiptsFor(workflowId: string, firstRunId: string, duty: string): Promise<{ receipt: Receipt; mac: string }[]>;
  /** Plans by their digest: content-addressed, so saving again changes nothing. `plan` is canonical JSON. */
  savePlan(digest: string, plan: string): Promise<void>;
  readPlan(digest: string): Promise<string | undefined>;

  /** Idempotent by subject and purpose: the first stays, and is returned. `KW-SUBJECT-ERASED` while the subject is being erased. */
  putSubjectKey(key: SubjectKey): Promise<SubjectKey>;
  readSubjectKey(subjectId: string, purpose: string): Promise<SubjectKey | undefined>;
  /** Counts what is wrapped under a CMK, by key id. */
  countWrapped(keyId: string): Promise<{ columnKeyValues: number; subjectKeys: number }>;

  /** The keyed hash under which a subject stands in workflows and audit rows: always the same, and nobody without the store's own key can compute it. */
  hashSubject(subjectId: string): Promise<string>;
  /** Keeps whose hash it is, until the subject's keys are deleted or restored; answers the hash. Changes nothing while an erasure is open. */
  requestErasure(subjectId: string): Promise<string>;
  readErasure(subjectHash: string): Promise<ErasureRow | undefined>;
  /**
   * Read, change and write the row of an erasure under its lock; `keys` are the wrapped keys of the subject that the row names. They follow the new
   * state in the same transaction: marked (`erasing`), given back (`restored`), or gone as far as they were made before `deletedAt` (`deleted`).
   */
  changeErasure<T>(subjectHash: string, change: (row: ErasureRow | undefined, keys: ErasedKey[]) => { row: ErasureRow; result: T }): Promise<T>;
  /** Subjects whose erasure began after `seq`, and the `seq` to ask with next; without one, only that. Asked as often as `keyMarks`. */
  erasuresSince(seq: number | undefined): Promise<{ seq: number; subjectIds: string[] }>;
  /** A page of the subjects that have a key made until then, by id, after an id. */
  listSubjects(o: { after?: string | undefined; createdUntil: string; limit: number }): Promise<{ subjectId: string; subjectHash: string }[]>;

  /** What applications must know of the CMKs of some purposes: asked every few seconds by each of their processes, so one cheap read (in pages, by key id). */
  keyMarks(purposes: readonly string[]): Promise<KeyMark[]>;
  /** Registers a consumer or says that it lives, and keeps what it acknowledges; times are the database's own. */
  saveConsumer(consumer: Consumer, acknowledged: readonly Acknowledged[]): Promise<void>;
  /** It holds no plaintext keys any more. */
  removeConsumer(consumerId: string): Promise<void>;
  /** All consumers of a purpose, and what each has acknowledged of one of its CMKs. */
  consumersOf(purpose: string, keyId: string): Promise<ConsumerSeen[]>;

  /**
   * A page of the subject keys under a CMK that do not stand on `material`, after a place and up to one, in the order of places.
   * What is set aside, and has not changed since, is left out.
   */
  readStale(page: StaleRange & { limit: number }): Promise<SubjectKey[]>;
  /** Cuts what `readStale` would give into stretches of `size` keys: the place at the end of each, `count` at most; [] when nothing is left. */
  staleStretches(range: Omit<StaleRange, 'upTo'> & { size: number; count: number }): Promise<Place[]>;
  /** How many subject keys under the CMK do not stand on `material`, and how many of them are set aside as they are. */
  countStale(keyId: string, material: string): Promise<{ stale: number; setAside: number }>;
  /**
   * One transaction: each key that still has the ciphertext that was read gets the new one, what does not open is set aside, and the row that
   * `audit` makes of the counts is appended. What has changed or gone meanwhile is left as it is and counted as `changed`.
   */
  writePage(page: RewrappedPage): Promise<PageCounts>;
  /**
   * One transaction: of at most `limit` subject keys under `keyId` that keep a ciphertext under `previousKeyId`, that one comes back (`restore`) or
   * goes (`drop`), and the row that `audit` makes of the count is appended. Answers the count; 0 when none is left.
   */
  settlePrevious(page: PreviousPage): Promise<number>;
  /** Subject keys under a CMK, picked at random, each at most once. */
  sampleSubjectKeys(keyId: string, count: number): Promise<SubjectKey[]>;
  readSetAside(keyId: string, options: { limit: number }): Promise<SetAside[]>;

  /** CEKs that have a value under the CMK, by name, after a name. */
  listColumnKeys(keyId: string, options: { after?: string; limit: number }): Promise<ColumnKey[]>;
  readColumnKey(name: string): Promise<ColumnKey | undefined>;
  /** Adds a CEK with its first value, and the COLUMN MASTER KEY object where it is missing. The first stays, and is returned. */
  putColumnKey(key: ColumnKey, path: string): Promise<ColumnKey>;
  /** Adds, then drops, with the audit row in the same transaction, if the values are still those given; `changed` says that they are not, and nothing was done. */
  changeColumnKey(expected: ColumnKey, change: ColumnKeyChange): Promise<'done' | 'changed'>;
  setColumnKeyAside(aside: SetAside): Promise<void>;

  /** Read, change and write the row of a shared rate under its lock; the second argument is the database's own time, in milliseconds. */
  changeBucket<T>(name: string, change: (bucket: Bucket | undefined, now: number) => { bucket: Bucket; result: T }): Promise<T>;
}

export interface KeyMark {
  keyId: string;
  purpose: string;
  epoch: number;
  /** As `isRevoked` (domain/keyRow.ts) says of the row. */
  revoked: boolean;
  /** It is taking another's place: who uses the purpose opens its canary, and says so (`Acknowledged.opened`). */
  introduced?: true;
}

/** A process that may hold plaintext data keys. */
export interface Consumer {
  consumerId: string;
  purposes: readonly string[];
  /** The longest that it can hold a plaintext key which it cannot confirm. */
  drainsWithinMs: number;
}

/** At this epoch of the CMK the consumer had dropped its plaintext keys under it. */
export interface Acknowledged {
  keyId: string;
  epoch: number;
  /** It has opened the CMK's canary. */
  opened?: true;
}

/** Ages instead of times, so that no two clocks are compared. */
export interface ConsumerSeen extends Pick<Consumer, 'consumerId' | 'drainsWithinMs'> {
  lastSeenMsAgo: number;
  acknowledged?: { epoch: number; msAgo: number; opened?: true };
}

/** Where a subject key stands in the order of a re-wrap; '' for material that is not known. */
export interface Place {
  material: string;
  purpose: string;
  subjectId: string;
}

export interface StaleRange {
  keyId: string;
  /** What does not stand on this material is stale. */
  material: string;
  /** Exclusive. */
  after?: Place | undefined;
  /** Inclusive. */
  upTo?: Place | undefined;
}

export interface RewrappedPage {
  keyId: string;
  rewrapped: { subjectId: string; purpose: string; before: string; after: string; keyMaterialId: string }[];
  /** Under this CMK now; what it was before is kept beside (`previous`). Absent where the CMK stays the same. */
  to?: { keyId: string; keyArn: string };
  setAside: SetAside[];
  audit(counts: PageCounts): AuditEntry;
}

export interface PreviousPage {
  how: 'restore' | 'drop';
  keyId: string;
  previousKeyId: string;
  limit: number;
  audit(count: number): AuditEntry;
}

export interface PageCounts {
  rewrapped: number;
  changed: number;
  setAside: number;
}

/** A wrapped key that does not open. */
export interface SetAside {
  keyId: string;
  kind: 'subject' | 'cek';
  purpose: string;
  /** Subject id, or name of the CEK. */
  id: string;
  /** As it was found. */
  encryptedKey: string;
  /** KMS's name of the error. */
  code: string;
  at: string;
  workflowId: string;
}

/** A column encryption key as the Always Encrypted catalog holds it. */
export interface ColumnKey {
  name: string;
  purpose: string;
  /** One or two, by the name of their COLUMN MASTER KEY object. */
  values: ColumnKeyValue[];
}

export interface ColumnKeyChange {
  add?: ColumnKeyValue & {
    /** Of the COLUMN MASTER KEY object, which is made where it is missing: the CMK's ARN. */
    path: string;
  };
  /** Name of the COLUMN MASTER KEY object whose value goes. */
  drop?: string;
  audit: AuditEntry;
}

export interface ColumnKeyValue {
  /** COLUMN MASTER KEY object. */
  masterKey: string;
  /** Base64 of the envelope (domain/columnKey.ts). */
  value: string;
  keyId: string;
}

export interface AuditFilter {
  /** Only rows with a seq above this. */
  after?: number;
  keyId?: string;
  workflowId?: string;
  incident?: string;
  /** ISO 8601, inclusive from, exclusive to; by the entry's `at`. */
  from?: string;
  to?: string;
}

export interface ProofUse {
  jti: string;
  workflowId: string;
  firstRunId: string;
  planDigest: string;
  duty: string;
}

/** A wrapped 256-bit data key of one subject. */
export interface SubjectKey {
  subjectId: string;
  purpose: string;
  /** Base64 KMS ciphertext. */
  encryptedKey: string;
  keyId: string;
  keyArn: string;
  /** KMS key material id under which it is wrapped: 64 hex digits. */
  keyMaterialId?: string;
  createdAt: string;
  /** Set while the subject's data is being destroyed. */
  state?: 'erasing';
  /** The same key under the CMK that this one is taking the place of, until that is final. */
  previous?: Pick<SubjectKey, 'encryptedKey' | 'keyId' | 'keyArn' | 'keyMaterialId'>;
}
