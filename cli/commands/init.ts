import { workflowIdFor } from '../../domain/names';
import { start } from '../procedures';
import type { Register } from '../register';
import type { InitializeResult } from '../../workflows/initializeKeys';

export const register: Register = (program, run) => {
  program
    .command('init [purposes...]')
    .description('make or find the CMK of each purpose (initializeKeys)')
    .option('--dry-run', 'say what would be started')
    .action(
      run<[string[], { dryRun?: boolean }]>(async (ctx, purposes, o) => {
        const input = purposes.length === 0 ? {} : { purposes };
        const workflowId = workflowIdFor('initializeKeys', 'all', new Date());
        if (o.dryRun === true) {
          ctx.out.result({ workflowId, input }, `would start initializeKeys ${workflowId} with ${JSON.stringify(input)}`);
          return 0;
        }
        const handle = await start(ctx, 'initializeKeys', workflowId, input);
        const result = (await handle.result()) as InitializeResult;
        ctx.out.result(result, ...result.keys.map((k) => `${k.purpose.padEnd(14)} ${k.made ? 'made ' : 'found'} ${k.keyId}  ${k.alias} in ${k.regions.join(', ')}`), 'Next: keywarden status');
        return 0;
      }),
    );
};
