import { activityInfo } from '@temporalio/activity';
import type { AuditEntry } from '../domain/audit';
import { KeywardenError } from '../domain/errors';
import type { Deps } from './deps';
import { entry, type Execution } from './execution';
import type { Written } from './kms';

/**
 * Rule 3: nothing that widens or destroys happens before its `intended` row is stored; after it comes `done`, `failed`, or `unknown`
 * where the answer was lost. A second attempt writes no second `intended` or `done`.
 */
export async function effect<T extends Written>(deps: Deps, e: Execution, facts: Pick<AuditEntry, 'action' | 'keyId' | 'keyArn' | 'region' | 'planDigest' | 'approvers' | 'reason' | 'incident' | 'detail'>, act: () => Promise<T>): Promise<T> {
  await deps.trail.record([entry(deps, e, { ...facts, phase: 'intended' })]);
  try {
    const out = await act();
    await deps.trail.record([entry(deps, e, { ...facts, phase: 'done', ...(out.requestId === undefined ? {} : { requestId: out.requestId }) })]);
    return out;
  } catch (error) {
    const code = error instanceof KeywardenError ? error.code : 'KW-BUG';
    const phase = code === 'KW-KMS-SILENT' ? 'unknown' : 'failed';
    await deps.trail.record([entry(deps, e, { ...facts, phase, error: code, occasion: `attempt ${activityInfo().attempt}` })]);
    throw error;
  }
}
