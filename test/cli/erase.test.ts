/** `erase` as it is typed, on a world of this test's own. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { checkInvariants } from '../harness/invariants';
import { createWorld, type World } from '../harness/world';
import { addSubjects, subjectId } from '../procedures/wrapped';

jest.setTimeout(120_000);

describe('the command of an erasure', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ config: { purposes: ['user-data'] } });
    await world.initialize();
    await addSubjects(world, 'user-data', 0, 3);
  });
  afterAll(() => world?.stop());

  const run = (...args: string[]): Promise<{ code: number; out: string; err: string }> =>
    new Promise((resolve) => execFile(process.execPath, [join(__dirname, '../../dist/keywarden.js'), ...args], { env: process.env }, (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code), out, err })));
  const person = subjectId(1);

  it.each<[string, string[], string]>([
    ['a subject without a key', ['nobody-here', '--reason', 'x'], 'KW-SUBJECT-UNKNOWN'],
    ['no reason', [person], 'KW-INPUT'],
    ['a reason that names the person', [person, '--reason', `letter of ${person}`], 'KW-INPUT'],
    ['a hash instead of the id', [`subject-${'0'.repeat(32)}`, '--reason', 'x'], 'KW-INPUT'],
    ['a person who may not sign it', [person, '--reason', 'x', '--as', 'dave', '--yes'], 'KW-IDENTITY'],
  ])('refuses %s, and starts nothing', async (_what, args, code) => {
    const { out, code: exit } = await run('erase', ...args, '--json');
    expect([(JSON.parse(out) as { error: { code: string } }).error.code, exit]).toEqual([code, 2]);
  });

  it('waits for the second person, says how to stop it, and gives the keys back', async () => {
    const hash = (await run('erase', person, '--hash')).out.trim();
    expect(hash).toMatch(/^subject-[0-9a-f]{32}$/);
    const dry = await run('erase', person, '--reason', 'article 17', '--dry-run');
    expect(dry).toMatchObject({ code: 0, out: expect.stringContaining(`ERASE ${hash}`) });
    const waits = await run('erase', person, '--reason', 'article 17', '--as', 'bob', '--yes', '--json');
    expect(waits.code).toBe(3);
    const { workflowId } = JSON.parse(waits.out) as { workflowId: string };
    expect(workflowId).toContain(hash);
    expect(await run('approve', workflowId, '--as', 'carol', '--yes')).toMatchObject({ code: 0 });
    await world.stepsDone(workflowId, 'withhold');
    expect(await run('status')).toMatchObject({ code: 0, out: expect.stringMatching(/erasing; waiting time ends .*\n  to undo: keywarden reject /) });
    expect(await run('reject', workflowId, '--as', 'alice', '--yes')).toMatchObject({ code: 0 });
    expect(await world.client.workflow.getHandle(workflowId).result()).toMatchObject({ outcome: 'restored' });
    expect((await world.store.real.readSubjectKey(person, 'user-data'))?.state).toBeUndefined();
    expect(await checkInvariants(world, { secrets: [person] })).toEqual([]);
  });

  it('signs a start to come, for the Temporal UI', async () => {
    const hash = (await run('erase', person, '--hash')).out.trim();
    const input = { subjectId: hash, reason: 'article 17' };
    const signed = await run('sign', 'by-hand', '--start', 'eraseSubject', '--input', JSON.stringify(input), '--as', 'bob', '--yes');
    expect(signed.code).toBe(0);
    const handle = await world.client.workflow.start('eraseSubject', { taskQueue: 'keywarden', workflowId: 'by-hand', args: [{ ...input, proof: signed.out.trim() }] });
    await world.until('bob has signed', async () => (await world.status('by-hand')).pendingApproval?.decided[0]?.person === 'bob');
    await run('reject', 'by-hand', '--as', 'carol', '--yes');
    expect(await handle.result()).toMatchObject({ outcome: 'rejected' });
  });
});
