import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { identityOf, isAlive, type ProcessIdentity } from './process-identity';

export interface FolderLock {
  release(): void;
}

/**
 * Takes a lock file for this process, or answers who holds it. A lock whose process is dead is taken over.
 * The file appears whole (written aside, then linked), so a reader never meets half of one.
 */
export function takeLock(path: string): FolderLock | { heldBy: ProcessIdentity } {
  mkdirSync(dirname(path), { recursive: true });
  const me = identityOf(process.pid) ?? { pid: process.pid, started: '', command: '' };
  const aside = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  writeFileSync(aside, JSON.stringify(me));
  try {
    for (;;) {
      if (linked(aside, path)) return { release: () => releaseIfOurs(path, me) };
      const owner = readOwner(path);
      if (owner !== undefined && isAlive(owner)) return { heldBy: owner };
      moveStaleAway(path, `${aside}.stale`);
    }
  } finally {
    rmSync(aside, { force: true });
  }
}

/** Who holds the lock now, if that process lives. */
export function lockHolder(path: string): ProcessIdentity | undefined {
  const owner = readOwner(path);
  return owner !== undefined && isAlive(owner) ? owner : undefined;
}

function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw e;
  }
}

/** Two may find the same dead lock: whoever moves away the winner's fresh one by mistake puts it back. */
function moveStaleAway(path: string, to: string): void {
  try {
    renameSync(path, to);
  } catch {
    return; // the other one was quicker
  }
  const moved = readOwner(to);
  if (moved !== undefined && isAlive(moved)) linked(to, path);
  rmSync(to, { force: true });
}

function readOwner(path: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as ProcessIdentity;
  } catch {
    return undefined;
  }
}

function releaseIfOurs(path: string, me: ProcessIdentity): void {
  const owner = readOwner(path);
  if (owner?.pid === me.pid && owner.started === me.started) rmSync(path, { force: true });
}
