import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const root = join(__dirname, '../..');
const env = { ...process.env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' };
const run = promisify(execFile);

/** Starts a program and waits for its first line. */
async function started(args: string[]): Promise<{ process: ChildProcess; line: string }> {
  const child = spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (d: Buffer) => (errors += d.toString()));
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (d: Buffer) => resolve(d.toString().trim()));
    child.once('exit', (code) => reject(new Error(`${args.join(' ')} ended with ${code}: ${errors}`)));
  });
  return { process: child, line };
}

async function ended(child: ChildProcess | undefined): Promise<number | null> {
  if (child === undefined || child.exitCode !== null) return child?.exitCode ?? null;
  child.kill('SIGTERM');
  return new Promise((resolve) => child.once('exit', resolve));
}

describe('examples/profiles.mjs against keywarden dev', () => {
  const data = mkdtempSync(join(tmpdir(), 'keywarden-example-'));
  let dev: ChildProcess | undefined;
  let example: ChildProcess | undefined;
  const keywarden = (...args: string[]): Promise<{ stdout: string }> => run(process.execPath, ['bin/keywarden', '--data', data, ...args], { cwd: root, env });

  afterAll(async () => {
    await ended(example);
    await ended(dev);
    rmSync(data, { recursive: true, force: true });
  });

  it('keeps a number, loses it with the revocation within 5 s, and leaves when told', async () => {
    dev = (await started(['bin/keywarden', '--data', data, 'dev', '--json'])).process;
    await keywarden('init', 'user-data');
    const { process: app, line } = await started(['examples/profiles.mjs', data]);
    example = app;
    const url = line.replace('NAME', 'ada').replace('FIELD', 'phone');
    const get = async (): Promise<string> => (await fetch(url)).text();
    expect((await fetch(url, { method: 'PUT', body: '555-0142' })).status).toBe(204);
    expect(await get()).toBe('555-0142\n');
    expect((await fetch(url.replace('ada', 'a%20b'), { method: 'PUT', body: 'x' })).status).toBe(400);

    await keywarden('revoke', 'user-data', '--reason', 'the example must notice', '--as', 'alice', '--yes');
    const began = Date.now();
    while ((await get()) !== 'KW-KEY-REVOKED\n') {
      if (Date.now() - began > 5_000) throw new Error('not refused within 5 s of the command');
      await new Promise((r) => setTimeout(r, 50));
    }
    expect(await ended(example)).toBe(0);
  });
});
