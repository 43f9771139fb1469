import { KeywardenError } from '../../domain/errors';
import type { KeyRow } from '../../domain/keyRow';
import type { KeyMark } from '../store';
import type { Connection } from './connection';
import type { Row } from './driver';

export async function readKey(connection: Connection, keyId: string): Promise<KeyRow | undefined> {
  const rows = await connection.read('reading the row of the key', 'SELECT document FROM cmk WHERE key_id = ?', [keyId]);
  return rows.map(toKeyRow)[0];
}

/** Thousands of CMKs at most (DESIGN.md, Scale): one list, read in pages so that no statement is long. */
export async function listKeys(connection: Connection): Promise<KeyRow[]> {
  const all: KeyRow[] = [];
  for (let after = ''; ; ) {
    const page = await connection.read('listing the keys', 'SELECT key_id, document FROM cmk WHERE key_id > ? ORDER BY key_id LIMIT 500', [after]);
    all.push(...page.map(toKeyRow));
    if (page.length < 500) return all;
    after = page[page.length - 1]?.['key_id'] as string;
  }
}

/** From the index alone; one page for all but the largest installations. */
export async function keyMarks(connection: Connection, purposes: readonly string[]): Promise<KeyMark[]> {
  const all: KeyMark[] = [];
  for (let after = ['', '']; ; ) {
    const page = await connection.read(
      'reading which keys are in use',
      'SELECT purpose, key_id, epoch, revoked, introduced FROM cmk WHERE purpose IN (SELECT value FROM json_each(?)) AND (purpose, key_id) > (?, ?) ORDER BY purpose, key_id LIMIT 500',
      [JSON.stringify(purposes), ...after],
    );
    all.push(...page.map((r) => ({ keyId: r['key_id'] as string, purpose: r['purpose'] as string, epoch: r['epoch'] as number, revoked: r['revoked'] === 1, ...(r['introduced'] === 1 ? { introduced: true as const } : {}) })));
    const last = all.at(-1);
    if (page.length < 500 || last === undefined) return all;
    after = [last.purpose, last.keyId];
  }
}

/** The write lock of the file is the row's lock here. */
export function changeKey<T>(connection: Connection, keyId: string, change: (row: KeyRow | undefined) => { row: KeyRow; result: T }): Promise<T> {
  return connection.transaction('changing the row of the key', async (tx) => {
    const [found = []] = await tx.run(['SELECT document FROM cmk WHERE key_id = ?', [keyId]]);
    const { row, result } = change(found.map(toKeyRow)[0]);
    if (row.keyId !== keyId) throw new KeywardenError('KW-BUG', `the change of one key made the row of another (${row.keyId})`, { key: keyId, notDone: 'nothing was written' });
    await tx.run([
      'INSERT INTO cmk (key_id, epoch, document) VALUES (?, ?, ?) ON CONFLICT (key_id) DO UPDATE SET epoch = excluded.epoch, document = excluded.document',
      [keyId, row.epoch, JSON.stringify(row)],
    ]);
    return result;
  });
}

function toKeyRow(row: Row): KeyRow {
  return JSON.parse(row['document'] as string) as KeyRow;
}
