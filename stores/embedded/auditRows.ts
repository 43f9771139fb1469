import { GENESIS, type AuditEntry, type AuditRow } from '../../domain/audit';
import { link } from '../../domain/auditChain';
import { canonicalJson } from '../../domain/canonical';
import { canonicalEntry } from '../canonicalEntry';
import type { AuditFilter } from '../store';
import type { Connection, Transaction } from './connection';
import type { Row, SqlValue, Step } from './driver';

const COLUMNS = 'seq, prev, hash, entry';
const PAGE = 500;
/** Rows that one statement looks at when the filter is by time, which has no index: it keeps a statement short on any trail. */
const TIME_WINDOW = 20_000;

/** Head and insert in one transaction, so that two processes never link to the same row (rule 10). Idempotent by event (rule 6). */
export async function appendAudit(connection: Connection, entries: readonly AuditEntry[]): Promise<AuditRow[]> {
  if (entries.length === 0) return [];
  entries.forEach(canonicalEntry);
  return connection.transaction('appending to the audit trail', (tx) => appendIn(tx, entries));
}

/** The same inside a transaction that does what the rows tell of. */
export async function appendIn(tx: Transaction, entries: readonly AuditEntry[]): Promise<AuditRow[]> {
  const texts = entries.map(canonicalEntry);
  const ids = JSON.stringify(entries.map((e) => e.eventId));
  const [found = [], heads = []] = await tx.run(
    [`SELECT ${COLUMNS} FROM audit WHERE event_id IN (SELECT value FROM json_each(?))`, [ids]],
    ['SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1', []],
  );
  const rows = new Map(found.map(toAuditRow).map((row) => [row.entry.eventId, row]));
  let head = heads.map(toHead)[0];
  const inserts: Step[] = [];
  entries.forEach((entry, i) => {
    if (rows.has(entry.eventId)) return;
    const row = link(head, entry);
    rows.set(entry.eventId, row);
    inserts.push([`INSERT INTO audit (${COLUMNS}) VALUES (?, ?, ?, ?)`, [row.seq, row.prev, row.hash, texts[i] as string]]);
    head = row;
  });
  if (inserts.length > 0) await tx.run(...inserts);
  return entries.map((e) => rows.get(e.eventId) as AuditRow);
}

/** Pages by seq: constant memory, and no statement stays open between pages, which would keep the write-ahead log from shrinking. */
export async function* readAudit(connection: Connection, filter: AuditFilter = {}): AsyncGenerator<AuditRow> {
  const { where, args } = conditions(filter);
  const byTime = filter.from !== undefined || filter.to !== undefined;
  let after = filter.after ?? 0;
  // a filter by time may match nothing for long: only the end of the trail ends the walk
  const end = byTime ? ((await auditHead(connection))?.seq ?? 0) : 0;
  for (;;) {
    const upTo = byTime ? after + TIME_WINDOW : Number.MAX_SAFE_INTEGER;
    const sql = `SELECT ${COLUMNS} FROM audit WHERE seq > ? AND seq <= ?${where} ORDER BY seq LIMIT ${PAGE}`;
    const page = await connection.read('reading the audit trail', sql, [after, upTo, ...args]);
    for (const row of page) yield toAuditRow(row);
    const full = page.length === PAGE;
    if (full) after = page[PAGE - 1]?.['seq'] as number;
    else if (byTime && upTo < end) after = upTo;
    else return;
  }
}

export async function auditHead(connection: Connection): Promise<{ seq: number; hash: string } | undefined> {
  const rows = await connection.read('reading the head of the audit trail', 'SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1');
  return rows.map(toHead)[0];
}

function conditions(filter: AuditFilter): { where: string; args: SqlValue[] } {
  const wanted: [string, SqlValue | undefined][] = [
    ['key_id = ?', filter.keyId],
    ['workflow_id = ?', filter.workflowId],
    ['incident = ?', filter.incident],
    ['at >= ?', filter.from],
    ['at < ?', filter.to],
  ];
  const set = wanted.filter((w): w is [string, SqlValue] => w[1] !== undefined);
  return { where: set.map(([sql]) => ` AND ${sql}`).join(''), args: set.map(([, value]) => value) };
}

function toHead(row: Row): { seq: number; hash: string } {
  return { seq: row['seq'] as number, hash: row['hash'] as string };
}

/**
 * A stored text that is not the canonical JSON of anything (a doubled name, which SQLite and JavaScript read differently, or no
 * JSON at all) was not written by us: the row comes out with an entry that its hash does not fit, and verification names it.
 */
function toAuditRow(row: Row): AuditRow {
  const { seq, prev, hash, entry: text } = row as { seq: number; prev: string; hash: string; entry: string };
  try {
    const entry = JSON.parse(text) as AuditEntry;
    if (canonicalJson(entry) === text) return { seq, prev, hash, entry };
  } catch {
    // falls through: not JSON
  }
  const entry: AuditEntry = { eventId: `unreadable-${seq}`, at: '', actor: '', operation: '', action: '', phase: 'unknown', detail: { stored: String(text) } };
  return { seq, prev: prev ?? GENESIS, hash: hash ?? '', entry };
}
