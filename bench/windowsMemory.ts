import { setTimeout as pause } from 'node:timers/promises';
import type { Benchmark } from './benchmarks';
import { residentMegabytes } from './openWindows';
import { ratioOf } from './timing';

/** After the last window was opened, so long until memory is looked at. */
const SETTLE_MS = 10_000;
const SAMPLES = 10;

/** Resident memory of the worker's process, with its shipped cache, that holds many open windows, against one with a hundred. */
export const windowsMemory: Benchmark = {
  figures: ['windows.memory'],
  measures: 'resident memory of one worker with 2,000 open windows (10,000 with --full)',
  async run(session) {
    const { few, many } = await session.pair();
    await pause(SETTLE_MS);
    const samples = { few: [] as number[], many: [] as number[] };
    for (let i = 0; i < SAMPLES; i++, await pause(500)) {
      samples.few.push(residentMegabytes(few.stack.workerPid));
      samples.many.push(residentMegabytes(many.stack.workerPid));
    }
    session.note(`worker with ${few.open.length} windows: ${samples.few.at(-1)!.toFixed(0)} MB; with ${many.open.length}: ${samples.many.at(-1)!.toFixed(0)} MB`);
    return [{ name: 'windows.memory', unit: 'x', against: `${few.open.length} open windows`, goal: 1.2, ...ratioOf(samples.many, samples.few, 50) }];
  },
};
