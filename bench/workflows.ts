/** The product's workflows and two of the benchmarks' own, in one bundle: so the floor is measured on the very worker that revokes. */
import { condition, defineSignal, proxyActivities, setHandler } from '@temporalio/workflow';
import type { EmergencyActivities } from '../domain/activities';
import { activityQueue } from '../domain/names';
import { BENCH_QUEUE, type BenchActivities } from './queue';

export { initializeKeys, recoverKey, revokeKey, rotateKey } from '../workflows';

const empty = proxyActivities<BenchActivities>({ taskQueue: BENCH_QUEUE, startToCloseTimeout: '20 s' });
const emergency = proxyActivities<EmergencyActivities>({ taskQueue: activityQueue('emergency'), startToCloseTimeout: '20 s' });

/** The engine's floor: one empty activity. Answers the moment at which it ran. */
export async function benchFloor(): Promise<number> {
  return empty.moment();
}

/** What the worker's process holds when nothing that could go is left in it. */
export async function benchMemory(): Promise<number> {
  return empty.residentMegabytes();
}

export const enough = defineSignal('enough');

/** Keeps the worker busy: loops of activities on the very queue that revokes, and a workflow task after each. */
export async function benchFlood(loops: number, keyId: string): Promise<number> {
  let over = false;
  let done = 0;
  setHandler(enough, () => void (over = true));
  const loop = async (): Promise<void> => {
    for (; !over && done < 5_000; done++) await emergency.census({ keyId });
  };
  await Promise.all(Array.from({ length: loops }, loop));
  await condition(() => over);
  return done;
}
