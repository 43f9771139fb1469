import type { Arrived, Considered, Disabling, EmergencyActivities } from '../domain/activities';
import type { Receipt } from '../domain/approval';
import type { AuditEntry } from '../domain/audit';
import { digest } from '../domain/digest';
import { KeywardenError } from '../domain/errors';
import { parseInput, revokeInput, type RevokeInput } from '../domain/inputs';
import { planInWords } from '../domain/plan';
import { takeCensus } from './census';
import { considerDecisions } from './considering';
import type { Deps } from './deps';
import { DAY_MS, disableAll, disabledRow, facts, outcome, regionsAsSeen, statesBefore, verifyForDisabling } from './disabling';
import { entry, execution, here, now, type Execution } from './execution';
import { disablePlan, refuseToCutTheBranch } from './planning';
import { isDisabledEverywhere, knownTarget, signedTarget } from './targets';

/** The first acts of a revocation, for the emergency duty: disable, and judge who may ask for it. */
export function revocationActivities(deps: Deps): Pick<EmergencyActivities, 'disableKey' | 'considerRevocation' | 'census'> {
  const unaudited = new Map<string, Unaudited>();
  return {
    async disableKey(a) {
      const input = parseInput(revokeInput, a.input);
      return a.proof === undefined ? adopt(deps, input) : disable(deps, input, a.proof, a.regions ?? deps.config.regions, unaudited);
    },

    async considerRevocation(a) {
      const input = parseInput(revokeInput, a.input);
      const e = await execution(deps);
      const target = await knownTarget(deps, input.key);
      const plan = disablePlan(deps.config, input, target, e);
      const accepted: Receipt[] = [];
      const considered: Considered = await considerDecisions(deps, e, {
        prepared: { plan, digest: digest(plan), words: planInWords(plan, deps.config.recovery.windowDays * DAY_MS) },
        quorum: 'revokeKey.disable',
        compared: ({ expects: _drifts, ...disabling }) => disabling,
        // stateless: receipt and `jti` follow in openWindow, when the store answers
        keep: async () => undefined,
        kept: async () => accepted,
      }, a.decisions, a.malformed);
      const i = considered.answers.findIndex((x, n) => x.accepted && a.decisions[n]!.as !== 'reject');
      return i < 0 || !considered.quorum.met ? considered : { ...considered, allowing: a.decisions[i]! };
    },

    census: (a) => takeCensus(deps, a.keyId, now(deps)),
  };
}

interface Unaudited {
  rows: AuditEntry[];
  disabling: Disabling;
}

/** Rule 2: verified without store, audit or history, and called in every Region at once; all the rest follows. */
async function disable(deps: Deps, input: RevokeInput, proof: Arrived, asked: readonly string[], unaudited: Map<string, Unaudited>): Promise<Disabling> {
  const at = here();
  const key = [at.runId, ...asked].join('/');
  const held = unaudited.get(key);
  if (held !== undefined) {
    // done before, its rows taken by nobody: they are written as they were, with the time and request ids of what happened
    await deps.trail.record(held.rows);
    unaudited.delete(key);
    return { ...held.disabling, unaudited: false };
  }
  const approval = await verifyForDisabling(deps, input, proof, at.workflowId).catch((error: unknown) => auditRefusal(deps, at, input, error));
  const { keyId } = approval.claims.plan;
  const [target, before] = await Promise.all([signedTarget(deps.config, deps.kms, keyId, input.key), statesBefore(deps, keyId, asked)]);
  refuseToCutTheBranch(deps.config, input, target);
  const regions = await disableAll(deps, keyId, asked, before);
  if (regions.every((r) => r.state === 'silent')) {
    throw new KeywardenError('KW-KMS-SILENT', `the key is not disabled yet: ${regions.map((r) => `${r.region}: ${r.detail ?? 'no answer'}`).join('; ')}`, { key: keyId, notDone: 'DisableKey in every Region', next: 'it is tried again until KMS answers' });
  }
  const rows = regions.filter((r) => r.state !== 'silent').map((r) => disabledRow(deps, at, input, target, r, approval, false));
  const stored = await deps.trail.record(rows).then(() => true, () => false);
  const disabling = outcome(deps, target, 'disabled', regions, { adopted: false, unaudited: !stored, person: approval.person });
  if (!stored && unaudited.size < 1_000) unaudited.set(key, { rows, disabling });
  return disabling;
}

/** Without a proof: a key that is down in every Region is adopted, which widens nothing; any other waits for a signature. */
async function adopt(deps: Deps, input: RevokeInput): Promise<Disabling> {
  const target = await knownTarget(deps, input.key);
  if (!isDisabledEverywhere(target)) {
    refuseToCutTheBranch(deps.config, input, target);
    return outcome(deps, target, 'needs-approval', [], { adopted: false, unaudited: false });
  }
  const regions = regionsAsSeen(target, now(deps));
  const unaudited = await deps.trail.record(regions.map((r) => disabledRow(deps, here(), input, target, r, undefined, true))).then(() => false, () => true);
  return outcome(deps, target, 'disabled', regions, { adopted: true, unaudited });
}

/** A refused proof leaves a row with its reason; the refusal itself is what the workflow hears. */
async function auditRefusal(deps: Deps, at: Omit<Execution, 'firstRunId'>, input: RevokeInput, error: unknown): Promise<never> {
  if (error instanceof KeywardenError && error.final) {
    await deps.trail.record([entry(deps, at, { action: 'approve', phase: 'refused', error: error.code, ...facts(input), detail: { key: input.key, why: error.what } })]).catch(() => undefined);
  }
  throw error;
}
