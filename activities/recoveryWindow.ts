import type { EmergencyActivities, WindowOpened, WindowState } from '../domain/activities';
import { refused, type VerifiedApproval } from '../domain/approval';
import type { Arrived } from '../domain/activities';
import { policyDigest } from '../domain/digest';
import { KeywardenError } from '../domain/errors';
import { parseInput, revokeInput, type RevokeInput } from '../domain/inputs';
import { addSnapshot, beginDisables, closeWindow, endDisables, openWindow, openWindowOf, same, takeOverWindow, type KeyRow, type Opening, type ProcedureRef, type RecoveryWindow, type RegionSnapshot } from '../domain/keyRow';
import { widens } from '../domain/plan';
import { findArrivals } from './arrivals';
import type { Deps } from './deps';
import { directRevocation } from './directRecord';
import { DAY_MS, facts, verifyForDisabling } from './disabling';
import { effect } from './effect';
import { entry, execution, isRunning, now, type Execution } from './execution';
import { keepReceipt } from './receipts';
import { deletionDate, isDisabledEverywhere, isDown, resolveTarget, statesIn, type Target } from './targets';

/** Longest that a recovery's activity may still act after it was pre-empted. */
export const ACT_TIMEOUT_MS = 30_000;

/** The recovery window's row in the store, for the emergency duty: opened, joined, looked at, closed. */
export function windowActivities(deps: Deps): Pick<EmergencyActivities, 'openWindow' | 'beginDisables' | 'endDisables' | 'windowState' | 'closeWindow'> {
  return {
    async openWindow(a): Promise<WindowOpened> {
      const input = parseInput(revokeInput, a.input);
      const e = await execution(deps);
      const approval = a.proof === undefined ? undefined : await verifyForDisabling(deps, input, a.proof, e.workflowId);
      const target = await resolveTarget(deps.config, deps.kms, approval?.claims.plan.keyId ?? input.key);
      if (![...target.seen.values()].some((m) => isDown(m.KeyState))) {
        throw new KeywardenError('KW-NOT-YET', 'the key is disabled in no Region', { key: target.keyId, notDone: 'no window was opened', next: 'disable it first' });
      }
      if (approval === undefined && !isDisabledEverywhere(target)) throw new KeywardenError('KW-APPROVAL-MISSING', 'the key is not disabled in every Region and nobody signed', { key: target.keyId, notDone: 'no window was opened', next: 'sign the revocation' });
      const { snapshot } = await snapshotOf(deps, target.keyId, [...target.seen.keys()]);
      const before = await deps.store.readKey(target.keyId);
      if (approval !== undefined) await disableReplacement(deps, e, before);
      const moment = await momentOfRevocation(deps, e, input, target, before?.window);
      const opening: Opening = {
        keyId: target.keyId,
        purpose: target.purpose,
        procedure: ref(e),
        signed: approval !== undefined || moment.direct === true,
        mode: input.mode ?? 'disable',
        revokedAt: new Date(moment.at).toISOString(),
        deadline: new Date(deadlineOf(deps, target, moment, input)).toISOString(),
        snapshot,
        disabledIn: Object.keys(snapshot),
        ...(moment.ended === true ? { noRecovery: true } : {}),
        ...(input.incident === undefined ? {} : { incident: input.incident }),
      };
      const keeper = openWindowOf(before)?.procedure;
      const abandoned = keeper !== undefined && !same(keeper, e) && !(await isRunning(deps, keeper)) ? keeper : undefined;
      const opened = await deps.store.changeKey(target.keyId, (row) => {
        const result = openWindow(abandoned === undefined ? row : takeOverWindow(row, abandoned, ref(e)), opening);
        return { row: result.row, result };
      });
      const receiptRefused = approval === undefined ? undefined : await receiptFor(deps, approval, a.proof!, e, opened.row);
      await deps.trail.record([
        entry(deps, e, { action: opened.joined === undefined ? 'OpenRecoveryWindow' : 'JoinRevocation', phase: 'done', keyId: target.keyId, keyArn: target.keyArn, ...facts(input), detail: { deadline: opened.row.window!.deadline, mode: opened.row.window!.mode, epoch: opened.row.epoch, ...(opened.joined === undefined ? {} : { joined: opened.joined.workflowId }), ...(opened.preempted === undefined ? {} : { preempted: opened.preempted.workflowId }), ...(abandoned === undefined ? {} : { tookOverFrom: abandoned.workflowId }), ...(receiptRefused === undefined ? {} : { receiptRefused }) } }),
      ]);
      return {
        ...stateOf(opened.row),
        joined: opened.joined !== undefined,
        ...(opened.preempted === undefined ? {} : { preempted: opened.preempted }),
        ...(opened.rotation === undefined ? {} : { rotation: opened.rotation }),
        holdMs: ACT_TIMEOUT_MS + deps.config.recovery.holdSeconds * 1000,
        ...(receiptRefused === undefined ? {} : { receiptRefused }),
      };
    },

    async beginDisables(a) {
      const e = await execution(deps);
      const { keyId } = (await verifyForDisabling(deps, parseInput(revokeInput, a.input), a.proof, e.workflowId)).claims.plan;
      await deps.store.changeKey(keyId, (row) => ({ row: beginDisables(known(row, keyId), ref(e)), result: undefined }));
    },

    async endDisables(a) {
      const e = await execution(deps);
      const window = openWindowOf(known(await deps.store.readKey(a.keyId), a.keyId));
      if (window === undefined) return { unseen: [] };
      const { snapshot: recorded } = window;
      const { snapshot, unseen } = await snapshotOf(deps, a.keyId, deps.config.regions.filter((r) => recorded[r] === undefined));
      await deps.store.changeKey(a.keyId, (row) => ({ row: endDisables(addSnapshot(known(row, a.keyId), snapshot), e), result: undefined }));
      return { unseen };
    },

    async windowState(a) {
      const row = await deps.store.readKey(a.keyId);
      if (row?.window === undefined) throw new KeywardenError('KW-NOT-YET', 'the window is not recorded yet', { key: a.keyId, notDone: 'nothing', next: 'it is looked at again' });
      // whoever joined a window hears how that one ended, not how the next one stands
      const ended = a.revokedAt === undefined || a.revokedAt === row.window.revokedAt ? undefined : row.endings?.find((w) => w.revokedAt === a.revokedAt);
      return ended === undefined ? stateOf(row) : { ...stateOf(row), revokedAt: ended.revokedAt, deadline: ended.deadline, outcome: ended.outcome };
    },

    async closeWindow(a) {
      const e = await execution(deps);
      const at = now(deps);
      const states = await statesIn(deps.kms, a.keyId, deps.config.regions);
      const row = await deps.store.changeKey(a.keyId, (r) => {
        const window = openWindowOf(r);
        const all = Object.values(states);
        const gone = all.every((s) => s === 'absent');
        if (gone && r?.window?.outcome === 'deletion-scheduled' && same(r.window.procedure, ref(e))) {
          const destroyed = closeWindow(r, 'destroyed', new Date(at).toISOString());
          return { row: destroyed, result: destroyed };
        }
        if (r === undefined || window === undefined || !same(window.procedure, ref(e))) return { row: known(r, a.keyId), result: r };
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
  };
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

interface Moment {
  at: number;
  /** From a record that a person signed (`--direct`). */
  direct?: true;
  /** The key has been down since a window of it ended without recovery: none may follow (rule 4). */
  ended?: true;
}

/** When the key was revoked: by a signed record, by this procedure's own row if it took the key down, else by the first row of the disabling, else now. */
async function momentOfRevocation(deps: Deps, e: ProcedureRef, input: RevokeInput, target: Target, last: RecoveryWindow | undefined): Promise<Moment> {
  const direct = await directRevocation(deps, input, target);
  if (direct !== undefined) return { at: direct, direct: true };
  let first: number | undefined;
  let own: { at: number; before: Set<unknown> } | undefined;
  for await (const { entry: row } of deps.store.readAudit({ keyId: target.keyId })) {
    if (row.phase !== 'done') continue;
    if (row.action === 'EnableKey') first = own = undefined;
    if (row.action !== 'DisableKey') continue;
    first ??= Date.parse(row.at);
    if (row.workflowId !== e.workflowId || row.runId !== e.firstRunId) continue;
    own ??= { at: Date.parse(row.at), before: new Set() };
    own.before.add(row.detail?.['before']);
  }
  // a key that was seen up, or of which nothing is known, fell by this procedure; one that was down already fell before
  if (own !== undefined && (own.before.has('Enabled') || !own.before.has('Disabled'))) return { at: own.at };
  const ended = last?.outcome !== undefined && last.outcome !== 'recovered' && (first === undefined || first <= Date.parse(last.deadline));
  if (ended) return { at: Date.parse(last.revokedAt), ended };
  return { at: first ?? now(deps) };
}

/** KMS's own date where deletion is pending; seven days to sign in, where the window is over and something is still wanted of the key. */
function deadlineOf(deps: Deps, target: Target, moment: Moment, input: RevokeInput): number {
  const from = moment.ended === true && widens(input) ? now(deps) : moment.at;
  return deletionDate(target) ?? from + deps.config.recovery.windowDays * DAY_MS;
}

/** What each Region that is down looks like. `unseen`: Regions that did not say, to be asked again; a Region without the key is neither. */
/** A replacement of the key is at work: what it has moved already must fall with the key. The rotation takes the rest back, and tries again where a Region was silent. */
async function disableReplacement(deps: Deps, e: Execution, row: KeyRow | undefined): Promise<void> {
  const next = row?.rotation?.to === undefined ? undefined : await deps.store.readKey(row.rotation.to);
  if (next === undefined || next.replaces?.phase === 'committed') return;
  await Promise.allSettled([...deps.kms].map(async ([region, kms]) => {
    const facts = { action: 'DisableKey', keyId: next.keyId, region, detail: { replaces: row!.keyId } };
    if ((await kms.describe(next.keyId))?.KeyState === 'Enabled') await effect(deps, e, facts, () => kms.disable(next.keyId));
  }));
}

async function snapshotOf(deps: Deps, keyId: string, regions: readonly string[]): Promise<{ snapshot: Record<string, RegionSnapshot>; unseen: string[] }> {
  const snapshot: Record<string, RegionSnapshot> = {};
  const unseen: string[] = [];
  await Promise.all(
    regions.map(async (region) => {
      const kms = deps.kms.get(region)!;
      try {
        const m = await kms.describe(keyId);
        if (m === undefined) return;
        if (!isDown(m.KeyState)) return void unseen.push(region);
        const [policy, grants, aliases] = await Promise.all([kms.policy(keyId), kms.grants(keyId), kms.aliases(keyId)]);
        snapshot[region] = { keyArn: m.Arn!, state: m.KeyState!, policy, policyDigest: policyDigest(policy), grants: grants.map((g) => g.grantId), aliases };
      } catch {
        unseen.push(region);
      }
    }),
  );
  return { snapshot, unseen: unseen.sort() };
}

function stateOf(row: KeyRow): WindowState {
  const w = row.window!;
  return {
    mode: w.mode,
    procedure: w.procedure,
    revokedAt: w.revokedAt,
    deadline: w.deadline,
    epoch: row.epoch,
    disabling: w.disabling,
    joiners: w.joiners ?? [],
    ...(w.outcome === undefined ? {} : { outcome: w.outcome }),
    ...(row.recovery === undefined ? {} : { recovery: ref(row.recovery) }),
  };
}

const ref = (p: ProcedureRef): ProcedureRef => ({ workflowId: p.workflowId, firstRunId: p.firstRunId });

function known(row: KeyRow | undefined, keyId: string): KeyRow {
  if (row === undefined) throw new KeywardenError('KW-NOT-YET', 'the store does not know the key', { key: keyId, notDone: 'nothing was recorded', next: 'it is tried again when the window is recorded' });
  return row;
}
