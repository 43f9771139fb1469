import { activityInfo } from '@temporalio/activity';
import { WorkflowNotFoundError } from '@temporalio/client';
import type { AuditEntry } from '../domain/audit';
import { KeywardenError } from '../domain/errors';
import type { ProcedureRef } from '../domain/keyRow';
import { firstRunOf } from './arrivals';
import type { Deps } from './deps';

/** The execution that an activity works for, by the server's word: an attacker can name a workflow, not a run. */
export interface Execution extends ProcedureRef {
  runId: string;
  activityId: string;
  workflowType: string;
}

export async function execution(deps: Pick<Deps, 'temporal'>): Promise<Execution> {
  const info = here();
  return { ...info, firstRunId: await firstRunOf(deps.temporal, info.workflowId, info.runId) };
}

/** Without the first run: for a disabling, which reads nothing that could delay it. */
export function here(): Omit<Execution, 'firstRunId'> {
  const { workflowExecution, activityId, workflowType } = activityInfo();
  return { workflowId: workflowExecution!.workflowId, runId: workflowExecution!.runId, activityId, workflowType: workflowType! };
}

/** Whether a procedure still runs, by the server's word; one that was terminated does not. */
export async function isRunning(deps: Pick<Deps, 'temporal'>, procedure: ProcedureRef): Promise<boolean> {
  try {
    const { status } = await deps.temporal.workflow.getHandle(procedure.workflowId, undefined, { firstExecutionRunId: procedure.firstRunId }).describe();
    return status.name === 'RUNNING';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw new KeywardenError('KW-TEMPORAL', `whether ${procedure.workflowId} still runs could not be read`, { notDone: 'the procedure did not go on', next: 'it is tried again', cause: error });
  }
}

/** Time for an activity: the clock, or the server's time of this attempt where that is later (a time-skipping server is ahead of every clock). */
export function now(deps: Pick<Deps, 'clock' | 'development'>): number {
  const clock = deps.clock.now();
  return deps.development ? Math.max(clock, Math.floor(activityInfo().currentAttemptScheduledTimestampMs)) : clock; // audit rows hold whole milliseconds
}

/**
 * An audit entry of this activity. Its event id is made of the run, the activity and the action, so that a second attempt writes nothing twice (rule 6)
 * and no other run can claim it.
 */
export function entry(deps: Pick<Deps, 'duty' | 'clock' | 'development'>, e: Omit<Execution, 'firstRunId'> & { firstRunId?: string }, facts: Omit<AuditEntry, 'eventId' | 'at' | 'actor' | 'operation'> & { at?: string; occasion?: string }): AuditEntry {
  const { occasion, at, ...rest } = facts;
  const parts = [e.runId, e.activityId, facts.action, facts.region ?? '', facts.phase, occasion ?? ''];
  return {
    ...rest,
    eventId: parts.join('/'),
    at: at ?? new Date(now(deps)).toISOString(),
    actor: `duty:${deps.duty}`,
    operation: e.workflowType,
    workflowId: e.workflowId,
    ...(e.firstRunId === undefined ? {} : { firstRunId: e.firstRunId }),
    runId: e.runId,
    activityId: e.activityId,
  };
}
