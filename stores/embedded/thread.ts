/**
 * The thread in which the driver runs. libsql's calls are synchronous, whatever the client around them says: a lock held elsewhere,
 * an fsync on a slow disk or a disk that hangs would stop the event loop, and with it a revocation (rule 2). Here they stop only
 * this thread; the caller gives up in time (./connection).
 *
 * It is JavaScript in a string, run with `eval`, so that it works alike from source, under jest and from the one-file bundle.
 * Messages in: `{ id, kind, tx, steps }`; `kind` is `begin`, `run`, `commit`, `rollback` or `close`; a step is `[sql, args]`,
 * or `[sql]` for a script of several statements; `tx` is 0 outside a transaction. Messages out: `{ id, results }` or `{ id, error }`.
 */
export interface ThreadData {
  /** Resolved path of the `libsql` module: a thread made with `eval` would look for it from the current folder. */
  driver: string;
  file: string;
  /** How long SQLite itself waits for a lock; kept short, since reads queue behind it. */
  busyMs: number;
  /** A transaction whose owner says nothing for this long is rolled back: it holds everybody's write lock. */
  idleMs: number;
}

export const THREAD_SOURCE = `
const { parentPort, workerData: { driver, file, busyMs, idleMs } } = require('node:worker_threads');
const { mkdirSync, statSync } = require('node:fs');
const { dirname } = require('node:path');
const Database = require(driver);
const prepared = new Map();
let db, inode, open = 0, idle;

function drop() {
  prepared.clear();
  const old = db;
  const begun = open !== 0;
  db = undefined;
  open = 0;
  if (!old) return;
  // closing alone lets the file's lock go only when the last statement is collected
  if (begun) try { old.exec('ROLLBACK'); } catch {}
  try { old.close(); } catch {}
}

function connect() {
  const there = statSync(file, { throwIfNoEntry: false });
  if (db && there && there.ino === inode) return;
  // a file removed under us would take our rows with it, silently
  drop();
  if (!there && inode !== undefined) throw Object.assign(new Error('the database file was removed'), { code: 'KW_REMOVED' });
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const fresh = new Database(file, { timeout: busyMs });
  try {
    const mode = fresh.prepare('PRAGMA journal_mode = WAL').all([])[0];
    if (!mode || mode.journal_mode !== 'wal') throw Object.assign(new Error('the file system does not allow write-ahead logging'), { code: 'KW_NO_WAL' });
    // FULL: a commit is on the disk when it is answered, also when the power fails
    fresh.exec('PRAGMA synchronous = FULL');
  } catch (e) {
    fresh.close();
    throw e;
  }
  inode = statSync(file).ino;
  db = fresh;
}

function run([sql, args]) {
  if (args === undefined) { db.exec(sql); return []; }
  let statement = prepared.get(sql);
  if (!statement) prepared.set(sql, (statement = db.prepare(sql)));
  if (statement.reader) return statement.all(args);
  statement.run(args);
  return [];
}

function handle({ kind, tx, steps }) {
  if (kind === 'close') { drop(); return []; }
  if (kind === 'rollback') { if (open === tx && tx !== 0) { db.exec('ROLLBACK'); open = 0; } return []; }
  if (kind === 'begin') { connect(); db.exec('BEGIN IMMEDIATE'); open = tx; return []; }
  // without this, statements of a transaction that was rolled back would be committed one by one
  if (tx !== open) throw Object.assign(new Error('the transaction was rolled back'), { code: 'KW_LOST' });
  if (tx === 0) connect();
  if (kind === 'commit') { db.exec('COMMIT'); open = 0; return []; }
  return steps.map(run);
}

parentPort.on('message', (message) => {
  clearTimeout(idle);
  try {
    const results = handle(message);
    parentPort.postMessage({ id: message.id, results });
  } catch (e) {
    const code = e.code === undefined ? 'KW_DRIVER' : String(e.code);
    // a statement that failed may stay active and spoil the next commit: begin anew, but for a lock that somebody else holds
    if (!(message.kind === 'begin' && code.startsWith('SQLITE_BUSY'))) drop();
    parentPort.postMessage({ id: message.id, error: { code, message: String(e.message) } });
  }
  if (open !== 0) idle = setTimeout(drop, idleMs);
});
`;
