import { Context } from '../context';
import type { Register } from '../register';

export const register: Register = (program, run) => {
  program
    .command('demo')
    .description('the stack of `dev`, and the main job before your eyes (npm start)')
    .option('--once', 'end after the story')
    .action(
      run<[{ once?: boolean }]>(async (ctx, o) => {
        const { startStack, untilStopped } = await import('./dev');
        const stack = await startStack(ctx);
        const stopped = untilStopped(stack);
        const inside = new Context({ ...ctx.options, data: ctx.dataDir });
        await inside.environment();
        try {
          const { tellStory } = await import('../../local/demo/story');
          await tellStory(inside, stack.ready.ui);
        } catch (error) {
          if (o.once === true) {
            await stack.stop();
            throw error;
          }
          ctx.out.fail(error);
        } finally {
          await inside.close();
        }
        if (o.once === true) {
          await stack.stop();
          return 0;
        }
        ctx.out.line('\nEverything stays up. Ctrl-C stops it; the state is kept for the next start.');
        return stopped;
      }),
    );
};
