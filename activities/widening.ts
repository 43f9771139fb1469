import type { RecoveryActivities } from '../domain/activities';
import { digest } from '../domain/digest';
import { KeywardenError } from '../domain/errors';
import { parseInput, revokeInput, type RevokeInput } from '../domain/inputs';
import { openWindowOf, same, type RecoveryWindow } from '../domain/keyRow';
import { planInWords, widens } from '../domain/plan';
import { quarantinePolicy } from '../domain/policies';
import { authority, type Authority } from './authority';
import { dependents, takeCensus } from './census';
import { considerDecisions, digestsOf } from './considering';
import type { Deps } from './deps';
import { execution, now } from './execution';
import { revocationPlan, rolesForPolicies } from './planning';
import { keepReceipt, receiptsOf } from './receipts';
import { RegionActs } from './regionActs';
import { resolveTarget } from './targets';

type Widening = Pick<RecoveryActivities, 'considerWidening' | 'quarantineRegion' | 'scheduleDeletion' | 'disableQuarantined' | 'deletionState'>;

/** What a revocation may do beyond disabling, for the recovery duty, when two people have signed: quarantine, deletion. */
export function wideningActivities(deps: Deps): Widening {
  return {
    async considerWidening(a) {
      const input = parseInput(revokeInput, a.input);
      const e = await execution(deps);
      const target = await resolveTarget(deps.config, deps.kms, input.key);
      const row = await deps.store.readKey(target.keyId);
      const window = openWindowOf(row);
      if (row === undefined || window === undefined || !same(window.procedure, e)) throw new KeywardenError('KW-NOT-YET', 'the window of this revocation is not recorded yet', { key: target.keyId, notDone: 'nothing was judged', next: 'it is tried again' });
      const plan = await revocationPlan({ config: deps.config, kms: deps.kms, row, now: now(deps) }, input, target, e);
      const digests = digestsOf(plan);
      return considerDecisions(deps, e, {
        prepared: { plan, digest: digest(plan), words: planInWords(plan, Date.parse(window.deadline) - Date.parse(window.revokedAt)) },
        quorum: 'revokeKey.widen',
        keep: (approval, arrival) => keepReceipt(deps, approval, { procedure: e, epoch: row.epoch, arrivedAt: arrival.at }),
        kept: async () => (await receiptsOf(deps, e)).filter((r) => r.epoch === row.epoch && digests.includes(r.planDigest)),
      }, a.decisions, a.malformed);
    },

    async quarantineRegion(a) {
      const { by, window } = await wideningAuthority(deps, a.digest);
      const input = by.plan.input as RevokeInput;
      const allowed = (w: RecoveryWindow | undefined): void => {
        // rule 6: a later revocation may have made it stricter; rule 5: what was accepted lapses with the window
        if (input.mode !== 'quarantine' || w?.mode !== 'quarantine') throw new KeywardenError('KW-APPROVAL-LAPSED', 'the revocation is `disable` now, which is stricter', { key: by.plan.keyId, notDone: 'the key was not quarantined', next: 'nothing: the key stays disabled' });
        if (now(deps) >= Date.parse(w.deadline)) throw new KeywardenError('KW-APPROVAL-LAPSED', 'the recovery window has ended', { key: by.plan.keyId, notDone: 'the key was not quarantined', next: 'nothing: the key stays disabled' });
      };
      allowed(window);
      const acts = new RegionActs(deps, by, a.region);
      // the policy that a recovery restores must be on record before it is replaced
      if (window.snapshot[a.region] === undefined) throw new KeywardenError('KW-NOT-YET', `the key has not been recorded as disabled in ${a.region} yet`, { key: by.plan.keyId, notDone: `it was not quarantined in ${a.region}`, next: 'it is tried again when the revocation has seen this Region' });
      const policy = quarantinePolicy(rolesForPolicies(deps.config));
      await acts.checkUnchanged();
      if (digest(JSON.parse(await acts.kms.policy(acts.keyId))) !== acts.expects.newPolicy) await acts.disableFirst();
      if ((await acts.state()) === 'Disabled') await acts.putPolicy(policy);
      await acts.enable(async () => {
        const row = await deps.store.readKey(by.plan.keyId);
        if (row?.epoch !== by.row.epoch || row.recovery !== undefined) throw new KeywardenError('KW-APPROVAL-LAPSED', 'a newer revocation or a recovery has taken the key', { key: by.plan.keyId, notDone: 'the key was not enabled', next: 'look at `keywarden status`' });
        allowed(openWindowOf(row));
      });
      await acts.until('Enabled');
    },

    async scheduleDeletion(a) {
      const { by, window } = await wideningAuthority(deps, a.digest);
      const input = by.plan.input as RevokeInput;
      if ((input.afterWindow ?? 'disabled') === 'disabled') throw new KeywardenError('KW-APPROVAL-PLAN', 'the plan does not delete', { key: by.plan.keyId, notDone: 'nothing was deleted', next: 'have a plan signed that deletes' });
      const atTheEnd = input.afterWindow === 'deletion-scheduled';
      if (atTheEnd && now(deps) < Date.parse(window.deadline)) throw new KeywardenError('KW-NOT-YET', `the window is open until ${window.deadline}`, { key: by.plan.keyId, notDone: 'the deletion was not scheduled', next: 'it is scheduled then' });
      // rule 8: the census is taken again right before the call
      const census = await takeCensus(deps, by.plan.keyId, now(deps));
      if (!census.empty && input.acceptLoss !== true) {
        throw new KeywardenError('KW-CENSUS', `what depends on the key: ${dependents(census).join(', ')}`, { key: by.plan.keyId, notDone: 'the deletion was not scheduled', next: 'move the data to a new CMK first, or have a plan signed with acceptLoss: true (crypto-shred)' });
      }
      const acts = new RegionActs(deps, by, a.region);
      const date = await deps.store.withKeyLease(by.plan.keyId, { leaseMs: 15_000, waitMs: 3_000 }, async () => {
        const row = await deps.store.readKey(by.plan.keyId);
        if (row?.epoch !== by.row.epoch || row.recovery !== undefined) throw new KeywardenError('KW-APPROVAL-LAPSED', 'a newer revocation or a recovery has taken the key', { key: by.plan.keyId, notDone: 'the deletion was not scheduled', next: 'look at `keywarden status`' });
        return acts.scheduleDeletion(atTheEnd ? 30 : 7);
      });
      if (date !== undefined && !atTheEnd) {
        // the window ends when KMS destroys the key: the deadline is KMS's own
        await deps.store.changeKey(by.plan.keyId, (row) => {
          const open = openWindowOf(row);
          const sooner = open === undefined ? undefined : new Date(date).toISOString();
          return { row: open === undefined || sooner === undefined ? row! : { ...row!, window: { ...open, deadline: open.deadlineFromKms === true && open.deadline < sooner ? open.deadline : sooner, deadlineFromKms: true } }, result: undefined };
        });
      }
      return date === undefined ? {} : { deletionDate: date.toISOString() };
    },

    async disableQuarantined(a) {
      const { by } = await wideningAuthority(deps, a.digest);
      await new RegionActs(deps, by, a.region).disableFirst();
    },

    async deletionState(a) {
      const found = await Promise.all(deps.config.regions.map(async (region) => ({ region, metadata: await deps.kms.get(region)!.describe(a.keyId) })));
      const dates = found.flatMap(({ metadata }) => (metadata?.DeletionDate === undefined ? [] : [metadata.DeletionDate.getTime()]));
      return {
        gone: found.every(({ metadata }) => metadata === undefined),
        ...(dates.length === 0 ? {} : { deadline: new Date(Math.min(...dates)).toISOString() }),
        regions: found.map(({ region, metadata }) => ({ region, state: metadata?.KeyState ?? 'absent' })),
      };
    },
  };
}

/** A signed revocation whose window is this procedure's own and still open. */
async function wideningAuthority(deps: Deps, planDigest: string): Promise<{ by: Authority; window: RecoveryWindow }> {
  const by = await authority(deps, planDigest);
  if (by.plan.operation !== 'revokeKey' || !widens(by.plan.input as RevokeInput)) throw new KeywardenError('KW-APPROVAL-PLAN', 'the plan only disables', { key: by.plan.keyId, notDone: 'nothing was done', next: 'have a plan signed that says what is wanted' });
  const window = openWindowOf(by.row);
  if (window === undefined || !same(window.procedure, by.e)) throw new KeywardenError('KW-APPROVAL-LAPSED', 'the window of this revocation is closed', { key: by.plan.keyId, notDone: 'nothing was done', next: 'look at `keywarden status`' });
  return { by, window };
}
