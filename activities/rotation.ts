import { heartbeat } from '@temporalio/activity';
import type { RotationActivities, RotationChecked } from '../domain/activities';
import { canonicalJson } from '../domain/canonical';
import { digest } from '../domain/digest';
import { KeywardenError } from '../domain/errors';
import { parseInput, rotateInput, type RotateInput } from '../domain/inputs';
import { beginRotation, endRotation, openWindowOf, same, type KeyRow } from '../domain/keyRow';
import { planInWords } from '../domain/plan';
import { dueOf, ON_DEMAND_QUOTA, ON_DEMAND_WARN, checkQuota } from '../domain/rotation';
import { considerDecisions, digestsOf } from './considering';
import { unpackValue } from '../domain/columnKey';
import type { Deps } from './deps';
import { entry, execution, isRunning, now } from './execution';
import { materialsOf, rotationTarget, type RotationTarget } from './materials';
import { rotationPlan } from './planning';
import { keepReceipt, receiptsOf } from './receipts';
import { held } from './rewrapping';

type Acts = Pick<RotationActivities, 'considerRotation' | 'beginRotation' | 'verifyRotation' | 'endRotation'>;

/** A rotation's beginning and end, for the routine duty: may it, has it the key, is nothing left. */
export function rotationActivities(deps: Deps): Acts {
  return {
    async considerRotation(a): Promise<RotationChecked> {
      const input = parseInput(rotateInput, a.input);
      if (input.strategy === 'replace') throw new KeywardenError('KW-INPUT', 'must not be "replace"', { path: 'input.strategy', key: input.key, notDone: 'nothing was started', next: 'this is the procedure that stays in the same CMK' });
      const e = await execution(deps);
      const found = await rotationTarget(deps, input.key);
      const { keyId, keyArn, purpose } = found.target;
      const row = await deps.store.changeKey<KeyRow>(keyId, (r) => ({ row: r ?? { keyId, purpose, epoch: 0 }, result: r ?? { keyId, purpose, epoch: 0 } }));
      const other = openWindowOf(row)?.procedure ?? row.recovery ?? row.rotation;
      if (other !== undefined && !same(other, e) && (other !== row.rotation || (await isRunning(deps, other)))) {
        throw new KeywardenError('KW-PROCEDURE-OPEN', `another procedure holds the key: ${other.workflowId}`, { key: keyId, notDone: 'the key was not rotated', next: 'look at it with `keywarden status`; rotate when it has ended' });
      }
      const state = found.target.seen.get(found.kms.region)!.KeyState;
      if (state !== 'Enabled') throw new KeywardenError('KW-PLAN-DRIFT', `the key is ${state ?? 'unknown'} in ${found.kms.region}`, { key: keyId, notDone: 'the key was not rotated', next: 'a key that is disabled or pending deletion is recovered first' });
      const need = await needOf(deps, input, found, row);
      const plan = rotationPlan(deps.config, input, { keyId }, e);
      const digests = digestsOf(plan);
      const considered = await considerDecisions(deps, e, {
        prepared: { plan, digest: digest(plan), words: planInWords(plan, 0) },
        quorum: 'rotateKey',
        keep: (approval, arrival) => keepReceipt(deps, approval, { procedure: e, epoch: row.epoch, arrivedAt: arrival.at }),
        kept: async () => (await receiptsOf(deps, e)).filter((r) => r.epoch === row.epoch && digests.includes(r.planDigest)),
      }, a.decisions, a.malformed);
      // a signature given with the start is over the plan without its run: the plan that is acted on is kept beside it
      if (considered.quorum.met) await deps.store.savePlan(considered.digest, canonicalJson(plan));
      return { ...considered, keyId, keyArn, purpose, ...need, wrapped: await deps.store.countWrapped(keyId), searchable: deps.searchable, parallel: deps.config.rewrap.stretches };
    },

    async beginRotation(a) {
      const e = await execution(deps);
      const { kms, target } = await rotationTarget(deps, a.keyId);
      const { current } = await materialsOf(kms, target.keyId);
      const holder = (await deps.store.readKey(target.keyId))?.rotation;
      const abandoned = holder !== undefined && !same(holder, e) && !(await isRunning(deps, holder)) ? holder : undefined;
      const at = new Date(now(deps)).toISOString();
      await deps.store.changeKey(target.keyId, (row) => {
        const begun = beginRotation(row ?? { keyId: target.keyId, purpose: target.purpose, epoch: 0 }, { workflowId: e.workflowId, firstRunId: e.firstRunId }, current, at, abandoned);
        return { row: begun, result: undefined };
      });
      await deps.trail.record([entry(deps, e, { action: 'BeginRotation', phase: 'done', keyId: target.keyId, keyArn: target.keyArn, detail: { material: current, ...(abandoned === undefined ? {} : { tookOverFrom: abandoned.workflowId }) } })]);
      return { stale: (await deps.store.countWrapped(target.keyId)).subjectKeys };
    },

    async verifyRotation(a) {
      const { e, keyId, material } = await held(deps, a.keyId);
      const { stale, setAside } = await deps.store.countStale(keyId, material);
      const ceks = await staleColumnKeys(deps, keyId, material);
      const asideCeks = (await deps.store.readSetAside(keyId, { limit: 1_000 })).filter((s) => s.kind === 'cek').length;
      // what was written is told by the rows that were written with it, so no crash or lost answer makes it wrong
      let rewrapped = 0;
      let columnKeys = 0;
      for await (const { seq, entry: row } of deps.store.readAudit({ workflowId: e.workflowId })) {
        if (row.firstRunId !== e.firstRunId || row.phase !== 'done') continue;
        if (row.action === 'RewrapSubjectKeys') rewrapped += Number(row.detail?.['rewrapped'] ?? 0);
        if (row.action === 'AddColumnKeyValue') columnKeys++;
        if (seq % 1_000 === 0) heartbeat();
      }
      return { material, left: stale - setAside + Math.max(0, ceks - asideCeks), setAside: setAside + asideCeks, rewrapped, columnKeys };
    },

    async endRotation(a) {
      const e = await execution(deps);
      const row = await deps.store.readKey(a.keyId);
      const mine = row?.rotation !== undefined && same(row.rotation, e) ? row.rotation : undefined;
      if (mine !== undefined) {
        // what the workflow says of its end is not believed: the counts are taken here
        const left = mine.material === undefined || a.outcome === 'ended' ? undefined : { ...(await deps.store.countStale(a.keyId, mine.material)), ceks: await staleColumnKeys(deps, a.keyId, mine.material) };
        const ended = left !== undefined && left.stale === left.setAside ? { at: new Date(now(deps)).toISOString(), material: mine.material!, workflowId: e.workflowId, setAside: left.setAside + left.ceks } : undefined;
        await deps.store.changeKey(a.keyId, (r) => ({ row: endRotation(r!, e, ended), result: undefined }));
      }
      await deps.trail.record([entry(deps, e, { action: 'EndRotation', phase: a.outcome === 'ended' ? 'noted' : 'done', keyId: a.keyId, detail: { outcome: a.outcome, ...(mine?.material === undefined ? {} : { material: mine.material }), ...(a.why === undefined ? {} : { why: a.why.slice(0, 500) }) } })]);
    },
  };
}

/** What the key needs by itself, and so whether a person must sign: asked of KMS and the store, never of the workflow. */
export async function needOf(deps: Deps, input: RotateInput, { target, kms }: RotationTarget, row: KeyRow | undefined): Promise<Pick<RotationChecked, 'free' | 'why' | 'findings'>> {
  const { keyId } = target;
  const materials = await materialsOf(kms, keyId);
  const [{ stale }, ceks] = await Promise.all([deps.store.countStale(keyId, materials.current), staleColumnKeys(deps, keyId, materials.current)]);
  const due = dueOf(materials, stale + ceks, deps.config.rotation.periodDays, now(deps));
  const begun = row?.rotation !== undefined && row.rotation.columnKey === undefined && (row.rotation.material !== undefined || row.rotation.askedAt !== undefined);
  // a rotation that has begun is gone on with: its material was allowed then
  const wantsMaterial = !begun && (due.needs === 'material' || due.needs === 'nothing');
  if (wantsMaterial) checkQuota(materials, keyId);
  const findings: RotationChecked['findings'] = [];
  if (materials.onDemand >= ON_DEMAND_WARN) findings.push({ kind: 'rotation-quota', text: `${materials.onDemand} of the ${ON_DEMAND_QUOTA} on-demand rotations of the key are used; plan to move to a new CMK.` });
  for (const [region, m] of target.seen) if (m.KeyState !== 'Enabled') findings.push({ kind: 'replica-down', text: `the key is ${m.KeyState ?? 'unknown'} in ${region}` });
  const free = begun || (due.needs !== 'nothing' && !(wantsMaterial && input.signOff === 'required'));
  return { free, why: begun ? 'a rotation of it was begun and is gone on with' : due.why, findings };
}

/** CEKs with a value under the CMK that is not on this material; what cannot be read is one of them. */
export async function staleColumnKeys(deps: Pick<Deps, 'store'>, keyId: string, material: string): Promise<number> {
  let stale = 0;
  for (let after = ''; ; ) {
    const page = await deps.store.listColumnKeys(keyId, { after, limit: 100 });
    for (const key of page) {
      const old = key.values.some((v) => {
        try {
          return v.keyId === keyId && unpackValue(Buffer.from(v.value, 'base64')).keyMaterialId !== material;
        } catch {
          return true;
        }
      });
      if (old) stale++;
    }
    if (page.length < 100) return stale;
    after = page.at(-1)!.name;
  }
}
