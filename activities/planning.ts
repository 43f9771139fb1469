import type { Config } from '../domain/config';
import { digest, policyDigest } from '../domain/digest';
import { KeywardenError } from '../domain/errors';
import { plannedInput, type EraseInput, type RecoverInput, type RevokeInput, type RotateInput } from '../domain/inputs';
import { openWindowOf, recoverableWindow, type KeyRow, type RegionSnapshot } from '../domain/keyRow';
import { widens, type Plan, type RegionPlan } from '../domain/plan';
import { decryptOnlyPolicy, quarantinePolicy, type PolicyRoles } from '../domain/policies';
import type { RegionalKms } from './kms';
import type { Target } from './targets';

/**
 * Plans are built from configuration, KMS and the store: by the signer's own machine, and again by the duty that acts.
 * The two agree, or the approval does not fit.
 */
export interface Sources {
  config: Config;
  kms: ReadonlyMap<string, RegionalKms>;
  /** The key's row; a recovery cannot be planned without it. */
  row: KeyRow | undefined;
  now: number;
}

interface Where {
  workflowId: string;
  /** Absent for the proof given with a start. */
  firstRunId?: string;
}

export function rolesForPolicies(config: Config): PolicyRoles {
  return { account: config.account, ...config.roles };
}

/** The part of a revocation's plan that needs nothing but configuration and the key's id: never voided by a silent Region or by drift. */
export function disablePlan(config: Config, input: RevokeInput, target: Pick<Target, 'keyId'>, where: Where): Plan {
  return {
    v: 1,
    operation: 'revokeKey',
    input: plannedInput(input),
    application: config.application,
    environment: config.environment,
    account: config.account,
    keyId: target.keyId,
    regions: [...config.regions],
    workflowId: where.workflowId,
    ...(where.firstRunId === undefined ? {} : { firstRunId: where.firstRunId }),
  };
}

/** A rotation's plan: no states and no counts, which drift. */
export function rotationPlan(config: Config, input: RotateInput, target: Pick<Target, 'keyId'>, where: Where): Plan {
  return { ...disablePlan(config, { key: input.key, reason: '' }, target, where), operation: 'rotateKey', input: plannedInput(input) };
}

/** What a person signs before the cutover of a replacement: the beginning's plan, the new CMK, and in each Region what is moved and how the old CMK looks before and after. */
export async function cutoverPlan(s: Pick<Sources, 'config' | 'kms'>, input: RotateInput, keyId: string, replacement: string, where: Where): Promise<Plan> {
  const newPolicy = policyDigest(decryptOnlyPolicy(rolesForPolicies(s.config)));
  const expects: Record<string, RegionPlan> = {};
  for (const region of s.config.regions) {
    const kms = of(s.kms, region);
    const [policy, grants, aliases] = await Promise.all([kms.policy(keyId), kms.grants(keyId), aliasesOf(kms, [keyId, replacement])]);
    expects[region] = { state: 'Enabled', policy: policyDigest(policy), newPolicy, grants: grants.map((g) => g.grantId), aliases };
  }
  return { ...rotationPlan(s.config, input, { keyId }, where), replacement, expects };
}

/** Some have been moved already where a worker died in the middle. */
async function aliasesOf(kms: RegionalKms, keyIds: readonly string[]): Promise<string[]> {
  return (await Promise.all(keyIds.map((id) => kms.aliases(id)))).flat().sort();
}

/** An erasure's plan: the subject stands in it as its hash. */
export function erasurePlan(config: Config, input: EraseInput, where: Where): Plan {
  return { ...disablePlan(config, { key: '', reason: '' }, { keyId: input.subjectId }, where), operation: 'eraseSubject', input: plannedInput(input), regions: [] };
}

/** Rule 9, and an outage that somebody must have accepted: said before a signature is asked for, and again before the key is disabled. */
export function refuseToCutTheBranch(config: Config, input: RevokeInput, target: Pick<Target, 'keyId' | 'purpose'>): void {
  const under = config.databases.filter((d) => d.purpose === target.purpose).map((d) => d.name);
  if (target.purpose !== 'tde' && under.length === 0) return;
  const names = under.length === 0 ? 'the database' : under.join(', ');
  if (input.acknowledgeOutage !== true) {
    throw new KeywardenError('KW-OUTAGE', `${names} may go down with this key`, { path: 'input.acknowledgeOutage', key: target.keyId, notDone: 'the key was not disabled', next: 'start again with acknowledgeOutage: true (CLI: --acknowledge-outage) if the outage is accepted' });
  }
  if (config.audit === undefined || config.audit.journalEncryptedBy.includes(target.purpose)) {
    throw new KeywardenError('KW-BRANCH', `Keywarden's own database may be ${names}, and no journal stands elsewhere`, { path: 'config.audit.journal', key: target.keyId, notDone: 'the key was not disabled', next: 'set audit.journal to a volume that this key does not encrypt; or disable the key by hand with `keywarden revoke --direct`' });
  }
}

/** A revocation's whole plan: with the policies that a quarantine or a deletion expects in each Region. */
export async function revocationPlan(s: Sources, input: RevokeInput, target: Pick<Target, 'keyId'>, where: Where): Promise<Plan> {
  const plan = disablePlan(s.config, input, target, where);
  if (!widens(input)) return plan;
  const snapshot = openWindowOf(s.row)?.snapshot ?? {};
  const newPolicy = input.mode === 'quarantine' ? { newPolicy: digest(JSON.parse(quarantinePolicy(rolesForPolicies(s.config)))) } : {};
  const expects: Record<string, RegionPlan> = {};
  for (const region of s.config.regions) {
    const policy = snapshot[region]?.policyDigest ?? policyDigest(await of(s.kms, region).policy(target.keyId));
    expects[region] = { state: 'Disabled', policy, ...newPolicy };
  }
  return { ...plan, expects };
}

/**
 * A recovery's plan: in each Region the state, policy and grants as they are, and the policy as it was at the revocation.
 * @throws KW-WINDOW-CLOSED, KW-KEY-DESTROYED; KW-GRANT-UNKNOWN for a grant that was not there at the revocation and that the input does not name.
 */
export async function recoveryPlan(s: Sources, input: RecoverInput, target: Pick<Target, 'keyId'>, where: Where): Promise<Plan> {
  const window = recoverableWindow(s.row, target.keyId, s.now);
  const expects: Record<string, RegionPlan> = {};
  for (const region of s.config.regions) {
    const snapshot = window.snapshot[region];
    if (snapshot === undefined) continue; // never seen disabled: this recovery does not touch it
    expects[region] = await regionNow(of(s.kms, region), target.keyId, snapshot, input.acceptGrants ?? []);
  }
  if (Object.keys(expects).length === 0) {
    throw new KeywardenError('KW-NOT-YET', 'no Region of the key has been recorded as disabled yet', { key: target.keyId, notDone: 'the recovery was not planned', next: 'it is tried again when the revocation has written its row' });
  }
  return {
    v: 1,
    operation: 'recoverKey',
    input: plannedInput(input),
    application: s.config.application,
    environment: s.config.environment,
    account: s.config.account,
    keyId: target.keyId,
    regions: Object.keys(expects),
    workflowId: where.workflowId,
    ...(where.firstRunId === undefined ? {} : { firstRunId: where.firstRunId }),
    expects,
    revocation: window.procedure.workflowId,
  };
}

async function regionNow(kms: RegionalKms, keyId: string, snapshot: RegionSnapshot, accepted: readonly string[]): Promise<RegionPlan> {
  const [metadata, policy, grants, aliases] = await Promise.all([kms.describe(keyId), kms.policy(keyId), kms.grants(keyId), kms.aliases(keyId)]);
  const state = metadata?.KeyState;
  const planted = grants.find((g) => !snapshot.grants.includes(g.grantId) && !accepted.includes(g.grantId));
  if (planted !== undefined) {
    throw new KeywardenError('KW-GRANT-UNKNOWN', `in ${kms.region} the grant ${planted.grantId} to ${planted.grantee ?? 'somebody'} (${planted.operations.join(', ')}) appeared after the revocation`, {
      key: keyId,
      notDone: 'the key was not recovered',
      next: `remove it (aws kms revoke-grant --region ${kms.region} --key-id ${keyId} --grant-id ${planted.grantId}), or start again with acceptGrants naming it`,
    });
  }
  const added = aliases.filter((a) => !snapshot.aliases.includes(a));
  const lost = snapshot.aliases.filter((a) => !aliases.includes(a));
  if (added.length + lost.length > 0) {
    throw new KeywardenError('KW-PLAN-DRIFT', `in ${kms.region} the aliases changed since the revocation: ${[...added.map((a) => `+${a}`), ...lost.map((a) => `-${a}`)].join(', ')}`, {
      key: keyId,
      notDone: 'the key was not recovered',
      next: 'put the aliases back as they were, then start the recovery again',
    });
  }
  if (state !== 'Disabled' && state !== 'PendingDeletion' && state !== 'PendingReplicaDeletion' && state !== 'Enabled') {
    throw new KeywardenError('KW-PLAN-DRIFT', `the key is ${state ?? 'gone'} in ${kms.region}`, { key: keyId, notDone: 'the key was not recovered', next: 'look at the key in this Region' });
  }
  // a quarantined key is Enabled under a policy that shuts all out: it is disabled first, like a Region that was enabled by hand
  return { state: state === 'Enabled' ? 'Disabled' : state, policy: policyDigest(policy), newPolicy: snapshot.policyDigest, grants: grants.map((g) => g.grantId) };
}

function of(kms: ReadonlyMap<string, RegionalKms>, region: string): RegionalKms {
  const found = kms.get(region);
  if (found === undefined) throw new KeywardenError('KW-BUG', `no KMS client for ${region}`);
  return found;
}
