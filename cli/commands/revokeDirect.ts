import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { DirectRecord } from '../../activities/directRecord';
import { KeywardenError } from '../../domain/errors';
import type { RevokeInput } from '../../domain/inputs';
import type { Context } from '../context';
import { EXIT } from '../output';

const dirOf = (ctx: Context): string => join(ctx.dataDir, 'direct');

/**
 * With Temporal down: DisableKey in every Region with the caller's own EmergencyKeyAdmin session, all at once, then a record signed by that person.
 * Nothing that is written delays the disabling.
 */
export async function revokeDirect(ctx: Context, input: RevokeInput, o: { dryRun?: boolean }): Promise<number> {
  const name = ctx.person();
  const [config, { resolveTarget }] = await Promise.all([ctx.config(), import('../../activities/targets')]);
  // in development each person has an access key of their own; elsewhere it is the caller's session
  const kms = await ctx.kms(`person:${name}`);
  const target = await resolveTarget(config, kms, input.key);
  if (o.dryRun === true) {
    ctx.out.result({ keyId: target.keyId, regions: config.regions }, `would call DisableKey on ${target.keyId} in ${config.regions.join(', ')} as ${name}. Nothing was done (--dry-run).`);
    return EXIT.done;
  }
  const regions: DirectRecord['regions'] = await Promise.all(
    [...kms].filter(([region]) => !target.absent.includes(region)).map(async ([region, k]) => {
      try {
        const { requestId } = await k.disable(target.keyId);
        ctx.out.note(`  ${ctx.out.green('disabled')}  ${region}`);
        return { region, state: 'disabled', at: new Date().toISOString(), ...(requestId === undefined ? {} : { requestId }) };
      } catch (error) {
        ctx.out.note(`  ${ctx.out.red('NOT disabled')}  ${region}: ${error instanceof Error ? error.message : String(error)}`);
        return { region, state: 'failed' };
      }
    }),
  );
  const record: DirectRecord = { typ: 'keywarden-direct', keyId: target.keyId, application: config.application, environment: config.environment, reason: input.reason, at: new Date().toISOString(), regions };
  const { signAs, identitiesDir } = await import('../../local/demo/identities');
  const token = await signAs(identitiesDir(), name, 'keywarden-direct+jws', record);
  const file = save(dirOf(ctx), record, token);
  const failed = regions.filter((r) => r.state !== 'disabled').map((r) => r.region);
  ctx.out.result(
    { keyId: target.keyId, regions, record: file },
    failed.length === 0 ? ctx.out.bold(`${input.key} is disabled in every Region.`) : ctx.out.red(`${input.key} is NOT disabled in ${failed.join(', ')}: run the same command again.`),
    `  No recovery window runs, nobody was told and nothing else was audited yet. The signed record: ${file}`,
    `  When Temporal is back: keywarden revoke ${input.key} --reason "…" --as ${name} --resume`,
  );
  return failed.length === 0 ? EXIT.done : EXIT.failed;
}

/** The oldest record of a key that was not handed over yet: the window counts from it. */
export async function recordFor(ctx: Context, input: RevokeInput): Promise<{ token: string; handedOver(): void }> {
  const [config, kms, { resolveTarget }] = await Promise.all([ctx.config(), ctx.kms('operator'), import('../../activities/targets')]);
  const { keyId } = await resolveTarget(config, kms, input.key);
  const dir = dirOf(ctx);
  const names = existsSync(dir) ? readdirSync(dir).filter((n) => n.startsWith(`${keyId}-`) && n.endsWith('.jws')).sort() : [];
  const [oldest] = names;
  if (oldest === undefined) throw new KeywardenError('KW-USAGE', `there is no record of a direct revocation of ${input.key} in ${dir}`, { path: '--resume', key: keyId, notDone: 'nothing was started', next: 'run it on the machine that ran --direct, or leave --resume out: a key that is disabled already is adopted' });
  return {
    token: readFileSync(join(dir, oldest), 'utf8').trim(),
    // once the procedure is started, its input holds the record
    handedOver: () => names.forEach((n) => renameSync(join(dir, n), join(dir, n.replace(/\.jws$/, '.resumed')))),
  };
}

function save(dir: string, record: DirectRecord, token: string): string {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const file = join(dir, `${record.keyId}-${record.at.replace(/[:.]/g, '')}.jws`);
  const fd = openSync(file, 'wx', 0o600);
  writeSync(fd, `${token}\n`);
  fsyncSync(fd);
  closeSync(fd);
  return file;
}
