import { execFileSync } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import type { ProcedureStatus } from '../domain/status';
import { sideBySide, type MadeKey } from './keys';
import { BenchStack } from './stack';

/** The size that the others are held against. */
const FEW = 100;
/** Revocations that are opened side by side: as fast as one machine does it, without time-outs. */
const AT_ONCE = 12;

export interface OpenWindow {
  key: MadeKey;
  handle: WorkflowHandle;
}

export interface Windows {
  stack: BenchStack;
  /** In the order in which they were opened. */
  open: OpenWindow[];
}

export interface Pair {
  few: Windows;
  many: Windows;
  stop(): Promise<void>;
}

/** Two stacks, each with one worker: one with a hundred open windows, one with many. Both go on side by side. */
export async function openPair(many: number, note: (text: string) => void): Promise<Pair> {
  const stacks = await Promise.all([FEW, many].map((n) => BenchStack.start(n, note)));
  const [few, rest] = stacks as [BenchStack, BenchStack];
  try {
    const pair = { few: { stack: few, open: await openWindows(few, FEW, note) }, many: { stack: rest, open: await openWindows(rest, many, note) } };
    return { ...pair, stop: async () => void (await Promise.all(stacks.map((s) => s.stop()))) };
  } catch (error) {
    await Promise.all(stacks.map((s) => s.stop()));
    throw error;
  }
}

/**
 * Keys that are down already are adopted: no signature, and all the rest of a revocation (alert, census, proof of effect, row, window).
 * The quickest way to an open window that is still the whole procedure.
 */
async function openWindows(stack: BenchStack, count: number, note: (text: string) => void): Promise<OpenWindow[]> {
  const began = Date.now();
  const keys = await stack.keys(count, { disabled: true });
  note(`${count} keys made and disabled in ${seconds(began)}`);
  const from = Date.now();
  let done = 0;
  const open = await sideBySide(keys, AT_ONCE, async (key) => {
    const handle = await (await stack.revocation(key, false))();
    for (;;) {
      await pause(150);
      const { steps } = await handle.query<ProcedureStatus>('status');
      if (['alert', 'open-window', 'prove-effect', 'census'].every((name) => steps.find((s) => s.name === name)?.state === 'done')) break;
    }
    if (++done % 500 === 0) note(`${done} windows open after ${seconds(from)}`);
    return { key, handle };
  });
  note(`${count} windows open in ${seconds(from)}`);
  return open;
}

/** Resident memory of a process in megabytes: heaps of all its threads, the native engine, buffers, code. */
export function residentMegabytes(pid: number): number {
  return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) / 1_024;
}

const seconds = (since: number): string => `${((Date.now() - since) / 1_000).toFixed(1)} s`;
