import { heartbeat, sleep } from '@temporalio/activity';
import type { Arrived, Considered, Disabling, EffectProof, EmergencyActivities, RegionDisabling, WindowOpened, WindowState } from '../domain/activities';
import { refused, type Receipt, type VerifiedApproval } from '../domain/approval';
import type { AuditEntry } from '../domain/audit';
import { digest, policyDigest } from '../domain/digest';
import { KeywardenError } from '../domain/errors';
import { parseInput, revokeInput, type RevokeInput } from '../domain/inputs';
import { addSnapshot, closeWindow, endDisables, openWindow, openWindowOf, same, type KeyRow, type ProcedureRef, type RegionSnapshot } from '../domain/keyRow';
import { CANARY_CONTEXT } from '../domain/names';
import { planInWords, type Plan } from '../domain/plan';
import { FLOORS } from '../domain/quorum';
import { findArrivals } from './arrivals';
import { takeCensus } from './census';
import { checkPlan, considerDecisions } from './considering';
import type { Deps } from './deps';
import { directRevocation } from './directRecord';
import { entry, execution, here, now, type Execution } from './execution';
import { errorName } from './kms';
import { disablePlan } from './planning';
import { keepReceipt } from './receipts';
import { resolveTarget, settledOrGrace, type Target } from './targets';
import { verifyApproval } from './verifiers';

const DAY_MS = 86_400_000;
/** Longest that a recovery's activity may still act after it was pre-empted. */
export const ACT_TIMEOUT_MS = 30_000;
const GONE = new Set(['Disabled', 'PendingDeletion', 'PendingReplicaDeletion']);

type Revocation = Omit<EmergencyActivities, 'alert' | 'census'>;

/** The acts of a revocation, for the emergency duty. */
export function revocationActivities(deps: Deps): Revocation & Pick<EmergencyActivities, 'census'> {
  return {
    async disableKey(a) {
      const input = parseInput(revokeInput, a.input);
      const at = here();
      const target = await resolveTarget(deps.config, deps.kms, input.key);
      const asked = (a.regions ?? deps.config.regions).filter((r) => deps.config.regions.includes(r) && !target.absent.includes(r));
      const adopted = a.proof === undefined && isDisabledEverywhere(target);
      if (!adopted) refuseToCutTheBranch(deps, input, target);
      const proof = a.proof;
      if (!adopted && proof === undefined) return outcome(deps, target, 'needs-approval', [], { adopted: false, unaudited: false });
      // rule 2: verified without store, audit or history; they follow
      const approval = adopted ? undefined : await verifyForDisabling(deps, input, target, proof!, at.workflowId).catch((error: unknown) => auditRefusal(deps, at, input, target, error));
      const regions = adopted ? regionsAsSeen(target, now(deps)) : await disableAll(deps, target.keyId, asked);
      if (!adopted && regions.every((r) => r.state === 'silent')) {
        throw new KeywardenError('KW-KMS-SILENT', `the key is not disabled yet: ${regions.map((r) => `${r.region}: ${r.detail ?? 'no answer'}`).join('; ')}`, { key: target.keyId, notDone: 'DisableKey in every Region', next: 'it is tried again until KMS answers' });
      }
      const rows = regions.filter((r) => r.state !== 'silent').map((r) => disabledRow(deps, at, input, target, r, approval, adopted));
      const unaudited = await deps.trail.record(rows).then(() => false, () => true);
      return outcome(deps, target, 'disabled', regions, { adopted, unaudited, ...(approval === undefined ? {} : { person: approval.person }) });
    },

    async considerRevocation(a) {
      const input = parseInput(revokeInput, a.input);
      const e = await execution(deps);
      const target = await resolveTarget(deps.config, deps.kms, input.key);
      const plan = disablePlan(deps.config, input, target, e);
      const accepted: Receipt[] = [];
      const tokens = new Map<string, string>();
      const considered: Considered = await considerDecisions(deps, e, {
        prepared: { plan, digest: digest(plan), words: planInWords(plan, deps.config.recovery.windowDays * DAY_MS) },
        quorum: 'revokeKey.disable',
        // stateless: receipt and `jti` follow in openWindow, when the store answers
        keep: async (approval) => void tokens.set(approval.person, approval.claims.jti),
        kept: async () => accepted,
      }, a.decisions, a.malformed);
      const i = considered.answers.findIndex((x, n) => x.accepted && a.decisions[n]!.as !== 'reject');
      return i < 0 || !considered.quorum.met ? considered : { ...considered, allowing: a.decisions[i]! };
    },

    async openWindow(a): Promise<WindowOpened> {
      const input = parseInput(revokeInput, a.input);
      const e = await execution(deps);
      const target = await resolveTarget(deps.config, deps.kms, input.key);
      if (![...target.seen.values()].some((m) => GONE.has(m.KeyState ?? ''))) {
        throw new KeywardenError('KW-NOT-YET', 'the key is disabled in no Region', { key: target.keyId, notDone: 'no window was opened', next: 'disable it first' });
      }
      let approval: VerifiedApproval | undefined;
      if (a.proof !== undefined) approval = await verifyForDisabling(deps, input, target, a.proof, e.workflowId);
      else if (!isDisabledEverywhere(target)) throw new KeywardenError('KW-APPROVAL-MISSING', 'the key is not disabled in every Region and nobody signed', { key: target.keyId, notDone: 'no window was opened', next: 'sign the revocation' });
      const snapshot = await snapshotOf(deps, target);
      const revokedAt = await momentOfRevocation(deps, e, input, target);
      const deadline = new Date(deletionDate(target) ?? revokedAt + deps.config.recovery.windowDays * DAY_MS).toISOString();
      const opening = { keyId: target.keyId, purpose: target.purpose, procedure: ref(e), mode: input.mode ?? 'disable', revokedAt: new Date(revokedAt).toISOString(), deadline, snapshot, disabledIn: Object.keys(snapshot) } as const;
      const opened = await deps.store.changeKey(target.keyId, (row) => {
        const result = openWindow(row, opening);
        return { row: result.row, result };
      });
      const receiptRefused = approval === undefined ? undefined : await receiptFor(deps, approval, a.proof!, e, opened.row);
      await deps.trail.record([
        entry(deps, e, { action: opened.joined === undefined ? 'OpenRecoveryWindow' : 'JoinRevocation', phase: 'done', keyId: target.keyId, keyArn: target.keyArn, ...facts(input), detail: { deadline: opened.row.window!.deadline, mode: opened.row.window!.mode, epoch: opened.row.epoch, ...(opened.joined === undefined ? {} : { joined: opened.joined.workflowId }), ...(opened.preempted === undefined ? {} : { preempted: opened.preempted.workflowId }), ...(receiptRefused === undefined ? {} : { receiptRefused }) } }),
      ]);
      return {
        ...stateOf(opened.row),
        joined: opened.joined !== undefined,
        ...(opened.preempted === undefined ? {} : { preempted: opened.preempted }),
        holdMs: ACT_TIMEOUT_MS + deps.config.recovery.holdSeconds * 1000,
        ...(receiptRefused === undefined ? {} : { receiptRefused }),
      };
    },

    async proveEffect(a): Promise<EffectProof> {
      const since = Date.parse(a.since);
      const row = await deps.store.readKey(a.keyId).catch(() => undefined);
      const regions = await Promise.all(a.regions.filter((r) => deps.config.regions.includes(r)).map((region) => untilRefused(deps, a.keyId, region, row?.canary, since)));
      const e = await execution(deps);
      await deps.trail.record(regions.map((r) => entry(deps, e, { action: 'ProveEffect', phase: r.refused ? 'done' : 'failed', keyId: a.keyId, region: r.region, detail: { afterMs: r.afterMs, refusedWith: r.error ?? '' } })));
      return { regions };
    },

    async holdDisabled(a) {
      const input = parseInput(revokeInput, a.input);
      const until = Date.now() + Math.min(a.holdMs, 15 * 60_000);
      let disabledAgain = 0;
      while (Date.now() < until) {
        const target = await resolveTarget(deps.config, deps.kms, input.key);
        const up = [...target.seen].filter(([, m]) => m.KeyState === 'Enabled').map(([region]) => region);
        if (up.length > 0) {
          // authorised like the first time, or by the open window: what this procedure disabled stays disabled
          const at = here();
          const row = await deps.store.readKey(target.keyId);
          if (a.proof !== undefined) await verifyForDisabling(deps, input, target, a.proof, at.workflowId);
          else if (openWindowOf(row) === undefined) throw new KeywardenError('KW-APPROVAL-MISSING', 'nobody signed and no window is open', { key: target.keyId, notDone: 'nothing was disabled', next: 'sign a revocation' });
          const done = await disableAll(deps, target.keyId, up);
          disabledAgain += done.filter((r) => r.state === 'disabled').length;
          await deps.trail.record(done.filter((r) => r.state === 'disabled').map((r) => ({ ...disabledRow(deps, at, input, target, r, undefined, false), eventId: `${at.runId}/${at.activityId}/hold/${r.region}/${r.requestId ?? r.at}` })));
        }
        heartbeat({ disabledAgain });
        await sleep(Math.min(2_000, Math.max(50, until - Date.now())));
      }
      return { disabledAgain };
    },

    async endDisables(a) {
      const e = await execution(deps);
      const snapshot = await snapshotOf(deps, await resolveTarget(deps.config, deps.kms, a.keyId));
      await deps.store.changeKey(a.keyId, (row) => ({ row: endDisables(addSnapshot(row ?? emptyRow(a.keyId), snapshot), e), result: undefined }));
    },

    async windowState(a) {
      const row = await deps.store.readKey(a.keyId);
      if (row?.window === undefined) throw new KeywardenError('KW-NOT-YET', 'the window is not recorded yet', { key: a.keyId, notDone: 'nothing', next: 'it is looked at again' });
      return stateOf(row);
    },

    async closeWindow(a) {
      const e = await execution(deps);
      const at = now(deps);
      const states = await statesOf(deps, a.keyId);
      const row = await deps.store.changeKey(a.keyId, (r) => {
        const window = openWindowOf(r);
        const all = Object.values(states);
        const gone = all.every((s) => s === 'absent');
        if (gone && r?.window?.outcome === 'deletion-scheduled' && same(r.window.procedure, ref(e))) {
          const destroyed = closeWindow(r, 'destroyed', new Date(at).toISOString());
          return { row: destroyed, result: destroyed };
        }
        if (r === undefined || window === undefined || !same(window.procedure, ref(e))) return { row: r ?? emptyRow(a.keyId), result: r };
        const pending = all.some((s) => s.startsWith('Pending'));
        if (!gone && at < Date.parse(window.deadline)) {
          throw new KeywardenError('KW-NOT-YET', `the window is open until ${window.deadline}`, { key: a.keyId, notDone: 'the window was not closed', next: 'it is tried again then' });
        }
        const up = Object.entries(states).find(([, s]) => s === 'Enabled');
        if (up !== undefined) throw new KeywardenError('KW-NOT-YET', `the key is Enabled in ${up[0]}`, { key: a.keyId, notDone: 'the window was not closed', next: `disable it: keywarden revoke ${a.keyId}` });
        const closed = closeWindow(r, gone ? 'destroyed' : pending ? 'deletion-scheduled' : 'disabled', new Date(at).toISOString());
        return { row: closed, result: closed };
      });
      const outcome = row?.window?.outcome;
      if (outcome === undefined) throw new KeywardenError('KW-PROCEDURE-OPEN', 'the window belongs to another procedure', { key: a.keyId, notDone: 'the window was not closed', next: 'look at `keywarden status`' });
      await deps.trail.record([entry(deps, e, { action: 'CloseRecoveryWindow', phase: 'done', keyId: a.keyId, reason: a.reason, ...(a.incident === undefined ? {} : { incident: a.incident }), occasion: outcome, detail: { outcome } })]);
      return { outcome };
    },

    census: (a) => takeCensus(deps, a.keyId),
  };
}

/** Regions' answers, all asked at once; none waits for another longer than a moment. */
async function disableAll(deps: Deps, keyId: string, regions: readonly string[]): Promise<RegionDisabling[]> {
  const done = new Map<string, RegionDisabling>();
  const asked = regions.map(async (region) => {
    try {
      const { requestId } = await deps.kms.get(region)!.disable(keyId);
      done.set(region, { region, state: 'disabled', at: new Date(deps.clock.now()).toISOString(), ...(requestId === undefined ? {} : { requestId }) });
    } catch (error) {
      const cause = error instanceof KeywardenError ? error.cause : error;
      if (errorName(cause) === 'KMSInvalidStateException' && String(cause).includes('pending deletion')) done.set(region, { region, state: 'pending-deletion', at: new Date(deps.clock.now()).toISOString() });
      else done.set(region, { region, state: 'silent', detail: error instanceof Error ? error.message : String(error) });
    }
  });
  await settledOrGrace(asked, () => [...done.values()].some((r) => r.state !== 'silent'), 700);
  return regions.map((region) => done.get(region) ?? { region, state: 'silent', detail: 'no answer yet' });
}

/** Signature, life and plan of the one approval that a disabling needs. The server's history is read only when the proof's life is over by now. */
async function verifyForDisabling(deps: Deps, input: RevokeInput, target: Target, proof: Arrived, workflowId: string): Promise<VerifiedApproval> {
  let approval: VerifiedApproval;
  try {
    approval = await verifyApproval(proof.token, deps.config, now(deps));
  } catch (error) {
    if (!(error instanceof KeywardenError) || error.code !== 'KW-APPROVAL-EXPIRED') throw error;
    const arrival = (await findArrivals(deps.temporal, workflowId, proof.runId, [proof.token])).get(proof.token);
    if (arrival === undefined) throw error;
    approval = await verifyApproval(proof.token, deps.config, arrival.at);
  }
  const signed = approval.claims.plan;
  const plan = disablePlan(deps.config, input, target, { workflowId, ...(signed.firstRunId === undefined ? {} : { firstRunId: signed.firstRunId }) });
  const { expects: _drifts, ...disabling } = signed;
  checkPlan(plan as Plan, { ...approval, claims: { ...approval.claims, plan: disabling as Plan } }, signed.firstRunId === undefined);
  if (approval.claims.decision !== 'approve') throw refused('KW-APPROVAL-FORM', 'the proof is a rejection', 'sign an approval', target.keyId);
  if (!(FLOORS['revokeKey.disable'].roles as readonly string[]).includes(approval.claims.role)) {
    throw refused('KW-APPROVAL-ROLE', `${approval.claims.role} may not revoke; it takes EmergencyKeyAdmin`, 'ask a person who holds EmergencyKeyAdmin', target.keyId);
  }
  return approval;
}

/** A refused proof leaves a row with its reason; the refusal itself is what the workflow hears. */
async function auditRefusal(deps: Deps, at: Omit<Execution, 'firstRunId'>, input: RevokeInput, target: Target, error: unknown): Promise<never> {
  if (error instanceof KeywardenError && error.final) {
    await deps.trail.record([entry(deps, at, { action: 'approve', phase: 'refused', error: error.code, keyId: target.keyId, ...facts(input), detail: { why: error.what } })]).catch(() => undefined);
  }
  throw error;
}

async function receiptFor(deps: Deps, approval: VerifiedApproval, proof: Arrived, e: ProcedureRef, row: KeyRow): Promise<string | undefined> {
  const arrival = (await findArrivals(deps.temporal, e.workflowId, proof.runId, [proof.token])).get(proof.token);
  try {
    if (arrival === undefined) throw refused('KW-APPROVAL-NOT-SEEN', 'the proof does not stand in the history of this workflow', 'sign again');
    await keepReceipt(deps, approval, { procedure: ref(e), epoch: row.epoch, arrivedAt: arrival.at });
    return undefined;
  } catch (error) {
    // the key is disabled and stays so; that its proof was used before is said, audited and alerted
    if (error instanceof KeywardenError && error.final) return error.message;
    throw error;
  }
}

function refuseToCutTheBranch(deps: Deps, input: RevokeInput, target: Target): void {
  const under = deps.config.databases.filter((d) => d.purpose === target.purpose).map((d) => d.name);
  if (target.purpose !== 'tde' && under.length === 0) return;
  const names = under.length === 0 ? 'the database' : under.join(', ');
  if (input.acknowledgeOutage !== true) {
    throw new KeywardenError('KW-OUTAGE', `${names} may go down with this key`, { path: 'input.acknowledgeOutage', key: target.keyId, notDone: 'the key was not disabled', next: 'start again with acknowledgeOutage: true (CLI: --acknowledge-outage) if the outage is accepted' });
  }
  if (deps.config.audit === undefined || deps.config.audit.journalEncryptedBy.includes(target.purpose)) {
    throw new KeywardenError('KW-BRANCH', `Keywarden's own database may be ${names}, and no journal stands elsewhere`, { path: 'config.audit.journal', key: target.keyId, notDone: 'the key was not disabled', next: 'set audit.journal to a volume that this key does not encrypt; or disable the key by hand with `keywarden revoke --direct`' });
  }
}

function isDisabledEverywhere(target: Target): boolean {
  return target.silent.length === 0 && target.seen.size > 0 && [...target.seen.values()].every((m) => GONE.has(m.KeyState ?? ''));
}

function regionsAsSeen(target: Target, at: number): RegionDisabling[] {
  return [...target.seen].map(([region, m]) => ({ region, state: m.KeyState === 'Disabled' ? 'disabled' : 'pending-deletion', at: new Date(at).toISOString() }));
}

function outcome(deps: Deps, target: Target, kind: Disabling['outcome'], regions: RegionDisabling[], o: Pick<Disabling, 'adopted' | 'unaudited'> & { person?: string }): Disabling {
  const revokedAt = Math.max(...regions.map((r) => (r.at === undefined ? 0 : Date.parse(r.at))), 0) || now(deps);
  return {
    outcome: kind,
    keyId: target.keyId,
    keyArn: target.keyArn,
    purpose: target.purpose,
    regions,
    ...o,
    revokedAt: new Date(revokedAt).toISOString(),
    deadline: new Date(deletionDate(target) ?? revokedAt + deps.config.recovery.windowDays * DAY_MS).toISOString(),
    searchable: deps.searchable,
    reminderHours: [...deps.config.recovery.reminderHours],
  };
}

/** The earliest date at which KMS destroys the key in a Region, if it is pending. */
function deletionDate(target: Target): number | undefined {
  const dates = [...target.seen.values()].flatMap((m) => (m.DeletionDate === undefined ? [] : [m.DeletionDate.getTime()]));
  return dates.length === 0 ? undefined : Math.min(...dates);
}

function disabledRow(deps: Deps, at: Omit<Execution, 'firstRunId'>, input: RevokeInput, target: Target, r: RegionDisabling, approval: VerifiedApproval | undefined, adopted: boolean): AuditEntry {
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
    detail: { state: r.state },
  });
}

/** When the key was revoked: this procedure's own first row, or for an adopted key the first row of its disabling, else now. */
async function momentOfRevocation(deps: Deps, e: ProcedureRef, input: RevokeInput, target: Target): Promise<number> {
  const direct = await directRevocation(deps, input, target);
  if (direct !== undefined) return direct;
  let adopted: number | undefined;
  const lastClosed = (await deps.store.readKey(target.keyId))?.window;
  for await (const row of deps.store.readAudit({ keyId: target.keyId })) {
    const { action, at, workflowId } = row.entry;
    if (action === 'DisableKey' && row.entry.phase === 'done') {
      if (workflowId === e.workflowId && row.entry.runId === e.firstRunId) return Date.parse(at);
      adopted ??= Date.parse(at);
    }
    if (action === 'EnableKey' && row.entry.phase === 'done') adopted = undefined;
  }
  // a window that ended without recovery is over: adopting the key anew starts a new one
  if (adopted !== undefined && lastClosed?.outcome !== undefined && adopted <= Date.parse(lastClosed.revokedAt)) adopted = undefined;
  return adopted ?? now(deps);
}

async function snapshotOf(deps: Deps, target: Target): Promise<Record<string, RegionSnapshot>> {
  const entries = await Promise.all(
    [...target.seen].filter(([, m]) => GONE.has(m.KeyState ?? '')).map(async ([region, m]): Promise<[string, RegionSnapshot]> => {
      const kms = deps.kms.get(region)!;
      const [policy, grants, aliases] = await Promise.all([kms.policy(target.keyId), kms.grants(target.keyId), kms.aliases(target.keyId)]);
      return [region, { keyArn: m.Arn!, state: m.KeyState!, policy, policyDigest: policyDigest(policy), grants: grants.map((g) => g.grantId), aliases }];
    }),
  );
  return Object.fromEntries(entries);
}

/** A canary decrypt, again and again until KMS refuses it: nothing else proves that the change has reached the data plane. */
async function untilRefused(deps: Deps, keyId: string, region: string, canary: string | undefined, since: number): Promise<EffectProof['regions'][number]> {
  const kms = deps.kms.get(region)!;
  for (;;) {
    try {
      if (canary === undefined) await kms.encrypt(keyId, Buffer.from('canary'), CANARY_CONTEXT);
      else await kms.decrypt(keyId, Buffer.from(canary, 'base64'), CANARY_CONTEXT);
    } catch (error) {
      const name = errorName(error instanceof KeywardenError ? error.cause : error);
      if (name === 'DisabledException' || name === 'KMSInvalidStateException' || name === 'NotFoundException') return { region, refused: true, afterMs: Math.max(0, deps.clock.now() - since), error: name };
      throw error;
    }
    heartbeat();
    await sleep(250);
  }
}

async function statesOf(deps: Deps, keyId: string): Promise<Record<string, string>> {
  const states = await Promise.all(deps.config.regions.map(async (region) => [region, (await deps.kms.get(region)!.describe(keyId))?.KeyState ?? 'absent'] as const));
  return Object.fromEntries(states);
}

function stateOf(row: KeyRow): WindowState {
  const w = row.window!;
  return {
    mode: w.mode,
    procedure: w.procedure,
    deadline: w.deadline,
    epoch: row.epoch,
    disabling: w.disabling,
    ...(w.outcome === undefined ? {} : { outcome: w.outcome }),
    ...(row.recovery === undefined ? {} : { recovery: ref(row.recovery) }),
  };
}

const ref = (p: ProcedureRef): ProcedureRef => ({ workflowId: p.workflowId, firstRunId: p.firstRunId });
const emptyRow = (keyId: string): KeyRow => ({ keyId, purpose: 'unknown', epoch: 0 });

function facts(input: RevokeInput): Pick<AuditEntry, 'reason' | 'incident' | 'requestedBy'> {
  return { reason: input.reason, ...(input.incident === undefined ? {} : { incident: input.incident }), ...(input.requestedBy === undefined ? {} : { requestedBy: input.requestedBy }) };
}
