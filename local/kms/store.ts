/**
 * Durable state: an append-only log of changes beside a snapshot, all values in memory.
 * A change is written before it is visible (so `kill -9` loses nothing) and synced before it is answered (so a power
 * cut loses nothing that was answered). Reads and cryptographic operations never touch the disk.
 */
import { createHash } from 'node:crypto';
import { closeSync, fdatasync, fsyncSync, ftruncateSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Collection, Collections } from './model';

/** One put (`value`) or delete (`null`). */
export type Change = readonly [collection: Collection, id: string, value: unknown];
type Previous = Map<Collection, Map<string, { value: unknown; until: number; region?: string }>>;

const SNAPSHOT_AFTER_BYTES = 8 * 1024 * 1024;
const openDirectories = new Set<string>();
const parentOf = (id: string): string => id.slice(0, Math.max(0, id.lastIndexOf('/')));
const checksum = (line: string): string => createHash('sha256').update(line).digest('hex').slice(0, 16);

export class Store {
  private readonly values = new Map<Collection, Map<string, unknown>>();
  private readonly children = new Map<Collection, Map<string, Set<string>>>();
  private readonly previous: Previous = new Map();
  private sequence = 0;
  private syncedSequence = 0;
  private logBytes = 0;
  private log = -1;
  private waiting: Array<(error: Error | null) => void> = [];
  private syncing = false;
  private closed = false;

  /** Throws where the directory is in use, or its log is damaged anywhere but at its end. */
  constructor(private readonly directory: string, private readonly snapshotAfterBytes = SNAPSHOT_AFTER_BYTES) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.lock();
    try {
      this.load();
    } catch (error) {
      this.unlock();
      throw error;
    }
  }

  get<C extends Collection>(collection: C, id: string): Collections[C] | undefined {
    return this.values.get(collection)?.get(id) as Collections[C] | undefined;
  }

  *childrenOf<C extends Collection>(collection: C, parent: string): Generator<Collections[C]> {
    for (const id of this.children.get(collection)?.get(parent) ?? []) yield this.get(collection, id) as Collections[C];
  }

  *all<C extends Collection>(collection: C): Generator<Collections[C]> {
    for (const value of this.values.get(collection)?.values() ?? []) yield value as Collections[C];
  }

  /** Writes the changes as one record, then makes them visible. Atomic: a torn record is dropped as a whole. */
  commit(changes: readonly Change[]): void {
    if (changes.length === 0) return;
    if (this.closed) throw new Error('the store is closed');
    const body = JSON.stringify({ sequence: this.sequence + 1, changes });
    const line = Buffer.from(`${checksum(body)} ${body}\n`);
    // a short write (full disk) must not leave half a record before the next one
    try {
      writeFully(this.log, line, this.logBytes);
    } catch (error) {
      ftruncateSync(this.log, this.logBytes);
      throw error;
    }
    this.logBytes += line.length;
    this.sequence += 1;
    for (const change of changes) this.apply(change);
  }

  /** Resolves when everything committed so far is on disk. Concurrent callers share one sync. */
  durable(): Promise<void> {
    if (this.syncedSequence === this.sequence) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.waiting.push((error) => (error === null ? resolve() : reject(error)));
      this.sync();
    });
  }

  /** Remembers what `changes` replaced, to be read by lagging readers until `until` (ms, real time). */
  rememberPrevious(changes: readonly Change[], until: number, region?: string): void {
    for (const [collection, id] of changes) {
      const entries = this.previous.get(collection) ?? new Map();
      // several changes within one lag show the oldest state, as a replica that is behind would
      if ((entries.get(id)?.until ?? 0) < Date.now()) entries.set(id, { value: this.get(collection, id), until, region });
      this.previous.set(collection, entries);
    }
  }

  lagging<C extends Collection>(collection: C, region: string): Map<string, Collections[C] | undefined> {
    const found = new Map<string, Collections[C] | undefined>();
    for (const [id, entry] of this.previous.get(collection) ?? []) {
      if (entry.until < Date.now()) this.previous.get(collection)!.delete(id);
      else if (entry.region === undefined || entry.region === region) found.set(id, entry.value as Collections[C] | undefined);
    }
    return found;
  }

  hasLag(): boolean {
    for (const entries of this.previous.values()) if (entries.size > 0) return true;
    return false;
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.durable();
    closeSync(this.log);
    this.unlock();
  }

  private sync(): void {
    if (this.syncing || this.waiting.length === 0) return;
    this.syncing = true;
    const batch = this.waiting;
    this.waiting = [];
    const { sequence } = this;
    fdatasync(this.log, (error) => {
      this.syncing = false;
      if (error === null) this.syncedSequence = sequence;
      for (const done of batch) done(error);
      if (this.logBytes > this.snapshotAfterBytes && this.waiting.length === 0 && !this.closed) this.trySnapshot();
      this.sync();
    });
  }

  private apply([collection, id, value]: Change): void {
    let values = this.values.get(collection);
    if (values === undefined) this.values.set(collection, (values = new Map()));
    let parents = this.children.get(collection);
    if (parents === undefined) this.children.set(collection, (parents = new Map()));
    const parent = parentOf(id);
    if (value === null) {
      values.delete(id);
      parents.get(parent)?.delete(id);
    } else {
      values.set(id, value);
      const siblings = parents.get(parent);
      if (siblings === undefined) parents.set(parent, new Set([id]));
      else siblings.add(id);
    }
  }

  private get snapshotPath(): string { return join(this.directory, 'snapshot.json'); }
  private get lockPath(): string { return join(this.directory, 'lock'); }

  private load(): void {
    if (existsSync(this.snapshotPath)) {
      const { sequence, changes } = JSON.parse(readFileSync(this.snapshotPath, 'utf8')) as { sequence: number; changes: Change[] };
      this.sequence = sequence;
      for (const change of changes) this.apply(change);
    }
    this.log = openSync(join(this.directory, 'changes.log'), 'a+', 0o600);
    const bytes = readFileSync(join(this.directory, 'changes.log'));
    let position = 0;
    while (position < bytes.length) {
      const end = bytes.indexOf(0x0a, position);
      const record = end < 0 ? undefined : readRecord(bytes.toString('utf8', position, end));
      if (record === undefined) {
        // only the last record can be torn; damage before it means lost answers, which nobody may guess away
        if (end >= 0 && end + 1 < bytes.length) throw new Error(`changes.log in ${this.directory} is damaged at byte ${position}`);
        ftruncateSync(this.log, position);
        break;
      }
      if (record.sequence > this.sequence) {
        for (const change of record.changes) this.apply(change);
        this.sequence = record.sequence;
      }
      position = end + 1;
    }
    this.logBytes = position;
    fsyncSync(this.log);
    this.syncedSequence = this.sequence;
    this.syncDirectory();
  }

  /** A new file or a rename is on disk only when its directory is. */
  private syncDirectory(): void {
    const directory = openSync(this.directory, 'r');
    fsyncSync(directory);
    closeSync(directory);
  }

  /** The log alone is enough, so a snapshot that fails (a full disk) must not take the server down. */
  private trySnapshot(): void {
    try {
      this.snapshot();
    } catch (error) {
      console.error('local KMS: no snapshot was written, the log grows on', error);
    }
  }

  private snapshot(): void {
    const changes: Change[] = [];
    for (const [collection, values] of this.values) for (const [id, value] of values) changes.push([collection, id, value]);
    const temporary = `${this.snapshotPath}.new`;
    const file = openSync(temporary, 'w', 0o600);
    writeFileSync(file, JSON.stringify({ sequence: this.sequence, changes }));
    fsyncSync(file);
    closeSync(file);
    renameSync(temporary, this.snapshotPath);
    this.syncDirectory();
    ftruncateSync(this.log, 0);
    this.logBytes = 0;
    this.syncedSequence = this.sequence;
  }

  /** Two servers on one directory would overwrite each other; a lock left by a killed process does not count. */
  private lock(): void {
    const holder = existsSync(this.lockPath) ? Number(readFileSync(this.lockPath, 'utf8')) : undefined;
    const taken = holder === process.pid ? openDirectories.has(this.directory) : holder !== undefined && isAlive(holder);
    if (taken) throw new Error(`${this.directory} is in use by process ${holder}`);
    writeFileSync(this.lockPath, String(process.pid));
    openDirectories.add(this.directory);
  }

  private unlock(): void {
    openDirectories.delete(this.directory);
    rmSync(this.lockPath, { force: true });
  }
}

function writeFully(file: number, bytes: Buffer, position: number): void {
  let written = 0;
  while (written < bytes.length) written += writeSync(file, bytes, written, bytes.length - written, position + written);
}

function readRecord(line: string): { sequence: number; changes: Change[] } | undefined {
  const body = line.slice(17);
  if (line[16] !== ' ' || line.slice(0, 16) !== checksum(body)) return undefined;
  return JSON.parse(body) as { sequence: number; changes: Change[] };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
