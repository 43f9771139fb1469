/** A rotation of many stretches: its history stays short, and what it carries over is whole. */
import { WORKFLOW_QUEUE } from '../../domain/names';
import { STRETCHES_A_RUN } from '../../workflows/rewrap';
import { checkInvariants } from '../harness/invariants';
import { createWorld, type World } from '../harness/world';
import { addSubjects, materialsNow } from './wrapped';

jest.setTimeout(180_000);

const KEYS = STRETCHES_A_RUN + 40;

describe('a rotation of more stretches than one run does', () => {
  let world: World;

  beforeAll(async () => {
    world = await createWorld({ config: { purposes: ['user-data'], rewrap: { requestsPerSecond: 20_000, reservePercent: 50, concurrency: 16, pageKeys: 1, stretchKeys: 1, stretches: 10 } } });
    await world.initialize();
    await addSubjects(world, 'user-data', 0, KEYS);
  });
  afterAll(() => world?.stop());

  it('continues as new, and counts every key once', async () => {
    const input = { key: 'user-data' };
    const handle = await world.client.workflow.start('rotateKey', { taskQueue: WORKFLOW_QUEUE, workflowId: world.id('rotateKey'), args: [input] });
    await world.until('it waits', async () => (await world.status(handle.workflowId)).pendingApproval !== undefined);
    await handle.signal('approve', { proof: await world.token(handle.workflowId, 'rotateKey', input, 'dave', 'KeyManagementAdmin') });
    await world.until('it tells how far it is', async () => ((await world.status(handle.workflowId)).progress?.done ?? 0) > 20);
    expect(await handle.result()).toMatchObject({ outcome: 'rotated', counts: { subjectKeys: KEYS, setAside: 0 }, signedBy: ['dave'] });
    const { raw } = await handle.describe();
    expect(raw.workflowExecutionInfo?.firstRunId).not.toBe(raw.workflowExecutionInfo?.execution?.runId);
    const status = await world.status(handle.workflowId);
    expect(status.steps.filter((s) => s.state !== 'done')).toEqual([]);
    const { current } = await materialsNow(world, 'user-data');
    expect(await world.store.real.countStale(await world.keyId('user-data'), current)).toEqual({ stale: 0, setAside: 0 });
    expect(await checkInvariants(world)).toEqual([]);
  });
});
