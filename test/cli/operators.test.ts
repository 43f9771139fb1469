/** The command against a Keywarden whose worker is started late, duty by duty; and on a terminal. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createWorld, type World } from '../harness/world';
import { audited, DISABLED, ENABLED } from '../procedures/people';

const BIN = resolve(__dirname, '../../bin/keywarden');

interface Answer {
  code: number;
  out: string;
  err: string;
  ms: number;
  json: Record<string, unknown> & { error?: { code: string; path?: string } };
}

let world: World;
const children: ChildProcess[] = [];
beforeAll(async () => {
  world = await createWorld();
  await world.initialize();
});
afterAll(async () => {
  for (const c of children) c.kill('SIGKILL');
  await world.stop();
});

function keywarden(...args: string[]): Promise<Answer> {
  const began = Date.now();
  return new Promise((done) => {
    const child = spawn(process.execPath, [BIN, ...args], { env: { ...process.env, KEYWARDEN_DATA: world.dataDir }, stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, err] = ['', ''];
    child.stdout.on('data', (d: Buffer) => (out += d.toString()));
    child.stderr.on('data', (d: Buffer) => (err += d.toString()));
    child.once('close', (code) => {
      const last = out.trim().split('\n').pop() ?? '';
      done({ code: code ?? -1, out, err, ms: Date.now() - began, json: last.startsWith('{') ? (JSON.parse(last) as Answer['json']) : {} });
    });
  });
}

/** Types an answer at each question, on a terminal of its own. */
function onTerminal(args: string[], answers: [question: RegExp, typed: string][]): Promise<{ code: number; shown: string }> {
  return new Promise((done) => {
    const command = [process.execPath, BIN, ...args].map((a) => `'${a}'`).join(' ');
    const child = spawn('script', ['-qec', command, '/dev/null'], { env: { ...process.env, KEYWARDEN_DATA: world.dataDir, NO_COLOR: '1' }, stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(child);
    let shown = '';
    let from = 0;
    const left = [...answers];
    child.stdout.on('data', (d: Buffer) => {
      shown += d.toString();
      const [next] = left;
      if (next === undefined || !next[0].test(shown.slice(from))) return;
      from = shown.length;
      left.shift();
      child.stdin.write(`${next[1]}\n`);
    });
    child.once('close', (code) => done({ code: code ?? -1, shown }));
  });
}

describe('exit codes: 2 is wrong use, and nothing was started', () => {
  it.each<[string, string[], string]>([
    ['no command of ours', ['explode'], 'KW-USAGE'], ['an unknown option', ['revoke', 'user-data', '--force'], 'KW-USAGE'], ['too many arguments', ['recover', 'user-data', 'payment-data', '--reason', 'x'], 'KW-USAGE'],
    ['no key, without a terminal', ['revoke', '--reason', 'x'], 'KW-INPUT'], ['a reason of 100 KB', ['revoke', 'user-data', '--reason', 'x'.repeat(100_000)], 'KW-INPUT'], ['a hostile key', ['revoke', "x'; --", '--reason', 'x'], 'KW-INPUT'],
    ['a key id that nobody has', ['revoke', `mrk-${'0'.repeat(32)}`, '--reason', 'x', '--as', 'alice'], 'KW-KEY-UNKNOWN'], ['an end that is none', ['revoke', 'user-data', '--reason', 'x', '--after-window', 'soon'], 'KW-INPUT'],
    ['quarantine and destruction at once', ['revoke', 'user-data', '--reason', 'x', '--mode', 'quarantine', '--after-window', 'destroyed', '--as', 'alice'], 'KW-INPUT'],
    ['a role that the person lacks', ['revoke', 'user-data', '--reason', 'x', '--as', 'bob', '--role', 'EmergencyKeyAdmin'], 'KW-IDENTITY'], ['--direct as nobody', ['revoke', 'user-data', '--reason', 'x', '--direct'], 'KW-USAGE'],
    ['--resume without a record', ['revoke', 'user-data', '--reason', 'x', '--as', 'alice', '--resume'], 'KW-USAGE'], ['a duty that is none', ['worker', '--duty', 'everything'], 'KW-USAGE'],
    ['an input that is no JSON', ['sign', 'w', '--start', 'revokeKey', '--input', 'x', '--as', 'alice'], 'KW-USAGE'], ['signing a start that takes none', ['sign', 'w', '--start', 'initializeKeys', '--input', '{}', '--as', 'alice'], 'KW-USAGE'],
    ['an unknown purpose to init', ['init', 'no-such-purpose'], 'KW-INPUT'],
  ])('%s', async (_name, args, code) => {
    const answer = await keywarden(...args, '--json');
    expect([answer.json.error?.code, answer.code]).toEqual([code, 2]);
    expect(await world.states(await world.keyId('user-data'))).toEqual(ENABLED);
  });
});

describe('exit code 3: it waits for a person', () => {
  it('revoke without --as starts, says that the key is NOT disabled yet, and names the command; reject ends it', async () => {
    const asked = await keywarden('revoke', 'user-data', '--reason', 'leak');
    expect(asked.code).toBe(3);
    expect(asked.out).toContain('NOT DISABLED YET');
    const [, workflowId] = /keywarden approve (\S+) --as/.exec(asked.out)!;
    expect((await keywarden('approve', workflowId!, '--as', 'bob', '--json')).json.error?.code).toMatch(/^KW-(APPROVAL-ROLE|IDENTITY)$/);
    const dry = await keywarden('approve', workflowId!, '--as', 'alice', '--dry-run');
    expect([dry.code, dry.out.includes('Nothing was signed')]).toEqual([0, true]);
    expect((await world.status(workflowId!)).pendingApproval?.decided).toEqual([]);
    expect((await keywarden('reject', workflowId!, '--as', 'alice', '--comment', 'not needed')).code).toBe(0);
    expect(await world.client.workflow.getHandle(workflowId!).result()).toMatchObject({ outcome: 'rejected' });
    expect(await world.states(await world.keyId('user-data'))).toEqual(ENABLED);
    expect(await audited(world, { workflowId: workflowId!, action: 'reject' })).toMatchObject([{ approvers: ['alice'], detail: { comment: 'not needed' } }]);
  });

  it('approve by the person who was missing disables it', async () => {
    const asked = await keywarden('revoke', 'audit-data', '--reason', 'leak', '--json');
    expect(asked.code).toBe(3);
    const workflowId = String(asked.json['workflowId']);
    expect((await keywarden('approve', workflowId, '--as', 'alice')).code).toBe(0);
    await world.stepsDone(workflowId, 'disable', 'open-window', 'prove-effect');
    expect(await world.states(await world.keyId('audit-data'))).toEqual(DISABLED);
    const rows = (await keywarden('audit', 'export', '--workflow', workflowId)).out.trim().split('\n').map((l) => JSON.parse(l) as { entry: { workflowId: string } });
    expect(rows.length).toBeGreaterThan(3);
    expect(rows.every((r) => r.entry.workflowId === workflowId)).toBe(true);
    expect((await keywarden('audit', 'verify', '--json')).json).toMatchObject({ rows: expect.any(Number) });
  });

  it('a token printed by sign counts when it is sent as the Temporal UI sends it', async () => {
    const asked = await keywarden('recover', 'audit-data', '--reason', 'false alarm', '--as', 'bob', '--json');
    expect(asked.code).toBe(3);
    const workflowId = String(asked.json['workflowId']);
    const signed = await keywarden('sign', workflowId, '--as', 'carol');
    await world.client.workflow.getHandle(workflowId).signal('approve', { proof: signed.out.trim() });
    expect(await world.client.workflow.getHandle(workflowId).result()).toMatchObject({ outcome: 'recovered', signedBy: ['bob', 'carol'] });
  });

  it('a recovery after its window fails with exit code 1', async () => {
    const late = await keywarden('recover', 'audit-data', '--reason', 'again', '--as', 'bob', '--json');
    expect([late.code, late.json.error?.code]).toEqual([1, 'KW-WINDOW-CLOSED']);
  });
});

(existsSync('/usr/bin/script') ? describe : describe.skip)('on a terminal', () => {
  it('revoke asks for the key, the reason and the signature, and shows each Region fall', async () => {
    const { code, shown } = await onTerminal(['revoke', '--as', 'alice'], [[/Which key/, 'payment-data'], [/Why\?/, 'seen in a paste'], [/Sign this\?/, 'y']]);
    expect(code).toBe(0);
    expect(shown).toContain('REVOKE key');
    expect(shown).toContain('us-east-1 disabled');
    expect(shown).toContain('keywarden recover payment-data');
    expect(await world.states(await world.keyId('payment-data'))).toEqual(DISABLED);
  });

  it('what is not confirmed is not signed and not started', async () => {
    const { code, shown } = await onTerminal(['revoke', 'user-data', '--reason', 'x', '--as', 'alice'], [[/Sign this\?/, 'n']]);
    expect([code, shown.includes('not confirmed')]).toEqual([2, true]);
    expect(await world.states(await world.keyId('user-data'))).toEqual(ENABLED);
  });
});

describe('without a worker', () => {
  it('says within 6 s that the worker is at fault and offers --direct; three workers, one for each duty, then take it up', async () => {
    await world.stopWorker();
    const asked = await keywarden('revoke', 'user-data', '--reason', 'leak', '--as', 'alice', '--json');
    expect(asked.code).toBe(1);
    expect(asked.ms).toBeLessThan(9_000); // 5 s, and the start of a process on a busy machine
    expect(asked.out).toContain('no worker answers');
    expect(asked.out).toContain('--direct');
    expect((await keywarden('status')).out).toContain('no worker answers');
    expect(await world.states(await world.keyId('user-data'))).toEqual(ENABLED);
    const direct = await keywarden('revoke', 'user-data', '--reason', 'leak', '--as', 'alice', '--direct', '--dry-run');
    expect([direct.code, direct.out.includes('Nothing was done')]).toEqual([0, true]);
    expect(await world.states(await world.keyId('user-data'))).toEqual(ENABLED);

    for (const duty of ['routine', 'emergency', 'recovery']) {
      const child = spawn(process.execPath, [BIN, 'worker', '--duty', duty, '--json'], { env: process.env, stdio: ['ignore', 'pipe', 'inherit'] });
      children.push(child);
      await new Promise((r) => child.stdout.once('data', r));
    }
    await world.until('the duties disable it', async () => JSON.stringify(await world.states(await world.keyId('user-data'))) === JSON.stringify(DISABLED));
    const [procedure] = (await audited(world, { action: 'OpenRecoveryWindow' })).slice(-1);
    const recovery = await keywarden('recover', 'user-data', '--reason', 'false alarm', '--as', 'bob', '--json');
    expect(recovery.code).toBe(3);
    expect((await keywarden('approve', String(recovery.json['workflowId']), '--as', 'carol')).code).toBe(0);
    expect(await world.client.workflow.getHandle(procedure!.workflowId!).result()).toMatchObject({ outcome: 'recovered' });
    const actors = new Set((await audited(world, { workflowId: String(recovery.json['workflowId']) })).map((r) => r.actor));
    expect([...actors]).toEqual(['duty:recovery']);
  });
});
