import { KeywardenError } from './errors';
import { same, type ProcedureRef } from './keyRow';

/** A person as workflows, audit rows and alerts know them: `subject-` and 128 bits of HMAC-SHA-256 over the id. No clear id has this form (domain/subject.ts). */
export const SUBJECT_HASH = /^subject-[0-9a-f]{32}$/;

/** A wrapped key of the person, as the proof names it. */
export interface ErasedKey {
  purpose: string;
  keyId: string;
}

/** `requested`: asked for, nothing done. `erasing`: nobody gets the keys. `deleted`: the tombstone, until no backup holds the keys; then `proven`. */
export type ErasureState = 'requested' | 'erasing' | 'restored' | 'deleted' | 'proven';

/** What the store knows of the erasure of one person. All changes are the pure functions below, applied under the row's lock; the person's keys follow the state in the same transaction. */
export interface ErasureRow {
  subjectHash: string;
  /** In the clear only while it is needed: from the request until the keys are deleted or restored. */
  subjectId?: string;
  state: ErasureState;
  /** Raised when it is asked for anew after it has ended: what was signed before has lapsed. */
  round: number;
  procedure?: ProcedureRef;
  /** ISO 8601. */
  erasingAt?: string;
  /** Until then a rejection restores the keys. */
  deadline?: string;
  /** Who rejected it during the wait: nothing is deleted then. */
  rejectedBy?: string;
  deletedAt?: string;
  keys?: ErasedKey[];
  proof?: ErasureProof;
}

/** That a person's keys are gone, from the database and from every backup within retention. */
export interface ErasureProof {
  v: 1;
  subject: string;
  application: string;
  environment: string;
  account: string;
  keys: ErasedKey[];
  approvers: string[];
  planDigest: string;
  workflowId: string;
  firstRunId: string;
  erasingAt: string;
  deletedAt: string;
  /** When the last backup that may hold the keys had expired. */
  backupsUntil: string;
  provenAt: string;
  /** Sequence numbers of the procedure's rows in the audit trail, and the trail's head when the proof was made. */
  audit: { rows: number[]; head: { seq: number; hash: string } };
}

/** What a duty certifies, under its MAC, when it has deleted: the workflow carries it, so that a database restored to an earlier day cannot undo the erasure. */
export interface ErasureFacts extends Pick<ErasureProof, 'approvers' | 'planDigest' | 'workflowId' | 'firstRunId' | 'erasingAt' | 'deletedAt' | 'keys'> {
  typ: 'keywarden-erasure';
  v: 1;
  subjectHash: string;
  round: number;
  reason: string;
  /** The store's hash of a constant: another one means another key of the hashes. */
  check: string;
}

/** Takes the row and marks the keys. `abandoned` is a procedure that was ended from outside. Idempotent for one procedure. */
export function beginErasing(row: ErasureRow | undefined, by: { procedure: ProcedureRef; at: string; deadline: string; keys: ErasedKey[]; abandoned?: ProcedureRef | undefined }): ErasureRow {
  const { procedure, at, deadline, keys, abandoned } = by;
  if (row?.state === 'erasing' && same(row.procedure!, procedure)) return row;
  const holder = holderOf(row);
  if (holder !== undefined && (abandoned === undefined || !same(holder, abandoned))) throw held(row!.subjectHash, holder);
  if (row === undefined || (row.subjectId === undefined && row.state !== 'deleted')) throw unasked(row?.subjectHash);
  return { ...named(row), state: 'erasing', procedure, erasingAt: at, deadline, keys: keys.length === 0 ? (row.keys ?? []) : keys };
}

/** A rejection is on record in the row before it is answered: a deletion that begins later sees it. */
export function rejectErasing(row: ErasureRow, procedure: ProcedureRef, person: string): ErasureRow {
  return row.state === 'erasing' && same(row.procedure!, procedure) ? { ...row, rejectedBy: person } : row;
}

/** Only after the whole wait, by the store's own record of it. */
export function deleteErased(row: ErasureRow | undefined, procedure: ProcedureRef, at: string): ErasureRow {
  if (row?.state === 'deleted' && same(row.procedure!, procedure)) return row;
  if (row?.state !== 'erasing' || !same(row.procedure!, procedure)) throw new KeywardenError('KW-PREEMPTED', 'the subject is not held by this erasure', { ...(row === undefined ? {} : { key: row.subjectHash }), notDone: 'nothing was deleted', next: 'look at `keywarden status`; after a database restore start the erasure again' });
  if (row.rejectedBy !== undefined) throw new KeywardenError('KW-APPROVAL-MISSING', `${row.rejectedBy} has rejected it`, { key: row.subjectHash, notDone: 'nothing was deleted', next: 'start the erasure again if it is still wanted' });
  if (at < row.deadline!) throw new KeywardenError('KW-NOT-YET', `the waiting time ends at ${row.deadline!}`, { key: row.subjectHash, notDone: 'nothing was deleted', next: 'it is tried again then' });
  return { ...named(row), state: 'deleted', procedure, erasingAt: row.erasingAt!, deletedAt: at, keys: row.keys ?? [] };
}

/** The keys are given back. */
export function restoreErased(row: ErasureRow, procedure: ProcedureRef): ErasureRow {
  return { ...named(row), state: 'restored', procedure };
}

const named = ({ subjectHash, subjectId, round }: ErasureRow): Pick<ErasureRow, 'subjectHash' | 'subjectId' | 'round'> => ({ subjectHash, round, ...(subjectId === undefined ? {} : { subjectId }) });

/** The procedure that holds the person, if any: nobody else erases them, and no key is made for them. */
export function holderOf(row: ErasureRow | undefined): ProcedureRef | undefined {
  return row?.state === 'erasing' || row?.state === 'deleted' ? row.procedure : undefined;
}

export function held(subjectHash: string, holder: ProcedureRef): KeywardenError {
  return new KeywardenError('KW-PROCEDURE-OPEN', `another erasure of this subject is open: ${holder.workflowId}`, { key: subjectHash, notDone: 'nothing was erased', next: `look at it with \`keywarden status ${holder.workflowId}\`` });
}

export function unasked(subjectHash: string | undefined): KeywardenError {
  return new KeywardenError('KW-SUBJECT-UNKNOWN', 'the store knows no subject under this hash whose erasure was asked for', { path: 'input.subjectId', ...(subjectHash === undefined ? {} : { key: subjectHash }), notDone: 'nothing was erased', next: 'run `keywarden erase ID`, which computes the hash and keeps the request' });
}

/** What the library and the store say while a person is being erased. Names nobody. */
export function beingErased(notDone: string): KeywardenError {
  return new KeywardenError('KW-SUBJECT-ERASED', 'the subject is being erased', { notDone, next: 'treat the data as gone; a new key can be made when the proof of destruction is there' });
}
