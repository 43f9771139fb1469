/**
 * The rate of KMS requests that all workers of an account and Region share. One row in the store says until when the rate is given away;
 * a worker takes a lease of requests behind that moment and spreads them over it, so nobody has to ask for each. Times in milliseconds.
 */
export interface Bucket {
  /** What is given away ends here. */
  until: number;
  /** Share of the rate that may be used, as it was at `slowedAt`; it recovers by itself. */
  share: number;
  slowedAt: number;
}

export interface Lease {
  /** The first request may go so many milliseconds from now; below 0 where the lease begins in the past (the rate was not used up). */
  startsIn: number;
  /** Between two requests. */
  every: number;
  count: number;
}

/** Unused rate of so long may be caught up. Less than the second of KMS's own bucket, so that catching up is never throttled. */
const CATCH_UP_MS = 100;
/** After a throttling: half of what was used, and back to all of it in 20 s. Many refusals of one moment count as one. */
const SLOWER = 0.5;
const RECOVER_PER_MS = 1 / 40_000;
const ONE_MOMENT_MS = 500;
const LEAST_SHARE = 1 / 32;

const fresh: Bucket = { until: 0, share: 1, slowedAt: 0 };

const shareAt = (b: Bucket, now: number): number => Math.min(1, b.share + Math.max(0, now - b.slowedAt) * RECOVER_PER_MS);

/** Gives `count` requests away, at `perSecond` together with what all others were given. */
export function lease(bucket: Bucket | undefined, o: { count: number; perSecond: number }, now: number): { bucket: Bucket; result: Lease } {
  const b = bucket ?? fresh;
  const every = 1_000 / (o.perSecond * shareAt(b, now));
  // a clock that was set back must not stop everybody until it is there again
  const from = Math.min(Math.max(b.until, now - CATCH_UP_MS), now + 60_000);
  return { bucket: { ...b, until: from + o.count * every }, result: { startsIn: from - now, every, count: o.count } };
}

/** KMS throttled somebody: all go slower, and what was given away already is waited for. */
export function slower(bucket: Bucket | undefined, now: number): { bucket: Bucket; result: void } {
  const b = bucket ?? fresh;
  if (now - b.slowedAt < ONE_MOMENT_MS) return { bucket: b, result: undefined };
  return { bucket: { ...b, share: Math.max(LEAST_SHARE, shareAt(b, now) * SLOWER), slowedAt: now }, result: undefined };
}
