import { setTimeout as sleep } from 'node:timers/promises';
import { KeywardenError } from '../../domain/errors';
import { Driver, DriverError, type Row, type Step } from './driver';
import { Lane } from './lane';

/** The longest that one call of the store waits, for a lock or for a disk. */
export const CALL_BUDGET_MS = 3_000;

/** A try that begins later than this before the deadline could not tell whether it was done. */
const LAST_TRY_MS = 150;

export interface Transaction {
  /** Runs the statements in order and answers each one's rows. */
  run(...steps: Step[]): Promise<Row[][]>;
}

/**
 * One connection to the file, used by one call at a time. Several processes share the file: WAL lets them read while one writes;
 * writers take the lock with BEGIN IMMEDIATE, and who finds it taken steps out of the lane, waits a little and tries again.
 */
export class Connection {
  private readonly driver: Driver;
  private readonly lane = new Lane();
  private transactions = 0;
  private closed = false;

  constructor(readonly file: string) {
    this.driver = new Driver(file);
  }

  /** One statement outside any transaction: for reading. `what` names the call in errors. */
  async read(what: string, sql: string, args: Step[1] = []): Promise<Row[]> {
    const [rows] = await this.attempt(what, CALL_BUDGET_MS, () => this.driver.ask('run', 0, [[sql, args]]));
    return rows ?? [];
  }

  /**
   * Runs `act` under the write lock and commits; whatever it throws rolls back and reaches the caller.
   * Is not committed once the budget is spent: the caller has been told that nothing was done.
   */
  transaction<T>(what: string, act: (tx: Transaction) => Promise<T>, budgetMs = CALL_BUDGET_MS): Promise<T> {
    return this.attempt(what, budgetMs, async (deadline) => {
      const tx = ++this.transactions;
      const inTime = (): void => {
        if (Date.now() > deadline) throw late(false);
      };
      await this.driver.ask('begin', tx);
      try {
        inTime();
        const result = await act({ run: (...steps) => this.driver.ask('run', tx, steps) });
        inTime();
        await this.driver.ask('commit', tx);
        return result;
      } catch (e) {
        await this.driver.ask('rollback', tx).catch(() => undefined);
        throw e;
      }
    });
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.lane.pass(Date.now() + 1_000, late, () => this.driver.ask('close', 0)).catch(() => undefined);
    await this.driver.stop();
  }

  private async attempt<T>(what: string, budgetMs: number, job: (deadline: number) => Promise<T>): Promise<T> {
    const deadline = Date.now() + budgetMs;
    for (let pause = 4; ; pause = Math.min(pause * 2, 60)) {
      if (this.closed) throw this.storeError(what, new DriverError('KW_CLOSED', 'the store is closed'));
      try {
        return await this.lane.pass(deadline, late, () => job(deadline));
      } catch (e) {
        if (!(e instanceof DriverError)) throw e;
        // random pauses, else two processes that met once meet each time
        const wait = pause * (0.5 + Math.random());
        if (!e.busy || Date.now() + wait + LAST_TRY_MS >= deadline) throw this.storeError(what, e);
        await sleep(wait);
      }
    }
  }

  private storeError(what: string, cause: DriverError): KeywardenError {
    const unmigrated = /no such (table|column)/.test(cause.message);
    const happened = cause.busy
      ? `the database stayed locked by another process`
      : cause.code === 'KW_LATE' || cause.code === 'KW_UNKNOWN_END'
        ? 'the database did not answer in time'
        : `the database refused: ${cause.message} (${cause.code})`;
    const next = unmigrated
      ? 'run `keywarden migrate`'
      : cause.busy
        ? 'call again; if it stays locked, look for a process that holds it open'
        : 'check that the disk is there, has space and may be written; then call again, which is safe';
    return new KeywardenError('KW-STORE', `${what}: ${happened}`, {
      path: this.file,
      notDone: cause.code === 'KW_UNKNOWN_END' ? `${what} may not have been done` : `${what} was not done`,
      next,
      cause,
    });
  }
}

/** `begun`: it was under way, so its end is not known. */
function late(begun: boolean): DriverError {
  return new DriverError(begun ? 'KW_UNKNOWN_END' : 'KW_LATE', 'no answer in time');
}
