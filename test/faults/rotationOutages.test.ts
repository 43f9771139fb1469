/** What a rotation lives through besides KMS and the store: Temporal killed, two worker processes on one rate, CEKs that do not open, used up quotas, nobody who signs. */
import { join } from 'node:path';
import Database from 'libsql';
import { packValue, PROVIDER } from '../../domain/columnKey';
import type { RotateInput } from '../../domain/inputs';
import { WORKFLOW_QUEUE } from '../../domain/names';
import { ON_DEMAND_QUOTA, ON_DEMAND_WARN } from '../../domain/rotation';
import { kmsClients } from '../../worker';
import type { RotateDueResult } from '../../workflows/rotateDueKeys';
import type { RotateResult } from '../../workflows/rotateKey';
import { checkInvariants } from '../harness/invariants';
import { codeOf } from '../harness/toThrowWithCode';
import { createWorld, days, REGIONS, type World } from '../harness/world';
import { kinds, pass, plain } from '../procedures/people';
import { addColumnKey, addSubjects, materialsNow, openSubject } from '../procedures/wrapped';
import { Killable } from './killable';

jest.setTimeout(180_000);

const PER_SECOND = 200;

async function corruptValue(world: World): Promise<string> {
  const keyArn = `arn:aws:kms:${REGIONS[0]}:${world.config.account}:key/${await world.keyId('ceks')}`;
  return Buffer.from(packValue({ provider: PROVIDER, keyArn, keyMaterialId: (await materialsNow(world, 'ceks')).current, ciphertext: Buffer.alloc(120, 7) })).toString('base64');
}

/** Puts a value in the place of CEK_bad's own, as a hand would that Keywarden knows nothing of. */
async function write(world: World, value: string): Promise<void> {
  const { masterKey } = (await world.store.real.readColumnKey('CEK_bad'))!.values[0]!;
  const db = new Database(join(world.dataDir, 'keywarden.db'), { timeout: 2_000 });
  db.prepare('DELETE FROM column_key_value WHERE column_key = ?').run('CEK_bad');
  db.prepare('INSERT INTO column_key_value (column_key, master_key, value, key_id) VALUES (?, ?, ?, ?)').run('CEK_bad', masterKey, value, await world.keyId('ceks'));
  db.close();
}

describe('a rotation', () => {
  let world: World;
  let other: Killable | undefined;
  beforeAll(async () => {
    world = await createWorld({ config: { purposes: ['in-place', 'moves', 'ceks', 'quota', 'shared'], backups: { retentionDays: 0 }, rewrap: { requestsPerSecond: 2 * PER_SECOND, reservePercent: 50, concurrency: 16, pageKeys: 25, stretchKeys: 100, stretches: 4 } } });
    await world.initialize();
  });
  afterAll(async () => {
    other?.end();
    await world?.stop();
  });

  async function started(input: RotateInput): Promise<{ workflowId: string; result(): Promise<RotateResult> }> {
    const workflowId = world.id('rotateKey');
    const proof = await world.sign('dave', 'KeyManagementAdmin', await world.plan('rotateKey', input, { workflowId }));
    const handle = await world.client.workflow.start('rotateKey', { taskQueue: WORKFLOW_QUEUE, workflowId, args: [{ ...input, proof }] });
    return { workflowId, result: () => handle.result() as Promise<RotateResult> };
  }

  it('goes on where it was when Temporal was killed, in place and into a new CMK', async () => {
    const before: Record<string, string> = {};
    for (const key of ['in-place', 'moves']) {
      await addSubjects(world, key, 0, 500);
      before[key] = await openSubject(world, key, 321);
    }
    const inPlace = await started({ key: 'in-place' });
    const moves: RotateInput = { key: 'moves', strategy: 'replace' };
    const replace = await started(moves);
    for (const { workflowId } of [inPlace, replace]) await world.until(`${workflowId} re-wraps`, async () => ((await world.status(workflowId)).progress?.done ?? 0) > 50, 60_000);
    await world.killTemporal();
    await new Promise((r) => setTimeout(r, 2_000));
    await world.startTemporal();
    expect(await inPlace.result()).toMatchObject({ outcome: 'rotated', counts: { subjectKeys: 500, setAside: 0 } });
    await world.until('it waits for the sign-off', async () => (await world.status(replace.workflowId)).phase === 'waiting for the sign-off', 60_000);
    await world.client.workflow.getHandle(replace.workflowId).signal('approve', { proof: await world.token(replace.workflowId, 'rotateKey', moves, 'carol', 'KeyManagementAdmin') });
    expect(await replace.result()).toMatchObject({ outcome: 'replaced', counts: { subjectKeys: 500, setAside: 0 } });
    for (const key of ['in-place', 'moves']) expect(await openSubject(world, key, 321)).toBe(before[key]);
  });

  it('keeps to one rate, however many worker processes share it', async () => {
    await addSubjects(world, 'shared', 0, 1_200);
    other = new Killable(world.dataDir);
    await other.start([]);
    const since = new Date().toISOString();
    const { workflowId, result } = await started({ key: 'shared' });
    expect(await result()).toMatchObject({ outcome: 'rotated', counts: { subjectKeys: 1_200 } });
    const { events } = await world.client.workflow.getHandle(workflowId).fetchHistory();
    const identities = new Set((events ?? []).flatMap((e) => e.activityTaskStartedEventAttributes?.identity ?? []));
    expect(identities.size).toBe(2); // both had a part in it
    const times = (await world.kms.admin.calls({ operation: 'ReEncrypt', since })).map((c) => Date.parse(c.time)).sort((a, b) => a - b);
    expect(times.length).toBeGreaterThanOrEqual(1_200);
    let most = 0;
    for (let i = 0, from = 0; i < times.length; i++) {
      while (times[i]! - times[from]! > 3_000) from++;
      most = Math.max(most, i - from + 1);
    }
    // three seconds' worth, and the quarter second that may be caught up, in each process
    expect(most / 3).toBeLessThanOrEqual(PER_SECOND * 1.2);
    expect(most / 3).toBeGreaterThan(PER_SECOND * 0.5);
    other.end();
    other = undefined;
  });

  it('sets a CEK aside that does not open, says so, and takes it up again when it is mended', async () => {
    await addColumnKey(world, 'ceks', 'CEK_good');
    await addColumnKey(world, 'ceks', 'CEK_bad');
    const keyId = await world.keyId('ceks');
    const good = (await world.store.real.readColumnKey('CEK_bad'))!.values[0]!;
    await write(world, await corruptValue(world));
    expect(await (await started({ key: 'ceks' })).result()).toMatchObject({ outcome: 'incomplete', counts: { columnKeys: 1, setAside: 1 } });
    expect(await world.store.real.readSetAside(keyId, { limit: 5 })).toMatchObject([{ kind: 'cek', id: 'CEK_bad', code: 'InvalidCiphertextException' }]);
    expect(await kinds(world)).toContain('rotation-incomplete');
    await write(world, good.value);
    expect(await (await started({ key: 'ceks' })).result()).toMatchObject({ outcome: 'rotated', counts: { columnKeys: 1, setAside: 0 } });
  });

  it('says that on-demand rotations are running out, and refuses the one that KMS would refuse', async () => {
    const keyId = await world.keyId('quota');
    const routine = kmsClients(world.config, 'routine');
    const kms = routine.get(REGIONS[0])!;
    const upTo = async (n: number): Promise<void> => {
      for (let made = (await materialsNow(world, 'quota')).onDemand; made < n; made++) {
        await kms.rotateOnDemand(keyId);
        await world.until('KMS has made it', async () => !(await kms.rotationStatus(keyId)).rotating && (await materialsNow(world, 'quota')).onDemand > made);
      }
    };
    await upTo(ON_DEMAND_WARN);
    expect(await (await started({ key: 'quota', reason: 'near the end' })).result()).toMatchObject({ outcome: 'rotated' });
    expect((await world.received()).find((m) => m.kind === 'rotation-quota')!.text).toContain(`${ON_DEMAND_WARN} of the ${ON_DEMAND_QUOTA}`);
    await upTo(ON_DEMAND_QUOTA);
    expect(await codeOf((await started({ key: 'quota', reason: 'one too many' })).result())).toBe('KW-ROTATION-QUOTA');
    for (const k of routine.values()) k.close();
  });

  it('breaks no rule', async () => {
    // what was rotated by hand to use the quota up is nobody's rotation
    expect((await checkInvariants(world)).filter((v) => !v.includes('RotateKeyOnDemand'))).toEqual([]);
  });
});

it('new material that is not due, and that nobody signs within 72 hours, is not made', async () => {
  const world = await createWorld({ timeSkipping: true, config: { purposes: ['user-data'] } });
  try {
    await world.initialize();
    const before = await materialsNow(world, 'user-data');
    const handle = await plain(world).workflow.start('rotateKey', { taskQueue: WORKFLOW_QUEUE, workflowId: world.id('rotateKey'), args: [{ key: 'user-data' }] });
    await world.until('it waits', async () => (await world.status(handle.workflowId)).pendingApproval !== undefined);
    await pass(world, days(3) - 3_600_000);
    expect((await handle.describe()).status.name).toBe('RUNNING');
    await pass(world, 3_700_000);
    expect(await handle.result()).toMatchObject({ outcome: 'unsigned', signedBy: [] });
    expect(await materialsNow(world, 'user-data')).toEqual(before);
    expect((await world.store.real.readKey(await world.keyId('user-data')))!.rotation).toBeUndefined();
  } finally {
    await world.stop();
  }
});

it('what is overdue is made up for by the daily run, which tells security of the key that it could not end', async () => {
  const world = await createWorld({ timeSkipping: true, config: { purposes: ['shared', 'ceks'] } });
  try {
    await world.initialize();
    await addSubjects(world, 'shared', 0, 20);
    await addColumnKey(world, 'ceks', 'CEK_good');
    await addColumnKey(world, 'ceks', 'CEK_bad');
    await write(world, await corruptValue(world));
    await pass(world, days(93)); // KMS has rotated three days ago; nobody re-wrapped
    const { keys } = (await plain(world).workflow.execute('rotateDueKeys', { taskQueue: WORKFLOW_QUEUE, workflowId: world.id('rotateDueKeys'), args: [{}] })) as RotateDueResult;
    expect(keys).toMatchObject([{ purpose: 'shared', overdue: true, outcome: 'rotated' }, { purpose: 'ceks', overdue: true, outcome: 'incomplete' }]);
    expect((await world.store.real.countStale(await world.keyId('shared'), (await materialsNow(world, 'shared')).current)).stale).toBe(0);
    const told = async (): Promise<string[]> => (await world.received()).filter((m) => m.kind === 'rotation-overdue').map((m) => m.text);
    await world.until('security is told', async () => (await told()).length > 0);
    expect(await told()).toEqual([expect.stringContaining('ceks')]);
  } finally {
    await world.stop();
  }
});
