import { KeywardenError } from './errors';

/** When a CMK is due, and what is needed for it. Pure. Times in milliseconds since the epoch. */

/** Lifetime quota of RotateKeyOnDemand, not adjustable (AWS KMS, Quotas). */
export const ON_DEMAND_QUOTA = 25;
/** From so many on, each use is reported: replacing a CMK takes weeks. */
export const ON_DEMAND_WARN = 20;
const DAY = 86_400_000;
/** KMS's own rotation is waited for so long before and after its date: an on-demand rotation then would waste one of 25, or be refused. */
const OWN_ROTATION_MS = DAY;
/** How long past its day a rotation may be until it is overdue. */
const OVERDUE_MS = DAY;

/** A CMK's key material as KMS lists it. */
export interface Materials {
  /** Id of the current material, 64 hex digits. */
  current: string;
  /** When it became current. */
  since: number;
  /** On-demand rotations used of the quota. */
  onDemand: number;
  /** When KMS will rotate by itself; absent where automatic rotation is off. */
  next?: number;
  /** An on-demand rotation is under way. */
  rotating: boolean;
}

export interface Due {
  /** What the key needs by itself: nothing; a re-wrap under what KMS has made; new material and a re-wrap. */
  needs: 'nothing' | 're-wrap' | 'material';
  overdue: boolean;
  /** When the next rotation is due. */
  at: number;
  why: string;
}

export function dueOf(m: Materials, stale: number, periodDays: number, now: number): Due {
  const at = m.since + periodDays * DAY;
  if (now >= at) {
    const own = m.next !== undefined && Math.abs(m.next - now) <= OWN_ROTATION_MS;
    const overdue = now >= at + OVERDUE_MS;
    if (own && !overdue) return { needs: stale > 0 ? 're-wrap' : 'nothing', overdue: false, at, why: `KMS rotates it by itself at ${iso(m.next!)}` };
    return { needs: 'material', overdue, at, why: `its material is ${days(now - m.since)} days old, the period is ${periodDays}` };
  }
  if (stale > 0) return { needs: 're-wrap', overdue: now >= m.since + OVERDUE_MS, at, why: `${stale} wrapped keys stand on older material since ${iso(m.since)}` };
  return { needs: 'nothing', overdue: false, at, why: `its material is ${days(now - m.since)} days old and nothing stands on older material` };
}

/** Refuses a 26th on-demand rotation before KMS does. */
export function checkQuota(m: Materials, keyId: string): void {
  if (m.onDemand < ON_DEMAND_QUOTA) return;
  throw quotaUsed(keyId);
}

export function quotaUsed(keyId: string, cause?: unknown): KeywardenError {
  return new KeywardenError('KW-ROTATION-QUOTA', `the ${ON_DEMAND_QUOTA} on-demand rotations that KMS allows in a key's life are used up`, { key: keyId, notDone: 'no new material was made', next: 'wait for the automatic rotation, or move to a new CMK', cause });
}

const iso = (ms: number): string => new Date(ms).toISOString();
const days = (ms: number): number => Math.floor(ms / DAY);
