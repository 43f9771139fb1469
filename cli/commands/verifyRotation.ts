import { EXIT } from '../output';
import type { Register } from '../register';

export const register: Register = (program, run) => {
  program
    .command('verify-rotation [purposes...]')
    .description('for each key: last rotation, next, age, wrapped keys on older material, pass or fail; exit code 1 where one fails')
    .action(
      run<[string[], object]>(async (ctx, purposes) => {
        const [config, kms, store, { rotationReport }] = await Promise.all([ctx.config(), ctx.kms('operator'), ctx.store(), import('../../activities/rotationReport')]);
        const now = await clockNow();
        const reports = [];
        for (const purpose of purposes.length === 0 ? config.purposes : purposes) reports.push(await rotationReport({ config, kms, store, now }, purpose));
        for (const r of reports) {
          const facts = r.last === undefined ? '' : `last ${r.last.slice(0, 10)}, next ${r.next!.slice(0, 10)}, ${r.ageDays} days old, ${r.stale} on older material, ${r.onDemand} of 25 on-demand rotations used`;
          ctx.out.result(r, `${r.pass ? ctx.out.green('pass') : ctx.out.red('FAIL')} ${r.purpose.padEnd(16)} ${facts}`, ...(r.pass ? [] : [`     ${r.why}`]));
        }
        return reports.every((r) => r.pass) ? EXIT.done : EXIT.failed;
      }),
    );
};

/** In development the local KMS's clock, which may have been set, as for the workers. */
async function clockNow(): Promise<number> {
  const endpoint = process.env['AWS_ENDPOINT_URL_KMS'];
  const { isLoopback } = await import('../../domain/config');
  if (endpoint === undefined || !isLoopback(endpoint)) return Date.now();
  const { localClock } = await import('../../worker/clock');
  const clock = localClock(endpoint);
  await clock.refresh();
  clock.stop();
  return clock.now();
}
