import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Benchmark } from './benchmarks';
import { disabledAt } from './revocation';
import type { BenchStack } from './stack';
import { exactNow, ratioOf, spread } from './timing';

const ROUNDS = 30;
const WARM_UP = 2;
const COMMAND = join(__dirname, '..', '..', 'bin', 'keywarden');

/** The whole command, from its spawn, against the AWS CLI's own disabling of one key in one Region; the two in turn. */
export const revokeCommand: Benchmark = {
  figures: ['revoke.command'],
  measures: 'from the spawn of `keywarden revoke` until KMS has disabled the key in every Region',
  async run(session) {
    const aws = awsProgram();
    if (aws === undefined) {
      session.note('SKIPPED revoke.command: there is no `aws`; install awscli from PyPI');
      return [];
    }
    const stack = await session.stack();
    const keys = await stack.keys(2 * (ROUNDS + WARM_UP));
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let round = 0; round < ROUNDS + WARM_UP; round++) {
      const [mine, its] = [keys[2 * round]!, keys[2 * round + 1]!];
      const keywarden = async (): Promise<void> => void ours.push(await timed(stack, mine.keyId, stack.config.regions.length, COMMAND, ['revoke', mine.purpose, '--reason', 'benchmark', '--as', 'alice', '--yes'], stack.environment));
      const awscli = async (): Promise<void> => void theirs.push(await timed(stack, its.keyId, 1, aws, ['kms', 'disable-key', '--key-id', its.keyId], awsEnvironment(stack)));
      for (const act of round % 2 === 0 ? [keywarden, awscli] : [awscli, keywarden]) {
        await act();
        await pause(300); // what a revocation does after the disabling
      }
      if (round === WARM_UP - 1) ours.length = theirs.length = 0;
    }
    session.note(`keywarden revoke: ${spread(ours)}; aws kms disable-key: ${spread(theirs)}`);
    return [{ name: 'revoke.command', unit: 'x', against: '`aws kms disable-key` in one Region, p50', goal: 1, ...ratioOf(ours, theirs, 50) }];
  },
};

/** Until the key is disabled; then waits for the command's end, which must be a good one. */
async function timed(stack: BenchStack, keyId: string, regions: number, program: string, args: string[], env: Record<string, string>): Promise<number> {
  const since = exactNow();
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (d: Buffer) => (said += d.toString()));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const code = await ended;
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}: ${said}`);
  return (await disabledAt(stack, keyId, since, regions)) - since;
}

/** The emergency duty's rights, on the local KMS. */
function awsEnvironment(stack: BenchStack): Record<string, string> {
  const { AWS_ENDPOINT_URL_KMS: endpoint = '', AWS_REGION: region = '' } = stack.environment;
  return { AWS_ENDPOINT_URL_KMS: endpoint, AWS_REGION: region, AWS_DEFAULT_REGION: region, AWS_EC2_METADATA_DISABLED: 'true', AWS_ACCESS_KEY_ID: 'AKIALOCALEMERGENCY', AWS_SECRET_ACCESS_KEY: 'local' };
}

/** The `aws` of PATH; where that is a launcher of Python's, which costs time of its own, the program that it would launch. */
function awsProgram(): string | undefined {
  const onPath = (process.env['PATH'] ?? '').split(delimiter).map((dir) => join(dir, 'aws')).find((p) => existsSync(p));
  try {
    const scripts = execFileSync('python3', ['-c', 'import sysconfig; print(sysconfig.get_path("scripts"))'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    const real = join(scripts, 'aws');
    return onPath !== undefined && existsSync(real) ? real : onPath;
  } catch {
    return onPath;
  }
}
