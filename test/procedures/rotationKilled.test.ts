/** The worker is killed (SIGKILL) in the middle of a stretch, twice; another goes on inside it. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { WORKFLOW_QUEUE } from '../../domain/names';
import { checkInvariants } from '../harness/invariants';
import { createWorld, type World } from '../harness/world';
import { addSubjects, materialsNow, openSubject } from './wrapped';

jest.setTimeout(180_000);

const KEYS = 1_200;
const PAGE = 50;
const root = resolve(__dirname, '../..');

describe('a worker killed inside a stretch', () => {
  let world: World;
  let child: ChildProcess | undefined;
  const entry = join(root, 'dist/test', `rotation-worker-${process.pid}.js`);

  const worker = async (): Promise<void> => {
    const orders = join(world.dataDir, 'no-orders');
    writeFileSync(orders, JSON.stringify({ points: [], begun: join(world.dataDir, 'begun'), halted: join(world.dataDir, 'halted') }));
    child = spawn(process.execPath, [entry, orders], { env: { ...process.env }, stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise<void>((ready) => child!.stdout!.once('data', () => ready()));
  };
  const written = async (): Promise<number> => {
    let n = 0;
    for await (const { entry: row } of world.store.real.readAudit()) if (row.action === 'RewrapSubjectKeys' && row.phase === 'done') n += Number(row.detail?.['rewrapped']);
    return n;
  };
  const kill = async (): Promise<void> => {
    const gone = new Promise((r) => child!.once('exit', r));
    child!.kill('SIGKILL');
    await gone;
  };

  beforeAll(async () => {
    execFileSync(join(root, 'node_modules/.bin/esbuild'), [join(__dirname, '../faults/fixture/worker-entry.ts'), '--bundle', '--platform=node', '--format=cjs', '--target=node20', '--external:@temporalio/*', '--external:libsql', '--log-level=error', `--outfile=${entry}`]);
    world = await createWorld({ noWorker: true, config: { purposes: ['user-data'], rewrap: { requestsPerSecond: 20_000, reservePercent: 50, concurrency: 8, pageKeys: PAGE, stretchKeys: 100_000, stretches: 1 } } });
    await worker();
    await world.initialize();
    await addSubjects(world, 'user-data', 0, KEYS);
  });
  afterAll(async () => {
    child?.kill('SIGKILL');
    rmSync(entry, { force: true });
    await world?.stop();
  });

  it('is gone on with where its last page ended; every key is re-wrapped once, and one rotation is spent', async () => {
    const plain = await openSubject(world, 'user-data', 600);
    const input = { key: 'user-data' };
    const handle = await world.client.workflow.start('rotateKey', { taskQueue: WORKFLOW_QUEUE, workflowId: world.id('rotateKey'), args: [input] });
    await world.until('it waits', async () => (await world.status(handle.workflowId)).pendingApproval !== undefined);
    await world.kms.admin.addFault({ kind: 'latency', operation: 'ReEncrypt', ms: 20 });
    await handle.signal('approve', { proof: await world.token(handle.workflowId, 'rotateKey', input, 'dave', 'KeyManagementAdmin') });
    for (const upTo of [PAGE, 8 * PAGE]) {
      await world.until('some pages are written', async () => (await written()) >= upTo, 60_000);
      await kill();
      expect(await written()).toBeLessThan(KEYS);
      await worker();
    }
    expect(await handle.result()).toMatchObject({ outcome: 'rotated', counts: { subjectKeys: KEYS, setAside: 0 } });
    expect(await written()).toBe(KEYS);
    const calls = (await world.kms.admin.calls({ operation: 'ReEncrypt' })).length;
    expect(calls).toBeGreaterThanOrEqual(KEYS);
    // what was with KMS when it was killed, at most a page each time, is asked for again; nothing else
    expect(calls).toBeLessThanOrEqual(KEYS + 2 * PAGE);
    const { current, onDemand } = await materialsNow(world, 'user-data');
    expect(onDemand).toBe(1);
    expect(await world.store.real.countStale(await world.keyId('user-data'), current)).toEqual({ stale: 0, setAside: 0 });
    expect(await openSubject(world, 'user-data', 600)).toBe(plain);
    expect(await checkInvariants(world)).toEqual([]);
  });
});
