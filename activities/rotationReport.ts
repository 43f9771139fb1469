import type { Config } from '../domain/config';
import { KeywardenError } from '../domain/errors';
import { openWindowOf } from '../domain/keyRow';
import { aliasOf } from '../domain/names';
import { dueOf } from '../domain/rotation';
import type { Store } from '../stores/store';
import type { RegionalKms } from './kms';
import { materialsOf, rotationTarget } from './materials';
import { staleColumnKeys } from './rotation';

/** How a CMK stands against its period: asked of KMS and the store, with no workflow in between. Times ISO 8601. */
export interface RotationReport {
  purpose: string;
  keyId?: string;
  pass: boolean;
  /** When the current material was made. */
  last?: string;
  next?: string;
  ageDays?: number;
  /** Wrapped keys on older material, those that do not open among them. */
  stale?: number;
  setAside?: number;
  /** On-demand rotations used. */
  onDemand?: number;
  why: string;
}

export async function rotationReport(from: { config: Config; kms: ReadonlyMap<string, RegionalKms>; store: Store; now: number }, purpose: string): Promise<RotationReport> {
  const { config, store, now } = from;
  try {
    const { target, kms } = await rotationTarget(from, aliasOf(config, purpose));
    const { keyId } = target;
    const materials = await materialsOf(kms, keyId);
    const [counts, ceks, row] = await Promise.all([store.countStale(keyId, materials.current), staleColumnKeys({ store }, keyId, materials.current), store.readKey(keyId)]);
    const stale = counts.stale + ceks;
    const periodDays = config.rotation.periodDays;
    const { at, why } = dueOf(materials, stale, periodDays, now);
    // keys get a day from the moment of new material to be re-wrapped; the material itself none
    const pass = now < at && (stale === 0 || now < materials.since + 86_400_000) && counts.setAside === 0;
    const window = openWindowOf(row);
    return {
      purpose, keyId, pass,
      last: new Date(materials.since).toISOString(),
      next: new Date(Math.min(at, materials.next ?? at)).toISOString(),
      ageDays: Math.floor((now - materials.since) / 86_400_000),
      stale,
      setAside: counts.setAside,
      onDemand: materials.onDemand,
      why: `${why}${counts.setAside === 0 ? '' : `; ${counts.setAside} do not open`}${window === undefined ? '' : `; revoked by ${window.procedure.workflowId}`}`,
    };
  } catch (error) {
    if (!(error instanceof KeywardenError)) throw error;
    return { purpose, pass: false, why: error.what };
  }
}
