import { Journal } from '../../stores/journal';
import type { KeywardenError } from '../../domain/errors';
import { Connection } from '../../stores/embedded/connection';
import { EmbeddedStore } from '../../stores/embedded/embeddedStore';
import { readMigrations } from '../../stores/embedded/migrate';
import { disabling } from './entries';

/** What the tests run in a process of its own: `child COMMAND JSON`. Says `ready` first, then one line for each thing that was answered. */
interface Job {
  file: string;
  count: number;
  name: string;
  dir: string;
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const COMMANDS: Record<string, (job: Job) => Promise<void>> = {
  async append({ file, count, name }) {
    const store = new EmbeddedStore(file);
    for (let i = 0; i < count; i += 1) {
      await store.appendAudit([disabling(`${name}-${i}`)]);
      say(`${name}-${i}`);
    }
    await store.close();
  },
  async raise({ file, count }) {
    const store = new EmbeddedStore(file);
    for (let i = 0; i < count; i += 1) {
      await store.changeKey('mrk-1', (row) => ({ row: { keyId: 'mrk-1', purpose: 'user-data', epoch: (row?.epoch ?? 0) + 1 }, result: undefined }));
    }
    await store.close();
  },
  /** Under the lease, reads and writes in two steps: without the lease, counts would be lost. */
  async lease({ file, count }) {
    const store = new EmbeddedStore(file);
    for (let i = 0; i < count; i += 1) {
      await store.withKeyLease('mrk-1', { leaseMs: 10_000, waitMs: 20_000 }, async () => {
        const epoch = (await store.readKey('mrk-1'))?.epoch ?? 0;
        await new Promise((r) => setTimeout(r, 5));
        await store.changeKey('mrk-1', () => ({ row: { keyId: 'mrk-1', purpose: 'user-data', epoch: epoch + 1 }, result: undefined }));
      });
    }
    await store.close();
  },
  async hold({ file }) {
    await new EmbeddedStore(file).withKeyLease('mrk-1', { leaseMs: 700, waitMs: 0 }, async () => {
      say('held');
      await new Promise((r) => setTimeout(r, 60_000));
    });
  },
  /** A database that never answers: what the callers are told, when, and whether the event loop went on. */
  async stuck({ file }) {
    const connection = new Connection(file);
    const begun = Date.now();
    let longestPause = 0;
    let last = begun;
    setInterval(() => {
      longestPause = Math.max(longestPause, Date.now() - last);
      last = Date.now();
    }, 5);
    const told = (call: Promise<unknown>): Promise<string> => call.then(() => 'done', (e: KeywardenError) => `${e.code}: ${e.notDone}`);
    const endless = told(connection.read('the endless call', 'WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r'));
    const queued = told(connection.transaction('the call behind it', async () => undefined));
    say(JSON.stringify({ told: await Promise.all([endless, queued]), ms: Date.now() - begun, longestPause }));
  },
  async migrate({ file, dir }) {
    const store = dir === undefined ? new EmbeddedStore(file) : new EmbeddedStore(file, () => readMigrations(dir));
    say(String(await store.migrate()));
    await store.close();
  },
  async journal({ dir, count, name }) {
    const journal = new Journal(dir, name);
    for (let i = 0; i < count; i += 1) {
      await journal.append([disabling(`${name}-${i}`, { at: new Date().toISOString() })]);
      say(`${name}-${i}`);
    }
  },
  async drain({ file, dir, name }) {
    const store = new EmbeddedStore(file);
    say(String(await new Journal(dir, name).drainInto(store)));
    await store.close();
  },
};

say('ready');
void COMMANDS[process.argv[2] ?? '']?.(JSON.parse(process.argv[3] ?? '{}') as Job).catch((e: unknown) => {
  console.error(e);
  process.exitCode = 1;
});
