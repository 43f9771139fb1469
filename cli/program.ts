import { Command, CommanderError } from 'commander';
import { KeywardenError } from '../domain/errors';
import { Context, type GlobalOptions } from './context';
import { EXIT, Output } from './output';
import type { Action, Register } from './register';
import * as approve from './commands/approve';
import * as audit from './commands/audit';
import * as demo from './commands/demo';
import * as dev from './commands/dev';
import * as doctor from './commands/doctor';
import * as erase from './commands/erase';
import * as identity from './commands/identity';
import * as init from './commands/init';
import * as migrate from './commands/migrate';
import * as recover from './commands/recover';
import * as revoke from './commands/revoke';
import * as rotate from './commands/rotate';
import * as sign from './commands/sign';
import * as status from './commands/status';
import * as verifyRotation from './commands/verifyRotation';
import * as worker from './commands/worker';

const COMMANDS: { register: Register }[] = [dev, demo, worker, migrate, init, status, revoke, recover, rotate, verifyRotation, erase, approve, sign, identity, audit, doctor];

export async function program(argv: string[]): Promise<void> {
  const top = new Command('keywarden')
    .description('Encryption-key operations on SQL Server and AWS KMS, as durable Temporal workflows')
    .option('--json', 'one JSON object a line instead of text')
    .option('--data <dir>', 'folder of a `keywarden dev` stack (default .keywarden)')
    .option('--as <name>', 'the person who acts')
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .showSuggestionAfterError();
  top.addHelpText('after', '\nExit codes: 0 done, 1 failed, 2 wrong use, 3 waiting for a person.');

  const run = <A extends unknown[]>(act: Action<A>) => async (...all: [...A, Command]): Promise<void> => {
    const command = all[all.length - 1] as Command;
    const ctx = new Context(command.optsWithGlobals<GlobalOptions>());
    try {
      await ctx.environment();
      process.exitCode = await act(ctx, ...(all.slice(0, -1) as A));
    } catch (error) {
      process.exitCode = ctx.out.fail(error);
    }
    await ctx.close();
  };
  for (const { register } of COMMANDS) register(top, run);
  for (const c of everyCommand(top)) c.exitOverride().configureOutput({ writeErr: () => undefined }).option('--json', 'one JSON object a line instead of text').option('--data <dir>', 'folder of a `keywarden dev` stack').option('--as <name>', 'the person who acts');

  try {
    await top.parseAsync(argv);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return;
    const out = new Output(argv.includes('--json'));
    out.fail(new KeywardenError('KW-USAGE', error.code === 'commander.help' ? 'a command is missing' : error.message.replace(/^error: /, '').replace(/\n/g, ' '), { notDone: 'nothing was done', next: 'keywarden --help' }));
    process.exitCode = EXIT.wrongUse;
  }
}

function* everyCommand(c: Command): Iterable<Command> {
  for (const sub of c.commands) {
    yield sub;
    yield* everyCommand(sub);
  }
}
