/** ScheduleKeyDeletion and CancelKeyDeletion. The deletion itself is a due event. */
import { authorize } from './authorization';
import { operation } from './call';
import { validation } from './errors';
import * as fields from './fields';
import { checkState } from './key-state';
import { findKey } from './key-lookup';
import { windowEnd } from './key-metadata';
import { epochSeconds, regionalId, type RegionalKey } from './model';
import { integer } from './validate';

export const deletionOperations = [
  operation('ScheduleKeyDeletion', { KeyId: fields.keyId, PendingWindowInDays: integer(1, 365) }, (call, { KeyId, PendingWindowInDays }) => {
    const window = PendingWindowInDays ?? 30;
    const key = findKey(call, KeyId);
    authorize(call, 'ScheduleKeyDeletion', key, { values: { 'kms:schedulekeydeletionpendingwindowindays': [String(window)] } });
    if (window < 7 || window > 30) throw validation(`PendingWindowInDays must be between 7 and 30 days (inclusive)`);
    checkState(call, key);
    const waitsForReplicas = key.shared.primaryRegion === call.region && key.shared.regions.length > 1;
    const { transition: _, ...settled } = key.regional;
    const regional: RegionalKey = waitsForReplicas
      ? { ...settled, state: 'PendingReplicaDeletion', pendingWindowInDays: window }
      : { ...settled, state: 'PendingDeletion', pendingWindowInDays: window, deletionDate: windowEnd(call.now, window) };
    call.put('key', regionalId(call.region, key.shared.keyId), regional);
    return {
      KeyId: key.arn,
      ...(regional.deletionDate === undefined ? {} : { DeletionDate: epochSeconds(regional.deletionDate) }),
      KeyState: regional.state,
      PendingWindowInDays: window,
    };
  }),

  operation('CancelKeyDeletion', { KeyId: fields.keyId }, (call, { KeyId }) => {
    const key = findKey(call, KeyId);
    authorize(call, 'CancelKeyDeletion', key);
    checkState(call, key);
    const { pendingWindowInDays: _window, deletionDate: _date, ...regional } = key.regional;
    // never back to Enabled; a key whose material was never imported still waits for it
    call.put('key', regionalId(call.region, key.shared.keyId), { ...regional, state: key.shared.materials.length === 0 ? 'PendingImport' : 'Disabled' });
    return { KeyId: key.arn };
  }),
];
