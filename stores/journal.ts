import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { AuditEntry } from '../domain/audit';
import { KeywardenError } from '../domain/errors';
import { canonicalEntry } from './canonicalEntry';
import { JournalWriter, journalFiles, readJournal, syncFolder } from './journalFile';
import { mergeInto } from './journalMerge';
import type { Store } from './store';

/**
 * Where audit rows go while the store is unreachable (DESIGN.md, Words): each process writes files of its own in a folder that all
 * share, and any process merges all of them, also those of the dead. A file goes through its names in one direction:
 *
 *   *.journal   being written
 *   *.merging   taken by a merge; a merge that was killed is taken up again from here
 *   *.merged    the store has every row
 *   *.broken    a line in it does not verify; it waits for a person
 *
 * Writing needs no lock against merging: the writer looks after each append whether its file still has its name. If not, the merge
 * may have read it before the append, so the rows are written once more, to a new file; the store keeps each event once (rule 6).
 */
export class Journal {
  private readonly dir: string;
  private readonly owner: string;
  private writer: JournalWriter | undefined;
  private last: Promise<unknown> = Promise.resolve();
  private merging: Promise<number> | undefined;
  private looking: Promise<string[]> | undefined;

  constructor(dir: string, owner: string) {
    this.dir = resolve(dir);
    this.owner = owner.replaceAll(/[^\w-]+/g, '_');
  }

  /** Resolves when the rows are on the disk, all of them; rejects with `KW-AUDIT`. Writing an event twice is harmless. */
  append(entries: readonly AuditEntry[]): Promise<void> {
    if (entries.length === 0) return Promise.resolve();
    // in order, and one at a time: a disk that hangs then holds one thread of Node's pool, not all (name resolution needs them too)
    const turn = this.last.then(() => this.write(entries));
    this.last = turn.catch(() => undefined);
    return turn;
  }

  /** Rows that wait for the store. */
  async pending(): Promise<number> {
    let rows = 0;
    for (const file of await this.waiting()) {
      try {
        for await (const _row of readJournal(file)) rows += 1;
      } catch (e) {
        // merged by another process since, or broken, which drainInto reports
        if (!(e instanceof KeywardenError) && (e as NodeJS.ErrnoException).code !== 'ENOENT') throw e;
      }
    }
    return rows;
  }

  /** Whether any file waits for the store: one look at the folder. */
  async isEmpty(): Promise<boolean> {
    return (await this.waiting()).length === 0;
  }

  /**
   * Merges all files into the store in order of time, and answers how many rows it gave to it. Rejects with `KW-STORE` when the
   * store fails in the middle (the next drain goes on) and with `KW-AUDIT-BROKEN` when a file does not verify (all others are merged).
   */
  drainInto(store: Store): Promise<number> {
    return (this.merging ??= mergeInto(store, this.dir).finally(() => (this.merging = undefined)));
  }

  private async write(entries: readonly AuditEntry[]): Promise<void> {
    entries.forEach(canonicalEntry);
    try {
      for (;;) {
        this.writer ??= await this.newFile();
        if (await this.writer.append(entries)) return;
        this.writer = undefined;
      }
    } catch (cause) {
      // the end of the file is in doubt, so nothing more is written to it
      this.writer = undefined;
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new KeywardenError('KW-AUDIT', `the journal did not take the audit row: ${why}`, { path: this.dir, notDone: 'the row was not stored', next: 'check that the folder is there, has space and may be written', cause });
    }
  }

  private async newFile(): Promise<JournalWriter> {
    const made = await mkdir(this.dir, { recursive: true, mode: 0o700 });
    if (made !== undefined) await syncFolder(dirname(made));
    const name = `${this.owner}-${process.pid}-${Date.now().toString(36)}${randomBytes(4).toString('hex')}.journal`;
    return JournalWriter.create(join(this.dir, name));
  }

  private waiting(): Promise<string[]> {
    // shared by all who ask at the same time: again, a disk that hangs holds one thread
    return (this.looking ??= journalFiles(this.dir, /\.(journal|merging)$/).finally(() => (this.looking = undefined)));
  }
}
