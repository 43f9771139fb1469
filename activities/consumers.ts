import type { Consumers, EmergencyActivities } from '../domain/activities';
import { KeywardenError } from '../domain/errors';
import type { RecoveryWindow } from '../domain/keyRow';
import type { ConsumerSeen } from '../stores/store';
import type { Deps } from './deps';
import { now } from './execution';

/** What a process may say of itself at most; the library allows no more. */
const LONGEST_DRAIN_MS = 3 * 3_600_000;
/** Histories stay small however many processes there are. */
const NAMED = 20;

/** Who held keys under a CMK when it was revoked, and who has dropped them, for the emergency duty. Reads only. */
export function consumerActivities(deps: Deps): Pick<EmergencyActivities, 'consumers'> {
  return {
    async consumers({ keyId }): Promise<Consumers> {
      const row = await deps.store.readKey(keyId);
      if (row?.window === undefined) throw new KeywardenError('KW-NOT-YET', 'the window is not recorded yet', { key: keyId, notDone: 'nobody was waited for', next: 'it is looked at again' });
      const { window, epoch } = row;
      const sinceMs = Math.max(0, now(deps) - Date.parse(window.revokedAt));
      const there = (await deps.store.consumersOf(row.purpose, keyId)).filter((c) => c.lastSeenMsAgo < sinceMs + drainsWithin(c));
      const acknowledged = there.filter((c) => (c.acknowledged?.epoch ?? -1) >= epoch);
      const missing = there.filter((c) => !acknowledged.includes(c));
      const lapsed = missing.filter((c) => isDrained(c, sinceMs, window));
      const waiting = missing.filter((c) => !lapsed.includes(c));
      const named = (some: ConsumerSeen[]): Consumers['waiting'] => some.slice(0, NAMED).map((c) => ({ consumerId: c.consumerId.slice(0, 200), lastSeenMsAgo: c.lastSeenMsAgo }));
      return {
        total: there.length,
        acknowledged: acknowledged.length,
        ...(acknowledged.length === 0 ? {} : { lastAfterMs: Math.max(...acknowledged.map((c) => Math.max(0, sinceMs - c.acknowledged!.msAgo))) }),
        waitingCount: waiting.length,
        waiting: named(waiting),
        lapsed: named(lapsed),
      };
    },
  };
}

const drainsWithin = (c: ConsumerSeen): number => Math.min(c.drainsWithinMs, LONGEST_DRAIN_MS);

/** KMS opens no key since the disabling, and what a process had opened before it drops by age: it holds nothing any more, whether it lives or not. */
function isDrained(c: ConsumerSeen, sinceMs: number, window: RecoveryWindow): boolean {
  return window.disabling.length === 0 && sinceMs > drainsWithin(c);
}
