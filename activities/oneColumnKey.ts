import type { RotationActivities } from '../domain/activities';
import { unknownColumnKey, unpackValue } from '../domain/columnKey';
import { KeywardenError } from '../domain/errors';
import { beginColumnKey, same } from '../domain/keyRow';
import type { Deps } from './deps';
import { entry, execution, isRunning, now } from './execution';
import { materialsOf, rotationTarget } from './materials';

/** The re-wrap of one CEK: nobody signs, it makes no material; it holds the CMK like a rotation, so that no other procedure is at work on it. */
export function oneColumnKeyActivities(deps: Deps): Pick<RotationActivities, 'beginColumnKey'> {
  return {
    async beginColumnKey(a) {
      const e = await execution(deps);
      const key = await deps.store.readColumnKey(a.cek);
      const [value, ...others] = key?.values ?? [];
      if (value === undefined) throw unknownColumnKey(a.cek);
      if (others.some((v) => v.keyId !== value.keyId)) throw new KeywardenError('KW-PROCEDURE-OPEN', `${a.cek} has values under two CMKs: it is being moved from one to the other`, { key: a.cek, notDone: 'it was not re-wrapped', next: 'look at `keywarden status`; the replacement re-wraps it' });
      const { kms, target } = await rotationTarget(deps, value.keyId);
      const { keyId, keyArn, purpose } = target;
      const state = target.seen.get(kms.region)?.KeyState;
      if (state !== 'Enabled') throw new KeywardenError('KW-PLAN-DRIFT', `the CMK of ${a.cek} is ${state ?? 'unknown'} in ${kms.region}`, { key: keyId, notDone: 'it was not re-wrapped', next: 'a key that is disabled or pending deletion is recovered first' });
      const { current } = await materialsOf(kms, keyId);
      const holder = (await deps.store.readKey(keyId))?.rotation;
      const abandoned = holder !== undefined && !same(holder, e) && !(await isRunning(deps, holder)) ? holder : undefined;
      const at = new Date(now(deps)).toISOString();
      const material = await deps.store.changeKey(keyId, (row) => {
        const begun = beginColumnKey(row ?? { keyId, purpose, epoch: 0 }, { workflowId: e.workflowId, firstRunId: e.firstRunId }, a.cek, current, at, abandoned);
        return { row: begun, result: begun.rotation!.material! };
      });
      await deps.trail.record([entry(deps, e, { action: 'BeginRotation', phase: 'done', keyId, keyArn, detail: { cek: a.cek, material, ...(abandoned === undefined ? {} : { tookOverFrom: abandoned.workflowId }) } })]);
      return { keyId, purpose, material, current: others.length === 0 && standsOn(value.value, material), searchable: deps.searchable };
    },
  };
}

function standsOn(value: string, material: string): boolean {
  try {
    return unpackValue(Buffer.from(value, 'base64')).keyMaterialId === material;
  } catch {
    return false;
  }
}
