/** One benchmark's answer, as `--json` prints it. `value` is a ratio unless `unit` says otherwise. */
export interface Figure {
  name: string;
  value: number;
  unit: string;
  /** What it was measured against, in the same run. */
  against: string;
  /** At most this; with `atLeast`, at least. */
  goal: number;
  atLeast?: true;
  /** Of the same figure over the fifths of the run: how far it can be trusted. */
  min: number;
  max: number;
}

export const isMet = (f: Pick<Figure, 'value' | 'goal' | 'atLeast'>): boolean => (f.atLeast === true ? f.value >= f.goal : f.value <= f.goal);

/** Milliseconds since the epoch, finer than `Date.now`. */
export const exactNow = (): number => performance.timeOrigin + performance.now();

/** Nearest rank, as latency is commonly told: the p99 of a hundred is the ninety-ninth. */
export function percentile(times: readonly number[], p: number): number {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)] ?? Number.NaN;
}

export const median = (times: readonly number[]): number => percentile(times, 50);

const FIFTHS = 5;

/** The ratio of two percentiles of two series that were measured in turn, and its range over the fifths of the run. */
export function ratioOf(measured: readonly number[], against: readonly number[], p: number): Pick<Figure, 'value' | 'min' | 'max'> {
  const size = Math.ceil(measured.length / FIFTHS);
  const parts = Array.from({ length: FIFTHS }, (_, i) => [measured.slice(i * size, (i + 1) * size), against.slice(i * size, (i + 1) * size)] as const)
    .filter(([a, b]) => a.length > 0 && b.length > 0)
    .map(([a, b]) => percentile(a, p) / percentile(b, p));
  return { value: percentile(measured, p) / percentile(against, p), min: Math.min(...parts), max: Math.max(...parts) };
}

/** For the note beside a figure: `p50 21.4 ms, p99 40.2 ms`. */
export function spread(times: readonly number[]): string {
  return `p50 ${median(times).toFixed(1)} ms, p99 ${percentile(times, 99).toFixed(1)} ms`;
}
