import type { WorkflowHandle } from '@temporalio/client';
import { KeywardenError } from '../../domain/errors';
import { moment } from '../../domain/duration';
import { parseInput, revokeInput, type RevokeInput } from '../../domain/inputs';
import { WORKFLOW_QUEUE, workflowIdFor } from '../../domain/names';
import { widens } from '../../domain/plan';
import type { ProcedureStatus } from '../../domain/status';
import type { Context } from '../context';
import { EXIT } from '../output';
import { noWorker, start, statusOf, watchEnd } from '../procedures';
import type { Register } from '../register';

interface RevokeOptions {
  reason?: string;
  mode?: string;
  incident?: string;
  afterWindow?: string;
  acknowledgeOutage?: boolean;
  acceptLoss?: boolean;
  direct?: boolean;
  resume?: boolean;
  wait?: boolean;
  dryRun?: boolean;
  yes?: boolean;
  role?: string;
}

/** How long the operator is left without news before being told which part is at fault. */
const SILENCE_MS = 5_000;

export const register: Register = (program, run) => {
  program
    .command('revoke [key]')
    .description('EMERGENCY: take a key out of use at once, in every Region (revokeKey)')
    .option('--reason <text>', 'why; it stands in the audit trail and in the alert')
    .option('--mode <mode>', 'disable (default) or quarantine')
    .option('--incident <id>', 'the incident it belongs to')
    .option('--after-window <what>', 'disabled (default), deletion-scheduled, destroyed')
    .option('--acknowledge-outage', 'the database under this key may go down')
    .option('--accept-loss', 'crypto-shred: what still depends on the key may be lost')
    .option('--role <role>', 'role under which to sign')
    .option('--direct', 'without Temporal: DisableKey in every Region with your own session')
    .option('--resume', 'hand what --direct did to Temporal')
    .option('--wait', 'stay until the recovery window has ended')
    .option('--yes', 'do not ask')
    .option('--dry-run', 'show the plan, do nothing')
    .action(run<[string | undefined, RevokeOptions]>(revoke));
};

async function revoke(ctx: Context, key: string | undefined, o: RevokeOptions): Promise<number> {
  const input = await inputOf(ctx, key, o);
  if (o.direct === true) return (await import('./revokeDirect')).revokeDirect(ctx, input, o);
  const direct = o.resume === true ? await (await import('./revokeDirect')).recordFor(ctx, input) : undefined;
  const workflowId = workflowIdFor('revokeKey', input.key, new Date());
  const { planForStart, roleFor, showAndSign } = await import('../signing');
  if (o.dryRun === true) {
    const { planInWords } = await import('../../domain/plan');
    const plan = await planForStart(ctx, 'revokeKey', input, { workflowId });
    ctx.out.result({ plan }, ...planInWords(plan, (await ctx.config()).recovery.windowDays * 86_400_000), 'Nothing was done (--dry-run).');
    return EXIT.done;
  }
  const connecting = ctx.temporal();
  connecting.catch(() => undefined); // said below, when the plan is signed
  let proof: string | undefined;
  if (ctx.options.as !== undefined) {
    const plan = await planForStart(ctx, 'revokeKey', input, { workflowId });
    proof = await showAndSign(ctx, plan, { decision: 'approve', role: await roleFor(ctx, plan, o.role), yes: o.yes });
  }
  const client = await connecting;
  const handle = await start(ctx, 'revokeKey', workflowId, { ...input, ...(proof === undefined ? {} : { proof }), ...(direct === undefined ? {} : { directRecord: direct.token }), ...(ctx.options.as === undefined ? {} : { requestedBy: ctx.options.as }) });
  direct?.handedOver();
  const status = await watchItFall(ctx, handle, client);
  if (status.pendingApproval !== undefined && status.deadline === undefined) return waitsForSignature(ctx, handle, status);
  if (o.wait === true) {
    const result = (await handle.result()) as { outcome: string };
    ctx.out.result(result, `the window ended: ${result.outcome}`);
    return EXIT.done;
  }
  return ended(ctx, handle, status, input);
}

/** Asks on a terminal for what is missing; elsewhere refuses with the field's path. */
async function inputOf(ctx: Context, key: string | undefined, o: RevokeOptions): Promise<RevokeInput> {
  const terminal = process.stdin.isTTY === true && !ctx.out.json;
  let k = key;
  let reason = o.reason;
  if (terminal && (k === undefined || reason === undefined)) {
    const { ask } = await import('../signing');
    if (k === undefined) k = (await ask(`Which key (${(await ctx.config()).purposes.join(', ')}, or an alias, id, ARN)? `)).trim();
    if (reason === undefined) reason = (await ask('Why? ')).trim();
  }
  return parseInput(revokeInput, {
    key: k,
    reason,
    ...(o.mode === undefined ? {} : { mode: o.mode }),
    ...(o.incident === undefined ? {} : { incident: o.incident }),
    ...(o.afterWindow === undefined ? {} : { afterWindow: o.afterWindow }),
    ...(o.acknowledgeOutage === true ? { acknowledgeOutage: true } : {}),
    ...(o.acceptLoss === true ? { acceptLoss: true } : {}),
  });
}

/** Shows each Region fall. A procedure that was refused fails here with its own error. */
async function watchItFall(ctx: Context, handle: WorkflowHandle, client: Awaited<ReturnType<Context['temporal']>>): Promise<ProcedureStatus> {
  const end = watchEnd(client, handle);
  let shown = '';
  const since = Date.now();
  try {
    for (;;) {
      const status = await Promise.race([statusOf(handle, client, SILENCE_MS), end.ended.then(() => undefined)]);
      if (status === undefined && Date.now() - since >= SILENCE_MS - 100) throw noWorker(WORKFLOW_QUEUE, 'disable the key now without it: the same command with --direct');
      const step = status?.steps.find((s) => s.name === 'disable');
      if (step?.detail !== undefined && step.detail !== shown && step.state !== 'failed') ctx.out.note(`  ${step.state === 'done' ? ctx.out.green('disabled') : ctx.out.yellow(step.state)}  ${(shown = step.detail)}`);
      if (status !== undefined && (step?.state === 'done' || status.pendingApproval !== undefined)) return status;
      await new Promise((r) => setTimeout(r, 15));
    }
  } finally {
    end.stop();
  }
}

function waitsForSignature(ctx: Context, handle: WorkflowHandle, status: ProcedureStatus): number {
  ctx.out.result({ workflowId: handle.workflowId, ...status }, ctx.out.yellow('NOT DISABLED YET: an EmergencyKeyAdmin must sign.'), `Next: keywarden approve ${handle.workflowId} --as NAME`);
  return EXIT.waiting;
}

function ended(ctx: Context, handle: WorkflowHandle, status: ProcedureStatus, input: RevokeInput): number {
  const until = status.deadline ?? '';
  const waiting = widens(input);
  ctx.out.result(
    { workflowId: handle.workflowId, ...status },
    '',
    ctx.out.bold(`${input.key} is revoked.`),
    `  Stopped working: every encrypt and decrypt with this key. Data keys that applications hold in memory work until their caches are drained.`,
    `  Can be undone until ${until === '' ? 'the window ends' : moment(until, Date.now())}:`,
    `    keywarden recover ${input.key} --reason "…" --as NAME        (two people sign)`,
    `  Look: keywarden status ${handle.workflowId}`,
    ...(waiting ? [ctx.out.yellow(`  Two people must sign the rest: keywarden approve ${handle.workflowId} --as NAME`)] : []),
  );
  return EXIT.done;
}
