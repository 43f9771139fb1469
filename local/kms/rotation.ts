/** EnableKeyRotation, DisableKeyRotation, GetKeyRotationStatus, RotateKeyOnDemand, ListKeyRotations. */
import { authorize } from './authorization';
import { operation, type Call } from './call';
import { conflict, invalidState, limitExceeded, unsupported } from './errors';
import * as fields from './fields';
import { checkState } from './key-state';
import { findKey, type Key } from './key-lookup';
import { DAY, epochSeconds, type Material } from './model';
import { page, pageOutput } from './pages';
import { CONFLICT_WINDOW, DEFAULT_PERIOD_IN_DAYS, ON_DEMAND_LIMIT, onDemandRotations } from './rotation-schedule';
import { integer, oneOf } from './validate';

/** Only symmetric encryption keys rotate; the service refuses the others without a word. */
function checkRotatable({ shared }: Key): void {
  if (shared.keySpec !== 'SYMMETRIC_DEFAULT') throw unsupported();
}

/** Rotation is a shared property: it is set and triggered in the primary's Region only. */
function checkPrimary(call: Call, { arn, shared }: Key): void {
  if (shared.multiRegion && shared.primaryRegion !== call.region) throw unsupported(`${arn} is not a multi-region primary key.`);
}

function checkAutomatic(call: Call, key: Key): void {
  checkRotatable(key);
  checkState(call, key);
  if (key.shared.origin === 'EXTERNAL') throw unsupported(`${key.arn} origin is EXTERNAL which is not valid for this operation.`);
}

const isPending = ({ state }: Key): boolean => state === 'PendingDeletion' || state === 'PendingReplicaDeletion';

export const rotationOperations = [
  operation('EnableKeyRotation', { KeyId: fields.keyId, RotationPeriodInDays: integer(90, 2560) }, (call, { KeyId, RotationPeriodInDays }) => {
    const key = findKey(call, KeyId);
    const periodInDays = RotationPeriodInDays ?? DEFAULT_PERIOD_IN_DAYS;
    authorize(call, 'EnableKeyRotation', key, { values: { 'kms:rotationperiodindays': [String(periodInDays)] } });
    checkAutomatic(call, key);
    checkPrimary(call, key);
    call.put('shared', key.shared.keyId, { ...key.shared, rotation: { periodInDays, nextDate: call.now + periodInDays * DAY } });
  }),

  operation('DisableKeyRotation', { KeyId: fields.keyId }, (call, { KeyId }) => {
    const key = findKey(call, KeyId);
    authorize(call, 'DisableKeyRotation', key);
    checkAutomatic(call, key);
    checkPrimary(call, key);
    call.put('shared', key.shared.keyId, { ...key.shared, rotation: undefined });
  }),

  operation('GetKeyRotationStatus', { KeyId: fields.keyId }, (call, { KeyId }) => {
    const key = findKey(call, KeyId);
    authorize(call, 'GetKeyRotationStatus', key);
    checkRotatable(key);
    checkState(call, key);
    const { rotation, onDemand } = key.shared;
    return {
      KeyId: key.shared.keyId,
      // a key that waits for its deletion does not rotate; the setting comes back with a cancellation
      ...(rotation === undefined || isPending(key) ? { KeyRotationEnabled: false } : {
        KeyRotationEnabled: true,
        RotationPeriodInDays: rotation.periodInDays,
        NextRotationDate: epochSeconds(rotation.nextDate),
      }),
      ...(onDemand === undefined ? {} : { OnDemandRotationStartDate: epochSeconds(onDemand.startedAt) }),
    };
  }),

  operation('RotateKeyOnDemand', { KeyId: fields.keyId }, (call, { KeyId }) => {
    const key = findKey(call, KeyId);
    authorize(call, 'RotateKeyOnDemand', key);
    checkRotatable(key);
    checkState(call, key);
    checkPrimary(call, key);
    const { shared } = key;
    if (shared.origin === 'EXTERNAL') throw invalidState(`No available key material pending rotation for the key: ${key.arn}.`);
    if (shared.onDemand !== undefined) throw conflict(`An on-demand rotation of ${key.arn} is in progress.`);
    if (shared.rotation !== undefined && shared.rotation.nextDate - call.now < CONFLICT_WINDOW) throw conflict(`An automatic rotation of ${key.arn} is in progress or scheduled within the next 20 minutes.`);
    if (onDemandRotations(shared) >= ON_DEMAND_LIMIT) {
      throw limitExceeded(`The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: ${key.arn}`);
    }
    call.put('shared', shared.keyId, { ...shared, onDemand: { startedAt: call.now, completesAt: call.now + call.settings.propagationMs } });
    return { KeyId: shared.keyId };
  }),

  operation('ListKeyRotations', {
    KeyId: fields.keyId, IncludeKeyMaterial: oneOf(['ALL_KEY_MATERIAL', 'ROTATIONS_ONLY']), Limit: fields.limit(1000), Marker: fields.marker,
  }, (call, input) => {
    const key = findKey(call, input.KeyId);
    authorize(call, 'ListKeyRotations', key);
    checkRotatable(key);
    checkState(call, key);
    const { materials } = key.shared;
    const listed = materials.map((material, index) => ({ material, index })).filter(({ material }) => input.IncludeKeyMaterial === 'ALL_KEY_MATERIAL' || material.rotatedAt !== undefined);
    // newest first would move the pages under a reader; the service lists oldest first
    return pageOutput('Rotations', page(listed, ({ index }) => String(index).padStart(8, '0'), input, 100), ({ material, index }) => rotationEntry(key, material, index === materials.length - 1));
  }),
];

const rotationEntry = ({ shared }: Key, material: Material, current: boolean): object => ({
  KeyId: shared.keyId,
  KeyMaterialId: material.id,
  KeyMaterialState: current ? 'CURRENT' : 'NON_CURRENT',
  ...(material.rotatedAt === undefined ? {} : { RotationDate: epochSeconds(material.rotatedAt), RotationType: material.rotationType }),
});
