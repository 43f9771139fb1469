import type { Command } from 'commander';
import type { Context } from './context';

/** What a command does: returns its exit code. */
export type Action<A extends unknown[]> = (ctx: Context, ...args: A) => Promise<number>;

/** Adds a command to the program. `run` wraps its action: context, errors, exit code; `args` are the command's arguments and its options, as commander gives them. */
export type Register = (program: Command, run: <A extends unknown[]>(act: Action<A>) => (...args: [...A, Command]) => Promise<void>) => void;
