import { createInterface } from 'node:readline/promises';
import type { Role } from '../domain/names';
import type { EraseInput, RecoverInput, RevokeInput, RotateInput } from '../domain/inputs';
import { KeywardenError } from '../domain/errors';
import { MAX_APPROVAL_MS, type ApprovalClaims } from '../domain/approval';
import { planInWords, quorumOf, type Plan } from '../domain/plan';
import { floorOf } from '../domain/quorum';
import type { Context } from './context';

/** The signer's own plan: made here from configuration, KMS and the store, never taken from a workflow. */
export async function planForStart(ctx: Context, operation: Plan['operation'], input: RevokeInput | RecoverInput | RotateInput | EraseInput, where: { workflowId: string; firstRunId?: string }): Promise<Plan> {
  if (operation === 'eraseSubject') return (await import('../activities/planning')).erasurePlan(await ctx.config(), input as EraseInput, where);
  const [config, kms, { knownTarget }, { revocationPlan, recoveryPlan, rotationPlan, cutoverPlan, disablePlan, refuseToCutTheBranch }, { widens }] = await Promise.all([ctx.config(), ctx.kms('operator'), import('../activities/targets'), import('../activities/planning'), import('../domain/plan')]);
  const target = await knownTarget({ config, kms, store: { readKey: async (id) => (await ctx.store()).readKey(id), listKeys: async () => (await ctx.store()).listKeys() } }, (input as RevokeInput).key);
  if (operation === 'rotateKey') {
    // the second half of a replacement, once everything stands under the new CMK
    const next = (input as RotateInput).strategy !== 'replace' || where.firstRunId === undefined ? undefined : (await (await ctx.store()).listKeys()).find((r) => r.replaces?.keyId === target.keyId && r.replaces.workflowId === where.workflowId && r.replaces.phase !== 'overlap');
    return next === undefined ? rotationPlan(config, input as RotateInput, target, where) : cutoverPlan({ config, kms }, input as RotateInput, target.keyId, next.keyId, where);
  }
  if (operation === 'revokeKey') refuseToCutTheBranch(config, input as RevokeInput, target);
  if (operation === 'revokeKey' && !widens(input as RevokeInput)) return disablePlan(config, input as RevokeInput, target, where);
  const row = await (await ctx.store()).readKey(target.keyId);
  const sources = { config, kms, row, now: Date.now() };
  return operation === 'revokeKey' ? revocationPlan(sources, input as RevokeInput, target, where) : recoveryPlan(sources, input as RecoverInput, target, where);
}

/** The plan of a running procedure: its input from the server's record of the start, all else as `planForStart`. */
export async function planOfWorkflow(ctx: Context, workflowId: string): Promise<Plan> {
  const client = await ctx.temporal();
  const { defaultPayloadConverter } = await import('@temporalio/common');
  const handle = client.workflow.getHandle(workflowId);
  const description = await handle.describe().catch((cause: unknown) => {
    throw new KeywardenError('KW-USAGE', `no procedure ${workflowId}`, { path: 'WORKFLOW', notDone: 'nothing was signed', next: 'look at `keywarden status` for the open ones', cause });
  });
  if (description.type !== 'revokeKey' && description.type !== 'recoverKey' && description.type !== 'rotateKey' && description.type !== 'eraseSubject') throw new KeywardenError('KW-USAGE', `${description.type} needs no signature`, { path: 'WORKFLOW', notDone: 'nothing was signed', next: 'look at `keywarden status`' });
  const page = await client.workflowService.getWorkflowExecutionHistory({ namespace: client.options.namespace, execution: { workflowId, runId: description.runId }, maximumPageSize: 1 });
  const start = page.history?.events?.[0]?.workflowExecutionStartedEventAttributes;
  const input = defaultPayloadConverter.fromPayload<RevokeInput | RecoverInput | RotateInput | EraseInput>(start!.input!.payloads![0]!);
  return planForStart(ctx, description.type, input, { workflowId, firstRunId: start!.firstExecutionRunId ?? description.runId });
}

/** The role under which a person signs: the one given, else the first that may sign this and that the person holds. */
export async function roleFor(ctx: Context, plan: Plan, given: string | undefined): Promise<Role> {
  const config = await ctx.config();
  const name = ctx.person();
  const person = config.people.find((p) => p.name === name);
  if (person === undefined) throw new KeywardenError('KW-IDENTITY', `${name} is not a person of the configuration`, { path: '--as', notDone: 'nothing was signed', next: 'look at `keywarden identity list`' });
  if (given !== undefined) {
    if (!(person.roles as string[]).includes(given)) throw new KeywardenError('KW-IDENTITY', `${name} does not hold ${given} (${person.roles.join(', ')})`, { path: '--role', notDone: 'nothing was signed', next: 'sign under a role that the person holds' });
    return given as Role;
  }
  const floor = floorOf(quorumOf(plan), config.quorum);
  // a revocation's disabling takes an EmergencyKeyAdmin, whatever else it asks for later
  const preferred: readonly Role[] = plan.operation === 'revokeKey' && plan.firstRunId === undefined ? ['EmergencyKeyAdmin'] : floor.roles;
  const role = preferred.find((r) => person.roles.includes(r));
  if (role === undefined) throw new KeywardenError('KW-IDENTITY', `${name} (${person.roles.join(', ')}) may not sign this; it takes ${preferred.join(' or ')}`, { path: '--as', notDone: 'nothing was signed', next: 'ask a person who holds such a role: keywarden identity list' });
  return role;
}

/** Shows the plan in words, asks on a terminal, signs what it showed. */
export async function showAndSign(ctx: Context, plan: Plan, o: { decision: 'approve' | 'reject'; role: Role; yes?: boolean | undefined }): Promise<string> {
  const config = await ctx.config();
  ctx.out.note(ctx.out.bold(`${o.decision === 'approve' ? 'You approve' : 'You reject'}, as ${ctx.person()} (${o.role}):`));
  for (const line of planInWords(plan, config.recovery.windowDays * 86_400_000)) ctx.out.note(`  ${line}`);
  if (o.yes !== true && process.stdin.isTTY && !(await confirm('Sign this?'))) {
    throw new KeywardenError('KW-USAGE', 'not confirmed', { notDone: 'nothing was signed', next: 'run the command again when the plan is right' });
  }
  return signPlan(ctx, plan, o);
}

async function signPlan(ctx: Context, plan: Plan, o: { decision: 'approve' | 'reject'; role: Role }): Promise<string> {
  const [{ signAs, identitiesDir }, { randomUUID }] = await Promise.all([import('../local/demo/identities'), import('node:crypto')]);
  const now = Date.now();
  const claims: ApprovalClaims = { typ: 'keywarden-approval', v: 1, decision: o.decision, role: o.role, plan, iat: now, exp: now + MAX_APPROVAL_MS, jti: randomUUID() };
  return signAs(identitiesDir(), ctx.person(), 'keywarden-approval+jws', claims);
}

export async function confirm(question: string): Promise<boolean> {
  return /^y(es)?$/i.test((await ask(`${question} [y/N] `)).trim());
}

export async function ask(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await terminal.question(question);
  } finally {
    terminal.close();
  }
}
