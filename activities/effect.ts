import { activityInfo } from '@temporalio/activity';
import type { AuditEntry } from '../domain/audit';
import { KeywardenError, type ErrorCode } from '../domain/errors';
import type { Deps } from './deps';
import { entry, type Execution } from './execution';
import type { Written } from './kms';

type Facts = Pick<AuditEntry, 'action' | 'keyId' | 'keyArn' | 'region' | 'planDigest' | 'approvers' | 'reason' | 'incident' | 'detail'>;

/**
 * Rule 3: nothing that widens or destroys happens before its `intended` row is stored; after it comes `done`, `failed`, or `unknown`
 * where the answer was lost (`silence`: how the other side says that it was). Each call of KMS has its own rows: a Region that does not show a change yet (facts A6) is asked a second time.
 */
export async function effect<T extends object>(deps: Deps, e: Execution, facts: Facts, act: () => Promise<T>, silence: ErrorCode = 'KW-KMS-SILENT'): Promise<T> {
  const { attempt } = activityInfo();
  const call = { ...facts, ...(attempt === 1 ? {} : { occasion: `attempt ${attempt}` }) };
  await deps.trail.record([entry(deps, e, { ...call, phase: 'intended' })]);
  let out: T;
  try {
    out = await act();
  } catch (error) {
    const code = error instanceof KeywardenError ? error.code : 'KW-BUG';
    const phase = code === silence ? 'unknown' : 'failed';
    await deps.trail.record([entry(deps, e, { ...call, phase, error: code })]);
    throw error;
  }
  // a row that cannot be stored now is no failure of the act: the next attempt finds the act done and says so (see found)
  await deps.trail.record([entry(deps, e, { ...call, phase: 'done', ...requestOf(out) })]);
  return out;
}

const requestOf = ({ requestId }: Partial<Written>): { requestId?: string } => (requestId === undefined ? {} : { requestId });

/**
 * What was to be done is done already. Where an attempt of this procedure intended it and left no end on record (its worker was killed, or
 * the row was not taken), the end is written now: `unknown`, for KMS's answer is lost.
 */
export async function found(deps: Deps, e: Execution, facts: Facts): Promise<void> {
  let intended: AuditEntry | undefined;
  // rows of the journal stand in the store before any later one
  await deps.trail.drain().catch(() => undefined);
  for await (const { entry: row } of deps.store.readAudit({ workflowId: e.workflowId })) {
    if (row.action !== facts.action || row.region !== facts.region || row.keyId !== facts.keyId || row.firstRunId !== e.firstRunId) continue;
    if (row.phase === 'intended') intended = row;
    else if (['done', 'failed', 'unknown'].includes(row.phase)) intended = undefined;
  }
  if (intended === undefined) return;
  await deps.trail.record([entry(deps, e, { ...facts, phase: 'unknown', error: 'KW-KMS-SILENT', occasion: intended.eventId })]);
}
