import type { AuditEntry } from '../domain/audit';
import { verifyChain, type ChainVerdict } from '../domain/auditChain';
import { KeywardenError } from '../domain/errors';
import type { Journal } from './journal';
import type { Store } from './store';
import { within } from './within';

/** What one `record` pays for a store that does not answer; then the journal has the row. */
const STORE_MS = 1_800;
/** One line on a local disk. More than this is a disk that hangs. */
const JOURNAL_MS = 2_000;
/** One look at the journal's folder. */
const LOOK_MS = 250;
/** How often a store that failed is asked again, in the background. */
const PROBE_MS = 1_000;
/** After a journal that could not be looked at or merged, how long rows go past it. */
const JOURNAL_REST_MS = 5_000;

/**
 * Where audit rows are written: to the store, or to the journal while the store does not answer, in order, so that `intended` is
 * never behind its `done`. Resolved means stored (rule 3); a store that is down delays one call by 2 s and the others not at all (rule 2).
 * Event ids make all of it safe to repeat (rule 6).
 */
export class AuditTrail {
  private storeDown = false;
  private probing = false;
  private journalRestsUntil = 0;

  constructor(
    private readonly store: Store,
    private readonly journal?: Journal,
    /** Told what goes on in the background or must not stop a row: a broken journal, above all. */
    private readonly report: (problem: unknown) => void = (problem) => process.emitWarning(problem instanceof Error ? problem.message : String(problem), 'KeywardenAuditWarning'),
  ) {}

  /** Stores the rows and says where; rejects with `KW-AUDIT` when neither took them, and with `KW-BUG` for an entry that nothing could store. */
  async record(entries: readonly AuditEntry[]): Promise<'store' | 'journal'> {
    if (entries.length === 0) return 'store';
    if (this.storeDown && this.journal !== undefined) {
      try {
        return await this.toJournal(this.journal, entries);
      } catch (e) {
        if (e instanceof KeywardenError && e.code === 'KW-BUG') throw e;
        // the journal failed too: the store may be back, so it is worth its two seconds
        this.report(e);
      }
    }
    const attempt = { givenUp: false };
    try {
      await within(STORE_MS, 'storing the audit row', this.toStore(entries, attempt));
      return 'store';
    } catch (cause) {
      attempt.givenUp = true;
      if (cause instanceof KeywardenError && cause.code === 'KW-BUG') throw cause;
      if (this.journal === undefined) throw neither(cause);
      this.storeFailed();
      return this.toJournal(this.journal, entries, cause);
    }
  }

  /** Merges the journal into the store now; answers how many rows. Rejects with what stands in the way. */
  async drain(): Promise<number> {
    const merged = (await this.journal?.drainInto(this.store)) ?? 0;
    this.storeDown = false;
    return merged;
  }

  /** Rows that wait in the journal. */
  async pending(): Promise<number> {
    return (await this.journal?.pending()) ?? 0;
  }

  private async toStore(entries: readonly AuditEntry[], attempt: { givenUp: boolean }): Promise<void> {
    await this.mergeFirst();
    // meanwhile the rows went to the journal: here they would come before those that wait there
    if (attempt.givenUp) return;
    await this.store.appendAudit(entries);
  }

  /** Rows that wait come first. Only a failing store stops here: a journal in trouble must not keep rows from a store that is well. */
  private async mergeFirst(): Promise<void> {
    if (this.journal === undefined || Date.now() < this.journalRestsUntil) return;
    const journal = this.journal;
    try {
      if (await within(LOOK_MS, 'looking at the journal', journal.isEmpty())) return;
    } catch (e) {
      return this.journalTroubled(e);
    }
    try {
      await journal.drainInto(this.store);
    } catch (e) {
      if (!(e instanceof KeywardenError) || e.code !== 'KW-AUDIT-BROKEN') {
        if (e instanceof KeywardenError && e.code === 'KW-STORE') throw e;
        return this.journalTroubled(e);
      }
      // every file but the broken one was merged: nothing of ours waits
      this.report(e);
    }
  }

  private journalTroubled(problem: unknown): void {
    this.journalRestsUntil = Date.now() + JOURNAL_REST_MS;
    this.report(problem);
  }

  private async toJournal(journal: Journal, entries: readonly AuditEntry[], storeSaid?: unknown): Promise<'journal'> {
    try {
      await within(JOURNAL_MS, 'writing the journal', journal.append(entries));
      return 'journal';
    } catch (cause) {
      if (cause instanceof KeywardenError && cause.code === 'KW-BUG') throw cause;
      throw neither(cause, storeSaid);
    }
  }

  private storeFailed(): void {
    this.storeDown = true;
    if (this.probing) return;
    this.probing = true;
    this.probeLater();
  }

  /** Asks the store until it answers and has taken what waits; only then do rows go to it again. Keeps no process alive. */
  private probeLater(): void {
    setTimeout(() => {
      void this.probe().then((well) => {
        if (!well) return this.probeLater();
        this.probing = false;
        this.storeDown = false;
      });
    }, PROBE_MS).unref();
  }

  private async probe(): Promise<boolean> {
    if (!this.storeDown) return true;
    try {
      await within(STORE_MS, 'asking the store', this.store.ping());
      await this.mergeFirst();
      return true;
    } catch {
      return false;
    }
  }
}

/** Walks the whole trail and names its first bad row (rule 10). A tail that was cut off shows only against a checkpoint. */
export function verifyTrail(store: Store): Promise<ChainVerdict> {
  return verifyChain(store.readAudit());
}

function neither(cause: unknown, storeSaid?: unknown): KeywardenError {
  const say = (e: unknown): string => (e instanceof Error ? e.message : String(e));
  const what = storeSaid === undefined ? say(cause) : `${say(storeSaid)} Then: ${say(cause)}`;
  return new KeywardenError('KW-AUDIT', `the audit row could not be stored: ${what}`, {
    notDone: 'the row was not stored, so what it announces must wait',
    next: 'bring the database back, or give the journal a folder that can be written',
    cause,
  });
}
