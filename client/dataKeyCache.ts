import type { DataKey } from './fieldFormat';

export interface CacheBounds {
  /** Data keys held in the clear at once. */
  maxEntries: number;
  /** How long one is held, in milliseconds. */
  maxAgeMs: number;
  /** How often one is used before it is unwrapped anew. */
  maxUses: number;
}

export interface HeldKey {
  key: DataKey;
  /** The CMK that wraps it. */
  keyId: string;
  /** When it was unwrapped, milliseconds since the epoch. */
  since: number;
  uses: number;
}

/** Plaintext data keys, bounded in number, age and uses; each is zeroed when it goes (rule 7). The longest unused goes first. */
export class DataKeyCache {
  private readonly held = new Map<string, HeldKey>();

  constructor(private readonly bounds: CacheBounds) {}

  get size(): number {
    return this.held.size;
  }

  /** A key that may be used now, its use counted; with `aged`, also one past its age. Use it before the next `await`: it may be dropped then. */
  use(name: string, now: number, aged = false): DataKey | undefined {
    const found = this.held.get(name);
    if (found === undefined) return undefined;
    if (found.uses >= this.bounds.maxUses) {
      this.drop(name);
      return undefined;
    }
    if (!aged && this.isAged(found, now)) return undefined;
    found.uses++;
    this.held.delete(name);
    this.held.set(name, found);
    return found.key;
  }

  put(name: string, key: HeldKey): void {
    this.drop(name);
    this.held.set(name, key);
    while (this.held.size > this.bounds.maxEntries) this.drop(this.held.keys().next().value!);
  }

  drop(name: string): void {
    this.held.get(name)?.key.drop();
    this.held.delete(name);
  }

  dropWhere(unwanted: (key: HeldKey, name: string) => boolean): void {
    for (const [name, key] of this.held) if (unwanted(key, name)) this.drop(name);
  }

  dropAged(now: number): void {
    this.dropWhere((key) => this.isAged(key, now));
  }

  /** A clock that was set back makes a key look younger than it is: one from the future is past its age. */
  private isAged({ since }: HeldKey, now: number): boolean {
    return now - since >= this.bounds.maxAgeMs || now < since;
  }
}
