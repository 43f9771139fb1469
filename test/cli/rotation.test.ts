/** `rotate` and `verify-rotation` as they are typed, on a world of this test's own. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { createWorld, days, type World } from '../harness/world';
import { addSubjects } from '../procedures/wrapped';

jest.setTimeout(120_000);

describe('the commands of a rotation', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ config: { purposes: ['user-data'] } });
    await world.initialize();
    await addSubjects(world, 'user-data', 0, 20);
  });
  afterAll(() => world?.stop());

  const run = (...args: string[]): Promise<{ code: number; out: string; err: string }> =>
    new Promise((resolve) => execFile(process.execPath, [join(__dirname, '../../dist/keywarden.js'), ...args], { env: process.env }, (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code), out, err })));

  it('pass, wait for a person, rotate, and fail when the period is over', async () => {
    expect(await run('verify-rotation')).toMatchObject({ code: 0, out: expect.stringMatching(/^pass user-data .* 0 on older material, 0 of 25/) });
    expect(await run('rotate', 'user-data', '--dry-run')).toMatchObject({ code: 0, out: expect.stringContaining('Make new key material in the same CMK') });
    expect(await run('rotate', 'user-data', '--strategy', 'elsewhere')).toMatchObject({ code: 2, err: expect.stringContaining('input.strategy') });
    const waits = await run('rotate', 'user-data', '--json');
    expect(waits.code).toBe(3);
    const { workflowId } = JSON.parse(waits.out) as { workflowId: string };
    expect(await run('approve', workflowId, '--as', 'dave', '--yes')).toMatchObject({ code: 0 });
    expect(await world.client.workflow.getHandle(workflowId).result()).toMatchObject({ outcome: 'rotated', counts: { subjectKeys: 20 } });
    expect(await run('rotate', 'user-data', '--as', 'dave', '--yes')).toMatchObject({ code: 0, out: expect.stringContaining('rotated: 20 subject keys and 0 CEKs re-wrapped') });
    expect(await run('status', workflowId)).toMatchObject({ code: 0, out: expect.stringContaining('[✓] Verify that nothing is left on older material') });
    await world.kms.admin.advanceClock(days(95));
    const late = await run('verify-rotation', '--json');
    expect({ ...late, out: JSON.parse(late.out) as unknown }).toMatchObject({ code: 1, out: { purpose: 'user-data', pass: false, stale: 20, onDemand: 2 } });
    await new Promise((r) => setTimeout(r, 1_500)); // the workers hear of the clock
    expect(await run('rotate', 'user-data')).toMatchObject({ code: 0, out: expect.stringContaining('rotated: 20 subject keys') });
    expect(await run('verify-rotation')).toMatchObject({ code: 0 });
  });

  it('move everything to a new CMK, signed by two in turn', async () => {
    const replace = ['rotate', 'user-data', '--strategy', 'replace', '--reason', 'it may have leaked'];
    expect(await run(...replace, '--dry-run')).toMatchObject({ code: 0, out: expect.stringContaining('by a new CMK') });
    const waits = await run(...replace, '--as', 'dave', '--yes', '--json');
    expect(waits.code).toBe(3);
    const { workflowId } = JSON.parse(waits.out) as { workflowId: string };
    expect(await run('status', workflowId)).toMatchObject({ out: expect.stringContaining(`type: keywarden approve ${workflowId} --as NAME`) });
    expect(await run('approve', workflowId, '--as', 'carol', '--dry-run')).toMatchObject({ code: 0, out: expect.stringContaining('There is no way back from here.') });
    expect(await run('approve', workflowId, '--as', 'dave', '--role', 'KeyManagementAdmin', '--yes')).toMatchObject({ code: 1, err: expect.stringContaining('KW-APPROVAL-SAME-PERSON') });
    expect(await run('approve', workflowId, '--as', 'carol', '--role', 'KeyManagementAdmin', '--yes')).toMatchObject({ code: 0 });
    await world.until('the old CMK is kept for backups', async () => (await world.status(workflowId)).phase === 'retiring the old CMK', 60_000);
    const now = await world.keyId('user-data');
    expect(await run('status', 'user-data')).toMatchObject({ code: 0, out: expect.stringMatching(new RegExp(`${now}[^]*takes the place of mrk-[0-9a-f]{32}: committed[^]*20 subject keys[^]*may be retired: no: 20 subject keys; backups until \\S+ \\(retention 35 days\\)`)) });
    const old = (await world.store.real.readKey(now))!.replaces!.keyId;
    expect(await run('status', old)).toMatchObject({ out: expect.stringMatching(new RegExp(`replaced by ${now}[^]*0 subject keys[^]*may be retired: no: backups until \\S+ \\(retention 35 days\\)`)) });
    expect(await run('verify-rotation')).toMatchObject({ code: 0 });
  });
});
