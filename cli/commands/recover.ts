import type { Client, WorkflowHandle } from '@temporalio/client';
import { parseInput, recoverInput } from '../../domain/inputs';
import { workflowIdFor } from '../../domain/names';
import type { Context } from '../context';
import { EXIT } from '../output';
import { noWorker, start, statusOf, watchEnd } from '../procedures';
import type { Register } from '../register';

interface RecoverOptions {
  reason?: string;
  incident?: string;
  acceptGrant?: string[];
  role?: string;
  wait?: boolean;
  dryRun?: boolean;
  yes?: boolean;
}

export const register: Register = (program, run) => {
  program
    .command('recover <key>')
    .description('bring a revoked key back inside its window; two people sign (recoverKey)')
    .option('--reason <text>', 'why')
    .option('--incident <id>', 'the incident it belongs to')
    .option('--accept-grant <id...>', 'a grant that appeared after the revocation and may stay')
    .option('--role <role>', 'role under which to sign')
    .option('--wait', 'stay until the key is recovered')
    .option('--yes', 'do not ask')
    .option('--dry-run', 'show the plan, do nothing')
    .action(run<[string, RecoverOptions]>(recover));
};

async function recover(ctx: Context, key: string, o: RecoverOptions): Promise<number> {
  const input = parseInput(recoverInput, { key, reason: o.reason, ...(o.incident === undefined ? {} : { incident: o.incident }), ...(o.acceptGrant === undefined ? {} : { acceptGrants: o.acceptGrant }) });
  const workflowId = workflowIdFor('recoverKey', key, new Date());
  const { planForStart, roleFor, showAndSign } = await import('../signing');
  if (o.dryRun === true) {
    const { planInWords } = await import('../../domain/plan');
    const plan = await planForStart(ctx, 'recoverKey', input, { workflowId });
    ctx.out.result({ plan }, ...planInWords(plan, 0), 'Nothing was done (--dry-run).');
    return EXIT.done;
  }
  const client = await ctx.temporal();
  let proof: string | undefined;
  if (ctx.options.as !== undefined) {
    const plan = await planForStart(ctx, 'recoverKey', input, { workflowId });
    proof = await showAndSign(ctx, plan, { decision: 'approve', role: await roleFor(ctx, plan, o.role), yes: o.yes });
  }
  const handle = await start(ctx, 'recoverKey', workflowId, { ...input, ...(proof === undefined ? {} : { proof }), ...(ctx.options.as === undefined ? {} : { requestedBy: ctx.options.as }) });
  if (o.wait === true) {
    const result = (await handle.result()) as { outcome: string };
    ctx.out.result({ workflowId, ...result }, `${key}: ${result.outcome}`);
    return result.outcome === 'recovered' ? EXIT.done : EXIT.failed;
  }
  const end = watchEnd(client, handle);
  try {
    return await waitForPeople(ctx, key, handle, client, end.ended, proof !== undefined);
  } finally {
    end.stop();
  }
}

/** Until somebody must sign, or it is over. */
async function waitForPeople(ctx: Context, key: string, handle: WorkflowHandle, client: Client, ended: Promise<unknown>, signed: boolean): Promise<number> {
  const { workflowId } = handle;
  for (const latest = Date.now() + 10_000; ; await new Promise((r) => setTimeout(r, 50))) {
    const status = await Promise.race([statusOf(handle, client), ended.then(() => undefined)]);
    if (status?.pendingApproval !== undefined && (!signed || status.pendingApproval.decided.length > 0)) {
      const { missing, eligible } = status.pendingApproval;
      ctx.out.result({ workflowId, ...status }, ctx.out.yellow(`Waits for ${missing} more ${missing === 1 ? 'person' : 'people'} to sign (${eligible.join(' or ')}).`), `Next: keywarden approve ${workflowId} --as NAME`);
      return EXIT.waiting;
    }
    if (status?.outcome !== undefined) {
      const result = (await ended) as { outcome: string };
      ctx.out.result({ workflowId, ...result }, `${key}: ${result.outcome}`);
      return result.outcome === 'recovered' ? EXIT.done : EXIT.failed;
    }
    if (Date.now() > latest) {
      if (status === undefined) throw noWorker('keywarden', `keywarden status ${workflowId}`);
      ctx.out.result({ workflowId, ...status }, `phase: ${status.phase}`, `Next: keywarden status ${workflowId}`);
      return EXIT.waiting;
    }
  }
}
