import type { Benchmark } from './benchmarks';
import { LATENCY_MS, RewrapStack } from './rewrapStack';
import type { Figure } from './timing';

const ROUNDS = 3;

/** Re-wraps through the workflow, database included, against the bare SDK loop on the same KMS; the two in turn. */
export const rewrap: Benchmark = {
  figures: ['rewrap.throughput', 'rewrap.cpu', 'rewrap.events', 'rewrap.memory'],
  measures: 'a rotation of subject keys, KMS answering in 10 ms, against the bare SDK loop with the same concurrency',
  async run(session) {
    const [few, many] = session.o.full ? [10_000, 1_000_000] : [5_000, 40_000];
    const stack = await RewrapStack.start({ requestsPerSecond: 1_000_000, reservePercent: 0 }, session.note);
    try {
      const throughput: number[] = [];
      const cpu: number[] = [];
      const peaks: number[] = [];
      for (let round = 0; round <= ROUNDS; round++) {
        const { key, wrapped } = await stack.wrap(few);
        await stack.stack.admin.addFault({ kind: 'latency', operation: 'ReEncrypt', ms: LATENCY_MS });
        const bare = await stack.bare(key, wrapped);
        await stack.resetPeak();
        const { result, events: n, cpuMs } = await stack.rotate(key);
        const peak = stack.peakMegabytes();
        await stack.stack.admin.clearFaults();
        const perSecond = (few * 1_000) / result.durations!.rewrapMs;
        session.note(`${result.counts!.subjectKeys} keys: ${perSecond.toFixed(0)}/s, bare ${((few * 1_000) / bare.ms).toFixed(0)}/s; CPU ${(cpuMs / few).toFixed(2)} ms a key, bare ${(bare.cpuMs / few).toFixed(2)}; ${n} events; peak ${peak.toFixed(0)} MB`);
        if (round === 0) continue; // compiled code and connections
        throughput.push(bare.ms / result.durations!.rewrapMs);
        cpu.push(cpuMs / bare.cpuMs);
        peaks.push(peak);
      }
      const { key } = await stack.wrap(many);
      await stack.stack.admin.addFault({ kind: 'latency', operation: 'ReEncrypt', ms: LATENCY_MS });
      await stack.resetPeak();
      const { events: n } = await stack.rotate(key);
      const peak = stack.peakMegabytes();
      session.note(`${many} keys: ${n} events, peak ${peak.toFixed(0)} MB`);
      return [
        { name: 'rewrap.throughput', unit: 'x', against: 'the bare SDK loop', goal: 0.9, atLeast: true, ...spreadOf(throughput) },
        { name: 'rewrap.cpu', unit: 'x', against: 'the bare SDK loop', goal: 2, ...spreadOf(cpu) },
        { name: 'rewrap.events', unit: 'events', against: `1,000 keys, of ${many}`, goal: 10, ...spreadOf([(n * 1_000) / many]) },
        { name: 'rewrap.memory', unit: 'x', against: `${few} keys; ${many} measured`, goal: 1.1, ...spreadOf(peaks.map((p) => peak / p)) },
      ];
    } finally {
      await stack.stop();
    }
  },
};

export function spreadOf(all: readonly number[]): Pick<Figure, 'value' | 'min' | 'max'> {
  const sorted = [...all].sort((a, b) => a - b);
  return { value: sorted[Math.floor(sorted.length / 2)]!, min: sorted[0]!, max: sorted.at(-1)! };
}
