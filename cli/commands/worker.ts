import { DUTIES, type Duty } from '../../domain/names';
import { KeywardenError } from '../../domain/errors';
import type { Register } from '../register';

export const register: Register = (program, run) => {
  program
    .command('worker')
    .description('run the queues of a duty: routine, emergency, recovery (all: development only)')
    .option('--duty <duty>', `${DUTIES.join(', ')} or all`, 'all')
    .action(
      run<[{ duty: string }]>(async (ctx, { duty }) => {
        if (duty !== 'all' && !DUTIES.includes(duty as Duty)) throw new KeywardenError('KW-USAGE', `no duty ${duty}`, { path: '--duty', notDone: 'no worker was started', next: `choose ${DUTIES.join(', ')} or all` });
        const { startWorker } = await import('../../worker');
        const worker = await startWorker({ duty: duty as Duty | 'all', ready: () => ctx.out.result({ ready: true, duty }, `worker (${duty}) is polling; Ctrl-C stops it`) });
        const signalled = new Promise<void>((resolve) => ['SIGINT', 'SIGTERM'].forEach((s) => process.once(s, () => resolve())));
        await Promise.race([signalled, worker.failed]);
        await worker.stop();
        return 0;
      }),
    );
};
