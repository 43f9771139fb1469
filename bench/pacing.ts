import { setTimeout as pause } from 'node:timers/promises';
import type { Benchmark } from './benchmarks';
import type { MadeKey } from './keys';
import { RewrapStack, type Wrapped } from './rewrapStack';
import { percentile, spread } from './timing';

const QUOTA = 1_000;
const RESERVE_PERCENT = 20;
/** Live traffic, a second: well inside what is reserved for it. */
const LIVE = 100;

/** A rotation under a quota of 1,000 requests a second, and an application's decryptions beside it. */
export const pacing: Benchmark = {
  figures: ['pacing.use', 'pacing.throttled', 'pacing.live'],
  measures: `a rotation under a quota of ${QUOTA} requests a second, ${RESERVE_PERCENT} % of it left to live traffic`,
  async run(session) {
    const keys = session.o.full ? 60_000 : 8_000;
    const stack = await RewrapStack.start({ requestsPerSecond: QUOTA, reservePercent: RESERVE_PERCENT, concurrency: 32 }, session.note);
    try {
      const rate = QUOTA * (1 - RESERVE_PERCENT / 100);
      const { key, wrapped } = await stack.wrap(keys);
      await stack.stack.admin.setQuotas({ symmetric: QUOTA });
      const beside = live(stack, key, wrapped[0]!);
      await stack.bare(key, wrapped, rate);
      const bare = await beside.stop();
      await pause(100); // the last call of the bare loop is none of the rotation's
      const since = new Date().toISOString();
      const rotating = live(stack, key, wrapped[1]!);
      const { result } = await stack.rotate(key);
      const product = await rotating.stop();
      const calls = await stack.stack.admin.calls({ operation: 'ReEncrypt', since });
      const throttled = calls.filter((c) => c.errorCode === 'ThrottlingException').length / calls.length;
      // from the first call to the last: what the workflow does before and after is no part of the pace
      const ms = Date.parse(calls.at(-1)!.time) - Date.parse(calls[0]!.time);
      const use = ((calls.length - 1) * 1_000) / ms / rate;
      session.note(`${result.counts!.subjectKeys} keys at ${((calls.length * 1_000) / ms).toFixed(0)}/s of ${rate}; ${calls.filter((c) => c.errorCode !== undefined).length} of ${calls.length} calls refused`);
      session.note(`live beside the rotation: ${spread(product)}; beside the bare loop: ${spread(bare)}`);
      const one = (value: number) => ({ value, min: value, max: value });
      return [
        { name: 'pacing.use', unit: 'x', against: 'the quota less the reserve', goal: 0.95, atLeast: true, ...one(use) },
        { name: 'pacing.throttled', unit: 'of calls', against: 'all calls of the rotation', goal: 0.01, ...one(throttled) },
        { name: 'pacing.live', unit: 'x', against: 'p99 beside a bare loop of the same rate', goal: 1.1, ...one(percentile(product, 99) / percentile(bare, 99)) },
      ];
    } finally {
      await stack.stop();
    }
  },
};

/** Decryptions at a steady rate; answers how long each took, in milliseconds. */
function live(stack: RewrapStack, key: MadeKey, w: Wrapped): { stop(): Promise<number[]> } {
  const kms = stack.kms('application');
  const times: number[] = [];
  const open = new Set<Promise<void>>();
  const timer = setInterval(() => {
    const from = performance.now();
    const one: Promise<void> = kms.decrypt(key.keyId, w.ciphertext, stack.context(key, w.subjectId)).then(() => void times.push(performance.now() - from), () => void times.push(3_000)).finally(() => open.delete(one));
    open.add(one);
  }, 1_000 / LIVE);
  return {
    async stop() {
      clearInterval(timer);
      await Promise.all(open);
      return times;
    },
  };
}
