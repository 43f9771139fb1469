/** The Temporal server is killed and started again on its data: every open procedure goes on. */
import { checkInvariants } from '../harness/invariants';
import { createWorld, type World } from '../harness/world';
import { DOWN, reason, recovered, recovery, revoked, UP } from './acts';

describe('when the Temporal server is killed', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ config: { purposes: ['a', 'b', 'c', 'd'] } });
    await world.initialize();
  });
  afterAll(() => world.stop());

  const restart = async (): Promise<void> => {
    await world.killTemporal();
    await world.startTemporal();
  };

  it('in the middle of a window, the window goes on, with its deadline, and the key is recovered', async () => {
    const id = await revoked(world, { key: 'a' });
    const { deadline } = await world.status(id);
    await restart();
    const s = await world.until('the procedure answers again', () => world.status(id), 60_000);
    expect(s).toMatchObject({ phase: 'window open', deadline });
    expect(await recovered(world, 'a')).toMatchObject({ outcome: 'recovered' });
    expect(await world.client.workflow.getHandle(id).result()).toMatchObject({ outcome: 'recovered' });
  }, 120_000);

  it('while a revocation is disabling and a recovery waits for its second signature, both end as they should', async () => {
    await revoked(world, { key: 'b' });
    const waiting = await world.recover({ key: 'b', reason }, 'bob');
    await world.until('carol is awaited', async () => (await world.status(waiting.workflowId)).pendingApproval?.missing === 1);
    const beginning = await world.revoke({ key: 'c', reason });
    await restart();
    await world.until('both answer again', async () => (await world.status(waiting.workflowId)) && world.status(beginning.workflowId), 60_000);
    await world.stepsDone(beginning.workflowId, 'disable', 'alert', 'open-window', 'prove-effect', 'census');
    expect(await world.states(await world.keyId('c'))).toEqual(DOWN);
    await waiting.signal('approve', { proof: await world.token(waiting.workflowId, 'recoverKey', { key: 'b', reason }, 'carol', 'KeyRecoveryAdmin') });
    expect(await waiting.result()).toMatchObject({ outcome: 'recovered', signedBy: ['bob', 'carol'] });
    expect(await world.states(await world.keyId('b'))).toEqual(UP);
  }, 120_000);

  it('in the middle of a recovery, it goes on', async () => {
    await revoked(world, { key: 'd' });
    const handle = await recovery(world, 'd');
    await world.until('it is recovering', async () => (await world.status(handle.workflowId)).phase === 'recovering');
    await restart();
    expect(await world.until('it has ended', async () => handle.result(), 90_000)).toMatchObject({ outcome: 'recovered' });
    expect(await world.states(await world.keyId('d'))).toEqual(UP);
  }, 150_000);

  it('breaks no rule', async () => {
    expect(await checkInvariants(world)).toEqual([]);
  });
});
