import { createHmac } from 'node:crypto';
import { beingErased, holderOf, type ErasedKey, type ErasureRow } from '../../domain/erasure';
import { KeywardenError } from '../../domain/errors';
import type { Connection, Transaction } from './connection';
import type { Row, Step } from './driver';

const PEPPER = 'SELECT pepper FROM subject_pepper';
const READ = 'SELECT subject_id, document FROM erasure WHERE subject_hash = ?';
const PAGE = 500;

export async function hashSubject(connection: Connection, subjectId: string): Promise<string> {
  return hash(await connection.read('reading the key of the hashes', PEPPER), subjectId);
}

export async function requestErasure(connection: Connection, subjectId: string): Promise<string> {
  return connection.transaction('keeping the request of an erasure', async (tx) => {
    const [pepper = []] = await tx.run([PEPPER, []]);
    const subjectHash = hash(pepper, subjectId);
    const before = await readIn(tx, subjectHash);
    // a tombstone gets no name again; what is being erased, or asked for, has it
    if (holderOf(before) === undefined && before?.state !== 'requested') await tx.run(write({ subjectHash, subjectId, state: 'requested', round: (before?.round ?? 0) + 1 }));
    return subjectHash;
  });
}

export async function readErasure(connection: Connection, subjectHash: string): Promise<ErasureRow | undefined> {
  return (await connection.read('reading the erasure of a subject', READ, [subjectHash])).map(toErasure)[0];
}

/** The row and the person's keys change in one transaction: no key is given out that is being erased, and no tombstone stands over a key. */
export function changeErasure<T>(connection: Connection, subjectHash: string, change: (row: ErasureRow | undefined, keys: ErasedKey[]) => { row: ErasureRow; result: T }): Promise<T> {
  return connection.transaction('changing the erasure of a subject', async (tx) => {
    const [pepper = []] = await tx.run([PEPPER, []]);
    const before = await readIn(tx, subjectHash);
    const [keys = []] = await tx.run(['SELECT purpose, key_id FROM subject_key WHERE subject_id = ? ORDER BY purpose', [before?.subjectId ?? null]]);
    const { row, result } = change(before, keys.map((k) => ({ purpose: k['purpose'] as string, keyId: k['key_id'] as string })));
    if (row.subjectHash !== subjectHash || (row.subjectId !== undefined && hash(pepper, row.subjectId) !== subjectHash)) {
      throw new KeywardenError('KW-BUG', 'the id of the subject does not fit the hash', { key: subjectHash, notDone: 'nothing was written' });
    }
    await tx.run(...keysFollow(row), write(row));
    return result;
  });
}

export async function erasuresSince(connection: Connection, since: number | undefined): Promise<{ seq: number; subjectIds: string[] }> {
  const subjectIds: string[] = [];
  for (let after = since ?? Number.MAX_SAFE_INTEGER; ; ) {
    const page = await connection.read(
      'reading who is being erased',
      "SELECT (SELECT coalesce(max(seq), 0) FROM erasure) AS head, e.seq, e.subject_id FROM (SELECT 1) LEFT JOIN erasure e ON e.seq > ? AND e.state = 'erasing' ORDER BY e.seq LIMIT ?",
      [after, PAGE],
    );
    for (const r of page) if (r['subject_id'] !== null) subjectIds.push(r['subject_id'] as string);
    if (page.length < PAGE) return { seq: page[0]?.['head'] as number, subjectIds };
    after = page.at(-1)?.['seq'] as number;
  }
}

export async function listSubjects(connection: Connection, o: { after?: string | undefined; createdUntil: string; limit: number }): Promise<{ subjectId: string; subjectHash: string }[]> {
  const pepper = await connection.read('reading the key of the hashes', PEPPER);
  const rows = await connection.read('listing subjects', 'SELECT DISTINCT subject_id FROM subject_key WHERE subject_id > ? AND created_at <= ? ORDER BY subject_id LIMIT ?', [o.after ?? '', o.createdUntil, o.limit]);
  return rows.map((r) => ({ subjectId: r['subject_id'] as string, subjectHash: hash(pepper, r['subject_id'] as string) }));
}

/** No key is made for somebody who is being erased, by whatever process; after the proof they may come back. */
export async function refuseErased(tx: Transaction, subjectId: string): Promise<void> {
  const [pepper = []] = await tx.run([PEPPER, []]);
  if (holderOf(await readIn(tx, hash(pepper, subjectId))) !== undefined) throw beingErased('no key was made');
}

function keysFollow(row: ErasureRow): Step[] {
  const { subjectId } = row;
  if (subjectId === undefined) return [];
  const state = row.state === 'erasing' ? 'erasing' : row.state === 'restored' ? 'active' : undefined;
  if (state !== undefined) return [['UPDATE subject_key SET state = ? WHERE subject_id = ?', [state, subjectId]]];
  if (row.state !== 'deleted') return [];
  return [
    // what was made after the deletion, by a database restored meanwhile, is another key
    ['DELETE FROM subject_key WHERE subject_id = ? AND created_at <= ?', [subjectId, row.deletedAt!]],
    ["DELETE FROM set_aside WHERE kind = 'subject' AND id = ?", [subjectId]],
  ];
}

function write(row: ErasureRow): Step {
  const { subjectId, ...document } = row;
  const named = row.state === 'requested' || row.state === 'erasing' ? (subjectId ?? null) : null;
  return [
    `INSERT INTO erasure (subject_hash, seq, subject_id, state, document) VALUES (?, (SELECT coalesce(max(seq), 0) + 1 FROM erasure), ?, ?, ?)
     ON CONFLICT (subject_hash) DO UPDATE SET seq = excluded.seq, subject_id = excluded.subject_id, state = excluded.state, document = excluded.document`,
    [row.subjectHash, named, row.state, JSON.stringify(document)],
  ];
}

async function readIn(tx: Transaction, subjectHash: string): Promise<ErasureRow | undefined> {
  const [rows = []] = await tx.run([READ, [subjectHash]]);
  return rows.map(toErasure)[0];
}

function toErasure(row: Row): ErasureRow {
  const subjectId = row['subject_id'];
  return { ...(JSON.parse(row['document'] as string) as ErasureRow), ...(subjectId === null ? {} : { subjectId: subjectId as string }) };
}

function hash(pepper: readonly Row[], subjectId: string): string {
  const [row] = pepper;
  return `subject-${createHmac('sha256', Buffer.from(row?.['pepper'] as string, 'hex')).update(subjectId, 'utf8').digest('hex').slice(0, 32)}`;
}
