import { ScheduleAlreadyRunning, ScheduleOverlapPolicy } from '@temporalio/client';
import type { InitializeActivities, RotationActivities } from '../domain/activities';
import { errorName } from './kms';
import { KeywardenError } from '../domain/errors';
import { openWindowOf } from '../domain/keyRow';
import { aliasOf, ROTATION_SCHEDULE, WORKFLOW_QUEUE } from '../domain/names';
import { dueOf } from '../domain/rotation';
import type { Deps } from './deps';
import { execution, isRunning, now } from './execution';
import { materialsOf, rotationTarget } from './materials';
import { staleColumnKeys } from './rotation';
import { isDown } from './targets';

/** The daily look at all CMKs, and the Temporal Schedule that starts it. */
export function dueActivities(deps: Deps): Pick<RotationActivities, 'dueKeys'> & Pick<InitializeActivities, 'makeSchedule'> {
  return {
    async dueKeys() {
      const keys = [];
      for (const purpose of deps.config.purposes) {
        try {
          const { target, kms } = await rotationTarget(deps, aliasOf(deps.config, purpose));
          const { keyId } = target;
          const row = await deps.store.readKey(keyId);
          const holder = openWindowOf(row)?.procedure ?? row?.recovery ?? row?.rotation;
          const open = holder !== undefined && (holder !== row?.rotation || (await isRunning(deps, holder))) ? { open: holder.workflowId } : {};
          if (isDown(target.seen.get(kms.region)?.KeyState)) {
            keys.push({ purpose, keyId, due: false, overdue: false, why: 'it is disabled or pending deletion', ...open });
            continue;
          }
          const materials = await materialsOf(kms, keyId);
          const { stale, setAside } = await deps.store.countStale(keyId, materials.current);
          // what is set aside waits for a person: by itself it makes no rotation
          const { needs, overdue, why } = dueOf(materials, stale - setAside + (await staleColumnKeys(deps, keyId, materials.current)), deps.config.rotation.periodDays, now(deps));
          keys.push({ purpose, keyId, due: needs !== 'nothing' && open.open === undefined, overdue, why, ...open });
        } catch (error) {
          if (!(error instanceof KeywardenError) || error.code === 'KW-STORE') throw error;
          // a purpose without a CMK yet, or a Region that is silent: the others go on, and it is told
          keys.push({ purpose, keyId: '', due: false, overdue: error.code !== 'KW-KEY-UNKNOWN', why: error.what });
        }
      }
      return { keys, searchable: deps.searchable };
    },

    async makeSchedule() {
      await execution(deps);
      try {
        await deps.temporal.schedule.create({
          scheduleId: ROTATION_SCHEDULE,
          spec: { calendars: [{ hour: 3, minute: 0, comment: 'daily: rotate what is due' }] },
          // one at a time; a day that was missed is caught up when the server is back
          policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 day' },
          action: { type: 'startWorkflow', workflowType: 'rotateDueKeys', workflowId: 'rotateDueKeys', taskQueue: WORKFLOW_QUEUE, args: [{}] },
        });
        return { state: 'made' as const, id: ROTATION_SCHEDULE };
      } catch (error) {
        if (error instanceof ScheduleAlreadyRunning) return { state: 'found' as const, id: ROTATION_SCHEDULE };
        // the time-skipping test server has none
        if (isUnimplemented(error)) return { state: 'unsupported' as const, id: ROTATION_SCHEDULE };
        throw new KeywardenError('KW-TEMPORAL', `the schedule could not be made: ${errorName(error)}`, { notDone: 'no schedule was made', next: 'it is tried again', cause: error });
      }
    },
  };
}

/** gRPC status 12. */
function isUnimplemented(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) if ((at as { code?: unknown }).code === 12) return true;
  return false;
}
