/** One request on its way through an operation: who, where, when, what it may read, what it will change. */
import type { Change, Store } from './store';
import type { Collection, Collections } from './model';
import type { LastUsage } from './last-usage';
import type { Principal } from './principals';
import type { InputOf, Shape } from './validate';

/** What a reader sees: the store, or for a lagging Region the values before a recent change. */
export interface View {
  get<C extends Collection>(collection: C, id: string): Collections[C] | undefined;
  childrenOf<C extends Collection>(collection: C, parent: string): Iterable<Collections[C]>;
}

export interface Settings {
  readonly account: string;
  readonly regions: readonly string[];
  /** How long Creating, Updating and an on-demand rotation last, in milliseconds. */
  readonly propagationMs: number;
  readonly usage: LastUsage;
}

/** What the record of the call will hold besides who and when. */
export interface Trace { keyArn?: string; encryptionContextKeys?: string[] }

export class Call {
  readonly changes: Change[] = [];
  readonly trace: Trace = {};

  constructor(
    readonly operation: string,
    readonly region: string,
    readonly principal: Principal,
    readonly requestId: string,
    /** Emulated time, milliseconds. */
    readonly now: number,
    readonly settings: Settings,
    readonly view: View,
    /** Never lagging: grant tokens make a grant effective at once. */
    readonly truth: View,
  ) {}

  /** Staged: nothing is written or visible before the operation has succeeded as a whole. */
  put<C extends Collection>(collection: C, id: string, value: Collections[C]): void {
    this.changes.push([collection, id, value]);
  }

  remove(collection: Collection, id: string): void {
    this.changes.push([collection, id, null]);
  }
}

/** Reads as they are while a Region lags behind: overlays the values that recent changes replaced. */
export class LaggingView implements View {
  constructor(private readonly store: Store, private readonly region: string) {}

  get<C extends Collection>(collection: C, id: string): Collections[C] | undefined {
    const behind = this.store.lagging(collection, this.region);
    return behind.has(id) ? behind.get(id) : this.store.get(collection, id);
  }

  *childrenOf<C extends Collection>(collection: C, parent: string): Generator<Collections[C]> {
    const behind = this.store.lagging(collection, this.region);
    const replaced = new Map<unknown, Collections[C] | undefined>();
    for (const [id, value] of behind) {
      if (id.slice(0, Math.max(0, id.lastIndexOf('/'))) === parent) replaced.set(this.store.get(collection, id), value);
    }
    for (const value of this.store.childrenOf(collection, parent)) {
      if (!replaced.has(value)) yield value;
    }
    for (const value of replaced.values()) if (value !== undefined) yield value;
  }
}

export interface Operation {
  readonly name: string;
  readonly shape: Shape;
  run(call: Call, input: any): object | void | Promise<object | void>;
}

export const operation = <S extends Shape>(name: string, shape: S, run: (call: Call, input: InputOf<S>) => object | void | Promise<object | void>): Operation =>
  ({ name, shape, run });
