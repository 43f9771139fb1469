import { Worker } from 'node:worker_threads';
import { THREAD_SOURCE, type ThreadData } from './thread';

export type SqlValue = string | number | null;
export type Row = Record<string, SqlValue>;
/** One statement with its parameters; without them a script of several statements. */
export type Step = readonly [sql: string, args?: readonly SqlValue[]];
export type Kind = 'begin' | 'run' | 'commit' | 'rollback' | 'close';

/** What the driver said, with SQLite's own code; turned into a KeywardenError before anybody outside sees it. */
export class DriverError extends Error {
  override readonly name = 'DriverError';
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }

  /** Somebody else holds the lock: worth another try. */
  get busy(): boolean {
    return this.code.startsWith('SQLITE_BUSY') || this.code.startsWith('SQLITE_LOCKED');
  }
}

interface Answer {
  id: number;
  results?: Row[][];
  error?: { code: string; message: string };
}

/** Asks the thread of ./thread and pairs its answers with the questions. Started by the first question; holds no process open between them. */
export class Driver {
  private thread: Worker | undefined;
  private questions = 0;
  private readonly open = new Map<number, { resolve: (rows: Row[][]) => void; reject: (e: Error) => void }>();

  constructor(private readonly file: string) {}

  async ask(kind: Kind, tx: number, steps: readonly Step[] = []): Promise<Row[][]> {
    const thread = (this.thread ??= this.start());
    return new Promise((resolve, reject) => {
      const id = ++this.questions;
      this.open.set(id, { resolve, reject });
      thread.ref();
      thread.postMessage({ id, kind, tx, steps });
    });
  }

  /** Ends the thread; one that hangs in the driver is left behind rather than waited for. */
  async stop(): Promise<void> {
    const thread = this.thread;
    this.thread = undefined;
    if (thread === undefined) return;
    thread.unref();
    await Promise.race([thread.terminate(), new Promise((r) => setTimeout(r, 500).unref())]);
  }

  private start(): Worker {
    const workerData: ThreadData = { driver: driverModule(), file: this.file, busyMs: 50, idleMs: 2_000 };
    const thread = new Worker(THREAD_SOURCE, { eval: true, workerData, execArgv: [] });
    thread.on('message', (answer: Answer) => {
      const question = this.open.get(answer.id);
      this.open.delete(answer.id);
      if (this.open.size === 0) thread.unref();
      if (answer.error === undefined) question?.resolve(answer.results ?? []);
      else question?.reject(new DriverError(answer.error.code, answer.error.message));
    });
    const gone = (why: string): void => {
      if (this.thread === thread) this.thread = undefined;
      for (const question of this.open.values()) question.reject(new DriverError('KW_THREAD', why));
      this.open.clear();
    };
    thread.on('error', (e) => gone(`the database thread failed: ${e instanceof Error ? e.message : String(e)}`));
    thread.on('exit', () => gone('the database thread ended'));
    return thread;
  }
}

function driverModule(): string {
  try {
    return require.resolve('libsql');
  } catch (e) {
    throw new DriverError('KW_DRIVER', `the libsql driver is not installed: ${e instanceof Error ? e.message : String(e)}`);
  }
}
