/** Mulberry32: the same "random" values on each run. */
export function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export const pick = <T>(random: () => number, from: readonly T[]): T => from[Math.floor(random() * from.length)]!;

export function randomJson(random: () => number, depth: number): unknown {
  const kind = Math.floor(random() * (depth === 0 ? 4 : 6));
  if (kind === 0) return Math.floor((random() - 0.5) * 2 ** 50);
  if (kind === 1) return pick(random, ['', 'a', '"', '\u2028', '😀', '\ud800', 'ö', '__proto__']);
  if (kind === 2) return random() < 0.5;
  if (kind === 3) return null;
  const many = Array.from({ length: Math.floor(random() * 4) }, () => randomJson(random, depth - 1));
  return kind === 4 ? many : Object.fromEntries(many.map((v) => [pick(random, ['a', 'b', 'z', '1', 'ö', '€', '']), v]));
}

/** The same value, its names in another order. */
export function shuffled(random: () => number, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((v) => shuffled(random, v));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, shuffled(random, v), random()] as const).sort((a, b) => a[2] - b[2]).map(([k, v]) => [k, v]));
}
