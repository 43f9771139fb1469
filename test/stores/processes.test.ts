import { renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Database from 'libsql';
import { verifyTrail } from '../../stores/auditTrail';
import { EmbeddedStore } from '../../stores/embedded/embeddedStore';
import { childProcesses, start } from './children';
import { collect, disabling, failure } from './entries';
import { temporaryFolder } from './temporaryFolder';

const folder = temporaryFolder();
let store: EmbeddedStore;
let file: string;

childProcesses();
beforeEach(async () => {
  file = join(folder(), 'keywarden.db');
  store = new EmbeddedStore(file);
  await store.migrate();
});
afterEach(() => store.close());

describe('when several processes use one file', () => {
  it('two that append 500 rows each make one unbroken chain (rule 10)', async () => {
    const [a, b] = [start('append', { file, count: 500, name: 'a' }), start('append', { file, count: 500, name: 'b' })];
    await Promise.all([a.ended, b.ended]);
    expect(await verifyTrail(store)).toMatchObject({ rows: 1_000 });
    const order = (await collect(store.readAudit())).map((r) => r.entry.eventId);
    expect(order.filter((id) => id.startsWith('a'))).toEqual(a.said);
    expect(order.filter((id) => id.startsWith('b'))).toEqual(b.said);
  });

  it('three that change one row lose no change', async () => {
    await Promise.all([1, 2, 3].map(() => start('raise', { file, count: 100 }).ended));
    expect((await store.readKey('mrk-1'))?.epoch).toBe(300);
  });

  it('three under a lease run one at a time', async () => {
    await Promise.all([1, 2, 3].map(() => start('lease', { file, count: 20 }).ended));
    expect((await store.readKey('mrk-1'))?.epoch).toBe(60);
  });

  it('a lease left by a killed process ends by itself', async () => {
    const holder = start('hold', { file });
    await holder.saying(1);
    await holder.kill();
    expect(await failure(store.withKeyLease('mrk-1', { leaseMs: 1_000, waitMs: 50 }, async () => undefined))).toMatchObject({ code: 'KW-STORE' });
    await store.withKeyLease('mrk-1', { leaseMs: 1_000, waitMs: 3_000 }, async () => undefined);
  });

  it('kill -9 in the middle of appends loses no row that was answered, and breaks no chain', async () => {
    for (const name of ['k1', 'k2', 'k3']) {
      const child = start('append', { file, count: 100_000, name });
      await child.saying(40);
      await child.kill();
      const stored = new Set((await collect(store.readAudit())).map((r) => r.entry.eventId));
      expect(child.said.filter((id) => id !== '' && !stored.has(id))).toEqual([]);
      expect((await verifyTrail(store)).bad).toBeUndefined();
    }
  });
});

describe('when somebody else holds the write lock', () => {
  it('a write fails with KW-STORE in about 3 s, says what was not done, and the event loop goes on; reads are answered', async () => {
    const holder = new Database(file);
    holder.exec('BEGIN IMMEDIATE');
    let longestPause = 0;
    let last = Date.now();
    const ticks = setInterval(() => {
      longestPause = Math.max(longestPause, Date.now() - last);
      last = Date.now();
    }, 5);
    const begun = Date.now();
    const write = failure(store.appendAudit([disabling('e1')]));
    await store.auditHead();
    expect(Date.now() - begun).toBeLessThan(1_000);
    const e = await write;
    clearInterval(ticks);
    holder.close();
    expect(e).toMatchObject({ code: 'KW-STORE', notDone: 'appending to the audit trail was not done', next: expect.stringContaining('call again') });
    expect(e.cause).toMatchObject({ name: 'DriverError', code: expect.stringMatching(/^SQLITE_BUSY/) });
    expect(Date.now() - begun).toBeLessThan(3_700);
    expect(longestPause).toBeLessThan(500);
    expect(await store.appendAudit([disabling('e1')])).toMatchObject([{ seq: 1 }]);
  });
});

describe('when the database never answers', () => {
  it('each caller is told within about 3 s what is known, and the event loop goes on (rule 2)', async () => {
    const child = start('stuck', { file });
    await child.saying(1);
    await child.kill();
    const { told, ms, longestPause } = JSON.parse(child.said[0] as string) as { told: string[]; ms: number; longestPause: number };
    expect(told).toEqual(['KW-STORE: the endless call may not have been done', 'KW-STORE: the call behind it was not done']);
    expect(ms).toBeLessThan(3_700);
    expect(longestPause).toBeLessThan(500);
  });
});

describe('when the database is not as it should be', () => {
  it('says that it was not migrated', async () => {
    const bare = new EmbeddedStore(join(folder(), 'bare.db'));
    expect(await failure(bare.appendAudit([disabling('e1')]))).toMatchObject({ code: 'KW-STORE', next: 'run `keywarden migrate`' });
    await bare.close();
  });

  it('refuses to write into a file that was removed, and goes on when it is back', async () => {
    await store.appendAudit([disabling('e1')]);
    const away = `${dirname(file)}-away`;
    renameSync(dirname(file), away);
    expect(await failure(store.appendAudit([disabling('e2')]))).toMatchObject({ code: 'KW-STORE' });
    renameSync(away, dirname(file));
    expect(await store.appendAudit([disabling('e2')])).toMatchObject([{ seq: 2 }]);
  });

  it('a file that is no database is KW-STORE, not a crash', async () => {
    const none = new EmbeddedStore(__filename);
    expect(await failure(none.ping())).toMatchObject({ code: 'KW-STORE' });
    await none.close();
  });

  it('no statement of a transaction is committed after the transaction was given up', async () => {
    // the owner of the lock stops answering (here: blocks its event loop) for longer than a transaction may be idle
    const blocked = failure(
      store.changeKey('mrk-1', () => {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_300);
        return { row: { keyId: 'mrk-1', purpose: 'user-data', epoch: 1 }, result: 0 };
      }),
    );
    expect(await blocked).toMatchObject({ code: 'KW-STORE' });
    expect(await store.readKey('mrk-1')).toBeUndefined();
  });
});
