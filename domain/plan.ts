import { duration } from './duration';
import type { EraseInput, RecoverInput, RevokeInput, RotateInput } from './inputs';
import type { Duty } from './names';
import type { QuorumName } from './quorum';

/** What one Region must look like when the plan acts there, and what it will look like after. */
export interface RegionPlan {
  state: 'Enabled' | 'Disabled' | 'PendingDeletion' | 'PendingReplicaDeletion';
  /** Digest of the key policy now (recovery), or at the time of the revocation (quarantine, deletion). */
  policy: string;
  /** Digest of the key policy that will be put; absent where the plan leaves it. */
  newPolicy?: string;
  /** Grant ids on the key, sorted. */
  grants?: string[];
  /** Aliases that will be moved, sorted. */
  aliases?: string[];
}

/**
 * All that an operation will do. Its canonical JSON is what people sign; no counts that drift.
 * A `disable` plan has no `expects`, so that a silent Region or harmless drift never voids it.
 */
export interface Plan {
  v: 1;
  operation: 'revokeKey' | 'recoverKey' | 'rotateKey' | 'eraseSubject';
  input: Record<string, unknown>;
  application: string;
  environment: string;
  account: string;
  /** Of an erasure: the subject's hash. */
  keyId: string;
  regions: string[];
  workflowId: string;
  /** Absent in the proof given with a start, which has no run yet. */
  firstRunId?: string;
  /** By Region; only where the plan widens or destroys. */
  expects?: Record<string, RegionPlan>;
  /** Recovery: the revocation whose window this closes. */
  revocation?: string;
  /** A replacement's second half: the new CMK, to which all is moved when this is signed too. */
  replacement?: string;
}

/** What an audit row says of a plan: why, and for which incident. */
export function matter(plan: Pick<Plan, 'input'>): { reason?: string; incident?: string } {
  const { reason, incident } = plan.input;
  return { ...(reason === undefined ? {} : { reason: String(reason) }), ...(incident === undefined ? {} : { incident: String(incident) }) };
}

/** Which signatures the plan as a whole needs. A revocation that only disables needs one. */
export function quorumOf(plan: Pick<Plan, 'operation' | 'input' | 'replacement'>): QuorumName {
  if (plan.replacement !== undefined) return 'rotateKey.cutover';
  if (plan.operation !== 'revokeKey') return plan.operation;
  return widens(plan.input as RevokeInput) ? 'revokeKey.widen' : 'revokeKey.disable';
}

/** Duties that act on the plan: each verifies approvals itself and keeps its own receipts. */
export function dutiesOf(plan: Pick<Plan, 'operation' | 'input'>): Duty[] {
  if (plan.operation === 'recoverKey' || plan.operation === 'eraseSubject') return ['recovery'];
  if (plan.operation === 'rotateKey') return [(plan.input as RotateInput).strategy === 'replace' ? 'recovery' : 'routine'];
  return widens(plan.input as RevokeInput) ? ['emergency', 'recovery'] : ['emergency'];
}

/** The plan whose signatures count for this one too: who signed the beginning of a replacement is one of the two who sign its cutover. */
export function firstHalf({ replacement, expects: _e, ...plan }: Plan): Plan | undefined {
  return replacement === undefined ? undefined : plan;
}

/** Whether a revocation does more than disable: quarantine re-enables for re-wrapping, deletion destroys. */
export function widens(input: Pick<RevokeInput, 'mode' | 'afterWindow'>): boolean {
  return input.mode === 'quarantine' || (input.afterWindow ?? 'disabled') !== 'disabled';
}

/** The plan in words: what a person reads before signing. One line each. */
export function planInWords(plan: Plan, windowMs: number): string[] {
  const where = `${plan.application}/${plan.environment}, account ${plan.account}`;
  const key = `key ${plan.keyId} (${String(plan.input['key'])})`;
  const lines: string[] = [];
  if (plan.operation === 'revokeKey') {
    const input = plan.input as RevokeInput;
    lines.push(`REVOKE ${key} of ${where}`);
    lines.push(`1. Disable it in ${plan.regions.join(', ')}, at once. Nothing can encrypt or decrypt with it then.`);
    lines.push(`2. Open a recovery window of ${duration(windowMs)}.`);
    let n = 3;
    if (input.mode === 'quarantine') {
      lines.push(`${n++}. When two people have signed: put the quarantine policy (only the re-wrap role may read) in every Region and enable the key.`);
    }
    if (input.afterWindow === 'deletion-scheduled') lines.push(`${n++}. When two people have signed: schedule its deletion (30 days) when the window ends.`);
    if (input.afterWindow === 'destroyed') lines.push(`${n++}. When two people have signed: schedule its deletion in every Region AT ONCE.`);
    if (input.acceptLoss === true) lines.push(`${n++}. CRYPTO-SHRED: data that still depends on the key is lost for ever.`);
    if (input.acknowledgeOutage === true) lines.push(`   The outage of the database under this key is acknowledged.`);
  } else if (plan.operation === 'eraseSubject') {
    lines.push(`ERASE ${(plan.input as EraseInput).subjectId} of ${where}: every key of one person`);
    lines.push('1. Withhold the keys at once. During the waiting time one rejection gives them back.');
    lines.push('2. DELETE them. What was encrypted under them is lost for ever, in every copy, as backups expire.');
    lines.push('3. When the last backup that may hold them has expired: issue the proof of destruction.');
    lines.push('Whose hash it is: keywarden erase ID --hash');
  } else if (plan.operation === 'rotateKey') {
    const input = plan.input as RotateInput;
    if (input.strategy === 'replace') return [...replacementInWords(plan, key, where), ...about(plan)];
    lines.push(`ROTATE ${key} of ${where}, in-place`);
    lines.push('1. Make new key material in the same CMK. It cannot be withdrawn; KMS allows 25 of these in the life of a key.');
    lines.push('2. Re-wrap every CEK value and subject key under it. What is encrypted already stays readable all the time.');
  } else {
    const input = plan.input as RecoverInput;
    lines.push(`RECOVER ${key} of ${where}`);
    for (const [region, e] of Object.entries(plan.expects ?? {})) {
      const first = e.state === 'Disabled' ? '' : 'cancel its deletion, ';
      lines.push(`- ${region}: ${first}restore the policy ${short(e.newPolicy)} (now ${short(e.policy)}), enable it; ${e.grants?.length ?? 0} grant(s) stay`);
    }
    for (const g of input.acceptGrants ?? []) lines.push(`- keep the grant ${g}, which appeared after the revocation`);
    lines.push(`It ends the window opened by ${plan.revocation ?? 'the revocation'}.`);
  }
  return [...lines, ...about(plan)];
}

function replacementInWords(plan: Plan, key: string, where: string): string[] {
  if (plan.replacement === undefined) {
    return [
      `REPLACE ${key} of ${where} by a new CMK`,
      `1. Make the new CMK in ${plan.regions.join(', ')}, with the shipped policy and the tags of the old one.`,
      '2. Re-wrap every CEK value and subject key under it; the old ciphertexts are kept beside. What is encrypted already stays readable all the time.',
      '3. When all of it opens, and every application has opened something under the new CMK, ask a second person to sign the cutover, for 72 hours. Without it everything goes back.',
    ];
  }
  return [
    `CUT OVER ${key} of ${where} to the new CMK ${plan.replacement}`,
    ...Object.entries(plan.expects ?? {}).map(([region, e]) => `- ${region}: point ${e.aliases?.join(', ') ?? 'no alias'} at it; the old CMK gets the policy ${short(e.newPolicy)} (now ${short(e.policy)}), under which it only decrypts`),
    'Then drop the old ciphertexts. There is no way back from here.',
    'The old CMK stays while backups within retention need it; its revocation and deletion are proposed after that, and signed by themselves.',
  ];
}

function about(plan: Plan): string[] {
  return [
    ...(plan.input['reason'] === undefined ? [] : [`Reason: ${String(plan.input['reason'])}`]),
    ...(plan.input['incident'] === undefined ? [] : [`Incident: ${String(plan.input['incident'])}`]),
    `Workflow: ${plan.workflowId}${plan.firstRunId === undefined ? ' (not started yet)' : `, run ${plan.firstRunId}`}`,
  ];
}

function short(digest: string | undefined): string {
  return digest === undefined ? 'unchanged' : digest.slice(0, 19);
}
