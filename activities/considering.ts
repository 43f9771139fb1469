import { refused, type Receipt, type VerifiedApproval } from '../domain/approval';
import type { Arrived, Considered, Prepared } from '../domain/activities';
import type { AuditEntry } from '../domain/audit';
import { firstDifference } from '../domain/canonical';
import { digest } from '../domain/digest';
import { KeywardenError } from '../domain/errors';
import { matter, type Plan } from '../domain/plan';
import { floorOf, quorumState, type QuorumName } from '../domain/quorum';
import type { Decided } from '../domain/status';
import { findArrivals, firstRunOf, type Arrival } from './arrivals';
import type { Deps } from './deps';
import { entry, type Execution } from './execution';
import { verifyApproval } from './verifiers';

/** At most this many refused proofs of one batch get a row of their own; the rest are counted in one (a flood must not fill the trail). */
const ROWS_FOR_REFUSED = 5;

export interface Gate {
  prepared: Omit<Prepared, 'quorum'>;
  quorum: QuorumName;
  /** The part of a signed plan that this gate compares: a disabling is not voided by what a quarantine expects. */
  compared?(signed: Plan): Plan;
  /** Keeps an accepted approval; refuses a used proof. */
  keep(approval: VerifiedApproval, arrival: Arrival): Promise<void>;
  /** What has been kept for this gate, oldest first. */
  kept(): Promise<Receipt[]>;
}

/**
 * Judges a batch of proofs against one plan. Every refusal is audited with its reason; every acceptance is kept and audited.
 * Whoever calls it again with the same proofs gets the same answers (rule 6).
 */
export async function considerDecisions(deps: Deps, e: Execution, gate: Gate, decisions: readonly Arrived[], malformed: number): Promise<Considered> {
  const floor = floorOf(gate.quorum, deps.config.quorum);
  const arrivals = await arrivalsOf(deps, e, decisions);
  const receipts = [...(await gate.kept())];
  const answers: Considered['answers'] = [];
  const rows: AuditEntry[] = [];
  let refusals = 0;
  for (const decision of decisions) {
    const arrival = arrivals.get(decision);
    try {
      const approval = await judge(deps, e, gate, decision, arrival, receipts);
      if (!receipts.some((r) => r.jti === approval.claims.jti)) {
        await gate.keep(approval, arrival!);
        receipts.push({ ...({} as Receipt), person: approval.person, role: approval.claims.role, decision: approval.claims.decision, jti: approval.claims.jti, planDigest: approval.planDigest, at: new Date(arrival!.at).toISOString() });
      }
      answers.push({ accepted: true, person: approval.person });
      // one approval, one row, however often and by whatever message it arrives
      rows.push({ ...entry(deps, e, { action: approval.claims.decision, phase: 'done', occasion: approval.claims.jti, keyId: gate.prepared.plan.keyId, planDigest: approval.planDigest, ...matter(gate.prepared.plan), approvers: [approval.person], detail: { role: approval.claims.role, arrived: new Date(arrival!.at).toISOString(), ...(decision.comment === undefined ? {} : { comment: decision.comment.slice(0, 500) }) } }), eventId: `${e.firstRunId}/${deps.duty}/${approval.claims.decision}/${approval.claims.jti}` });
    } catch (error) {
      if (!(error instanceof KeywardenError) || !error.final) throw error;
      answers.push({ accepted: false, code: error.code, reason: error.what });
      if (refusals++ < ROWS_FOR_REFUSED) rows.push(refusalRow(deps, e, gate, `${arrival?.at ?? 'unseen'}/${answers.length}`, error.code, { reason: error.what }));
    }
  }
  const more = Math.max(0, refusals - ROWS_FOR_REFUSED) + malformed;
  if (more > 0) rows.push(refusalRow(deps, e, gate, 'more', 'KW-APPROVAL-FORM', { more, malformed, codes: [...new Set(answers.flatMap((a) => (a.code === undefined ? [] : [a.code])))].sort() }));
  if (rows.length > 0) await deps.trail.record(rows);
  return { ...verdict(gate, floor, receipts), answers };
}

function refusalRow(deps: Deps, e: Execution, gate: Gate, occasion: string, code: string, detail: Record<string, unknown>): AuditEntry {
  return entry(deps, e, { action: 'approve', phase: 'refused', occasion, error: code, keyId: gate.prepared.plan.keyId, planDigest: gate.prepared.digest, ...matter(gate.prepared.plan), detail });
}

function verdict(gate: Gate, floor: ReturnType<typeof floorOf>, receipts: readonly Receipt[]): Omit<Considered, 'answers'> {
  const decided: Decided[] = receipts.map((r) => ({ person: r.person, role: r.role, decision: r.decision, at: r.at }));
  const rejected = decided.find((d) => d.decision === 'reject');
  return {
    ...gate.prepared,
    quorum: quorumState(floor, decided.filter((d) => d.decision === 'approve')),
    decided,
    ...(rejected === undefined ? {} : { rejected }),
  };
}

async function arrivalsOf(deps: Deps, e: Execution, decisions: readonly Arrived[]): Promise<Map<Arrived, Arrival>> {
  const byRun = new Map<string, Arrived[]>();
  for (const d of decisions) byRun.set(d.runId, [...(byRun.get(d.runId) ?? []), d]);
  const found = new Map<Arrived, Arrival>();
  for (const [runId, group] of byRun) {
    if ((await firstRunOf(deps.temporal, e.workflowId, runId)) !== e.firstRunId) continue; // a run of somebody else's chain
    const times = await findArrivals(deps.temporal, e.workflowId, runId, group.map((d) => d.token));
    for (const d of group) {
      const at = times.get(d.token);
      if (at !== undefined) found.set(d, at);
    }
  }
  return found;
}

async function judge(deps: Deps, e: Execution, gate: Gate, decision: Arrived, arrival: Arrival | undefined, receipts: readonly Receipt[]): Promise<VerifiedApproval> {
  const key = gate.prepared.plan.keyId;
  if (arrival === undefined) throw refused('KW-APPROVAL-NOT-SEEN', 'the proof does not stand in the history of this workflow', 'send it with the signal `approve` or the update `decide`', key);
  const approval = await verifyApproval(decision.token, deps.config, arrival.at);
  if (decision.as !== undefined && decision.as !== approval.claims.decision) {
    throw refused('KW-APPROVAL-FORM', `the message says ${decision.as}, the signature says ${approval.claims.decision}`, 'send what was signed', key);
  }
  const { plan } = approval.claims;
  checkPlan(gate.prepared.plan, { ...approval, claims: { ...approval.claims, plan: gate.compared?.(plan) ?? plan } }, arrival.how === 'start');
  const floor = floorOf(gate.quorum, deps.config.quorum);
  const { role } = approval.claims;
  if (!floor.roles.includes(role)) throw refused('KW-APPROVAL-ROLE', `${role} may not decide this; it takes ${floor.roles.join(' or ')}`, 'ask a person who holds such a role', key);
  const others = receipts.filter((r) => r.jti !== approval.claims.jti);
  const rejection = others.find((r) => r.decision === 'reject');
  if (rejection !== undefined) throw refused('KW-APPROVAL-LAPSED', `${rejection.person} has rejected the plan`, 'start the procedure anew if it is still wanted', key);
  const already = others.find((r) => r.person === approval.person && r.decision === approval.claims.decision);
  if (already !== undefined) {
    throw refused('KW-APPROVAL-SAME-PERSON', `${approval.person} has signed already, as ${already.role}; one person counts once, under whatever role`, 'ask a second person', key);
  }
  if (approval.claims.decision === 'approve' && floor.atMostOne.includes(role) && others.some((r) => r.role === role && r.decision === 'approve')) {
    throw refused('KW-APPROVAL-ROLE', `only one of the signers may be ${role}`, `ask a person who holds ${floor.roles.filter((r) => !floor.atMostOne.includes(r)).join(' or ')}`, key);
  }
  return approval;
}

/** The plan that was signed is the plan that will be done, field by field; a start's proof has no run yet. */
export function checkPlan(plan: Plan, approval: VerifiedApproval, withStart: boolean): void {
  const signed = approval.claims.plan;
  if (signed.workflowId !== plan.workflowId) {
    throw refused('KW-APPROVAL-WORKFLOW', `the proof is for the workflow ${signed.workflowId}`, `sign for ${plan.workflowId}`, plan.keyId);
  }
  const { firstRunId: _run, ...beforeStart } = plan;
  const expected: Plan = withStart ? beforeStart : plan;
  if (signed.firstRunId !== expected.firstRunId) {
    throw refused('KW-APPROVAL-WORKFLOW', `the proof is for ${signed.firstRunId === undefined ? 'a start' : `the run ${signed.firstRunId}`}`, 'sign again for this run', plan.keyId);
  }
  const difference = firstDifference(expected, signed);
  if (difference !== undefined) {
    throw refused('KW-APPROVAL-PLAN', `the proof is for another plan: ${difference} differs`, 'look at the plan again with `keywarden status`, then sign what it says now', plan.keyId);
  }
}

/** Digests under which a signature counts for a plan: as signalled, and as given with the start. */
export function digestsOf(plan: Plan): string[] {
  const { firstRunId: _run, ...beforeStart } = plan;
  return [digest(plan), digest(beforeStart)];
}
