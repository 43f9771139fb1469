import { cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'libsql';
import { EmbeddedStore } from '../../stores/embedded/embeddedStore';
import { readMigrations, shippedMigrations } from '../../stores/embedded/migrate';
import { childProcesses, start } from './children';
import { failure } from './entries';
import { temporaryFolder } from './temporaryFolder';

const shipped = join(__dirname, '..', '..', 'migrations', 'embedded');
const folder = temporaryFolder();
const SHIPPED = readMigrations(shipped).length;
const open = (dir?: string): EmbeddedStore => new EmbeddedStore(join(folder(), 'keywarden.db'), dir === undefined ? shippedMigrations : () => readMigrations(dir));

/** The shipped migrations and one more. */
function oneMore(sql: string): string {
  const dir = join(folder(), 'migrations');
  cpSync(shipped, dir, { recursive: true });
  const next = String(readMigrations(shipped).length + 1).padStart(3, '0');
  writeFileSync(join(dir, `${next}_more.sql`), sql);
  return dir;
}

async function migrateOnce(dir?: string): Promise<number> {
  const store = open(dir);
  try {
    return await store.migrate();
  } finally {
    await store.close();
  }
}

childProcesses();

describe('migrations', () => {
  it('are all shipped: found from source, and from where the bundle lies', () => {
    expect(shippedMigrations().map((m) => m.name)).toEqual(readdirSync(shipped).sort());
    expect(shippedMigrations(join(__dirname, '..', '..', 'dist'))).toEqual(shippedMigrations());
  });

  it('run twice change nothing', async () => {
    expect(await migrateOnce()).toBe(await migrateOnce());
  });

  it('run by three processes at once apply each once', async () => {
    const file = join(folder(), 'keywarden.db');
    const children = [1, 2, 3].map(() => start('migrate', { file }));
    await Promise.all(children.map((c) => c.ended));
    expect(children.map((c) => c.said)).toEqual(Array.from({ length: 3 }, () => [String(SHIPPED)]));
  });

  it('killed in the middle leave nothing half done, and the next run does it all', async () => {
    const file = join(folder(), 'keywarden.db');
    await migrateOnce();
    const dir = oneMore('CREATE TABLE more (n INTEGER); INSERT INTO more WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 300000000) SELECT n FROM r;');
    const child = start('migrate', { file, dir });
    await new Promise((r) => setTimeout(r, 1_000));
    await child.kill();
    expect(child.said).toEqual([]);
    const look = new Database(file);
    expect(look.prepare("SELECT count(*) AS n FROM sqlite_schema WHERE name = 'more'").all([])).toEqual([{ n: 0 }]);
    look.close();
    mkdirSync(dir, { recursive: true });
    expect(await migrateOnce(oneMore('CREATE TABLE more (n INTEGER);'))).toBe(SHIPPED + 1);
  });

  it('that fail are undone, and what was applied before them stays', async () => {
    expect(await failure(migrateOnce(oneMore('CREATE TABLE more (n INTEGER); SELECT no_such_function();')))).toMatchObject({ code: 'KW-STORE' });
    expect(await migrateOnce()).toBe(SHIPPED);
    expect(await migrateOnce(oneMore('CREATE TABLE more (n INTEGER);'))).toBe(SHIPPED + 1);
  });

  it('applied and then changed are refused', async () => {
    await migrateOnce(oneMore('CREATE TABLE more (n INTEGER);'));
    expect(await failure(migrateOnce(oneMore('CREATE TABLE more (n TEXT);')))).toMatchObject({ code: 'KW-SCHEMA', what: expect.stringContaining('_more.sql') });
  });

  it('checked out with other line ends are the same', async () => {
    await migrateOnce(oneMore('CREATE TABLE more (\n  n INTEGER\n);\n'));
    expect(await migrateOnce(oneMore('CREATE TABLE more (\r\n  n INTEGER\r\n);\r\n'))).toBe(SHIPPED + 1);
  });

  it('of a newer build are refused', async () => {
    await migrateOnce(oneMore('CREATE TABLE more (n INTEGER);'));
    expect(await failure(migrateOnce())).toMatchObject({ code: 'KW-SCHEMA', next: expect.stringContaining('newer') });
  });
});
