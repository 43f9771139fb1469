import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { alive, bundleFixture, dev, newFolder, recorded, until, type Recorded, type RunningDev } from './fixture/run-stack';

jest.setTimeout(120_000);

const ALL = ['kms', 'sns', 'temporal', 'temporal-server', 'worker'];

let entry: string;
let dataDir: string;
let started: RunningDev[] = [];

beforeAll(() => {
  entry = bundleFixture('stack-entry');
});
afterAll(() => rmSync(entry, { force: true }));
beforeEach(() => {
  dataDir = newFolder();
});
afterEach(async () => {
  for (const { child, exit } of started) {
    child.kill('SIGTERM');
    await exit;
  }
  started = [];
  rmSync(dataDir, { recursive: true, force: true });
});

function start(options: object = {}, env: Record<string, string> = {}, ownGroup = false): RunningDev {
  const running = dev(entry, dataDir, options, env, ownGroup);
  started.push(running);
  return running;
}

async function withTemporal<T>(address: string, use: (client: Client) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address });
  try {
    return await use(new Client({ connection }));
  } finally {
    await connection.close();
  }
}

const startWaiting = (address: string, workflowId: string) =>
  withTemporal(address, (c) => c.workflow.start('waiting', { workflowId, taskQueue: 'nobody' }));
const isOpen = (address: string, workflowId: string) =>
  withTemporal(address, async (c) => (await c.workflow.getHandle(workflowId).describe()).status.name === 'RUNNING');
const workerLog = () => readFileSync(join(dataDir, 'fake-worker.log'), 'utf8');

describe('a stack that is up', () => {
  it('says where everything is, in stack.json too, and gives it to the worker', async () => {
    const ready = await start().ready;
    expect(Object.keys(ready).sort()).toEqual(['database', 'kms', 'sns', 'temporal', 'temporalCli', 'ui']);
    expect(ready.database).toBe(`file:${join(dataDir, 'keywarden.db')}`);
    expect(await (await fetch(ready.ui as string)).text()).toContain('<html');
    expect(JSON.parse(readFileSync(join(dataDir, 'stack.json'), 'utf8'))).toMatchObject(ready);
    expect(workerLog()).toBe(`start ${ready.temporal} ${ready.kms}\n`);
    // once, before the worker, with the endpoints
    expect(JSON.parse(readFileSync(join(dataDir, 'prepared.log'), 'utf8'))).toMatchObject(ready);
  });

  it('leaves no process behind on SIGTERM, and stops the worker first and gracefully', async () => {
    const running = start();
    await running.ready;
    const processes = recorded(dataDir);
    expect(alive(processes).sort()).toEqual(ALL);
    const began = Date.now();
    running.child.kill('SIGTERM');
    expect(await running.exit).toBe(0);
    expect(Date.now() - began).toBeLessThan(15_000);
    expect(alive(processes)).toEqual([]);
    expect(workerLog()).toMatch(/stopped\n$/);
  });

  it('stops within 15 seconds though the worker hangs', async () => {
    const running = start({}, { FAKE_WORKER: 'hangs' });
    await running.ready;
    const processes = recorded(dataDir);
    const began = Date.now();
    running.child.kill('SIGTERM');
    expect(await running.exit).toBe(0);
    expect(Date.now() - began).toBeLessThan(15_000);
    expect(alive(processes)).toEqual([]);
  });

  it('stops in its own order on Ctrl-C, which reaches every process of the terminal', async () => {
    const running = start({}, {}, true);
    await running.ready;
    const processes = recorded(dataDir);
    process.kill(-(running.child.pid as number), 'SIGINT');
    expect(await running.exit).toBe(0);
    expect(alive(processes)).toEqual([]);
    expect(workerLog()).toMatch(/stopped\n$/);
    expect(running.errors()).not.toContain('starting it again');
  });

  it('waits for nothing at the second Ctrl-C', async () => {
    const running = start({}, { FAKE_WORKER: 'hangs' });
    await running.ready;
    const processes = recorded(dataDir);
    const began = Date.now();
    running.child.kill('SIGINT');
    await until('it is stopping', () => running.errors().includes('SIGINT: stopping'));
    running.child.kill('SIGINT');
    expect(await running.exit).toBe(0);
    expect(Date.now() - began).toBeLessThan(5_000);
    expect(alive(processes)).toEqual([]);
  });

  it('is one alone when two start at the same moment', async () => {
    const both = [start(), start()];
    const ended = await Promise.race(both.map((r) => r.exit.then((code) => ({ code, errors: r.errors() }))));
    expect(ended).toMatchObject({ code: 1, errors: expect.stringContaining('KW-DEV-RUNNING') });
    await Promise.any(both.map((r) => r.ready));
    expect(alive(recorded(dataDir)).sort()).toEqual(ALL);
  });

  it('refuses a second one on its folder, and goes on itself', async () => {
    const first = await start().ready;
    const second = start();
    expect(await second.exit).toBe(1);
    expect(second.errors()).toMatch(/^KW-DEV-RUNNING: process \d+ already runs a stack/m);
    expect(second.errors()).toContain(first.ui);
    expect(alive(recorded(dataDir)).sort()).toEqual(ALL);
  });
});

describe('when a part is killed', () => {
  it.each(['kms', 'sns', 'worker', 'temporal', 'temporal-server'] as const)('starts %s again, on the same port, and says so', async (name) => {
    const running = start();
    const ready = await running.ready;
    await startWaiting(ready.temporal as string, 'open');
    const before = recorded(dataDir) as Recorded;
    process.kill(before[name].pid, 'SIGKILL');
    await until('it said that the part is back', () => / is back after /.test(running.errors()));
    const after = recorded(dataDir) as Recorded;
    expect(alive(after).sort()).toEqual(ALL);
    expect(after[name].pid).not.toBe(before[name].pid);
    // nothing of the old one is left, though its guard could not end it
    expect(alive({ [name]: before[name] })).toEqual([]);
    if (name.startsWith('temporal')) expect(alive({ 'temporal-server': before['temporal-server'] })).toEqual([]);
    expect(await isOpen(ready.temporal as string, 'open')).toBe(true);
    expect((await fetch(ready.kms as string)).ok).toBe(true);
    expect((await fetch(new URL('/_local/received', ready.sns))).ok).toBe(true);
  });
});

describe('when the supervisor is killed', () => {
  it('ends every part by itself, Temporal too', async () => {
    const running = start();
    await running.ready;
    const processes = recorded(dataDir);
    running.child.kill('SIGKILL');
    await until('all parts ended', () => alive(processes).length === 0);
  });

  it('takes the folder over at the next start, with the same ports and every open workflow', async () => {
    const first = start();
    const before = await first.ready;
    await startWaiting(before.temporal as string, 'open');
    first.child.kill('SIGKILL');
    await first.exit;
    const after = await start().ready;
    expect(after).toEqual(before);
    expect(await isOpen(after.temporal as string, 'open')).toBe(true);
  });
});

describe('when everything is killed at once', () => {
  it('goes on at the next start', async () => {
    const first = start();
    const before = await first.ready;
    await startWaiting(before.temporal as string, 'open');
    const processes = recorded(dataDir);
    first.child.kill('SIGKILL');
    for (const p of Object.values(processes)) process.kill(p.pid, 'SIGKILL');
    const after = await start().ready;
    expect(after).toEqual(before);
    expect(await isOpen(after.temporal as string, 'open')).toBe(true);
    expect(alive(processes)).toEqual([]);
  });

  it('ends, by its record, a Temporal server whose guard and supervisor were killed', async () => {
    const first = start();
    await first.ready;
    const { temporal, 'temporal-server': server } = recorded(dataDir) as Recorded;
    // stopped, the guard cannot notice the supervisor's end before it is killed itself
    process.kill(temporal.pid, 'SIGSTOP');
    first.child.kill('SIGKILL');
    await first.exit;
    process.kill(temporal.pid, 'SIGKILL');
    expect(alive({ 'temporal-server': server })).toEqual(['temporal-server']);
    const second = start();
    await second.ready;
    expect(alive({ 'temporal-server': server })).toEqual([]);
    expect(second.errors()).toContain(`ended temporal-server (process ${server.pid}), left by an earlier start`);
  });
});

describe('a start that fails', () => {
  it('says why and stops what it had started', async () => {
    const running = start({}, { FAKE_WORKER: 'fails' });
    expect(await running.exit).toBe(1);
    expect(running.errors()).toContain('KW-DEV-PART: the worker did not start: no worker today');
    expect(alive(recorded(dataDir))).toEqual([]);
  });

  it('refuses a given port that is taken', async () => {
    const other = await start().ready;
    const second = dev(entry, join(dataDir, 'second'), { ports: { kms: Number(new URL(other.kms as string).port) } });
    expect(await second.exit).toBe(1);
    expect(second.errors()).toMatch(/KW-DEV-PORT: port \d+, asked for kms, is taken/);
  });

  it('is ended by SIGTERM before it is ready, leaving no process', async () => {
    const running = start();
    const processes = await until('Temporal is starting', () => (recorded(dataDir)['temporal-server'] ? recorded(dataDir) : undefined));
    running.child.kill('SIGTERM');
    expect(await running.exit).toBe(1);
    expect(running.errors()).toContain('SIGTERM before the stack was ready');
    expect(alive(processes)).toEqual([]);
  });
});
