import { KeywardenError } from '../domain/errors';

/** Exit codes: 0 done, 1 failed, 2 wrong use, 3 waiting for a person. */
export const EXIT = { done: 0, failed: 1, wrongUse: 2, waiting: 3 } as const;

const WRONG_USE = new Set(['KW-INPUT', 'KW-USAGE', 'KW-CONFIG', 'KW-KEY-UNKNOWN', 'KW-KEY-FOREIGN', 'KW-KEY-OWN', 'KW-KEY-DESTROYED', 'KW-SUBJECT-UNKNOWN', 'KW-OUTAGE', 'KW-IDENTITY']);

/** What a command says: people get lines, `--json` gets one object a line. Colour only on a terminal. */
export class Output {
  constructor(readonly json: boolean) {}

  private readonly colour = process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined;

  line(text = ''): void {
    if (!this.json) process.stdout.write(`${text}\n`);
  }

  /** The result, as one JSON line; people see `lines` instead. */
  result(value: object, ...lines: string[]): void {
    if (this.json) process.stdout.write(`${JSON.stringify(value)}\n`);
    else for (const l of lines) process.stdout.write(`${l}\n`);
  }

  /** Progress and hints: never on standard output. */
  note(text: string): void {
    process.stderr.write(`${text}\n`);
  }

  red = (t: string): string => this.paint(31, t);
  green = (t: string): string => this.paint(32, t);
  yellow = (t: string): string => this.paint(33, t);
  bold = (t: string): string => this.paint(1, t);
  dim = (t: string): string => this.paint(2, t);

  private paint(code: number, text: string): string {
    return this.colour ? `\x1b[${code}m${text}\x1b[0m` : text;
  }

  fail(error: unknown): number {
    const e = asKeywardenError(error);
    if (this.json) process.stdout.write(`${JSON.stringify({ error: e.toJSON() })}\n`);
    else {
      process.stderr.write(`${this.red(`${e.code}`)}${e.path === undefined ? '' : ` ${e.path}`}: ${e.what}\n`);
      if (e.key !== undefined) process.stderr.write(`  key:      ${e.key}\n`);
      if (e.notDone !== undefined) process.stderr.write(`  not done: ${e.notDone}\n`);
      if (e.next !== undefined) process.stderr.write(`  next:     ${e.next}\n`);
    }
    return WRONG_USE.has(e.code) ? EXIT.wrongUse : EXIT.failed;
  }
}

/** Any failure as one of ours: a workflow's carries its code in the failure's type. */
export function asKeywardenError(error: unknown): KeywardenError {
  if (error instanceof KeywardenError) return error;
  for (let at: unknown = error, i = 0; at instanceof Error && i < 6; at = at.cause, i++) {
    const { type, details, code } = at as Error & { type?: string; details?: unknown[]; code?: string };
    if (typeof type === 'string' && type.startsWith('KW-')) {
      const facts = (details?.[0] ?? {}) as { what?: string; path?: string; key?: string; notDone?: string; next?: string };
      return new KeywardenError(type as never, facts.what ?? at.message.replace(/^KW-[A-Z-]+: /, ''), { ...(facts.path === undefined ? {} : { path: facts.path }), ...(facts.key === undefined ? {} : { key: facts.key }), ...(facts.notDone === undefined ? {} : { notDone: facts.notDone }), ...(facts.next === undefined ? {} : { next: facts.next }), cause: error });
    }
    if (typeof code === 'string' && code.startsWith('KW-')) return new KeywardenError(code as never, at.message.replace(/^KW-[A-Z-]+: /, ''), { cause: error });
  }
  return new KeywardenError('KW-BUG', error instanceof Error ? `${error.name}: ${error.message}` : String(error), { next: 'run the command again with KEYWARDEN_TRACE=1 and report what it prints', cause: error });
}
