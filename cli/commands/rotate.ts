import type { Client, WorkflowHandle } from '@temporalio/client';
import { parseInput, rotateInput } from '../../domain/inputs';
import { workflowIdFor } from '../../domain/names';
import { moment } from '../../domain/duration';
import { progressInWords } from '../../domain/status';
import type { RotateResult } from '../../workflows/rotateKey';
import type { Context } from '../context';
import { EXIT } from '../output';
import { noWorker, start, statusOf, watchEnd } from '../procedures';
import type { Register } from '../register';

interface RotateOptions {
  reason?: string;
  strategy?: string;
  signOff?: boolean;
  role?: string;
  wait?: boolean;
  dryRun?: boolean;
  yes?: boolean;
}

export const register: Register = (program, run) => {
  program
    .command('rotate <key>')
    .description('new key material, and everything re-wrapped under it (rotateKey); one person signs what is not due')
    .option('--reason <text>', 'why')
    .option('--strategy <strategy>', 'in-place (default) or replace')
    .option('--sign-off', 'ask a person before new material is made, also when it is due')
    .option('--role <role>', 'role under which to sign')
    .option('--no-wait', 'do not stay until it has ended')
    .option('--yes', 'do not ask')
    .option('--dry-run', 'show the plan, do nothing')
    .action(run<[string, RotateOptions]>(rotate));
};

async function rotate(ctx: Context, key: string, o: RotateOptions): Promise<number> {
  const input = parseInput(rotateInput, { key, ...(o.reason === undefined ? {} : { reason: o.reason }), ...(o.strategy === undefined ? {} : { strategy: o.strategy }), ...(o.signOff === true ? { signOff: 'required' } : {}) });
  const workflowId = workflowIdFor('rotateKey', key, new Date());
  const { planForStart, roleFor, showAndSign } = await import('../signing');
  if (o.dryRun === true) {
    const { planInWords } = await import('../../domain/plan');
    const plan = await planForStart(ctx, 'rotateKey', input, { workflowId });
    ctx.out.result({ plan }, ...planInWords(plan, 0), 'Nothing was done (--dry-run).');
    return EXIT.done;
  }
  const client = await ctx.temporal();
  let proof: string | undefined;
  if (ctx.options.as !== undefined) {
    const plan = await planForStart(ctx, 'rotateKey', input, { workflowId });
    proof = await showAndSign(ctx, plan, { decision: 'approve', role: await roleFor(ctx, plan, o.role), yes: o.yes });
  }
  const handle = await start(ctx, 'rotateKey', workflowId, { ...input, ...(proof === undefined ? {} : { proof }), ...(ctx.options.as === undefined ? {} : { requestedBy: ctx.options.as }) });
  if (o.wait === false) {
    ctx.out.result({ workflowId }, `started ${workflowId}`, `Next: keywarden status ${workflowId}`);
    return EXIT.done;
  }
  const end = watchEnd(client, handle);
  try {
    return await follow(ctx, handle, client, end.ended);
  } finally {
    end.stop();
  }
}

/** Until it has ended, or a person must sign; progress on a terminal. */
async function follow(ctx: Context, handle: WorkflowHandle, client: Client, ended: Promise<unknown>): Promise<number> {
  const { workflowId } = handle;
  let said = '';
  for (let unanswered = 0; ; ) {
    const result = (await Promise.race([ended, new Promise((r) => setTimeout(r, 300).unref())])) as RotateResult | undefined;
    if (result !== undefined) {
      const { outcome, counts, durations } = result;
      if (outcome === 'rolled-back') {
        ctx.out.result({ workflowId, ...result }, `rolled back: ${result.why ?? ''}. Everything stands under the old CMK.`, ...(result.replacement === undefined ? [] : [`Next: keywarden revoke ${result.replacement} --after-window deletion-scheduled --reason "unused" --as NAME`]));
        return EXIT.failed;
      }
      ctx.out.result({ workflowId, ...result }, `${outcome}${counts === undefined ? '' : `: ${counts.subjectKeys} subject keys and ${counts.columnKeys} CEKs re-wrapped under ${result.replacement ?? `${result.material!.slice(0, 12)}…`} in ${(durations!.totalMs / 1_000).toFixed(1)} s`}`, ...(counts !== undefined && counts.setAside > 0 ? [`${counts.setAside} do not open and wait for a person. Next: keywarden status ${result.keyId}`] : []));
      return outcome === 'rotated' || outcome === 'replaced' ? EXIT.done : EXIT.failed;
    }
    const status = await statusOf(handle, client);
    if (status === undefined) {
      if (++unanswered >= 2) throw noWorker('keywarden', `keywarden status ${workflowId}`);
      continue;
    }
    unanswered = 0;
    if (status.phase === 'retiring the old CMK') {
      ctx.out.result({ workflowId, ...status }, `replaced: everything stands under the new CMK. The old one only decrypts, and is kept until ${moment(status.deadline!, Date.now())}, while backups need it.`, `Next: keywarden status ${workflowId}`);
      return EXIT.done;
    }
    if (status.pendingApproval !== undefined && status.pendingApproval.missing > 0) {
      const { missing, eligible } = status.pendingApproval;
      ctx.out.result({ workflowId, ...status }, ctx.out.yellow(`Waits for ${missing} more ${missing === 1 ? 'person' : 'people'} to sign (${eligible.join(' or ')}).`), `Next: keywarden approve ${workflowId} --as NAME`);
      return EXIT.waiting;
    }
    const now = status.progress === undefined ? status.phase : `${status.phase}: ${progressInWords(status.progress)}`;
    if (now !== said && process.stderr.isTTY) ctx.out.note((said = now));
  }
}
