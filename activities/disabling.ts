import { setTimeout as pause } from 'node:timers/promises';
import { activityInfo } from '@temporalio/activity';
import type { Arrived, Disabling, RegionDisabling } from '../domain/activities';
import { refused, type VerifiedApproval } from '../domain/approval';
import type { AuditEntry } from '../domain/audit';
import { KeywardenError } from '../domain/errors';
import type { RevokeInput } from '../domain/inputs';
import { FLOORS } from '../domain/quorum';
import { findArrivals } from './arrivals';
import { checkPlan } from './considering';
import type { Deps } from './deps';
import { entry, now, type Execution } from './execution';
import { errorName } from './kms';
import { disablePlan } from './planning';
import { deletionDate, settledOrGrace, type Target } from './targets';
import { verifyApproval } from './verifiers';

/** The parts of a disabling: the one signature that it needs, the calls, what is said of them. */

export const DAY_MS = 86_400_000;

type Named = Pick<Target, 'keyId' | 'keyArn' | 'purpose'>;

/** One Region's word is enough, and no Region may hold the disabling up longer. */
const BEFORE_MS = 100;

/** What KMS says of the key before it is disabled, as far as it says so at once. A second attempt may find its own doing, and calls that nothing. */
export async function statesBefore(deps: Deps, keyId: string, regions: readonly string[]): Promise<Map<string, 'Enabled' | 'Disabled'>> {
  const states = new Map<string, 'Enabled' | 'Disabled'>();
  const again = activityInfo().attempt > 1;
  const asked = regions.map(async (region) => {
    const state = (await deps.kms.get(region)!.describe(keyId))?.KeyState;
    if (state === 'Enabled' || (state === 'Disabled' && !again)) states.set(region, state);
  });
  await Promise.race([Promise.any(asked).catch(() => undefined), pause(BEFORE_MS)]);
  return new Map(states); // an answer from now on may show our own doing
}

/** Regions' answers, all asked at once; none waits for another longer than a moment. */
export async function disableAll(deps: Deps, keyId: string, regions: readonly string[], states: ReadonlyMap<string, 'Enabled' | 'Disabled'> = new Map()): Promise<RegionDisabling[]> {
  const done = new Map<string, RegionDisabling>();
  const absent = new Set<string>();
  const asked = regions.map(async (region) => {
    try {
      const { requestId } = await deps.kms.get(region)!.disable(keyId);
      const before = states.get(region);
      done.set(region, { region, state: 'disabled', at: new Date(now(deps)).toISOString(), ...(requestId === undefined ? {} : { requestId }), ...(before === undefined ? {} : { before }) });
    } catch (error) {
      const cause = error instanceof KeywardenError ? error.cause : error;
      if (errorName(cause) === 'NotFoundException') {
        absent.add(region); // no replica there
        return;
      }
      if (errorName(cause) === 'KMSInvalidStateException' && String(cause).includes('pending deletion')) done.set(region, { region, state: 'pending-deletion', at: new Date(now(deps)).toISOString() });
      else done.set(region, { region, state: 'silent', detail: error instanceof Error ? error.message : String(error) });
    }
  });
  await settledOrGrace(asked, () => [...done.values()].some((r) => r.state !== 'silent'), 700);
  return regions.filter((r) => !absent.has(r)).map((region) => done.get(region) ?? { region, state: 'silent', detail: 'no answer yet' });
}

/**
 * Signature, life and plan of the one approval that a disabling needs; the key is the one that was signed, so that an alias moved since cannot
 * hold it up. The server's history is read only when the proof's life is over by now.
 */
export async function verifyForDisabling(deps: Deps, input: RevokeInput, proof: Arrived, workflowId: string): Promise<VerifiedApproval> {
  let approval: VerifiedApproval;
  try {
    approval = await verifyApproval(proof.token, deps.config, now(deps));
  } catch (error) {
    if (!(error instanceof KeywardenError) || error.code !== 'KW-APPROVAL-EXPIRED') throw error;
    const arrival = (await findArrivals(deps.temporal, workflowId, proof.runId, [proof.token])).get(proof.token);
    if (arrival === undefined) throw error;
    approval = await verifyApproval(proof.token, deps.config, arrival.at);
  }
  const { expects: _drifts, ...signed } = approval.claims.plan;
  const plan = disablePlan(deps.config, input, signed, { workflowId, ...(signed.firstRunId === undefined ? {} : { firstRunId: signed.firstRunId }) });
  checkPlan(plan, { ...approval, claims: { ...approval.claims, plan: signed } }, signed.firstRunId === undefined);
  const named = /^(?:arn:.*:key\/)?(mrk-[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f-]{27})$/.exec(input.key)?.[1];
  if (named !== undefined && named !== signed.keyId) throw refused('KW-APPROVAL-PLAN', `the proof is for the key ${signed.keyId}`, 'sign for the key that is to be revoked', named);
  if (approval.claims.decision !== 'approve') throw refused('KW-APPROVAL-FORM', 'the proof is a rejection', 'sign an approval', signed.keyId);
  if (!(FLOORS['revokeKey.disable'].roles as readonly string[]).includes(approval.claims.role)) {
    throw refused('KW-APPROVAL-ROLE', `${approval.claims.role} may not revoke; it takes EmergencyKeyAdmin`, 'ask a person who holds EmergencyKeyAdmin', signed.keyId);
  }
  return approval;
}

export function regionsAsSeen(target: Target, at: number): RegionDisabling[] {
  return [...target.seen].map(([region, m]) => ({ region, state: m.KeyState === 'Disabled' ? 'disabled' : 'pending-deletion', at: new Date(at).toISOString() }));
}

export function outcome(deps: Deps, target: Named & Partial<Pick<Target, 'seen'>>, kind: Disabling['outcome'], regions: RegionDisabling[], o: Pick<Disabling, 'adopted' | 'unaudited'> & { person?: string }): Disabling {
  const revokedAt = Math.max(...regions.map((r) => (r.at === undefined ? 0 : Date.parse(r.at))), 0) || now(deps);
  return {
    outcome: kind,
    keyId: target.keyId,
    keyArn: target.keyArn,
    purpose: target.purpose,
    regions,
    ...o,
    revokedAt: new Date(revokedAt).toISOString(),
    deadline: new Date((target.seen === undefined ? undefined : deletionDate({ seen: target.seen })) ?? revokedAt + deps.config.recovery.windowDays * DAY_MS).toISOString(),
    searchable: deps.searchable,
    reminderHours: [...deps.config.recovery.reminderHours],
  };
}

export function disabledRow(deps: Deps, at: Omit<Execution, 'firstRunId'>, input: RevokeInput, target: Named, r: RegionDisabling, approval: VerifiedApproval | undefined, adopted: boolean): AuditEntry {
  return entry(deps, at, {
    action: adopted ? 'AdoptDisabled' : 'DisableKey',
    phase: 'done',
    ...(r.at === undefined ? {} : { at: r.at }),
    keyId: target.keyId,
    keyArn: target.keyArn.replace(/:kms:[a-z0-9-]+:/, `:kms:${r.region}:`),
    region: r.region,
    ...facts(input),
    ...(r.requestId === undefined ? {} : { requestId: r.requestId }),
    ...(approval === undefined ? {} : { approvers: [approval.person], planDigest: approval.planDigest }),
    detail: { state: r.state, ...(r.before === undefined ? {} : { before: r.before }) },
  });
}

export function facts(input: RevokeInput): Pick<AuditEntry, 'reason' | 'incident' | 'requestedBy'> {
  return { reason: input.reason, ...(input.incident === undefined ? {} : { incident: input.incident }), ...(input.requestedBy === undefined ? {} : { requestedBy: input.requestedBy }) };
}
