import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { WORKFLOW_QUEUE } from '../domain/names';
import type { Benchmark } from './benchmarks';
import { timeToDisabled } from './revocation';
import type { BenchStack } from './stack';
import { ratioOf, spread } from './timing';

const BLOCKS = 5;
const ROUNDS = 8;
/** Loops of activities that the flood keeps going at once, each as fast as it is answered. */
const LOOPS = 8;

/** Revocations while another workflow keeps the worker busy, against revocations on the same worker at rest; blocks of the two in turn. */
export const revokeLoaded: Benchmark = {
  figures: ['revoke.loaded'],
  measures: 'from the start of revokeKey until KMS has disabled the key, while another workflow keeps the worker busy',
  async run(session) {
    const stack = await session.stack();
    const keys = await stack.keys(2 * (BLOCKS * ROUNDS + 3));
    const calm: number[] = [];
    const loaded: number[] = [];
    const revoke = async (): Promise<number> => {
      const { ms, atRest } = await timeToDisabled(stack, keys.pop()!);
      await atRest();
      await pause(60);
      return ms;
    };
    for (let i = 0; i < 3; i++) await revoke();
    let [acts, ms] = [0, 0];
    for (let block = 0; block < BLOCKS; block++) {
      for (let i = 0; i < ROUNDS; i++) calm.push(await revoke());
      const stop = await flood(stack, keys[0]!.keyId);
      for (let i = 0; i < ROUNDS; i++) loaded.push(await revoke());
      const flooded = await stop();
      [acts, ms] = [acts + flooded.acts, ms + flooded.ms];
      await pause(300);
    }
    session.note(`at rest: ${spread(calm)}; loaded: ${spread(loaded)}; the flood did ${(acts / (ms / 1_000)).toFixed(0)} activities a second`);
    return [{ name: 'revoke.loaded', unit: 'x', against: 'revoke.disable of the same run, p50', goal: 3, ...ratioOf(loaded, calm, 50) }];
  },
};

/** Starts the flood and waits until it flows; answers how to end it. */
async function flood(stack: BenchStack, keyId: string): Promise<() => Promise<{ acts: number; ms: number }>> {
  const since = Date.now();
  const handle = await stack.client.workflow.start('benchFlood', { taskQueue: WORKFLOW_QUEUE, workflowId: `benchFlood-${randomUUID()}`, args: [LOOPS, keyId] });
  await pause(500);
  return async () => {
    await handle.signal('enough');
    return { acts: (await handle.result()) as number, ms: Date.now() - since };
  };
}
