import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

/** A process as it can be told from a later one that got the same pid. */
export interface ProcessIdentity {
  pid: number;
  /** When it started (Linux: clock ticks since boot; elsewhere ps's `lstart`). */
  started: string;
  /** Its command line, arguments joined by a space. */
  command: string;
}

/** Identity of a live process, or undefined when there is none (a zombie is none). */
export function identityOf(pid: number): ProcessIdentity | undefined {
  return existsSync('/proc/self/stat') ? fromProc(pid) : fromPs(pid);
}

/** Whether the very process of this identity, not a successor of its pid, is alive. */
export function isAlive(known: ProcessIdentity): boolean {
  const now = identityOf(known.pid);
  return now !== undefined && now.started === known.started && now.command === known.command;
}

/** Kills exactly this process, if it still is the one, and waits until it is gone. Answers whether it had to. */
export async function killExactly(known: ProcessIdentity, graceMs = 3_000): Promise<boolean> {
  if (!isAlive(known)) return false;
  signal(known.pid, graceMs > 0 ? 'SIGTERM' : 'SIGKILL');
  if (!(await goneWithin(known, graceMs))) {
    signal(known.pid, 'SIGKILL');
    await goneWithin(known, 5_000);
  }
  return true;
}

async function goneWithin(known: ProcessIdentity, ms: number): Promise<boolean> {
  const end = Date.now() + ms;
  while (isAlive(known)) {
    if (Date.now() >= end) return false;
    await pause(25);
  }
  return true;
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // gone between the look and the signal
  }
}

function fromProc(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // the second field, the name, may itself hold spaces and brackets: count from the last bracket
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim();
    return { pid, started: fields[19] ?? '', command };
  } catch {
    return undefined;
  }
}

function fromPs(pid: number): ProcessIdentity | undefined {
  try {
    const line = execFileSync('ps', ['-p', String(pid), '-o', 'stat=,lstart=,command='], { encoding: 'utf8' }).trim();
    const [, stat = 'Z', started = '', command = ''] = /^(\S+)\s+(\S+\s+\S+\s+\d+\s+[\d:]+\s+\d+)\s+(.*)$/s.exec(line) ?? [];
    return stat.startsWith('Z') ? undefined : { pid, started, command };
  } catch {
    return undefined;
  }
}
