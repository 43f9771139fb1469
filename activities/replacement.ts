import type { ReplacementActivities, ReplacementChecked } from '../domain/activities';
import { canonicalJson } from '../domain/canonical';
import { digest } from '../domain/digest';
import { KeywardenError } from '../domain/errors';
import { parseInput, rotateInput, type RotateInput } from '../domain/inputs';
import { beginRotation, openWindowOf, rotationOf, same, type KeyRow, type ProcedureRef } from '../domain/keyRow';
import { aliasOf, CANARY_CONTEXT, TAG } from '../domain/names';
import { firstHalf, matter, planInWords, type Plan } from '../domain/plan';
import { shippedPolicy } from '../domain/policies';
import { authority, planDigests, type Authority } from './authority';
import { considerDecisions } from './considering';
import type { Deps } from './deps';
import { effect, found } from './effect';
import { entry, execution, isRunning, now } from './execution';
import { settled } from './initialization';
import { ownershipTags, type RegionalKms } from './kms';
import { materialsOf, rotationTarget } from './materials';
import { cutoverPlan, rolesForPolicies, rotationPlan } from './planning';
import { keepReceipt, receiptsOf } from './receipts';

type Acts = Pick<ReplacementActivities, 'considerReplacement' | 'beginReplacement' | 'makeReplacement' | 'considerCutover'>;

/** The beginning of a replacement, for the recovery duty: may it, has it the key, the new CMK; and the judgement of its second signature. */
export function replacementActivities(deps: Deps): Acts {
  const { config } = deps;
  return {
    async considerReplacement(a): Promise<ReplacementChecked> {
      const input = replaceInput(a.input);
      const e = await execution(deps);
      const { target, kms } = await rotationTarget(deps, input.key);
      const { keyId, keyArn, purpose } = target;
      const under = config.databases.filter((d) => d.purpose === purpose).map((d) => d.name);
      if (under.length > 0) throw new KeywardenError('KW-NOT-BUILT', `${under.join(', ')} rests on the CMK itself; a replacement moves wrapped keys only`, { path: 'input.strategy', key: keyId, notDone: 'nothing was started', next: 'rotate in place' });
      const fresh: KeyRow = { keyId, purpose, epoch: 0 };
      const row = await deps.store.changeKey<KeyRow>(keyId, (r) => ({ row: r ?? fresh, result: r ?? fresh }));
      const other = openWindowOf(row)?.procedure ?? row.recovery ?? row.rotation;
      if (other !== undefined && !same(other, e) && (other !== row.rotation || (await isRunning(deps, other)))) {
        throw new KeywardenError('KW-PROCEDURE-OPEN', `another procedure holds the key: ${other.workflowId}`, { key: keyId, notDone: 'the key was not replaced', next: 'look at it with `keywarden status`; start again when it has ended' });
      }
      if (row.replaces !== undefined && row.replaces.phase !== 'committed') throw new KeywardenError('KW-PROCEDURE-OPEN', `the key is itself taking the place of ${row.replaces.keyId}`, { key: keyId, notDone: 'the key was not replaced', next: `look at ${row.replaces.workflowId}` });
      const down = [...target.seen].find(([, m]) => m.KeyState !== 'Enabled');
      if (down !== undefined || target.silent.length + target.absent.length > 0) {
        throw new KeywardenError(target.silent.length > 0 ? 'KW-KMS-SILENT' : 'KW-PLAN-DRIFT', `the key is ${down === undefined ? `not seen in ${[...target.silent.map((s) => s.region), ...target.absent].join(', ')}` : `${down[1].KeyState ?? 'unknown'} in ${down[0]}`}`, { key: keyId, notDone: 'the key was not replaced', next: 'a replacement begins when the key is Enabled in every Region' });
      }
      const considered = await judge(deps, e, rotationPlan(config, input, { keyId }, e), row, a);
      return { ...considered, keyId, keyArn, purpose, regions: [kms.region, ...config.regions.filter((r) => r !== kms.region)], wrapped: await deps.store.countWrapped(keyId), searchable: deps.searchable, parallel: config.rewrap.stretches };
    },

    async beginReplacement(a) {
      const by = await firstAuthority(deps, a.digest);
      const { keyId } = by.plan;
      const { kms } = await rotationTarget(deps, keyId);
      const { current } = await materialsOf(kms, keyId);
      const holder = by.row.rotation;
      const abandoned = holder !== undefined && !same(holder, by.e) && !(await isRunning(deps, holder)) ? holder : undefined;
      const left = await unfinished(deps, keyId, by.e);
      const at = new Date(now(deps)).toISOString();
      await deps.store.changeKey(keyId, (row) => {
        const begun = beginRotation(row!, ref(by.e), current, at, abandoned, true);
        return { row: left === undefined ? begun : { ...begun, rotation: { ...begun.rotation!, to: left.keyId } }, result: undefined };
      });
      // a new CMK that another replacement left behind is gone on with
      if (left !== undefined) await deps.store.changeKey(left.keyId, (row) => ({ row: { ...row!, replaces: { ...row!.replaces!, ...ref(by.e), phase: 'overlap' } }, result: undefined }));
      await deps.trail.record([entry(deps, by.e, { action: 'BeginRotation', phase: 'done', keyId, planDigest: by.digest, approvers: by.approvers, ...matter(by.plan), detail: { strategy: 'replace', ...(abandoned === undefined ? {} : { tookOverFrom: abandoned.workflowId }) } })]);
    },

    async makeReplacement(a) {
      const by = await firstAuthority(deps, a.digest);
      const { keyId: old, input } = by.plan;
      const rotation = rotationOf(by.row, old, by.e);
      const { target, kms: primary } = await rotationTarget(deps, old);
      const { purpose } = target;
      const there = deps.kms.get(a.region)!;
      const description = `${aliasOf(config, purpose)}, in place of ${old}`;
      const policy = shippedPolicy(rolesForPolicies(config));
      const tags = { ...withoutAws(await there.tags(old)), ...ownershipTags(config, purpose), [TAG.replaces]: old, [TAG.rotation]: by.e.firstRunId };
      const facts = { planDigest: by.digest, approvers: by.approvers, ...matter({ input }), region: a.region };
      const known = rotation.to ?? (await madeBefore(primary, tags));
      if (a.region === primary.region) {
        const asked = { ...facts, action: 'CreateKey', detail: { purpose, region: a.region, replaces: old } };
        if (known !== undefined) await found(deps, by.e, asked);
        const keyId = known ?? (await effect(deps, by.e, asked, () => primary.createKey({ policy, tags, description }))).metadata.KeyId!;
        await settled(primary, keyId);
        if ((await primary.rotationStatus(keyId)).next === undefined) await primary.enableRotation(keyId, config.rotation.periodDays);
        await introduce(deps, by, primary, { keyId, purpose });
        return { keyId };
      }
      if (known === undefined) throw new KeywardenError('KW-NOT-YET', 'the new CMK is not there yet', { key: old, notDone: `it was not replicated to ${a.region}`, next: 'it is tried again' });
      const asked = { ...facts, action: 'ReplicateKey', keyId: known };
      if ((await there.describe(known)) !== undefined) await found(deps, by.e, asked);
      else await effect(deps, by.e, asked, () => primary.replicate(known, { region: a.region, policy, tags, description }));
      await settled(there, known);
      return { keyId: known };
    },

    async considerCutover(a) {
      const input = replaceInput(a.input);
      const e = await execution(deps);
      const { target } = await rotationTarget(deps, input.key);
      const row = await deps.store.readKey(target.keyId);
      const { to } = rotationOf(row, target.keyId, e);
      const next = to === undefined ? undefined : await deps.store.readKey(to);
      if (next?.replaces === undefined || next.replaces.phase === 'overlap') throw new KeywardenError('KW-NOT-YET', 'not everything has been verified under the new CMK', { key: target.keyId, notDone: 'nobody was asked to sign', next: 'it is tried again' });
      return judge(deps, e, await cutoverPlan({ config, kms: deps.kms }, input, target.keyId, next.keyId, e), row!, a);
    },
  };
}

/** Judges signatures for one half of a replacement; who has signed the first half is known to the second. */
async function judge(deps: Deps, e: Awaited<ReturnType<typeof execution>>, plan: Plan, row: KeyRow, a: Parameters<Acts['considerCutover']>[0]) {
  const digests = planDigests(plan);
  const considered = await considerDecisions(deps, e, {
    prepared: { plan, digest: digest(plan), words: planInWords(plan, 0) },
    quorum: plan.replacement === undefined ? 'rotateKey' : 'rotateKey.cutover',
    keep: (approval, arrival) => keepReceipt(deps, approval, { procedure: e, epoch: row.epoch, arrivedAt: arrival.at }),
    kept: async () => (await receiptsOf(deps, e)).filter((r) => r.epoch === row.epoch && digests.includes(r.planDigest)),
  }, a.decisions, a.malformed);
  // a signature given with the start is over the plan without its run: the plan that is acted on is kept beside it
  if (considered.quorum.met) await deps.store.savePlan(considered.digest, canonicalJson(plan));
  return considered;
}

function replaceInput(raw: unknown): RotateInput {
  const input = parseInput(rotateInput, raw);
  if (input.strategy === 'replace') return input;
  throw new KeywardenError('KW-INPUT', 'must be "replace"', { path: 'input.strategy', key: input.key, notDone: 'nothing was started', next: 'this is the procedure that moves everything to a new CMK' });
}

/** A signed replacement, its first half. */
async function firstAuthority(deps: Deps, planDigest: string): Promise<Authority> {
  const by = await authority(deps, planDigest);
  if (by.plan.operation !== 'rotateKey' || firstHalf(by.plan) !== undefined || (by.plan.input as RotateInput).strategy !== 'replace') {
    throw new KeywardenError('KW-APPROVAL-PLAN', 'the plan is not the beginning of a replacement', { key: by.plan.keyId, notDone: 'nothing was done', next: 'have a replacement signed' });
  }
  return by;
}

/** A new CMK of an earlier replacement of this key that came neither to its end nor back: its workflow was ended from outside. */
async function unfinished(deps: Deps, keyId: string, e: ProcedureRef): Promise<KeyRow | undefined> {
  const left = (await deps.store.listKeys()).find((r) => r.replaces?.keyId === keyId && r.replaces.phase !== 'committed' && openWindowOf(r) === undefined);
  const phase = left?.replaces?.phase;
  if (left === undefined || (phase === 'rolled-back' && Object.values(await deps.store.countWrapped(left.keyId)).every((n) => n === 0))) return undefined;
  if (same(left.replaces!, e) || !(await isRunning(deps, left.replaces!))) return left;
  throw new KeywardenError('KW-PROCEDURE-OPEN', `${left.replaces!.workflowId} still takes everything back from ${left.keyId}`, { key: keyId, notDone: 'the key was not replaced', next: `look at it: keywarden status ${left.replaces!.workflowId}` });
}

/** The new CMK's row: from then on applications are asked to open its canary. */
async function introduce(deps: Deps, by: Authority, kms: RegionalKms, { keyId, purpose }: Pick<KeyRow, 'keyId' | 'purpose'>): Promise<void> {
  const canary = (await deps.store.readKey(keyId))?.canary ?? Buffer.from(await kms.encrypt(keyId, Buffer.from('keywarden canary'), CANARY_CONTEXT)).toString('base64');
  await deps.store.changeKey(keyId, (row) => ({ row: { keyId, purpose, epoch: 0, canary, ...row, replaces: row?.replaces ?? { keyId: by.plan.keyId, ...ref(by.e), phase: 'overlap' } }, result: undefined }));
  await deps.store.changeKey(by.plan.keyId, (row) => ({ row: { ...row!, rotation: { ...rotationOf(row, by.plan.keyId, by.e), to: keyId } }, result: undefined }));
}

/** CreateKey has no client token (facts A3): a key made by an attempt whose answer was lost is found by the tags written at creation. */
async function madeBefore(kms: RegionalKms, wanted: Record<string, string>): Promise<string | undefined> {
  for await (const keyId of kms.keys()) {
    const tags = await kms.tags(keyId).catch(() => ({}) as Record<string, string>); // keys of others deny it
    if (Object.entries(wanted).every(([name, value]) => tags[name] === value)) return keyId;
  }
  return undefined;
}

/** AWS's own cannot be written. */
function withoutAws(tags: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(tags).filter(([name]) => !name.startsWith('aws:')));
}

const ref = (p: ProcedureRef): ProcedureRef => ({ workflowId: p.workflowId, firstRunId: p.firstRunId });
