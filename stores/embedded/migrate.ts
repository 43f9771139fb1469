import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { KeywardenError } from '../../domain/errors';
import type { Connection, Transaction } from './connection';

/** A migration may have much to do, and another process may be at it. */
const MIGRATION_BUDGET_MS = 120_000;

export interface Migration {
  version: number;
  name: string;
  sql: string;
  checksum: string;
}

/** The shipped migrations: found from the package's root, so alike from source and from the bundle in dist/. */
export function shippedMigrations(from: string = __dirname): Migration[] {
  for (let dir = from; ; dir = dirname(dir)) {
    if (packageName(join(dir, 'package.json')) === 'keywarden') return readMigrations(join(dir, 'migrations', 'embedded'));
    if (dir === dirname(dir)) throw new KeywardenError('KW-SCHEMA', `no package named keywarden above ${from}`, { notDone: 'no migration was applied', next: 'install Keywarden with its migrations folder' });
  }
}

export function readMigrations(dir: string): Migration[] {
  const all = readdirSync(dir).flatMap((name) => {
    const version = /^(\d{3})_[\w-]+\.sql$/.exec(name)?.[1];
    if (version === undefined) return [];
    // line ends are git's business: a checkout on Windows is the same migration
    const sql = readFileSync(join(dir, name), 'utf8').replaceAll('\r\n', '\n');
    return [{ version: Number(version), name, sql, checksum: createHash('sha256').update(sql).digest('hex') }];
  });
  all.sort((a, b) => a.version - b.version);
  all.forEach((m, i) => {
    if (m.version !== i + 1) throw new KeywardenError('KW-BUG', `the migrations are not numbered 1, 2, 3 …: ${m.name} stands at place ${i + 1}`, { path: dir });
  });
  return all;
}

/** Each migration with its record in one transaction: killed anywhere, it is applied or not. The write lock keeps a second process out. */
export async function migrate(connection: Connection, migrations: readonly Migration[]): Promise<number> {
  for (let done = false; !done; ) {
    done = await connection.transaction('migrating', (tx) => applyNext(tx, migrations), MIGRATION_BUDGET_MS);
  }
  return migrations.length;
}

/** True when nothing is left to apply. Reads what stands again for each, since another process may have come between. */
async function applyNext(tx: Transaction, migrations: readonly Migration[]): Promise<boolean> {
  await tx.run(['CREATE TABLE IF NOT EXISTS schema_migration (version INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT', []]);
  const [rows = []] = await tx.run(['SELECT version, name, checksum FROM schema_migration ORDER BY version', []]);
  rows.forEach((row, i) => {
    const known = migrations[i];
    if (row['version'] !== i + 1 || known === undefined) {
      throw unknownSchema(`the database has migration ${String(row['name'])}, this build knows ${migrations.length}`, 'use the build of Keywarden that made this schema, or a newer one');
    }
    if (row['checksum'] !== known.checksum) {
      throw unknownSchema(`migration ${known.name} is not the one that was applied to this database`, 'put the file back as it was released; a change is a new migration');
    }
  });
  const next = migrations[rows.length];
  if (next === undefined) return true;
  await tx.run([next.sql], ['INSERT INTO schema_migration (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)', [next.version, next.name, next.checksum, new Date().toISOString()]]);
  return rows.length + 1 === migrations.length;
}

function unknownSchema(what: string, next: string): KeywardenError {
  return new KeywardenError('KW-SCHEMA', what, { notDone: 'nothing was migrated', next });
}

function packageName(file: string): string | undefined {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { name?: string }).name;
  } catch {
    return undefined;
  }
}
