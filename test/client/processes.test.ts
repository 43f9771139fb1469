import { execFileSync, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { credentialsFor } from '../../worker/credentials';
import { createWorld, type World } from '../harness/world';
import { application } from './application';

/** Real processes: ./child.ts, bundled by the build's own bundler. */
const root = join(__dirname, '../..');
const bundle = join(root, '.cache', `test-client-${process.pid}.js`);
const PROCESSES = 6;
const SUBJECTS = Array.from({ length: 25 }, (_, i) => `contended-${i}`);

describe('many processes initialize the same subjects at the same moment', () => {
  let world: World;
  beforeAll(async () => {
    execFileSync(join(root, 'node_modules/.bin/esbuild'), [join(__dirname, 'child.ts'), '--bundle', '--platform=node', '--external:libsql', `--outfile=${bundle}`, '--log-level=warning']);
    world = await createWorld();
    await world.initialize('user-data');
  });
  afterAll(async () => {
    await world.stop();
    rmSync(bundle, { force: true });
  });

  it('one key is made for each subject, and what each process encrypted every other one reads', async () => {
    const job = JSON.stringify({ database: process.env['KEYWARDEN_DATABASE_URL'], endpoint: world.kms.url, credentials: credentialsFor('application'), config: world.config, subjects: SUBJECTS, at: Date.now() + 3_000 });
    const said = await Promise.all(Array.from({ length: PROCESSES }, () => output([bundle, job])));
    const answers = said.map((s) => JSON.parse(s) as { pid: number; made: boolean[]; messages: string[] });

    const makers = SUBJECTS.map((_, i) => answers.filter((a) => a.made[i]).length);
    expect(makers).toEqual(SUBJECTS.map(() => 1));
    const reader = application(world);
    for (const { pid, messages } of answers) {
      const texts = await Promise.all(messages.map(async (m, i) => (await reader.decrypt({ subjectId: SUBJECTS[i]!, field: 'f' }, Buffer.from(m, 'base64'))).toString()));
      expect(texts).toEqual(SUBJECTS.map((s) => `${s} of ${pid}`));
    }
    await reader.close();
    // they have gone: no revocation waits for them
    expect(await world.store.real.consumersOf('user-data', await world.keyId('user-data'))).toEqual([]);
  });
});

async function output(args: string[]): Promise<string> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' } });
  let text = '';
  child.stdout.on('data', (d: Buffer) => (text += d.toString()));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  if (code !== 0) throw new Error(`the child ended with ${code}`);
  return text;
}
