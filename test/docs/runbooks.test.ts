import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Command } from 'commander';
import type { Register } from '../../cli/register';
import { ERROR_CODES } from '../../domain/errors';
import { ROLES } from '../../domain/names';
import { ERASE_STEPS, RECOVER_STEPS, REPLACE_STEPS, REVOKE_STEPS, ROTATE_STEPS } from '../../domain/steps';
import { LOCAL_ERROR_CODES } from '../../local/supervise/local-error';
import { keywardenCommands } from './commandLines';
import { codeIn, pages, read, root } from './pages';

describe('a runbook', () => {
  it.each([
    ['runbooks/emergency-key-revocation.md', REVOKE_STEPS],
    ['runbooks/key-recovery.md', RECOVER_STEPS],
    ['runbooks/key-rotation.md', ROTATE_STEPS],
    ['runbooks/key-replacement.md', REPLACE_STEPS],
    ['runbooks/subject-erasure.md', ERASE_STEPS],
  ])('%s names each step of its workflow, in order, by name and title, and no other', (page, steps) => {
    const named = [...read(page).matchAll(/^### (\d+)\. `([^`]+)`: (.+)$/gm)].map(([, n, name, title]) => ({ n: Number(n), name, title }));
    expect(named).toEqual(steps.map(({ name, title }, i) => ({ n: i + 1, name, title })));
  });
});

/** The real commands and options, with actions that do nothing. */
function commandLine(): Command {
  const top = new Command('keywarden').option('--json').option('--data <dir>').option('--as <name>');
  const run = () => async () => undefined;
  const folder = join(root, 'cli', 'commands');
  for (const file of readdirSync(folder)) {
    const { register } = require(join(folder, file)) as { register?: Register };
    register?.(top, run);
  }
  const quiet = (c: Command): void => {
    c.exitOverride().configureOutput({ writeErr: () => undefined, writeOut: () => undefined });
    if (c !== top) c.option('--json').option('--data <dir>').option('--as <name>');
    c.commands.forEach(quiet);
  };
  quiet(top);
  return top;
}

const commands = pages.flatMap((page) => codeIn(page).flatMap(keywardenCommands).map((args): [string, string[]] => [`${page}: keywarden ${args.join(' ')}`, args]));

describe('a command in a page', () => {
  it('is found wherever a shell would run it', () => {
    expect(keywardenCommands('P=$(bin/keywarden sign W --input \'{"a":"b c"}\' --as x) | cat')).toEqual([['sign', 'W', '--input', '{"a":"b c"}', '--as', 'x']]);
    expect(commands.length).toBeGreaterThan(30);
  });

  it.each(commands)('%s is one that the command line takes', async (_where, args): Promise<void> => {
    // a name alone speaks of the command
    if (args.length === 1) return expect(['--help', ...commandLine().commands.map((c) => c.name())]).toContain(args[0]);
    await commandLine().parseAsync(args, { from: 'user' });
    const role = args[args.indexOf('--role') + 1];
    if (args.includes('--role') && role !== 'ROLE') expect(ROLES).toContain(role);
  });

  it('would fail if it were not', async () => {
    await expect(commandLine().parseAsync(['revoke', 'K', '--raeson', 'x'], { from: 'user' })).rejects.toMatchObject({ code: 'commander.unknownOption' });
    await expect(commandLine().parseAsync(['frobnicate'], { from: 'user' })).rejects.toBeDefined();
  });
});

describe.each(pages)('%s', (page) => {
  it('names only codes that exist', () => {
    const known = [...Object.keys(ERROR_CODES), ...Object.keys(LOCAL_ERROR_CODES)];
    const named = [...new Set(read(page).match(/KW-[A-Z]+(?:-[A-Z]+)*/g) ?? [])];
    expect(named.filter((c) => !known.includes(c))).toEqual([]);
  });

  it('links only to what is there', () => {
    const links = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)].map((m) => m[1]!).filter((l) => !/^[a-z]+:/.test(l));
    const broken = links.filter((link) => {
      const [path, anchor] = link.split('#') as [string, string | undefined];
      const target = path === '' ? page : join(dirname(page), path);
      if (!existsSync(join(root, target))) return true;
      return anchor !== undefined && !headings(target).includes(anchor);
    });
    expect(broken).toEqual([]);
  });
});

/** Anchors of a page's headings, as hosts make them. */
function headings(page: string): string[] {
  return [...read(page).matchAll(/^#+ (.+)$/gm)].map((m) => m[1]!.toLowerCase().replace(/[^\w\s-]/g, '').trim().replace(/\s+/g, '-'));
}
