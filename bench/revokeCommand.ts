import type { Benchmark } from './benchmarks';
export const revokeCommand: Benchmark = { figures: [], measures: '', run: async () => [] };
