import { PROVIDER } from '../../domain/columnKey';
import type { ColumnKey, ColumnKeyValue, SetAside } from '../store';
import type { Connection, Transaction } from './connection';
import type { Row, Step } from './driver';

/** Stands in for SQL Server's Always Encrypted catalog: the same names, the same two values at most, no value ever overwritten. */
export async function listColumnKeys(connection: Connection, keyId: string, options: { after?: string; limit: number }): Promise<ColumnKey[]> {
  const names = await connection.read('listing the column encryption keys', 'SELECT DISTINCT column_key FROM column_key_value WHERE key_id = ? AND column_key > ? ORDER BY column_key LIMIT ?', [keyId, options.after ?? '', options.limit]);
  const found: ColumnKey[] = [];
  for (const row of names) {
    const key = await readColumnKey(connection, row['column_key'] as string);
    if (key !== undefined) found.push(key);
  }
  return found;
}

export async function readColumnKey(connection: Connection, name: string): Promise<ColumnKey | undefined> {
  return toColumnKey(await connection.read('reading the column encryption key', READ, [name]));
}

export function putColumnKey(connection: Connection, key: ColumnKey, path: string): Promise<ColumnKey> {
  return connection.transaction('adding the column encryption key', async (tx) => {
    const there = await readIn(tx, key.name);
    if (there !== undefined) return there;
    await tx.run(
      ['INSERT INTO column_key (name, purpose) VALUES (?, ?) ON CONFLICT DO NOTHING', [key.name, key.purpose]],
      ...key.values.flatMap((v) => adding(key.name, { ...v, path })),
    );
    return (await readIn(tx, key.name)) ?? key;
  });
}

export function changeColumnKey(connection: Connection, expected: ColumnKey, change: { add?: ColumnKeyValue & { path: string }; drop?: string }): Promise<'done' | 'changed'> {
  return connection.transaction('changing the column encryption key', async (tx) => {
    const now = await readIn(tx, expected.name);
    if (now === undefined || values(now) !== values(expected)) return 'changed';
    await tx.run(
      ...(change.add === undefined ? [] : adding(expected.name, change.add)),
      ...(change.drop === undefined ? [] : [['DELETE FROM column_key_value WHERE column_key = ? AND master_key = ?', [expected.name, change.drop]] as Step]),
    );
    return 'done';
  });
}

export async function setColumnKeyAside(connection: Connection, a: SetAside): Promise<void> {
  await connection.transaction('setting the column encryption key aside', (tx) =>
    tx.run([
      `INSERT INTO set_aside (key_id, kind, purpose, id, encrypted_key, code, at, workflow_id) VALUES (?, 'cek', ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET encrypted_key = excluded.encrypted_key, code = excluded.code, at = excluded.at, workflow_id = excluded.workflow_id`,
      [a.keyId, a.purpose, a.id, a.encryptedKey, a.code, a.at, a.workflowId],
    ]),
  );
}

const READ = 'SELECT k.name, k.purpose, v.master_key, v.value, v.key_id FROM column_key k JOIN column_key_value v ON v.column_key = k.name WHERE k.name = ? ORDER BY v.master_key';

async function readIn(tx: Transaction, name: string): Promise<ColumnKey | undefined> {
  const [rows = []] = await tx.run([READ, [name]]);
  return toColumnKey(rows);
}

function adding(name: string, v: ColumnKeyValue & { path: string }): Step[] {
  return [
    ['INSERT INTO column_master_key (name, provider, path) VALUES (?, ?, ?) ON CONFLICT DO NOTHING', [v.masterKey, PROVIDER, v.path]],
    ['INSERT INTO column_key_value (column_key, master_key, value, key_id) VALUES (?, ?, ?, ?)', [name, v.masterKey, v.value, v.keyId]],
  ];
}

function toColumnKey(rows: readonly Row[]): ColumnKey | undefined {
  const [first] = rows;
  if (first === undefined) return undefined;
  return { name: first['name'] as string, purpose: first['purpose'] as string, values: rows.map((r) => ({ masterKey: r['master_key'] as string, value: r['value'] as string, keyId: r['key_id'] as string })) };
}

const values = (key: ColumnKey): string => JSON.stringify(key.values.map((v) => [v.masterKey, v.value]).sort());
