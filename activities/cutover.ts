import { sleep } from '@temporalio/activity';
import type { ReplacementActivities } from '../domain/activities';
import { policyDigest } from '../domain/digest';
import { KeywardenError } from '../domain/errors';
import { endRotation, rotationOf, same, type KeyRow, type ProcedureRef, type Replaces } from '../domain/keyRow';
import { matter } from '../domain/plan';
import { decryptOnlyPolicy } from '../domain/policies';
import { authority, type Authority } from './authority';
import type { Deps } from './deps';
import { effect, found } from './effect';
import { entry, execution, now, type Execution } from './execution';
import { rolesForPolicies } from './planning';
import { RegionActs } from './regionActs';
import { replacementOf } from './replacementKeys';

type Acts = Pick<ReplacementActivities, 'cutover' | 'deactivate' | 'rollBack' | 'withdrawReplacement' | 'endReplacement'>;

/** The end of a replacement, for the recovery duty: forward when two people have signed it, back otherwise. */
export function cutoverActivities(deps: Deps): Acts {
  return {
    async cutover(a) {
      const by = await secondAuthority(deps, a.digest);
      const { keyId: old, replacement } = by.plan;
      const acts = new RegionActs(deps, by, a.region);
      await acts.checkUnchanged();
      await commit(deps, by);
      const moved: string[] = [];
      for (const alias of acts.expects.aliases ?? []) {
        const facts = { action: 'UpdateAlias', keyId: replacement!, region: a.region, planDigest: by.digest, approvers: by.approvers, ...matter(by.plan), detail: { alias, from: old } };
        const there = (await acts.kms.describe(alias))?.KeyId;
        if (there === replacement) {
          await found(deps, by.e, { ...facts, detail: { alias } });
          continue;
        }
        if (there !== old) throw new KeywardenError('KW-PLAN-DRIFT', `${alias} in ${a.region} points at ${there ?? 'nothing'}`, { key: old, notDone: `it was not moved in ${a.region}`, next: `point it at ${old} or at ${replacement!} by hand; it is looked at again` });
        await effect(deps, by.e, facts, () => acts.kms.updateAlias(alias, replacement!));
        moved.push(alias);
      }
      for (const end = Date.now() + 8_000; ; await sleep(150)) {
        const left = await Promise.all((acts.expects.aliases ?? []).map(async (alias) => ((await acts.kms.describe(alias))?.KeyId === replacement ? [] : [alias])));
        if (left.flat().length === 0) return { moved };
        if (Date.now() > end) throw new KeywardenError('KW-NOT-YET', `${left.flat().join(', ')} cannot be seen at the new CMK in ${a.region} yet`, { key: old, notDone: 'the old CMK was not deactivated', next: 'it is looked at again' });
      }
    },

    async deactivate(a) {
      const by = await secondAuthority(deps, a.digest);
      if ((await deps.store.readKey(by.plan.replacement!))?.replaces?.phase !== 'committed') throw new KeywardenError('KW-NOT-YET', 'the cutover has not begun', { key: by.plan.keyId, notDone: 'the old CMK was not deactivated', next: 'it is tried again' });
      const acts = new RegionActs(deps, by, a.region);
      await acts.checkUnchanged();
      await acts.changePolicy(decryptOnlyPolicy(rolesForPolicies(deps.config)));
    },

    async rollBack(a) {
      const e = await execution(deps);
      const next = await replacementOf(deps, a.keyId, e);
      if (next === undefined) return {};
      await changePhase(deps, next.keyId, e, (phase) => {
        if (phase === 'committed') throw new KeywardenError('KW-APPROVAL-PLAN', 'two people have signed the cutover, and it has begun', { key: a.keyId, notDone: 'nothing was taken back', next: 'it goes on to its end' });
        return 'rolled-back';
      });
      await deps.trail.record([entry(deps, e, { action: 'RollBackReplacement', phase: 'noted', keyId: a.keyId, detail: { replacement: next.keyId, ...(a.why === undefined ? {} : { why: a.why.slice(0, 500) }) } })]);
      return { replacement: next.keyId };
    },

    async withdrawReplacement(a) {
      const e = await execution(deps);
      const next = await replacementOf(deps, a.keyId, e);
      if (next?.replaces?.phase !== 'rolled-back') throw new KeywardenError('KW-PREEMPTED', 'no new CMK of this replacement has been taken back', { key: a.keyId, notDone: 'nothing was disabled', next: 'look at `keywarden status`' });
      const { subjectKeys, columnKeyValues } = await deps.store.countWrapped(next.keyId);
      if (subjectKeys + columnKeyValues > 0) throw new KeywardenError('KW-NOT-YET', `${subjectKeys} subject keys and ${columnKeyValues} CEK values stand under the new CMK`, { key: next.keyId, notDone: 'it was not disabled', next: 'they are taken back first' });
      const kms = deps.kms.get(a.region)!;
      const facts = { action: 'DisableKey', keyId: next.keyId, region: a.region, detail: { unused: 'its replacement was rolled back' } };
      const state = (await kms.describe(next.keyId))?.KeyState;
      if (state === 'Enabled') await effect(deps, e, facts, () => kms.disable(next.keyId));
      else await found(deps, e, facts);
    },

    async endReplacement(a) {
      const e = await execution(deps);
      const next = await replacementOf(deps, a.keyId, e);
      const committed = next?.replaces?.phase === 'committed';
      const at = new Date(now(deps)).toISOString();
      const ended = await deps.store.changeKey<KeyRow>(a.keyId, (row) => {
        const free = endRotation(row!, e);
        const result = committed ? { ...free, replacedBy: free.replacedBy ?? { keyId: next.keyId, at, workflowId: e.workflowId } } : free;
        return { row: result, result };
      });
      await deps.trail.record([entry(deps, e, { action: 'EndRotation', phase: committed ? 'done' : 'noted', keyId: a.keyId, detail: { outcome: committed ? 'replaced' : 'rolled-back', ...(next === undefined ? {} : { replacement: next.keyId }), ...(a.why === undefined ? {} : { why: a.why.slice(0, 500) }) } })]);
      const until = new Date(Date.parse(ended.replacedBy?.at ?? at) + deps.config.backups.retentionDays * 86_400_000).toISOString();
      return { backupsUntil: until };
    },
  };
}

/** A cutover that two people have signed, of the new CMK that this procedure made. */
async function secondAuthority(deps: Deps, planDigest: string): Promise<Authority> {
  const by = await authority(deps, planDigest);
  const next = by.plan.replacement === undefined ? undefined : await deps.store.readKey(by.plan.replacement);
  if (by.plan.operation !== 'rotateKey' || next?.replaces === undefined || next.replaces.keyId !== by.plan.keyId || !same(next.replaces, by.e)) {
    throw new KeywardenError('KW-APPROVAL-PLAN', 'the plan is not the cutover of this replacement', { key: by.plan.keyId, notDone: 'nothing was done', next: 'have the cutover signed' });
  }
  rotationOf(by.row, by.plan.keyId, by.e);
  return by;
}

/** From here on there is no way back. */
async function commit(deps: Deps, by: Authority): Promise<void> {
  const { keyId, replacement } = by.plan;
  const fresh = await changePhase(deps, replacement!, by.e, (phase) => {
    if (phase === 'rolled-back' || phase === 'overlap') throw new KeywardenError('KW-PREEMPTED', phase === 'overlap' ? 'not everything has been verified under the new CMK' : 'the replacement is being taken back', { key: keyId, notDone: 'no alias was moved', next: 'look at `keywarden status`' });
    return 'committed';
  });
  if (fresh) await deps.trail.record([entry(deps, by.e, { action: 'CommitReplacement', phase: 'done', keyId, planDigest: by.digest, approvers: by.approvers, ...matter(by.plan), detail: { replacement } })]);
}

async function changePhase(deps: Deps, replacement: string, e: Execution, next: (phase: Replaces['phase']) => Replaces['phase']): Promise<boolean> {
  return deps.store.changeKey<boolean>(replacement, (row) => {
    const { replaces } = row as KeyRow;
    if (replaces === undefined || !same(replaces, e as ProcedureRef)) throw new KeywardenError('KW-PREEMPTED', 'the new CMK is not of this replacement', { key: replacement, notDone: 'nothing was done', next: 'look at `keywarden status`' });
    const phase = next(replaces.phase);
    return { row: { ...row!, replaces: { ...replaces, phase } }, result: phase !== replaces.phase };
  });
}
