/** The rules of rotation, pure. Source: AWS KMS Developer Guide, "Rotate AWS KMS keys". Times in milliseconds. */
import { symmetricMaterial } from './material';
import { DAY, type Material, type SharedKey } from './model';

export const DEFAULT_PERIOD_IN_DAYS = 365;
/** Not adjustable, for the life of the key. */
export const ON_DEMAND_LIMIT = 25;
/** RotateKeyOnDemand is refused this close to an automatic rotation. */
export const CONFLICT_WINDOW = 20 * 60_000;

export function withNewMaterial(shared: SharedKey, rotatedAt: number, rotationType: 'AUTOMATIC' | 'ON_DEMAND'): SharedKey {
  const material: Material = { ...symmetricMaterial(), rotatedAt, rotationType };
  return { ...shared, materials: [...shared.materials, material] };
}

/** One automatic rotation at its date; the next one follows a period later. */
export function rotateOnSchedule(shared: SharedKey): SharedKey {
  const { periodInDays, nextDate } = shared.rotation!;
  return { ...withNewMaterial(shared, nextDate, 'AUTOMATIC'), rotation: { periodInDays, nextDate: nextDate + periodInDays * DAY } };
}

/** On enabling: however many dates were missed, one rotation happens now, and the schedule goes on from where it was. */
export function catchUpRotation(shared: SharedKey, now: number): SharedKey {
  if (shared.rotation === undefined || shared.rotation.nextDate > now) return shared;
  const period = shared.rotation.periodInDays * DAY;
  const missed = Math.floor((now - shared.rotation.nextDate) / period) + 1;
  return { ...withNewMaterial(shared, now, 'AUTOMATIC'), rotation: { ...shared.rotation, nextDate: shared.rotation.nextDate + missed * period } };
}

export const onDemandRotations = (shared: SharedKey): number =>
  shared.materials.filter(({ rotationType }) => rotationType === 'ON_DEMAND').length + (shared.onDemand === undefined ? 0 : 1);

export function completeOnDemand({ onDemand, ...shared }: SharedKey): SharedKey {
  return withNewMaterial(shared, onDemand!.startedAt, 'ON_DEMAND');
}
