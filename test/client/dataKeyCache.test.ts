import { DataKeyCache, type HeldKey } from '../../client/dataKeyCache';
import { DataKey } from '../../client/fieldFormat';
import { pick, seeded } from '../domain/random';

const held = (keyId: string, since: number): HeldKey => ({ key: new DataKey(new Uint8Array(32).fill(7), { application: 'a', environment: 'e', purpose: 'p', subjectId: 's' }), keyId, since, uses: 0 });
const zeroed = (k: HeldKey): boolean => (k.key as unknown as { key: Buffer }).key.every((b) => b === 0);

describe('the cache of plaintext data keys', () => {
  it('holds no more than its bound; the longest unused goes, zeroed (rule 7)', () => {
    const cache = new DataKeyCache({ maxEntries: 2, maxAgeMs: 1_000, maxUses: 10 });
    const keys = ['a', 'b', 'c'].map((n) => held(n, 0));
    cache.put('a', keys[0]!);
    cache.put('b', keys[1]!);
    cache.use('a', 1);
    cache.put('c', keys[2]!);
    expect([cache.size, keys.map(zeroed)]).toEqual([2, [false, true, false]]);
    expect(cache.use('b', 1)).toBeUndefined();
  });

  it('gives a key no longer than its age, also when the clock was set back', () => {
    const cache = new DataKeyCache({ maxEntries: 2, maxAgeMs: 1_000, maxUses: 10 });
    cache.put('a', held('k', 5_000));
    expect(cache.use('a', 5_999)).toBeDefined();
    expect(cache.use('a', 6_000)).toBeUndefined();
    expect(cache.use('a', 4_999)).toBeUndefined();
    expect(cache.use('a', 6_000, true)).toBeDefined();
  });

  it('gives a key no more often than its uses, then drops it', () => {
    const cache = new DataKeyCache({ maxEntries: 2, maxAgeMs: 1_000, maxUses: 3 });
    const key = held('k', 0);
    cache.put('a', key);
    expect(Array.from({ length: 4 }, () => cache.use('a', 1) !== undefined)).toEqual([true, true, true, false]);
    expect([zeroed(key), cache.size]).toEqual([true, 0]);
  });

  it('zeroes what a later key replaces', () => {
    const cache = new DataKeyCache({ maxEntries: 2, maxAgeMs: 1_000, maxUses: 3 });
    const [first, second] = [held('k', 0), held('k', 1)];
    cache.put('a', first);
    cache.put('a', second);
    expect([zeroed(first), zeroed(second), cache.size]).toEqual([true, false, 1]);
  });

  it('after any sequence holds only live keys within its bounds, and every key that it let go is zeroed', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = seeded(seed);
      const bounds = { maxEntries: 1 + Math.floor(random() * 5), maxAgeMs: 50, maxUses: 1 + Math.floor(random() * 4) };
      const cache = new DataKeyCache(bounds);
      const all: HeldKey[] = [];
      for (let now = 0; now < 400; now += Math.floor(random() * 5)) {
        const name = pick(random, ['a', 'b', 'c', 'd', 'e', 'f', 'g']);
        const act = random();
        if (act < 0.4) {
          const key = held(pick(random, ['k1', 'k2']), now);
          all.push(key);
          cache.put(name, key);
        } else if (act < 0.85) cache.use(name, now)?.seal('f', Buffer.alloc(0)); // would throw for a dropped key
        else if (act < 0.92) cache.dropWhere((k) => k.keyId === 'k1');
        else cache.dropAged(now);
        expect(cache.size).toBeLessThanOrEqual(bounds.maxEntries);
        expect(all.filter((k) => !zeroed(k)).length).toBe(cache.size);
        expect(all.every((k) => k.uses <= bounds.maxUses)).toBe(true);
      }
    }
  });
});
