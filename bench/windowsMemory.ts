import type { Benchmark } from './benchmarks';
export const windowsMemory: Benchmark = { figures: [], measures: '', run: async () => [] };
