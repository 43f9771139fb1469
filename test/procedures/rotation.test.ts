import type { RotateInput } from '../../domain/inputs';
import { WORKFLOW_QUEUE } from '../../domain/names';
import type { RotateResult } from '../../workflows/rotateKey';
import { checkInvariants } from '../harness/invariants';
import { createWorld, days, type World } from '../harness/world';
import { addColumnKey, addSubjects, materialsNow, openColumnKey, openSubject } from './wrapped';

jest.setTimeout(120_000);

describe('rotation in place', () => {
  let world: World;

  beforeAll(async () => {
    world = await createWorld({ config: { purposes: ['user-data', 'payment-data', 'audit-data', 'own'], rewrap: { requestsPerSecond: 20_000, reservePercent: 50, concurrency: 16, pageKeys: 50, stretchKeys: 200, stretches: 3 } } });
    await world.initialize();
  });
  afterAll(() => world?.stop());

  const start = (input: RotateInput, workflowId = world.id('rotateKey')) => world.client.workflow.start('rotateKey', { taskQueue: WORKFLOW_QUEUE, workflowId, args: [input] });
  const rotate = async (input: RotateInput): Promise<RotateResult> => (await start(input)).result() as Promise<RotateResult>;
  const sign = async (workflowId: string, input: RotateInput, by = 'dave'): Promise<void> => {
    await world.until('it waits for a signature', async () => (await world.status(workflowId)).pendingApproval !== undefined);
    await world.client.workflow.getHandle(workflowId).signal('approve', { proof: await world.token(workflowId, 'rotateKey', input, by, 'KeyManagementAdmin') });
  };

  it('makes new material when one person has signed, and leaves nothing on the old', async () => {
    await addSubjects(world, 'user-data', 0, 1_000);
    await addColumnKey(world, 'user-data', 'CEK_names');
    const before = { material: (await materialsNow(world, 'user-data')).current, subject: await openSubject(world, 'user-data', 7), cek: await openColumnKey(world, 'user-data', 'CEK_names') };
    const handle = await start({ key: 'user-data', reason: 'yearly exercise' });
    await sign(handle.workflowId, { key: 'user-data', reason: 'yearly exercise' });
    const result = (await handle.result()) as RotateResult;
    const after = await materialsNow(world, 'user-data');
    expect(after).toEqual({ current: expect.not.stringContaining(before.material), onDemand: 1 });
    expect(result).toMatchObject({ outcome: 'rotated', material: after.current, made: 'made', counts: { subjectKeys: 1_000, columnKeys: 1, changedMeanwhile: 0, setAside: 0 }, signedBy: ['dave'] });
    expect(await world.store.real.countStale(await world.keyId('user-data'), after.current)).toEqual({ stale: 0, setAside: 0 });
    expect(await openSubject(world, 'user-data', 7)).toBe(before.subject);
    expect(await openColumnKey(world, 'user-data', 'CEK_names')).toBe(before.cek);
    expect((await world.store.real.readColumnKey('CEK_names'))!.values.map((v) => v.masterKey)).toEqual(['CMK_user-data_b']);
    const row = (await world.store.real.readKey(result.keyId))!;
    expect(row.rotation).toBeUndefined();
    expect(row.rotated).toMatchObject({ material: after.current, setAside: 0 });
    expect(await checkInvariants(world)).toEqual([]);
  });
});
