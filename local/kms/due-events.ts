/**
 * What happens when time passes: deletions, automatic rotations, on-demand rotations that finish.
 * Evaluated before each request, in the order of their dates, so that a clock set years ahead gives the same history
 * as one that ran.
 */
import { aliasId, DAY, regionalId, type RegionalKey, type SharedKey } from './model';
import { completeOnDemand, rotateOnSchedule } from './rotation-schedule';
import type { Change, Store } from './store';

export interface DueEvent {
  readonly at: number;
  /** CloudTrail's name for it. */
  readonly name: 'DeleteKey' | 'RotateKey' | 'RotateKeyOnDemand';
  readonly keyId: string;
  readonly region: string;
}

/** The next event of a key in a Region, if it has one. Rotation is the primary's. */
export function nextEventOf(regional: RegionalKey, shared: SharedKey): DueEvent | undefined {
  const { keyId, region } = regional;
  const events: DueEvent[] = [];
  if (regional.state === 'PendingDeletion') events.push({ at: regional.deletionDate!, name: 'DeleteKey', keyId, region });
  if (shared.primaryRegion === region) {
    if (shared.onDemand !== undefined) events.push({ at: shared.onDemand.completesAt, name: 'RotateKeyOnDemand', keyId, region });
    // a disabled or dying key does not rotate; enabling it catches up
    if (shared.rotation !== undefined && regional.state === 'Enabled') events.push({ at: shared.rotation.nextDate, name: 'RotateKey', keyId, region });
  }
  return events.sort((a, b) => a.at - b.at)[0];
}

export function changesOf(store: Store, event: DueEvent): Change[] {
  const shared = store.get('shared', event.keyId)!;
  if (event.name === 'RotateKey') return [['shared', event.keyId, rotateOnSchedule(shared)]];
  if (event.name === 'RotateKeyOnDemand') return [['shared', event.keyId, completeOnDemand(shared)]];
  return deletionOf(store, event, shared);
}

/** The key goes with its aliases and grants; a primary that waited for its last replica starts its own window. */
function deletionOf(store: Store, { at, keyId, region }: DueEvent, shared: SharedKey): Change[] {
  const changes: Change[] = [['key', regionalId(region, keyId), null]];
  for (const alias of store.childrenOf('alias', region)) if (alias.keyId === keyId) changes.push(['alias', aliasId(region, alias.name), null]);
  for (const grant of store.childrenOf('grant', regionalId(region, keyId))) changes.push(['grant', `${regionalId(region, keyId)}/${grant.grantId}`, null]);
  const regions = shared.regions.filter((other) => other !== region);
  changes.push(['shared', keyId, regions.length === 0 ? null : { ...shared, regions }]);
  const primary = store.get('key', regionalId(shared.primaryRegion, keyId));
  if (regions.length === 1 && primary?.state === 'PendingReplicaDeletion') {
    changes.push(['key', regionalId(primary.region, keyId), { ...primary, state: 'PendingDeletion', deletionDate: at + primary.pendingWindowInDays! * DAY }]);
  }
  return changes;
}

/** Keeps the date of the earliest event, so that a request before it costs one comparison. */
export class Agenda {
  private earliest = 0;

  constructor(private readonly store: Store) {}

  /** To be called with every change: the earliest date can only move forward by running. */
  noteChanges(changes: readonly Change[]): void {
    for (const [collection, id] of changes) {
      if (collection !== 'key' && collection !== 'shared') continue;
      const shared = this.store.get('shared', collection === 'shared' ? id : id.slice(id.indexOf('/') + 1));
      for (const region of shared?.regions ?? []) {
        const regional = this.store.get('key', regionalId(region, shared!.keyId));
        const event = regional && nextEventOf(regional, shared!);
        if (event !== undefined && event.at < this.earliest) this.earliest = event.at;
      }
    }
  }

  /** Runs everything due by `now`, oldest first. `commit` writes the changes of one event. */
  run(now: number, commit: (event: DueEvent, changes: Change[]) => void): void {
    while (now >= this.earliest) {
      let next: DueEvent | undefined;
      const due: DueEvent[] = [];
      let later = Infinity;
      for (const regional of this.store.all('key')) {
        next = nextEventOf(regional, this.store.get('shared', regional.keyId)!);
        if (next === undefined) continue;
        if (next.at <= now) due.push(next);
        else later = Math.min(later, next.at);
      }
      if (due.length === 0) {
        this.earliest = later;
        return;
      }
      for (const event of due.sort((a, b) => a.at - b.at)) {
        // an earlier event of this pass may have moved or removed this one
        const regional = this.store.get('key', regionalId(event.region, event.keyId));
        const shared = this.store.get('shared', event.keyId);
        const current = regional && shared && nextEventOf(regional, shared);
        if (current !== undefined && current.at === event.at && current.name === event.name) commit(event, changesOf(this.store, event));
      }
    }
  }
}
