import type { AuditEntry } from '../domain/audit';
import { KeywardenError } from '../domain/errors';
import { journalFiles, readJournal, renameDurably } from './journalFile';
import type { Store } from './store';
import { within } from './within';

const BATCH = 500;
/** One merge at a time on all machines that share the store, for the order's sake; a second one beside it would do no other harm. */
const LEASE = { leaseMs: 15_000, waitMs: 1_500 };
const LEASE_NAME = 'keywarden/journal-merge';
/** A store that never answers must not keep a merge, and with it all later ones, for ever. */
const STORE_SILENT_MS = 5_000;

/** Takes every file of the folder, gives their rows to the store in order of time, and archives a file when the store has all of it. */
export async function mergeInto(store: Store, dir: string): Promise<number> {
  if ((await journalFiles(dir, /\.(journal|merging|broken)$/)).length === 0) return 0;
  return underLease(store, async () => {
    for (const file of await journalFiles(dir, /\.journal$/)) await renameDurably(file, withEnd(file, 'merging'));
    const files = await journalFiles(dir, /\.merging$/);
    const problems = new Map<string, KeywardenError>();
    let merged = 0;
    for await (const batch of batches(inOrderOfTime(files, problems))) {
      await within(STORE_SILENT_MS, 'merging the journal', store.appendAudit(batch));
      merged += batch.length;
    }
    for (const file of files) await renameDurably(file, withEnd(file, problems.has(file) ? 'broken' : 'merged'));
    await reportBroken(dir);
    return merged;
  });
}

async function underLease<T>(store: Store, act: () => Promise<T>): Promise<T> {
  let begin: () => void = () => undefined;
  const begun = new Promise<void>((resolve) => (begin = resolve));
  let gaveUp = false;
  const whole = store.withKeyLease(LEASE_NAME, LEASE, async () => {
    begin();
    // the lease came after we had stopped waiting for it: somebody else merges by now
    if (gaveUp) throw new KeywardenError('KW-STORE', 'the lease of the journal came too late', { notDone: 'nothing was merged', next: 'drain again' });
    return act();
  });
  try {
    await within(STORE_SILENT_MS, 'taking the lease of the journal', Promise.race([begun, whole]));
  } catch (e) {
    gaveUp = true;
    throw e;
  }
  return whole;
}

/** Until a person has dealt with a broken file, every drain says so. */
async function reportBroken(dir: string): Promise<void> {
  for (const file of await journalFiles(dir, /\.broken$/)) {
    for await (const _row of readJournal(file)) {
      // walks up to the bad line, which throws
    }
    throw new KeywardenError('KW-AUDIT-BROKEN', `the journal ${file} was broken when it was merged, and verifies now`, { path: file, notDone: 'its later lines were not merged', next: 'rename it to end in .journal, and it will be merged' });
  }
}

/** Merges the files by `at`, ties by file; within one file its own order always holds: `intended` stays before `done`, whatever a clock did. */
async function* inOrderOfTime(files: readonly string[], problems: Map<string, KeywardenError>): AsyncGenerator<AuditEntry> {
  const heads: { file: string; entry: AuditEntry; rest: AsyncGenerator<{ entry: AuditEntry }> }[] = [];
  const advance = async (file: string, rest: AsyncGenerator<{ entry: AuditEntry }>): Promise<AuditEntry | undefined> => {
    try {
      const next = await rest.next();
      return next.done === true ? undefined : next.value.entry;
    } catch (e) {
      if (!(e instanceof KeywardenError)) throw e;
      // one bad file does not keep the others' rows out
      problems.set(file, e);
      return undefined;
    }
  };
  for (const file of files) {
    const rest = readJournal(file);
    const entry = await advance(file, rest);
    if (entry !== undefined) heads.push({ file, entry, rest });
  }
  try {
    while (heads.length > 0) {
      const head = heads.reduce((first, other) => (other.entry.at < first.entry.at ? other : first));
      yield { ...head.entry, journaled: true };
      const entry = await advance(head.file, head.rest);
      if (entry === undefined) heads.splice(heads.indexOf(head), 1);
      else head.entry = entry;
    }
  } finally {
    // a merge that stops in the middle closes the files that it holds open
    for (const head of heads) await head.rest.return(undefined);
  }
}

async function* batches(entries: AsyncGenerator<AuditEntry>): AsyncGenerator<AuditEntry[]> {
  let batch: AuditEntry[] = [];
  for await (const entry of entries) {
    batch.push(entry);
    if (batch.length < BATCH) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

function withEnd(file: string, end: string): string {
  return file.replace(/\.\w+$/, `.${end}`);
}
