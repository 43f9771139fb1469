import { ActivityCancellationType, CancellationScope, CancelledFailure, proxyActivities, type ActivityOptions } from '@temporalio/workflow';
import type { EmergencyActivities, InitializeActivities, RecoveryActivities, ReplacementActivities, RotationActivities } from '../domain/activities';
import { activityQueue } from '../domain/names';

/** A cancelled act counts as ended when it has ended, not when it was asked to. */
const cancellationType = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED;

/**
 * Three tries in a row, then the step says what is wrong and tries again later (see Procedure.persist): an outage shows in `status`
 * instead of hiding in a retry policy. KMS calls time out after 3 s, store calls after about 3 s, so 10–30 s hold one attempt.
 */
const tries: ActivityOptions['retry'] = { initialInterval: '200 ms', backoffCoefficient: 3, maximumAttempts: 3 };

export const emergency = proxyActivities<EmergencyActivities>({ taskQueue: activityQueue('emergency'), startToCloseTimeout: '20 s', scheduleToCloseTimeout: '2 min', retry: tries, cancellationType });

/** Long acts that heartbeat: a worker's death shows within seconds. */
export const emergencyLong = proxyActivities<EmergencyActivities>({ taskQueue: activityQueue('emergency'), startToCloseTimeout: '20 min', heartbeatTimeout: '15 s', retry: tries, cancellationType });

/** Acts that widen are bounded to 30 s: a pre-empting revocation holds the disabled state for longer than that. */
export const recovery = proxyActivities<RecoveryActivities>({ taskQueue: activityQueue('recovery'), startToCloseTimeout: '30 s', scheduleToCloseTimeout: '3 min', retry: tries, cancellationType });

/** Looks for one person among all: as long as there are people; it heartbeats every page, so a worker's death shows within seconds. */
export const erasing = proxyActivities<Pick<RecoveryActivities, 'keepErased' | 'proveErasure'>>({ taskQueue: activityQueue('recovery'), startToCloseTimeout: '6 h', heartbeatTimeout: '15 s', retry: tries, cancellationType });

export const making = proxyActivities<Pick<InitializeActivities, 'makeKey' | 'replicateKey' | 'pointAlias'>>({ taskQueue: activityQueue('recovery'), startToCloseTimeout: '60 s', retry: { initialInterval: '500 ms', maximumInterval: '30 s' } });
export const routine = proxyActivities<Pick<InitializeActivities, 'findOwnKeys' | 'makeCanary' | 'makeSchedule'>>({ taskQueue: activityQueue('routine'), startToCloseTimeout: '30 s', retry: { initialInterval: '500 ms', maximumInterval: '30 s' } });

/** A rotation's short acts. Reading counts over millions of rows may take the store its three seconds more than once. */
export const rotating = proxyActivities<Omit<RotationActivities, 'rewrapStretch' | 'rewrapColumnKeys' | 'verifyRotation'>>({ taskQueue: activityQueue('routine'), startToCloseTimeout: '60 s', scheduleToCloseTimeout: '5 min', retry: tries, cancellationType });

/** A stretch lasts as long as its keys and the rate allow; it heartbeats every 2 s, so a worker's death shows within seconds. */
export const rewrapping = proxyActivities<Pick<RotationActivities, 'rewrapStretch' | 'rewrapColumnKeys' | 'verifyRotation'>>({ taskQueue: activityQueue('routine'), startToCloseTimeout: '2 h', heartbeatTimeout: '15 s', retry: tries, cancellationType });

/** A replacement's acts that widen or decide. Making and replicating a CMK takes KMS seconds. */
export const replacing = proxyActivities<Omit<ReplacementActivities, 'verifyReplacement' | 'openedBy' | 'settleReplacement'> & Pick<RecoveryActivities, 'alert'>>({ taskQueue: activityQueue('recovery'), startToCloseTimeout: '60 s', scheduleToCloseTimeout: '5 min', retry: tries, cancellationType });

/** What reads or writes many wrapped keys of a replacement; it heartbeats. */
export const settling = proxyActivities<Pick<ReplacementActivities, 'verifyReplacement' | 'openedBy' | 'settleReplacement'>>({ taskQueue: activityQueue('routine'), startToCloseTimeout: '6 h', heartbeatTimeout: '30 s', retry: tries, cancellationType });

/**
 * A short act that is let come to its end when its scope is cancelled; then the scope's cancellation holds. Asking for the cancellation of an
 * activity that completes at that moment costs a workflow task, and wedges one on the time-skipping server (1.38: ACTIVITY_UNKNOWN).
 */
export async function toItsEnd<T>(act: () => Promise<T>): Promise<T> {
  const scope = CancellationScope.current();
  if (scope.consideredCancelled) throw new CancelledFailure('stopped before it began');
  const result = await CancellationScope.nonCancellable(act);
  if (scope.consideredCancelled) throw new CancelledFailure('stopped when it had ended');
  return result;
}
