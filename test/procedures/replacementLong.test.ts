/** A replacement's long waits, on a server that skips time: nobody signs the cutover; the old CMK is kept while backups need it. */
import { takeCensus } from '../../activities/census';
import type { RotateInput } from '../../domain/inputs';
import { WORKFLOW_QUEUE } from '../../domain/names';
import { checkInvariants } from '../harness/invariants';
import { createWorld, days, type World } from '../harness/world';
import { audited, kinds, pass, plain } from './people';
import { addSubjects } from './wrapped';

jest.setTimeout(180_000);

const input: RotateInput = { key: 'user-data', strategy: 'replace', reason: 'long' };

describe('a replacement', () => {
  let world: World;
  beforeEach(async () => {
    world = await createWorld({ timeSkipping: true, config: { purposes: ['user-data'] } });
    await world.initialize();
    await addSubjects(world, 'user-data', 0, 30);
  });
  afterEach(() => world?.stop());

  async function untilSignOff(): Promise<string> {
    const workflowId = world.id('rotateKey');
    const proof = await world.sign('dave', 'KeyManagementAdmin', await world.plan('rotateKey', input, { workflowId }));
    await plain(world).workflow.start('rotateKey', { taskQueue: WORKFLOW_QUEUE, workflowId, args: [{ ...input, proof }] });
    await world.until('it waits for the sign-off', async () => (await world.status(workflowId)).phase === 'waiting for the sign-off', 60_000);
    return workflowId;
  }

  it('rule 4: that nobody signs within 72 hours goes back by itself, never forward', async () => {
    const old = await world.keyId('user-data');
    const workflowId = await untilSignOff();
    await pass(world, days(2) + 1_000);
    expect((await kinds(world)).filter((k) => k === 'cutover-requested')).toHaveLength(2); // asked, and reminded 24 hours before
    expect(await world.keyId('user-data')).toBe(old);
    await pass(world, days(1) + 60_000);
    expect(await plain(world).workflow.getHandle(workflowId).result()).toMatchObject({ outcome: 'rolled-back', why: 'nobody signed the cutover within 72 hours' });
    expect((await kinds(world)).filter((k) => k === 'cutover-requested')).toHaveLength(3);
    expect([await world.keyId('user-data'), await world.store.real.countWrapped(old)]).toEqual([old, { subjectKeys: 30, columnKeyValues: 0 }]);
    expect(await audited(world, { action: 'UpdateAlias' })).toEqual([]);
    expect(await checkInvariants(world, { workflows: [workflowId] })).toEqual([]);
  });

  it('keeps the old CMK, decrypting only, while backups need it; then proposes its end, and does nothing to it by itself', async () => {
    const old = await world.keyId('user-data');
    const workflowId = await untilSignOff();
    const handle = plain(world).workflow.getHandle(workflowId);
    await handle.signal('approve', { proof: await world.token(workflowId, 'rotateKey', input, 'carol', 'KeyManagementAdmin') });
    await world.until('it is replaced', async () => (await world.status(workflowId)).phase === 'retiring the old CMK', 60_000);
    const deadline = Date.parse((await world.status(workflowId)).deadline!);
    expect(deadline - (await world.now())).toBeGreaterThan(days(34.9));
    // rule 8: nothing stands under it, but backups may need it
    expect(await takeCensus({ store: world.store.real, config: world.config }, old, await world.now())).toEqual({ subjectKeys: 0, columnKeyValues: 0, databases: [], backupsUntil: new Date(deadline).toISOString(), empty: false });
    expect(await takeCensus({ store: world.store.real, config: world.config }, old, deadline + 1)).toMatchObject({ empty: true });
    await pass(world, days(34));
    expect((await handle.describe()).status.name).toBe('RUNNING');
    await pass(world, days(1) + 60_000);
    const { retirement } = (await handle.result()) as { retirement: string };
    expect(await world.states(old)).toEqual({ 'us-east-1': 'Enabled', 'us-west-2': 'Enabled' });
    expect((await world.received()).find((m) => m.kind === 'retirement-proposed')!.text).toContain(`keywarden approve ${retirement} --as NAME`);
    const revocation = { key: old, reason: `replaced by ${await world.keyId('user-data')}; no backup within retention needs it`, afterWindow: 'deletion-scheduled' as const };
    // one EmergencyKeyAdmin disables it; that opens a window of its own, and its deletion takes two
    await plain(world).workflow.getHandle(retirement).signal('approve', { proof: await world.token(retirement, 'revokeKey', revocation, 'alice', 'EmergencyKeyAdmin') });
    await world.stepsDone(retirement, 'disable', 'open-window', 'census');
    expect(await world.states(old)).toEqual({ 'us-east-1': 'Disabled', 'us-west-2': 'Disabled' });
    expect((await world.status(retirement)).steps.find((s) => s.name === 'sign-widening')!.state).toBe('running');
  });
});
