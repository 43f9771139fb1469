/** SNS fails: nothing waits for it but the telling, which is shown as missing and comes at last, repeats with the same event id. */
import { setTimeout as pause } from 'node:timers/promises';
import { setSnsFaults } from '../../local/sns';
import { checkInvariants } from '../harness/invariants';
import { createWorld, type World } from '../harness/world';
import { DOWN, reason, recovered, revoked, UP } from './acts';

describe('when SNS is down for an hour', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ timeSkipping: true, config: { purposes: ['user-data'] } });
    await world.initialize();
  });
  afterAll(() => world.stop());

  it('the revocation goes on, says that security was not told, and tells it when SNS is back', async () => {
    await setSnsFaults(world.snsUrl, { mode: 'error', status: 503 });
    const handle = await world.revoke({ key: 'user-data', reason });
    await world.stepsDone(handle.workflowId, 'disable', 'open-window', 'prove-effect', 'census');
    await world.env!.sleep('1 hour');
    const s = await world.status(handle.workflowId);
    expect(s.missing?.join()).toMatch(/Alert security: .*KW-SNS/);
    expect(s.phase).toBe('window open');
    expect((await world.received()).filter((m) => m.kind === 'key-revoked')).toEqual([]);
    await setSnsFaults(world.snsUrl, { mode: 'none' });
    await world.env!.sleep('6 minutes');
    await world.stepsDone(handle.workflowId, 'alert');
    expect((await world.received()).filter((m) => m.kind === 'key-revoked')).toHaveLength(1);
    expect((await world.status(handle.workflowId)).missing).toBeUndefined();
    expect(await checkInvariants(world, { workflows: [handle.workflowId] })).toEqual([]);
  }, 120_000);
});

describe('when SNS misbehaves', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ noWorker: true, config: { purposes: ['a', 'b', 'c', 'd', 'e', 'f'] } });
    // three at a time: what hangs would soon leave no room
    await world.startWorker({ workerOptions: { maxConcurrentActivityTaskExecutions: 3 } });
    await world.initialize();
  });
  afterEach(() => setSnsFaults(world.snsUrl, { mode: 'none' }));
  afterAll(() => world.stop());

  it('an answer that is lost is told again, under the same event id', async () => {
    await setSnsFaults(world.snsUrl, { mode: 'lose-answer', count: 3 });
    const id = await revoked(world, { key: 'a' });
    const told = (await world.received()).filter((m) => m.kind === 'key-revoked' && m.eventId.startsWith(id));
    expect(told.length).toBeGreaterThan(1);
    expect(new Set(told.map((m) => m.eventId)).size).toBe(1);
  });

  it('connections that are cut are tried again', async () => {
    await setSnsFaults(world.snsUrl, { mode: 'drop', count: 4 });
    const id = await revoked(world, { key: 'b' });
    expect((await world.received()).filter((m) => m.kind === 'key-revoked' && m.eventId.startsWith(id))).toHaveLength(1);
  });

  it('an SNS that never answers takes no room from the next revocation, and is told when it answers', async () => {
    await setSnsFaults(world.snsUrl, { mode: 'silent' });
    const ids: string[] = [];
    for (const key of ['c', 'd', 'e']) ids.push((await world.revoke({ key, reason })).workflowId);
    await pause(3_000);
    const before = Date.now();
    const last = await world.revoke({ key: 'f', reason });
    const keyId = await world.keyId('f');
    await world.until('the fourth key is down', async () => Object.values(await world.states(keyId)).every((x) => x === 'Disabled'), 15_000);
    expect(Date.now() - before).toBeLessThan(10_000);
    await world.until('status says so', async () => (await world.status(last.workflowId)).missing?.some((m) => m.includes('KW-SNS')), 60_000);
    await setSnsFaults(world.snsUrl, { mode: 'none' });
    for (const id of [...ids, last.workflowId]) await world.stepsDone(id, 'alert', 'open-window', 'prove-effect');
    expect((await world.received()).filter((m) => m.kind === 'key-revoked').map((m) => m.eventId.split('/')[0])).toEqual(expect.arrayContaining([...ids, last.workflowId]));
  }, 120_000);

  it('a recovery does not wait for it either, and breaks no rule', async () => {
    const keyId = await world.keyId('a');
    expect(await world.states(keyId)).toEqual(DOWN);
    await setSnsFaults(world.snsUrl, { mode: 'error', count: 4 });
    expect(await recovered(world, 'a')).toMatchObject({ outcome: 'recovered' });
    expect(await world.states(keyId)).toEqual(UP);
    expect(await checkInvariants(world)).toEqual([]);
  }, 60_000);
});
