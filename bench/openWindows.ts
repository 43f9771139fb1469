import { setTimeout as pause } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import { sideBySide, type MadeKey } from './keys';
import { BenchStack } from './stack';

/** The size that the others are held against. */
const FEW = 100;
/** Revocations under way at a time: as many as keep the worker busy, and fewer than it caches. */
const AT_ONCE = 30;

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
  const open: OpenWindow[] = [];
  let told = 0;
  for (let done = 0; done < count; ) {
    // asked of the server's index: a query would be one more task for the very worker
    done = (await stack.client.workflow.count(`WorkflowType = 'revokeKey' AND KeywardenPhase = 'window open'`)).count;
    const starting = keys.slice(open.length, done + AT_ONCE);
    open.push(...(await sideBySide(starting, AT_ONCE, async (key) => ({ key, handle: await (await stack.revocation(key, false))() }))));
    if (done >= told + 500) note(`${(told = done)} windows open after ${seconds(from)}`);
    if (starting.length === 0) await pause(100);
  }
  for (const { handle } of open.slice(-AT_ONCE)) await stack.atRest(handle);
  note(`${count} windows open in ${seconds(from)}`);
  return open;
}

const seconds = (since: number): string => `${((Date.now() - since) / 1_000).toFixed(1)} s`;
