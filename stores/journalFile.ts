import { constants, createReadStream } from 'node:fs';
import { open, readdir, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { GENESIS, type AuditEntry, type AuditRow } from '../domain/audit';
import { link, rowHash } from '../domain/auditChain';
import { canonicalJson } from '../domain/canonical';
import { KeywardenError } from '../domain/errors';

/**
 * One journal file, written by one process. Each line is one append: a JSON array of rows, chained through the file like the trail
 * itself. One append is one line so that a crash, which can only spoil the end, spoils a whole append that was never answered.
 * The file is open only while it is written to: nothing to close, and a file that a merge has taken is noticed at once.
 */
export class JournalWriter {
  private last: AuditRow | undefined;

  private constructor(readonly path: string) {}

  /** The file must not exist: nobody ever goes on with another process's file. */
  static async create(path: string): Promise<JournalWriter> {
    await (await open(path, 'ax', 0o600)).close();
    await syncFolder(dirname(path));
    return new JournalWriter(path);
  }

  /**
   * Resolves with true when the rows are on the disk, in a file that no merge has taken before; with false when one has, which may
   * or may not have seen these rows. After a rejection the file may end in half a line: write no more to it.
   */
  async append(entries: readonly AuditEntry[]): Promise<boolean> {
    const rows: AuditRow[] = [];
    for (const entry of entries) rows.push(link(rows.at(-1) ?? this.last, entry));
    const handle = await open(this.path, constants.O_WRONLY | constants.O_APPEND).catch(goneIsUndefined);
    if (handle === undefined) return false;
    try {
      await handle.appendFile(`${JSON.stringify(rows)}\n`);
      await handle.sync();
      this.last = rows.at(-1);
      // only now: a merge that renames it after this look reads it after these rows
      return (await stat(this.path).catch(goneIsUndefined))?.ino === (await handle.stat()).ino;
    } finally {
      await handle.close();
    }
  }
}

function goneIsUndefined(e: NodeJS.ErrnoException): undefined {
  if (e.code !== 'ENOENT') throw e;
  return undefined;
}

/** Reads the rows of a file in order, in constant memory. A last line that is no JSON was torn by a crash: it was never answered, and is left out. */
export async function* readJournal(path: string): AsyncGenerator<AuditRow> {
  let last: AuditRow | undefined;
  let number = 0;
  for await (const { text, isLast } of lines(path)) {
    number += 1;
    let rows: AuditRow[];
    try {
      rows = JSON.parse(text) as AuditRow[];
    } catch {
      if (isLast) return;
      throw broken(path, number, 'it is not a journal line');
    }
    if (!Array.isArray(rows)) throw broken(path, number, 'it is not a journal line');
    // the whole append is judged before any of it is believed
    for (const row of rows) {
      if (!follows(row, last)) throw broken(path, number, 'it was changed, or a line before it was changed, removed, added or moved');
      last = row;
    }
    yield* rows;
  }
}

function follows(row: AuditRow | null, last: AuditRow | undefined): row is AuditRow {
  if (typeof row !== 'object' || row === null || typeof row.entry?.eventId !== 'string') return false;
  if (row.seq !== (last?.seq ?? 0) + 1 || row.prev !== (last?.hash ?? GENESIS)) return false;
  try {
    return row.hash === rowHash(row.prev, row.seq, canonicalJson(row.entry));
  } catch {
    return false;
  }
}

async function* lines(path: string): AsyncGenerator<{ text: string; isLast: boolean }> {
  let held: string | undefined;
  let rest = '';
  for await (const chunk of createReadStream(path, { encoding: 'utf8' })) {
    const parts = (rest + (chunk as string)).split('\n');
    rest = parts.pop() ?? '';
    for (const text of parts) {
      if (held !== undefined) yield { text: held, isLast: false };
      held = text;
    }
  }
  // a line without its end counts only if it is whole; readJournal finds out
  if (rest !== '') {
    if (held !== undefined) yield { text: held, isLast: false };
    held = rest;
  }
  if (held !== undefined) yield { text: held, isLast: true };
}

function broken(path: string, line: number, why: string): KeywardenError {
  return new KeywardenError('KW-AUDIT-BROKEN', `line ${line} of the journal ${path} does not verify: ${why}`, {
    path: `${path}:${line}`,
    notDone: 'that line and those after it were not merged into the audit trail; the lines before it were',
    next: 'keep the file as evidence and find out who could write there; when its rows are accounted for, rename it to end in .merged',
  });
}

/** The files of a journal folder with such names, sorted; a folder that is not there has none. */
export async function journalFiles(dir: string, name: RegExp): Promise<string[]> {
  const names = await readdir(dir).catch((e: NodeJS.ErrnoException) => {
    if (e.code === 'ENOENT') return [];
    throw e;
  });
  return names.filter((n) => name.test(n)).sort().map((n) => join(dir, n));
}

/** Renames, and makes that outlast a power failure. False when another process was faster. */
export async function renameDurably(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw e;
  }
  await syncFolder(dirname(to));
  return true;
}

export async function syncFolder(dir: string): Promise<void> {
  // Windows has no such thing as syncing a folder
  if (process.platform === 'win32') return;
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
