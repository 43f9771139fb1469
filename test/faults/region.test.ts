/** One Region does not answer, for long: the others go on, and what is missing is said; nothing ends as if the Region were not there. */
import { kmsClients } from '../../worker';
import { codeOf } from '../harness/toThrowWithCode';
import { checkInvariants } from '../harness/invariants';
import { createWorld, REGIONS, type World } from '../harness/world';
import { DOWN, EMERGENCY, reason, RECOVERY, recovered, recovery, rowsOf, UP } from './acts';

const [EAST, WEST] = REGIONS;

describe('when one Region is silent for long', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ config: { purposes: ['returns', 'stays', 'half', 'lags'] } });
    await world.initialize();
  });
  afterAll(() => world.stop());
  afterEach(() => world.kms.admin.clearFaults());

  /** Down in the west; the east does not answer the emergency duty. */
  async function halfRevoked(key: string): Promise<{ keyId: string; workflowId: string }> {
    const keyId = await world.keyId(key);
    await world.kms.admin.addFault({ kind: 'silent', keyId, region: EAST, principal: EMERGENCY });
    const { workflowId } = await world.revoke({ key, reason });
    await world.stepsDone(workflowId, 'alert', 'open-window', 'census');
    expect((await world.states(keyId))[WEST]).toBe('Disabled');
    return { keyId, workflowId };
  }

  it('rule 2: it delays no other; it is told, shown, and disabled and put on record when it answers', async () => {
    const { keyId, workflowId } = await halfRevoked('returns');
    expect((await world.received()).find((m) => m.kind === 'key-revoked' && m.text.includes(keyId))!.text).toContain(`NO ANSWER YET from ${EAST}`);
    const s = await world.until('it is shown', async () => ((await world.status(workflowId)).missing?.join().includes(EAST) === true ? world.status(workflowId) : undefined));
    expect(s.missing!.join()).toContain('KW-KMS-SILENT');
    await world.kms.admin.clearFaults();
    await world.stepsDone(workflowId, 'prove-effect');
    expect(await world.states(keyId)).toEqual(DOWN);
    await world.until('on record', async () => Object.keys((await world.store.real.readKey(keyId))!.window!.snapshot).length === 2);
    expect(await recovered(world, 'returns')).toMatchObject({ outcome: 'recovered', states: UP });
  });

  it('a recovery brings the others back, and says of which Region it knows nothing', async () => {
    const { keyId } = await halfRevoked('stays');
    await world.kms.admin.addFault({ kind: 'silent', keyId, region: EAST });
    const end = await recovered(world, 'stays');
    expect(end).toMatchObject({ outcome: 'recovered', states: { [EAST]: 'silent', [WEST]: 'Enabled' } });
    expect((await world.received()).find((m) => m.kind === 'key-recovered' && m.text.includes('stays'))!.text).toContain(`NOT in ${EAST} (silent)`);
  });

  it('a recovery enables nothing while a Region that its plan does not name is down; the revocation then goes on with that Region', async () => {
    const { keyId, workflowId } = await halfRevoked('half');
    const byHand = kmsClients(world.config, 'recovery'); // nothing of it is on record
    await byHand.get(EAST)!.disable(keyId);
    for (const k of byHand.values()) k.close();
    const half = await recovery(world, 'half');
    expect(await codeOf(half.result())).toBe('KW-PLAN-DRIFT');
    expect(await world.states(keyId)).toEqual(DOWN);
    expect(await rowsOf(world, half.workflowId)).not.toContain('EnableKey intended');
    await world.kms.admin.clearFaults();
    await world.until('the east is on record', async () => (await world.store.real.readKey(keyId))!.window!.snapshot[EAST] !== undefined, 60_000);
    await world.stepsDone(workflowId, 'prove-effect');
    expect(await recovered(world, 'half')).toMatchObject({ outcome: 'recovered', states: UP });
  });

  it('rule 3: a Region that does not show a change for long is asked again, and each call has its rows', async () => {
    const keyId = await world.keyId('lags');
    const { workflowId } = await world.revoke({ key: 'lags', reason });
    await world.stepsDone(workflowId, 'prove-effect', 'open-window');
    // longer than one attempt looks for it
    await world.kms.admin.addFault({ kind: 'stale-state', keyId, region: EAST, operation: 'EnableKey', principal: RECOVERY, ms: 14_000, count: 2 });
    const handle = await recovery(world, 'lags');
    expect(await handle.result()).toMatchObject({ outcome: 'recovered', states: UP });
    const done: string[] = [];
    for await (const { entry } of world.store.real.readAudit({ workflowId: handle.workflowId })) if (entry.action === 'EnableKey' && entry.region === EAST && entry.phase === 'done') done.push(entry.requestId!);
    expect(done.length).toBeGreaterThan(1);
    expect(new Set(done).size).toBe(done.length);
  }, 60_000);

  it('breaks no rule', async () => {
    expect(await checkInvariants(world)).toEqual([]);
  });
});
