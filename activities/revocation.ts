import type { Considered, EmergencyActivities } from '../domain/activities';
import type { Receipt } from '../domain/approval';
import { digest } from '../domain/digest';
import { KeywardenError } from '../domain/errors';
import { parseInput, revokeInput, type RevokeInput } from '../domain/inputs';
import { planInWords } from '../domain/plan';
import { takeCensus } from './census';
import { considerDecisions } from './considering';
import type { Deps } from './deps';
import { DAY_MS, disableAll, disabledRow, facts, outcome, refuseToCutTheBranch, regionsAsSeen, verifyForDisabling } from './disabling';
import { entry, execution, here, now, type Execution } from './execution';
import { disablePlan } from './planning';
import { isDisabledEverywhere, resolveTarget, type Target } from './targets';

/** The first acts of a revocation, for the emergency duty: disable, and judge who may ask for it. */
export function revocationActivities(deps: Deps): Pick<EmergencyActivities, 'disableKey' | 'considerRevocation' | 'census'> {
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

    census: (a) => takeCensus(deps, a.keyId),
  };
}

/** A refused proof leaves a row with its reason; the refusal itself is what the workflow hears. */
async function auditRefusal(deps: Deps, at: Omit<Execution, 'firstRunId'>, input: RevokeInput, target: Target, error: unknown): Promise<never> {
  if (error instanceof KeywardenError && error.final) {
    await deps.trail.record([entry(deps, at, { action: 'approve', phase: 'refused', error: error.code, keyId: target.keyId, ...facts(input), detail: { why: error.what } })]).catch(() => undefined);
  }
  throw error;
}
