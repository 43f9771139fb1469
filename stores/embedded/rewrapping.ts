import type { PageCounts, Place, PreviousPage, RewrappedPage, SetAside, StaleRange, SubjectKey } from '../store';
import { appendIn } from './auditRows';
import type { Connection } from './connection';
import type { Row, SqlValue, Step } from './driver';
import { toSubjectKey } from './subjectKeys';

/** Rows that are set aside, and are still as they were then. */
const ASIDE = "EXISTS (SELECT 1 FROM set_aside a WHERE a.key_id = s.key_id AND a.kind = 'subject' AND a.purpose = s.purpose AND a.id = s.subject_id AND a.encrypted_key = s.encrypted_key)";

/**
 * The order of places runs over materials, and what stands on the right one lies somewhere in the middle: it is walked in two halves, so that
 * no page reads over millions of rows that are done.
 */
const HALVES = ['<', '>'] as const;

/** SQL's right-hand sides are the row as it was. */
const KEEP = 'previous_encrypted_key = encrypted_key, previous_key_id = key_id, previous_key_arn = key_arn, previous_key_material_id = key_material_id';
const FORGET = 'previous_encrypted_key = NULL, previous_key_id = NULL, previous_key_arn = NULL, previous_key_material_id = NULL';
const SETTLE = { drop: FORGET, restore: `encrypted_key = previous_encrypted_key, key_id = previous_key_id, key_arn = previous_key_arn, key_material_id = previous_key_material_id, ${FORGET}` } as const;

export function settlePrevious(connection: Connection, page: PreviousPage): Promise<number> {
  return connection.transaction('settling a page of subject keys', async (tx) => {
    const [written = []] = await tx.run([
      `UPDATE subject_key SET ${SETTLE[page.how]} WHERE (subject_id, purpose) IN (SELECT subject_id, purpose FROM subject_key WHERE previous_key_id = ? AND key_id = ? LIMIT ?) RETURNING 1 AS written`,
      [page.previousKeyId, page.keyId, page.limit],
    ]);
    if (written.length > 0) await appendIn(tx, [page.audit(written.length)]);
    return written.length;
  });
}

/** Rows are picked by their place in the file, which tells nothing of their content. */
export async function sampleSubjectKeys(connection: Connection, keyId: string, count: number): Promise<SubjectKey[]> {
  const sql = `WITH RECURSIVE pick(n, at) AS (SELECT 1, abs(random()) % (SELECT max(rowid) FROM subject_key) UNION ALL SELECT n + 1, abs(random()) % (SELECT max(rowid) FROM subject_key) FROM pick WHERE n < ?)
    SELECT DISTINCT s.* FROM pick JOIN subject_key s ON s.rowid = (SELECT min(r.rowid) FROM subject_key r WHERE r.rowid > pick.at) WHERE s.key_id = ?`;
  return (await connection.read('picking subject keys', sql, [count, keyId])).map(toSubjectKey);
}

export async function readStale(connection: Connection, page: StaleRange & { limit: number }): Promise<SubjectKey[]> {
  const found: SubjectKey[] = [];
  for (const half of HALVES) {
    if (found.length >= page.limit) break;
    const { where, args } = stale(page, half);
    const rows = await connection.read('reading a page of subject keys', `SELECT s.* FROM subject_key s WHERE ${where} ORDER BY s.material, s.purpose, s.subject_id LIMIT ?`, [...args, page.limit - found.length]);
    found.push(...rows.map(toSubjectKey));
  }
  return found;
}

export async function staleStretches(connection: Connection, range: Omit<StaleRange, 'upTo'> & { size: number; count: number }): Promise<Place[]> {
  const ends: Place[] = [];
  while (ends.length < range.count) {
    const end = await endOfStretch(connection, { ...range, after: ends.at(-1) ?? range.after });
    if (end === undefined) break;
    ends.push(end);
  }
  return ends;
}

async function endOfStretch(connection: Connection, range: StaleRange & { size: number }): Promise<Place | undefined> {
  for (const half of HALVES) {
    const { where, args } = stale(range, half);
    const sql = `SELECT material, purpose, subject_id FROM (SELECT s.material, s.purpose, s.subject_id FROM subject_key s WHERE ${where} ORDER BY s.material, s.purpose, s.subject_id LIMIT ?) ORDER BY material DESC, purpose DESC, subject_id DESC LIMIT 1`;
    const [last] = await connection.read('cutting the subject keys into stretches', sql, [...args, range.size]);
    if (last !== undefined) return { material: last['material'] as string, purpose: last['purpose'] as string, subjectId: last['subject_id'] as string };
  }
  return undefined;
}

export async function countStale(connection: Connection, keyId: string, material: string): Promise<{ stale: number; setAside: number }> {
  const sql = `SELECT (SELECT count(*) FROM subject_key WHERE key_id = ? AND material < ?) + (SELECT count(*) FROM subject_key WHERE key_id = ? AND material > ?) AS stale,
    (SELECT count(*) FROM set_aside a JOIN subject_key s ON s.subject_id = a.id AND s.purpose = a.purpose AND s.key_id = a.key_id AND s.encrypted_key = a.encrypted_key AND s.material <> ? WHERE a.key_id = ? AND a.kind = 'subject') AS aside`;
  const [row] = await connection.read('counting what stands on older material', sql, [keyId, material, keyId, material, material, keyId]);
  return { stale: row?.['stale'] as number, setAside: row?.['aside'] as number };
}

/** Compare-and-set on the ciphertext: a key that the application changed or deleted meanwhile is neither overwritten nor brought back. */
export function writePage(connection: Connection, page: RewrappedPage): Promise<PageCounts> {
  return connection.transaction('writing a page of subject keys', async (tx) => {
    const writes: Step[] = [
      ...page.rewrapped.map((r): Step => [
        `UPDATE subject_key SET ${page.to === undefined ? '' : `${KEEP}, key_id = ?, key_arn = ?, `}encrypted_key = ?, key_material_id = ? WHERE subject_id = ? AND purpose = ? AND encrypted_key = ? AND key_id = ? RETURNING 1 AS written`,
        [...(page.to === undefined ? [] : [page.to.keyId, page.to.keyArn]), r.after, r.keyMaterialId, r.subjectId, r.purpose, r.before, page.keyId],
      ]),
      ...page.setAside.map((a): Step => [
        `INSERT INTO set_aside (key_id, kind, purpose, id, encrypted_key, code, at, workflow_id)
         SELECT key_id, 'subject', purpose, subject_id, encrypted_key, ?, ?, ? FROM subject_key WHERE subject_id = ? AND purpose = ? AND encrypted_key = ? AND key_id = ?
         ON CONFLICT DO UPDATE SET encrypted_key = excluded.encrypted_key, code = excluded.code, at = excluded.at, workflow_id = excluded.workflow_id RETURNING 1 AS written`,
        [a.code, a.at, a.workflowId, a.id, a.purpose, a.encryptedKey, page.keyId],
      ]),
    ];
    const written = (await tx.run(...writes)).map((rows) => rows.length);
    const rewrapped = sum(written.slice(0, page.rewrapped.length));
    const setAside = sum(written.slice(page.rewrapped.length));
    const counts: PageCounts = { rewrapped, setAside, changed: writes.length - rewrapped - setAside };
    // what was set aside once and opens now is no finding any more
    const opened = JSON.stringify(page.rewrapped.map((r) => [r.purpose, r.subjectId]));
    await tx.run(["DELETE FROM set_aside WHERE key_id = ? AND kind = 'subject' AND (purpose, id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))", [page.keyId, opened]]);
    await appendIn(tx, [page.audit(counts)]);
    return counts;
  });
}

export async function readSetAside(connection: Connection, keyId: string, limit: number): Promise<SetAside[]> {
  const sql = `SELECT a.* FROM set_aside a WHERE a.key_id = ? AND (EXISTS (SELECT 1 FROM subject_key s WHERE a.kind = 'subject' AND s.subject_id = a.id AND s.purpose = a.purpose AND s.encrypted_key = a.encrypted_key)
    OR EXISTS (SELECT 1 FROM column_key_value v WHERE a.kind = 'cek' AND v.column_key = a.id AND v.value = a.encrypted_key)) ORDER BY a.kind, a.purpose, a.id LIMIT ?`;
  return (await connection.read('reading what was set aside', sql, [keyId, limit])).map(toSetAside);
}

/** Where clause of what is stale in one half of the order, inside the range. */
function stale(r: StaleRange, half: '<' | '>'): { where: string; args: SqlValue[] } {
  const bounds: [string, Place | undefined][] = [['>', r.after], ['<=', r.upTo]];
  const set = bounds.filter((b): b is [string, Place] => b[1] !== undefined);
  return {
    where: [`s.key_id = ? AND s.material ${half} ?`, ...set.map(([op]) => `(s.material, s.purpose, s.subject_id) ${op} (?, ?, ?)`), `NOT ${ASIDE}`].join(' AND '),
    args: [r.keyId, r.material, ...set.flatMap(([, p]) => [p.material, p.purpose, p.subjectId])],
  };
}

function toSetAside(row: Row): SetAside {
  const text = (name: string): string => row[name] as string;
  return { keyId: text('key_id'), kind: text('kind') as SetAside['kind'], purpose: text('purpose'), id: text('id'), encryptedKey: text('encrypted_key'), code: text('code'), at: text('at'), workflowId: text('workflow_id') };
}

const sum = (all: readonly number[]): number => all.reduce((a, b) => a + b, 0);
