import type { RotationActivities } from '../domain/activities';
import { KeywardenError } from '../domain/errors';
import { rotationOf, type ProcedureRef, type Rotation } from '../domain/keyRow';
import { checkQuota, dueOf, quotaUsed, type Materials } from '../domain/rotation';
import { authority } from './authority';
import type { Deps } from './deps';
import { effect, found } from './effect';
import { execution, now } from './execution';
import { errorName } from './kms';
import { materialsOf, rotationTarget } from './materials';
import { staleColumnKeys } from './rotation';

/** A request without an answer may still reach KMS, and its effect may be seen late: for so long it is not made again. */
const ANSWER_MS = 600_000;

/**
 * New key material. RotateKeyOnDemand is not idempotent and KMS allows 25 in a key's life: what was current when the rotation took the key stands in
 * its row, so that whoever comes after a crash or a lost answer finds the new one in ListKeyRotations and asks for no second.
 */
export function materialActivities(deps: Deps): Pick<RotationActivities, 'makeMaterial'> {
  return {
    async makeMaterial(a) {
      const e = await execution(deps);
      const { target, kms } = await rotationTarget(deps, a.keyId);
      const { keyId } = target;
      return deps.store.withKeyLease(keyId, { leaseMs: 15_000, waitMs: 5_000 }, async () => {
        const row = await deps.store.readKey(keyId);
        const rotation = rotationOf(row, keyId, e);
        const materials = await materialsOf(kms, keyId);
        const facts = { action: 'RotateKeyOnDemand', keyId, keyArn: target.keyArn, region: kms.region };
        if (rotation.material !== undefined) return { material: rotation.material, made: 'found' as const };
        if (materials.current !== rotation.from) {
          await found(deps, e, facts);
          return { material: await settle(deps, keyId, e, materials.current), made: rotation.askedAt === undefined ? ('used' as const) : ('made' as const) };
        }
        if (materials.rotating) throw notYet(keyId, 'KMS is making the new material');
        if (rotation.askedAt !== undefined && now(deps) - Date.parse(rotation.askedAt) < ANSWER_MS) throw notYet(keyId, 'KMS was asked for new material and its answer was lost: whether it comes is waited for');
        const signed = a.digest === undefined ? undefined : await authority(deps, a.digest);
        if (signed !== undefined && (signed.plan.operation !== 'rotateKey' || signed.plan.keyId !== keyId)) throw new KeywardenError('KW-APPROVAL-PLAN', 'the plan does not rotate this key', { key: keyId, notDone: 'no new material was made', next: 'have a plan signed that does' });
        if (signed === undefined && rotation.askedAt === undefined) {
          const { stale } = await deps.store.countStale(keyId, materials.current);
          const { needs, why } = dueOf(materials, stale + (await staleColumnKeys(deps, keyId, materials.current)), deps.config.rotation.periodDays, now(deps));
          // within the period, what KMS has made by itself is the new material
          if (needs === 're-wrap') return { material: await settle(deps, keyId, e, materials.current), made: 'used' as const };
          if (needs === 'nothing') throw new KeywardenError('KW-APPROVAL-MISSING', `new material is not due (${why}), and nobody has signed it`, { key: keyId, notDone: 'no new material was made', next: 'have a KeyManagementAdmin sign, or wait until it is due' });
        }
        checkQuota(materials, keyId);
        await asked(deps, keyId, e, new Date(now(deps)).toISOString());
        try {
          await effect(deps, e, { ...facts, ...(signed === undefined ? {} : { planDigest: signed.digest, approvers: signed.approvers }), detail: { from: materials.current, onDemandUsed: materials.onDemand } }, () => kms.rotateOnDemand(keyId));
        } catch (error) {
          const cause = error instanceof KeywardenError ? error.cause : error;
          if (!(error instanceof KeywardenError) || error.code !== 'KW-KMS-SILENT') await asked(deps, keyId, e, undefined);
          if (errorName(cause) === 'LimitExceededException') throw quotaUsed(keyId, cause);
          if (errorName(cause) === 'ConflictException') throw notYet(keyId, 'KMS is about to rotate the key by itself');
          throw error;
        }
        throw notYet(keyId, 'KMS is making the new material');
      });
    },
  };
}

/** What everything is re-wrapped under from now on. */
async function settle(deps: Deps, keyId: string, e: ProcedureRef, material: Materials['current']): Promise<string> {
  await change(deps, keyId, e, (rotation) => {
    const { askedAt: _answered, ...rest } = rotation;
    return { ...rest, material };
  });
  return material;
}

function asked(deps: Deps, keyId: string, e: ProcedureRef, at: string | undefined): Promise<void> {
  return change(deps, keyId, e, ({ askedAt: _before, ...rest }) => ({ ...rest, ...(at === undefined ? {} : { askedAt: at }) }));
}

function change(deps: Deps, keyId: string, e: ProcedureRef, how: (rotation: Rotation) => Rotation): Promise<void> {
  return deps.store.changeKey(keyId, (row) => ({ row: { ...row!, rotation: how(rotationOf(row, keyId, e)) }, result: undefined }));
}

function notYet(keyId: string, what: string): KeywardenError {
  return new KeywardenError('KW-NOT-YET', what, { key: keyId, notDone: 'nothing was re-wrapped yet', next: 'it is looked at again' });
}
