import { KeywardenError } from '../domain/errors';
import type { Materials } from '../domain/rotation';
import type { Deps } from './deps';
import type { RegionalKms } from './kms';
import { resolveTarget, type Target } from './targets';

/** A CMK's key material, asked of its primary Region: rotation is a shared property that only the primary changes (facts A9). */
export async function materialsOf(kms: RegionalKms, keyId: string): Promise<Materials> {
  const [rotations, status, metadata] = await Promise.all([kms.rotations(keyId), kms.rotationStatus(keyId), kms.describe(keyId)]);
  const current = rotations.find((r) => r.state === 'CURRENT');
  if (current === undefined || metadata?.CreationDate === undefined) {
    throw new KeywardenError('KW-NOT-YET', `KMS in ${kms.region} names no current key material`, { key: keyId, notDone: 'the key was not rotated', next: 'it is tried again' });
  }
  return {
    current: current.id,
    known: rotations.map((r) => r.id),
    since: (current.at ?? metadata.CreationDate).getTime(),
    onDemand: rotations.filter((r) => r.type === 'ON_DEMAND').length,
    ...(status.next === undefined ? {} : { next: status.next.getTime() }),
    rotating: status.rotating,
  };
}

export interface RotationTarget {
  target: Target;
  /** KMS of the Region of the primary key. */
  kms: RegionalKms;
}

/** The CMK that a rotation names, and the Region in which it rotates. With that Region silent it cannot rotate; it waits. */
export async function rotationTarget(deps: Pick<Deps, 'config' | 'kms'>, key: string): Promise<RotationTarget> {
  const target = await resolveTarget(deps.config, deps.kms, key);
  const [seen] = target.seen.values();
  const region = seen?.MultiRegionConfiguration?.PrimaryKey?.Region ?? deps.config.regions[0]!;
  const kms = deps.kms.get(region);
  const metadata = target.seen.get(region);
  if (kms === undefined) throw new KeywardenError('KW-PLAN-DRIFT', `the primary key is in ${region}, which is no Region of the configuration`, { key, notDone: 'the key was not rotated', next: 'move the primary Region back, or add the Region to the configuration' });
  if (metadata === undefined) throw new KeywardenError('KW-KMS-SILENT', `the primary Region ${region} did not answer`, { key, notDone: 'the key was not rotated', next: 'it is tried again until the Region answers' });
  if (seen?.KeySpec !== 'SYMMETRIC_DEFAULT') throw new KeywardenError('KW-NOT-BUILT', `a key of ${seen?.KeySpec ?? 'unknown spec'} has no in-place rotation`, { path: 'input.key', key, notDone: 'nothing was started', next: 'move to a new CMK' });
  return { target, kms };
}
