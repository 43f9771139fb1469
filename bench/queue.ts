/** What the benchmarks' workflows and their worker share; nothing here may load a worker or a file system. */
export const BENCH_QUEUE = 'keywarden-bench';

export interface BenchActivities {
  /** Does nothing; answers when, in milliseconds since the epoch. */
  moment(): Promise<number>;
  /** Collects the garbage of every thread of the worker's process; answers its resident memory then, in megabytes. */
  residentMegabytes(): Promise<number>;
}
