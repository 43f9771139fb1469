/** The command as an operator types it, on one `keywarden dev` stack. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import Database from 'libsql';
import { findTemporalCli } from '../../local/temporal/server';

jest.setTimeout(120_000);

const BIN = resolve(__dirname, '../../bin/keywarden');
const dataDir = mkdtempSync(join(tmpdir(), 'keywarden-cli-'));
let dev: ChildProcess;
let ready: Record<string, string>;
let temporalCli: string;

interface Answer {
  code: number;
  out: string;
  err: string;
  json: Record<string, unknown>;
}

/** Runs the command without a terminal; `--json` answers are parsed. */
function keywarden(args: string[], env: Record<string, string> = {}): Promise<Answer> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [BIN, '--data', dataDir, ...args], { env: { ...process.env, KEYWARDEN_TEMPORAL_CLI: temporalCli, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, err] = ['', ''];
    child.stdout.on('data', (d: Buffer) => (out += d.toString()));
    child.stderr.on('data', (d: Buffer) => (err += d.toString()));
    child.once('close', (code) => {
      let json: Record<string, unknown> = {};
      try {
        json = JSON.parse(out.trim().split('\n').pop() ?? '{}') as Record<string, unknown>;
      } catch {
        // a command for people
      }
      done({ code: code ?? -1, out, err, json });
    });
  });
}

async function startDev(): Promise<void> {
  dev = spawn(process.execPath, [BIN, '--data', dataDir, 'dev', '--json'], { env: { ...process.env, KEYWARDEN_TEMPORAL_CLI: temporalCli }, stdio: ['ignore', 'pipe', 'ignore'] });
  const line = await new Promise<string>((got, fail) => {
    dev.stdout!.once('data', (d: Buffer) => got(d.toString()));
    dev.once('exit', (code) => fail(new Error(`dev ended with ${code}`)));
  });
  ready = JSON.parse(line) as Record<string, string>;
}

async function stopDev(): Promise<void> {
  const ended = new Promise((r) => dev.once('exit', r));
  dev.kill('SIGTERM');
  await ended;
}

beforeAll(async () => {
  temporalCli = process.env['KEYWARDEN_TEMPORAL_CLI'] ?? (await findTemporalCli(() => undefined)).path;
  await startDev();
  expect((await keywarden(['init'])).code).toBe(0);
});
afterAll(async () => {
  await stopDev();
  rmSync(dataDir, { recursive: true, force: true });
});

it('dev says in one line where everything is', () => {
  expect(Object.keys(ready).sort()).toEqual(['database', 'kms', 'sns', 'temporal', 'temporalCli', 'ui']);
});

describe('wrong use', () => {
  it.each([
    ['an unknown command', ['explode'], 'KW-USAGE'],
    ['an unknown key', ['revoke', 'nonsense', '--reason', 'x', '--as', 'alice'], 'KW-KEY-UNKNOWN'],
    ['an empty reason', ['revoke', 'user-data', '--reason', '', '--as', 'alice'], 'KW-INPUT'],
    ['no reason', ['revoke', 'user-data', '--as', 'alice'], 'KW-INPUT'],
    ['an unknown mode', ['revoke', 'user-data', '--reason', 'x', '--mode', 'gently', '--as', 'alice'], 'KW-INPUT'],
    ['somebody who is not listed', ['revoke', 'user-data', '--reason', 'x', '--as', 'mallory'], 'KW-IDENTITY'],
    ['somebody who may not', ['revoke', 'user-data', '--reason', 'x', '--as', 'dave'], 'KW-IDENTITY'],
    ['the database key without acknowledging the outage', ['revoke', 'tde', '--reason', 'x', '--as', 'alice'], 'KW-OUTAGE'],
    ["one of Keywarden's own keys", ['revoke', 'alias/keywarden/receipts-recovery', '--reason', 'x', '--as', 'alice'], 'KW-KEY-OWN'],
    ['an unknown procedure', ['approve', 'revokeKey-nothing', '--as', 'alice'], 'KW-USAGE'],
  ])('%s is refused with exit code 2 and a stable code', async (_what, args, code) => {
    const answer = await keywarden([...args, '--json']);
    expect({ exit: answer.code, code: (answer.json['error'] as { code: string }).code }).toEqual({ exit: 2, code });
  });

  it('a dry run shows the plan and does nothing', async () => {
    const { code, json } = await keywarden(['revoke', 'user-data', '--reason', 'x', '--as', 'alice', '--dry-run', '--json']);
    expect(code).toBe(0);
    expect(json['plan']).toMatchObject({ operation: 'revokeKey', regions: ['us-east-1', 'us-west-2'] });
    expect((await keywarden(['status', 'user-data', '--json'])).json['regions']).toEqual({ 'us-east-1': 'Enabled', 'us-west-2': 'Enabled' });
  });
});

it('revoke, status, recover, approve: the whole way, each command naming the next', async () => {
  const revoked = await keywarden(['revoke', 'user-data', '--reason', 'leak', '--incident', 'INC-1', '--as', 'alice']);
  expect(revoked.code).toBe(0);
  expect(revoked.out).toContain('keywarden recover user-data');
  expect((await keywarden(['status', 'user-data', '--json'])).json['regions']).toEqual({ 'us-east-1': 'Disabled', 'us-west-2': 'Disabled' });
  expect((await keywarden(['status'])).out).toMatch(/window ends .* UTC \(in 6 d 23 h\)[\s\S]*keywarden recover user-data/);

  const asked = await keywarden(['recover', 'user-data', '--reason', 'false alarm', '--as', 'alice', '--json']);
  expect(asked.code).toBe(3);
  const workflowId = String(asked.json['workflowId']);
  const [, typed] = /type: keywarden (approve \S+) --as NAME/.exec((await keywarden(['status'])).out)!;
  expect(typed).toBe(`approve ${workflowId}`);

  const again = await keywarden(['approve', workflowId, '--as', 'alice', '--role', 'EmergencyKeyAdmin', '--json']);
  expect({ code: again.code, error: (again.json['error'] as { code: string }).code }).toEqual({ code: 1, error: 'KW-APPROVAL-SAME-PERSON' });
  expect((await keywarden([...typed!.split(' '), '--as', 'bob'])).code).toBe(0);
  for (let i = 0; i < 100; i++) {
    if (JSON.stringify((await keywarden(['status', 'user-data', '--json'])).json['regions']) === '{"us-east-1":"Enabled","us-west-2":"Enabled"}') break;
    expect(i).toBeLessThan(60);
  }
});

it('rule 2: with Temporal down, revoke says which part is at fault and offers --direct; --direct disables; --resume adopts it from its own moment', async () => {
  const env = { AWS_ENDPOINT_URL_KMS: ready['kms']!, AWS_ENDPOINT_URL_SNS: ready['sns']!, AWS_REGION: 'us-east-1', KEYWARDEN_DATABASE_URL: ready['database']!, KEYWARDEN_CONFIG: join(dataDir, 'keywarden.config.json'), KEYWARDEN_DEV_CREDENTIALS: join(dataDir, 'credentials.json'), KEYWARDEN_IDENTITIES: join(dataDir, 'identities'), TEMPORAL_ADDRESS: '127.0.0.1:1', KEYWARDEN_DATA: dataDir };
  const without = (args: string[]): Promise<Answer> => new Promise((done) => {
    const child = spawn(process.execPath, [BIN, ...args], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, err] = ['', ''];
    child.stdout.on('data', (d: Buffer) => (out += d.toString()));
    child.stderr.on('data', (d: Buffer) => (err += d.toString()));
    child.once('close', (code) => done({ code: code ?? -1, out, err, json: {} }));
  });
  const refused = await without(['revoke', 'payment-data', '--reason', 'leak', '--as', 'alice']);
  expect(refused.code).toBe(1);
  expect(refused.err).toContain('Temporal at 127.0.0.1:1 does not answer');
  expect(refused.err).toContain('--direct');
  const direct = await without(['revoke', 'payment-data', '--reason', 'leak', '--as', 'alice', '--direct']);
  expect(direct.code).toBe(0);
  expect((await keywarden(['status', 'payment-data', '--json'])).json['regions']).toEqual({ 'us-east-1': 'Disabled', 'us-west-2': 'Disabled' });

  // a dry run and a Temporal that is still down leave the record where it is
  expect((await without(['revoke', 'payment-data', '--reason', 'leak', '--as', 'alice', '--resume'])).code).toBe(1);
  const resumed = await keywarden(['revoke', 'payment-data', '--reason', 'leak', '--as', 'alice', '--resume', '--json']);
  expect(resumed.code).toBe(0);
  let rows: { entry: { actor: string; at: string; action: string; detail?: { deadline?: string } } }[] = [];
  for (let i = 0; i < 50 && !rows.some((r) => r.entry.action === 'OpenRecoveryWindow'); i++) {
    const exported = await keywarden(['audit', 'export', '--workflow', String(resumed.json['workflowId'])]);
    rows = exported.out.trim().split('\n').filter(Boolean).map((l) => JSON.parse(l) as (typeof rows)[number]);
  }
  const byPerson = rows.filter((r) => r.entry.actor === 'person:alice');
  expect(byPerson.map((r) => r.entry.action)).toEqual(['DisableKey', 'DisableKey']);
  const deadline = Date.parse(rows.find((r) => r.entry.action === 'OpenRecoveryWindow')!.entry.detail!.deadline!);
  const first = Math.min(...byPerson.map((r) => Date.parse(r.entry.at)));
  expect(Math.abs(deadline - first - 7 * 86_400_000)).toBeLessThan(2_000);
});

it('sign prints the token alone, for the Temporal UI', async () => {
  const { code, out, err } = await keywarden(['sign', 'revoke-by-hand', '--start', 'revokeKey', '--input', '{"key":"audit-data","reason":"x"}', '--as', 'alice']);
  expect(code).toBe(0);
  expect(out.trim()).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
  expect(err).toContain('REVOKE key');
});

it('identity add makes a key, lists the person; identity list shows who is here', async () => {
  expect((await keywarden(['identity', 'add', 'erin', '--role', 'KeyRecoveryAdmin'])).code).toBe(0);
  const { people } = (await keywarden(['identity', 'list', '--json'])).json as { people: { name: string; keyHere: boolean }[] };
  expect(people.find((p) => p.name === 'erin')).toMatchObject({ keyHere: true });
  expect((await keywarden(['identity', 'add', 'frank', '--role', 'Nobody', '--json'])).code).toBe(2);
});

it('doctor finds nothing lacking', async () => {
  const { code, json } = await keywarden(['doctor', '--json']);
  expect({ code, ok: json['ok'] }).toEqual({ code: 0, ok: true });
});

it('a second start of dev on the same folder goes on with every open window; rule 10: audit verify names the first bad row of a tampered trail', async () => {
  const before = (await keywarden(['status', '--json'])).out.trim().split('\n').map((l) => (JSON.parse(l) as { workflowId: string }).workflowId).sort();
  expect(before.length).toBeGreaterThan(0);
  await stopDev();
  await startDev();
  const after = (await keywarden(['status', '--json'])).out.trim().split('\n').map((l) => JSON.parse(l) as { workflowId: string; status?: { phase: string } });
  expect(after.map((o) => o.workflowId).sort()).toEqual(before);
  expect(after.every((o) => o.status?.phase === 'window open')).toBe(true);

  expect((await keywarden(['audit', 'verify'])).code).toBe(0);
  const file = ready['database']!.replace('file:', '');
  const db = new Database(file);
  const triggers = db.prepare("SELECT name FROM sqlite_master WHERE type='trigger'").all() as { name: string }[];
  for (const { name } of triggers) db.exec(`DROP TRIGGER "${name}"`);
  const [table] = (db.prepare("SELECT name FROM sqlite_master WHERE type='table' AND name LIKE '%audit%'").all() as { name: string }[]).map((t) => t.name);
  const columns = (db.prepare(`SELECT name FROM pragma_table_xinfo('${table}') WHERE hidden = 0`).all() as { name: string }[]).map((c) => c.name);
  expect(columns).toContain('entry');
  db.prepare(`UPDATE "${table}" SET entry = replace(entry, '"leak"', '"nothing"') WHERE seq = (SELECT min(seq) FROM "${table}" WHERE entry LIKE '%"leak"%')`).run();
  db.close();
  const verdict = await keywarden(['audit', 'verify']);
  expect(verdict.code).toBe(1);
  expect(verdict.err).toMatch(/KW-AUDIT-BROKEN: row \d+: its content was changed/);
});

it('the configuration is written whole', () => {
  expect(() => JSON.parse(readFileSync(join(dataDir, 'keywarden.config.json'), 'utf8'))).not.toThrow();
});
