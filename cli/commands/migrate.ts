import type { Register } from '../register';

export const register: Register = (program, run) => {
  program
    .command('migrate')
    .description('bring the database to the schema of this build')
    .action(
      run<[object]>(async (ctx) => {
        const version = await (await ctx.store()).migrate();
        ctx.out.result({ version }, `the schema is at version ${version}`);
        return 0;
      }),
    );
};
