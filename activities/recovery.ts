import { heartbeat, sleep } from '@temporalio/activity';
import type { RecoveryActivities } from '../domain/activities';
import { digest } from '../domain/digest';
import { KeywardenError } from '../domain/errors';
import { parseInput, recoverInput } from '../domain/inputs';
import { beginRecovery, closeWindow, endDisables, endRecovery, openWindowOf, recoverableWindow, same, type ProcedureRef } from '../domain/keyRow';
import { CANARY_CONTEXT } from '../domain/names';
import { matter, planInWords } from '../domain/plan';
import { authority, type Authority } from './authority';
import { considerDecisions, digestsOf } from './considering';
import type { Deps } from './deps';
import { entry, execution, isRunning, now } from './execution';
import { recoveryPlan } from './planning';
import { keepReceipt, receiptsOf } from './receipts';
import { RegionActs } from './regionActs';
import { isDown, knownTarget, statesIn } from './targets';

type Recovery = Pick<RecoveryActivities, 'considerRecovery' | 'beginRecovery' | 'cancelDeletion' | 'restorePolicy' | 'enableKey' | 'proveRecovery' | 'finishRecovery' | 'endRecovery'>;

/** The acts of a recovery, for the recovery duty. Each verifies for itself that it may. */
export function recoveryActivities(deps: Deps): Recovery {
  return {
    async considerRecovery(a) {
      const input = parseInput(recoverInput, a.input);
      const e = await execution(deps);
      const target = await knownTarget(deps, input.key);
      const row = await deps.store.readKey(target.keyId);
      const plan = await recoveryPlan({ config: deps.config, kms: deps.kms, row, now: now(deps) }, input, target, e).catch(async (error: unknown) => {
        if (error instanceof KeywardenError && error.final) {
          await deps.trail.record([entry(deps, e, { action: 'RecoverKey', phase: 'refused', error: error.code, keyId: target.keyId, keyArn: target.keyArn, reason: input.reason, detail: { why: error.what } })]);
        }
        throw error;
      });
      const digests = digestsOf(plan);
      const considered = await considerDecisions(deps, e, {
        prepared: { plan, digest: digest(plan), words: planInWords(plan, 0) },
        quorum: 'recoverKey',
        keep: (approval, arrival) => keepReceipt(deps, approval, { procedure: e, epoch: row!.epoch, arrivedAt: arrival.at }),
        kept: async () => (await receiptsOf(deps, e)).filter((r) => r.epoch === row!.epoch && digests.includes(r.planDigest)),
      }, a.decisions, a.malformed);
      return { ...considered, deadline: row!.window!.deadline };
    },

    async beginRecovery(a) {
      const by = await recoveryAuthority(deps, a.digest);
      const at = now(deps);
      const other = by.row.recovery;
      const abandoned = other !== undefined && !same(other, by.e) && !(await isRunning(deps, other)) ? other : undefined; // terminated from outside
      const row = await deps.store.changeKey(by.plan.keyId, (r) => {
        if (r === undefined) throw new KeywardenError('KW-WINDOW-CLOSED', 'the store does not know the key', { key: by.plan.keyId, notDone: 'the recovery did not begin', next: 'look at `keywarden status`' });
        sameEpoch(by, r.epoch);
        const begun = beginRecovery(abandoned === undefined ? r : endRecovery(r, abandoned), ref(by.e), at);
        return { row: begun, result: begun };
      });
      const window = row.window!;
      const pending: ProcedureRef[] = [];
      for (const procedure of window.disabling) {
        if (await isRunning(deps, procedure)) pending.push(procedure);
        // nobody is left who could still disable: its workflow ended, or was ended from outside
        else await deps.store.changeKey(by.plan.keyId, (r) => ({ row: endDisables(r!, procedure), result: undefined }));
      }
      if (pending.length === 0) await refuseHalf(deps, by);
      await deps.trail.record([entry(deps, by.e, { action: 'BeginRecovery', phase: 'done', keyId: by.plan.keyId, planDigest: by.digest, approvers: by.approvers, ...matter(by.plan) })]);
      return { revocation: window.procedure, pending };
    },

    async cancelDeletion(a) {
      const acts = new RegionActs(deps, await begun(deps, a.digest), a.region);
      return { cancelled: await acts.cancelDeletion() };
    },

    async restorePolicy(a) {
      const by = await begun(deps, a.digest);
      const acts = new RegionActs(deps, by, a.region);
      const snapshot = by.row.window!.snapshot[a.region];
      if (snapshot === undefined) throw new KeywardenError('KW-PLAN-DRIFT', `nothing was recorded of ${a.region} at the revocation`, { key: acts.keyId, notDone: `nothing was restored in ${a.region}`, next: 'have a plan signed without this Region' });
      await acts.checkUnchanged();
      await acts.disableFirst();
      await acts.putPolicy(snapshot.policy);
    },

    async enableKey(a) {
      const by = await begun(deps, a.digest);
      const acts = new RegionActs(deps, by, a.region);
      const requestId = await acts.enable(async () => {
        const row = await deps.store.readKey(by.plan.keyId);
        sameEpoch(by, row?.epoch);
        recoverableWindow(row, by.plan.keyId, now(deps));
        if (row?.recovery === undefined || !same(row.recovery, by.e)) throw preempted(by);
      });
      await acts.until('Enabled');
      return requestId === undefined ? {} : { requestId };
    },

    async proveRecovery(a) {
      const by = await begun(deps, a.digest);
      const { kms, keyId } = new RegionActs(deps, by, a.region);
      const start = Date.now();
      for (;;) {
        try {
          if (by.row.canary === undefined) await kms.decrypt(keyId, await kms.encrypt(keyId, Buffer.from('canary'), CANARY_CONTEXT), CANARY_CONTEXT);
          else await kms.decrypt(keyId, Buffer.from(by.row.canary, 'base64'), CANARY_CONTEXT);
          const afterMs = Date.now() - start;
          await deps.trail.record([entry(deps, by.e, { action: 'ProveRecovery', phase: 'done', keyId, region: a.region, ...matter(by.plan), detail: { afterMs } })]);
          return { afterMs };
        } catch (error) {
          if (Date.now() - start > 8_000) throw error;
          heartbeat();
          await sleep(250);
        }
      }
    },

    async finishRecovery(a) {
      const by = await recoveryAuthority(deps, a.digest);
      const states = await statesIn(deps.kms, by.plan.keyId, by.plan.regions);
      const down = Object.entries(states).find(([, s]) => s !== 'Enabled');
      const row = await deps.store.readKey(by.plan.keyId);
      if (row?.window?.outcome !== 'recovered') {
        if (down !== undefined) throw new KeywardenError('KW-NOT-YET', `the key is ${down[1]} in ${down[0]}`, { key: by.plan.keyId, notDone: 'the window was not closed', next: 'it is tried again' });
        await deps.store.changeKey(by.plan.keyId, (r) => {
          sameEpoch(by, r?.epoch);
          if (r?.recovery === undefined || !same(r.recovery, by.e)) throw preempted(by);
          return { row: closeWindow(r, 'recovered', new Date(now(deps)).toISOString()), result: undefined };
        });
      }
      await deps.trail.record([entry(deps, by.e, { action: 'CloseRecoveryWindow', phase: 'done', keyId: by.plan.keyId, planDigest: by.digest, approvers: by.approvers, ...matter(by.plan), detail: { outcome: 'recovered' } })]);
      const others = deps.config.regions.filter((r) => !by.plan.regions.includes(r));
      return { states: { ...states, ...(await statesIn(deps.kms, by.plan.keyId, others, 'silent')) } };
    },

    async endRecovery(a) {
      const e = await execution(deps);
      const target = await knownTarget(deps, a.key);
      if ((await deps.store.readKey(target.keyId)) !== undefined) await deps.store.changeKey(target.keyId, (r) => ({ row: endRecovery(r!, ref(e)), result: undefined }));
      await deps.trail.record([entry(deps, e, { action: 'EndRecovery', phase: 'noted', keyId: target.keyId, detail: { why: a.why.slice(0, 500) } })]);
    },
  };
}

/** Drift voids a plan: a Region that was silent when it was made, and has shown itself down since, would stay down without a word. */
async function refuseHalf(deps: Deps, by: Authority): Promise<void> {
  const others = deps.config.regions.filter((r) => !by.plan.regions.includes(r));
  const down = Object.entries(await statesIn(deps.kms, by.plan.keyId, others, 'silent')).filter(([, s]) => isDown(s)).map(([region]) => region);
  if (down.length === 0) return;
  throw new KeywardenError('KW-PLAN-DRIFT', `the key is down in ${down.join(', ')} too, which did not answer when the plan was made`, { key: by.plan.keyId, notDone: 'nothing was enabled', next: 'start the recovery again: its plan then names this Region' });
}

/** A signed recovery inside an open window. */
async function recoveryAuthority(deps: Deps, planDigest: string): Promise<Authority> {
  const by = await authority(deps, planDigest);
  if (by.plan.operation !== 'recoverKey') throw new KeywardenError('KW-APPROVAL-PLAN', 'the plan is not a recovery', { key: by.plan.keyId, notDone: 'nothing was done', next: 'have a recovery signed' });
  return by;
}

/** The recovery has taken the row, and no newer revocation has taken it away; the window is still open. */
async function begun(deps: Deps, planDigest: string): Promise<Authority> {
  const by = await recoveryAuthority(deps, planDigest);
  recoverableWindow(by.row, by.plan.keyId, now(deps));
  if (by.row.recovery === undefined || !same(by.row.recovery, by.e)) throw preempted(by);
  if (openWindowOf(by.row)?.disabling.length !== 0) throw new KeywardenError('KW-NOT-YET', 'a disable may still be pending', { key: by.plan.keyId, notDone: 'nothing was done', next: 'it is tried again when the revocation has ended them' });
  return by;
}

function sameEpoch(by: Authority, epoch: number | undefined): void {
  if (epoch !== by.row.epoch) throw preempted(by);
}

function preempted(by: Authority): KeywardenError {
  return new KeywardenError('KW-PREEMPTED', 'a newer revocation took the key over', { key: by.plan.keyId, notDone: 'the recovery stopped where it was; the key stays disabled', next: 'look at `keywarden status`, then start a new recovery if it is still wanted' });
}

const ref = (p: ProcedureRef): ProcedureRef => ({ workflowId: p.workflowId, firstRunId: p.firstRunId });
