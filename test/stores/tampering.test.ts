import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'libsql';
import { canonicalJson } from '../../domain/canonical';
import { rowHash, type ChainVerdict } from '../../domain/auditChain';
import { verifyTrail } from '../../stores/auditTrail';
import { EmbeddedStore } from '../../stores/embedded/embeddedStore';
import { disabling } from './entries';
import { temporaryFolder } from './temporaryFolder';

/** Rule 10, against somebody who owns the file: a copy of it, its triggers dropped, changed with plain SQL. */
const folder = temporaryFolder();
let file: string;

beforeEach(async () => {
  file = join(folder(), 'keywarden.db');
  const store = new EmbeddedStore(file);
  await store.migrate();
  await store.appendAudit(Array.from({ length: 10 }, (_, i) => disabling(`e${i + 1}`, { reason: `reason ${i + 1}` })));
  await store.close();
});

async function after(sql: string, ...args: (string | number)[]): Promise<ChainVerdict> {
  const copy = join(folder(), 'copy.db');
  copyFileSync(file, copy);
  const db = new Database(copy);
  db.exec('DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_kept; DROP TRIGGER audit_grows_at_its_end;');
  if (args.length === 0) db.exec(sql);
  else db.prepare(sql).run(args);
  db.close();
  const store = new EmbeddedStore(copy);
  try {
    return await verifyTrail(store);
  } finally {
    await store.close();
  }
}

describe('an audit trail in the wrong hands', () => {
  it('refuses UPDATE and DELETE as long as its triggers stand', () => {
    const db = new Database(file);
    expect(() => db.exec("UPDATE audit SET prev = 'x' WHERE seq = 5")).toThrow('never changed');
    expect(() => db.exec('DELETE FROM audit WHERE seq = 5')).toThrow('never deleted');
    db.close();
  });

  it('refuses INSERT OR REPLACE and whatever does not continue the chain', () => {
    const db = new Database(file);
    const head = (db.prepare('SELECT hash FROM audit WHERE seq = 10').all([])[0] as { hash: string }).hash;
    const insert = (seq: number, prev: string, eventId: string): void => void db.prepare('INSERT OR REPLACE INTO audit (seq, prev, hash, entry) VALUES (?, ?, ?, ?)').run([seq, prev, 'h', JSON.stringify({ eventId, at: 't' })]);
    expect(() => insert(5, head, 'x')).toThrow('only added');
    expect(() => insert(12, head, 'x')).toThrow('only added');
    expect(() => insert(11, 'p', 'x')).toThrow('only added');
    expect(() => insert(11, head, 'e5')).toThrow('only added');
    db.exec("INSERT INTO proof_use VALUES ('j', 'recovery', 'w', 'r', 'p')");
    expect(() => db.exec("INSERT OR REPLACE INTO proof_use VALUES ('j', 'recovery', 'w2', 'r', 'p')")).toThrow('stays used');
    db.exec("INSERT INTO cmk VALUES ('k', 7, '{}')");
    expect(() => db.exec("INSERT OR REPLACE INTO cmk VALUES ('k', 6, '{}')")).toThrow('never falls');
    db.close();
  });

  it('verifies when untouched', async () => {
    expect(await after('SELECT 1')).toMatchObject({ rows: 10 });
    expect((await after('SELECT 1')).bad).toBeUndefined();
  });

  it('names a changed row', async () => {
    expect((await after("UPDATE audit SET entry = replace(entry, 'reason 5', 'reason X') WHERE seq = 5")).bad).toEqual({ seq: 5, why: 'its content was changed' });
  });

  it('names the row after a changed one whose hash was made to fit', async () => {
    const entry = disabling('e5', { reason: 'innocent' });
    const db = new Database(file);
    const prev = (db.prepare('SELECT prev FROM audit WHERE seq = 5').all([])[0] as { prev: string }).prev;
    db.close();
    const verdict = await after('UPDATE audit SET entry = ?, hash = ? WHERE seq = 5', canonicalJson(entry), rowHash(prev, 5, canonicalJson(entry)));
    expect(verdict.bad).toEqual({ seq: 6, why: 'its link does not fit the row before it' });
  });

  it('names a row whose text reads differently to the index and to the verifier', async () => {
    expect((await after("UPDATE audit SET entry = '{\"keyId\":\"mrk-other\",' || substr(entry, 2) WHERE seq = 5")).bad).toMatchObject({ seq: 5 });
  });

  it('names a row that is no JSON', async () => {
    expect((await after("DROP INDEX audit_event; DROP INDEX audit_key; DROP INDEX audit_workflow; DROP INDEX audit_incident; CREATE TABLE a2 AS SELECT seq, prev, hash, entry FROM audit; DROP TABLE audit; ALTER TABLE a2 RENAME TO audit; UPDATE audit SET entry = 'rubbish' WHERE seq = 5")).bad).toMatchObject({ seq: 5 });
  });

  it('names the place of a removed row', async () => {
    expect((await after('DELETE FROM audit WHERE seq = 5')).bad).toMatchObject({ seq: 6, why: expect.stringContaining('expected row 5') });
    expect((await after('DELETE FROM audit WHERE seq = 5; UPDATE audit SET seq = seq - 1 WHERE seq > 5')).bad).toEqual({ seq: 5, why: 'its link does not fit the row before it' });
    expect((await after('DELETE FROM audit WHERE seq = 1')).bad).toMatchObject({ seq: 2 });
  });

  it('names the first of two rows that changed places', async () => {
    expect((await after('UPDATE audit SET seq = 99 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 7; UPDATE audit SET seq = 7 WHERE seq = 99')).bad).toMatchObject({ seq: 4 });
  });

  it('names an inserted row', async () => {
    const verdict = await after('INSERT INTO audit (seq, prev, hash, entry) SELECT 11, hash, prev, ? FROM audit WHERE seq = 10', canonicalJson(disabling('planted')));
    expect(verdict.bad).toMatchObject({ seq: 11 });
  });

  it('does not show a cut tail by itself: that needs the signed checkpoints', async () => {
    const verdict = await after('DELETE FROM audit WHERE seq > 7');
    expect(verdict.rows).toBe(7);
    expect(verdict.bad).toBeUndefined();
  });
});
