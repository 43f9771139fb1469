import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { WORKFLOW_QUEUE } from '../domain/names';
import type { Benchmark } from './benchmarks';
import type { MadeKey } from './keys';
import { disabledAt, timeToDisabled } from './revocation';
import type { BenchStack } from './stack';
import { exactNow, ratioOf, spread } from './timing';

const ROUNDS = 150;
const WARM_UP = 10;
const GOAL = 2;

/** A revocation against the least that the engine and KMS take for one activity and one call; the two in turn, in random order. */
export const revokeDisable: Benchmark = {
  figures: ['revoke.disable', 'revoke.disable.p99'],
  measures: 'from the start of revokeKey until KMS has disabled the key',
  async run(session) {
    const stack = await session.stack();
    const keys = await stack.keys(ROUNDS + WARM_UP);
    const [spare] = await stack.keys(1);
    const revoking: number[] = [];
    const engine: number[] = [];
    const bare: number[] = [];
    for (const [round, key] of keys.entries()) {
      const floor = async (): Promise<void> => void (engine.push(await engineFloor(stack)), bare.push(await bareCall(stack, spare!)));
      const revoke = async (): Promise<void> => {
        const { ms, atRest } = await timeToDisabled(stack, key);
        revoking.push(ms);
        await atRest();
      };
      for (const act of Math.random() < 0.5 ? [floor, revoke] : [revoke, floor]) {
        await act();
        await pause(60);
      }
      if (round === WARM_UP - 1) for (const series of [revoking, engine, bare]) series.length = 0;
    }
    const floors = engine.map((ms, i) => ms + bare[i]!);
    session.note(`revocation: ${spread(revoking)}; empty activity: ${spread(engine)}; bare DisableKey: ${spread(bare)}`);
    const against = 'empty workflow with one empty activity + bare DisableKey';
    return [
      { name: 'revoke.disable', unit: 'x', against: `${against}, p50`, goal: GOAL, ...ratioOf(revoking, floors, 50) },
      { name: 'revoke.disable.p99', unit: 'x', against: `${against}, p99`, goal: GOAL, ...ratioOf(revoking, floors, 99) },
    ];
  },
};

/** From the start of an empty workflow until its empty activity runs: not until the client hears of it, which a revocation need not wait for either. */
async function engineFloor(stack: BenchStack): Promise<number> {
  const since = exactNow();
  const handle = await stack.client.workflow.start('benchFloor', { taskQueue: WORKFLOW_QUEUE, workflowId: `benchFloor-${randomUUID()}` });
  return ((await handle.result()) as number) - since;
}

/** DisableKey in every Region at once, by the SDK alone, on connections that are open. */
async function bareCall(stack: BenchStack, key: MadeKey): Promise<number> {
  const { regions } = stack.config;
  await Promise.all(regions.map((region) => stack.kms('recovery').get(region)!.enable(key.keyId)));
  await Promise.all(regions.map((region) => stack.kms('emergency').get(region)!.describe(key.keyId)));
  const since = exactNow();
  await Promise.all(regions.map((region) => stack.kms('emergency').get(region)!.disable(key.keyId)));
  return (await disabledAt(stack, key.keyId, since, regions.length)) - since;
}
