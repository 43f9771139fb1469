import type { Benchmark } from './benchmarks';
export const revokeLoaded: Benchmark = { figures: [], measures: '', run: async () => [] };
