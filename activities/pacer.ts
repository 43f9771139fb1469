import type { Config } from '../domain/config';
import { lease, slower } from '../domain/pacing';
import type { Store } from '../stores/store';

/** A lease is as many requests as fit in this time: few calls of the store, and what a killed worker took is lost for no longer. */
const LEASE_MS = 500;
/** A lease that nobody used in its time is over: spending it later would be a burst. */
const LATE_MS = 250;

interface Held {
  nextAt: number;
  every: number;
  left: number;
}

/**
 * Lets KMS requests of this process go, a few at once and at the rate that all workers of the account and Region share (domain/pacing.ts).
 * One for each Region in a process: every stretch of every rotation goes through it.
 */
export class Pacer {
  private leases: Held[] = [];
  private coming: Promise<void> | undefined;
  private underWay = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly store: Pick<Store, 'changeBucket'>, private readonly name: string, private readonly config: Config['rewrap']) {}

  /** Runs `call` when there is room for it and its moment has come. */
  async run<T>(call: () => Promise<T>): Promise<T> {
    if (this.underWay < this.config.concurrency) this.underWay++;
    else await new Promise<void>((resolve) => this.waiting.push(resolve)); // the room is handed over
    try {
      await this.moment();
      return await call();
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.underWay--;
      else next();
    }
  }

  /** KMS throttled a request: everybody's rate falls, and rises again by itself. */
  async throttled(): Promise<void> {
    this.leases = [];
    await this.store.changeBucket(this.name, slower);
  }

  private async moment(): Promise<void> {
    let at: number | undefined;
    while ((at = this.take()) === undefined) await this.renew();
    const wait = at - performance.now();
    // a timer is a millisecond late anyway: below that, going at once keeps the rate truer
    if (wait >= 1) await new Promise((resolve) => setTimeout(resolve, wait));
  }

  /** The next moment of what is leased; a further lease is asked for before this one is used up. */
  private take(): number | undefined {
    const now = performance.now();
    this.leases = this.leases.filter((l) => l.left > 0 && l.nextAt + l.left * l.every > now - LATE_MS);
    const [first] = this.leases;
    if (first === undefined) return undefined;
    const at = first.nextAt;
    first.nextAt += first.every;
    first.left--;
    // one that fails is asked for again by whoever needs it
    if (this.leases.length === 1 && first.left * first.every < LEASE_MS / 2) this.renew().catch(() => undefined);
    return at;
  }

  private renew(): Promise<void> {
    return (this.coming ??= this.ask().finally(() => (this.coming = undefined)));
  }

  private async ask(): Promise<void> {
    const perSecond = Math.max(1, this.config.requestsPerSecond * (1 - this.config.reservePercent / 100));
    const count = Math.max(1, Math.ceil((perSecond * LEASE_MS) / 1_000));
    const given = await this.store.changeBucket(this.name, (bucket, now) => lease(bucket, { count, perSecond }, now));
    this.leases.push({ nextAt: performance.now() + given.startsIn, every: given.every, left: given.count });
  }
}
