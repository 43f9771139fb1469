import type { EmergencyActivities, WindowOpened, WindowState } from '../domain/activities';
import { refused, type VerifiedApproval } from '../domain/approval';
import type { Arrived } from '../domain/activities';
import { policyDigest } from '../domain/digest';
import { KeywardenError } from '../domain/errors';
import { parseInput, revokeInput, type RevokeInput } from '../domain/inputs';
import { addSnapshot, closeWindow, endDisables, openWindow, openWindowOf, same, takeOverWindow, type KeyRow, type ProcedureRef, type RegionSnapshot } from '../domain/keyRow';
import { findArrivals } from './arrivals';
import type { Deps } from './deps';
import { directRevocation } from './directRecord';
import { DAY_MS, facts, verifyForDisabling } from './disabling';
import { entry, execution, isRunning, now } from './execution';
import { keepReceipt } from './receipts';
import { deletionDate, isDisabledEverywhere, isDown, resolveTarget, type Target } from './targets';

/** Longest that a recovery's activity may still act after it was pre-empted. */
export const ACT_TIMEOUT_MS = 30_000;

/** The recovery window's row in the store, for the emergency duty: opened, joined, looked at, closed. */
export function windowActivities(deps: Deps): Pick<EmergencyActivities, 'openWindow' | 'endDisables' | 'windowState' | 'closeWindow'> {
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
      const snapshot = await snapshotOf(deps, target);
      const revokedAt = await momentOfRevocation(deps, e, input, target);
      const deadline = new Date(deletionDate(target) ?? revokedAt + deps.config.recovery.windowDays * DAY_MS).toISOString();
      const opening = { keyId: target.keyId, purpose: target.purpose, procedure: ref(e), mode: input.mode ?? 'disable', revokedAt: new Date(revokedAt).toISOString(), deadline, snapshot, disabledIn: Object.keys(snapshot), ...(input.incident === undefined ? {} : { incident: input.incident }) } as const;
      const keeper = openWindowOf(await deps.store.readKey(target.keyId))?.procedure;
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

    async endDisables(a) {
      const e = await execution(deps);
      const snapshot = await snapshotOf(deps, await resolveTarget(deps.config, deps.kms, a.keyId));
      await deps.store.changeKey(a.keyId, (row) => ({ row: endDisables(addSnapshot(known(row, a.keyId), snapshot), e), result: undefined }));
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
    [...target.seen].filter(([, m]) => isDown(m.KeyState)).map(async ([region, m]): Promise<[string, RegionSnapshot]> => {
      const kms = deps.kms.get(region)!;
      const [policy, grants, aliases] = await Promise.all([kms.policy(target.keyId), kms.grants(target.keyId), kms.aliases(target.keyId)]);
      return [region, { keyArn: m.Arn!, state: m.KeyState!, policy, policyDigest: policyDigest(policy), grants: grants.map((g) => g.grantId), aliases }];
    }),
  );
  return Object.fromEntries(entries);
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
