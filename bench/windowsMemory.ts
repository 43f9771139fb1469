import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { WORKFLOW_QUEUE } from '../domain/names';
import type { Benchmark } from './benchmarks';
import type { Windows } from './openWindows';
import { ratioOf } from './timing';

/** After the last window was opened, so long until memory is looked at. */
const SETTLE_MS = 5_000;
const SAMPLES = 5;

/**
 * Resident memory of the worker's process, with its shipped cache, that holds many open windows, against one with a hundred. Resident: heaps
 * of all threads, the native engine, buffers, code. Looked at after a garbage collection in every thread, for what V8 has not collected
 * yet depends on the machine's memory and on how busy it has just been.
 */
export const windowsMemory: Benchmark = {
  figures: ['windows.memory'],
  measures: 'resident memory of one worker with 2,000 open windows (10,000 with --full)',
  async run(session) {
    const { few, many } = await session.pair();
    await pause(SETTLE_MS);
    const samples = { few: [] as number[], many: [] as number[] };
    for (let i = 0; i < SAMPLES; i++) {
      samples.few.push(await memoryOf(few));
      samples.many.push(await memoryOf(many));
    }
    session.note(`worker with ${few.open.length} windows: ${samples.few.at(-1)!.toFixed(0)} MB; with ${many.open.length}: ${samples.many.at(-1)!.toFixed(0)} MB`);
    return [{ name: 'windows.memory', unit: 'x', against: `${few.open.length} open windows`, goal: 1.2, ...ratioOf(samples.many, samples.few, 50) }];
  },
};

async function memoryOf({ stack }: Windows): Promise<number> {
  return stack.client.workflow.execute('benchMemory', { taskQueue: WORKFLOW_QUEUE, workflowId: `benchMemory-${randomUUID()}` });
}
