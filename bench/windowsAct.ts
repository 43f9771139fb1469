import type { Benchmark } from './benchmarks';
export const windowsAct: Benchmark = { figures: [], measures: '', run: async () => [] };
