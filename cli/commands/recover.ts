import { parseInput, recoverInput } from '../../domain/inputs';
import { workflowIdFor } from '../../domain/names';
import type { Context } from '../context';
import { EXIT } from '../output';
import { start, statusOf, noWorker } from '../procedures';
import type { Register } from '../program';

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
  const failed = handle.result().then((r) => r as { outcome: string });
  failed.catch(() => undefined);
  for (const end = Date.now() + 10_000; ; ) {
    const status = await Promise.race([statusOf(handle, client), failed.then(() => undefined)]);
    if (status?.pendingApproval !== undefined && (proof === undefined || status.pendingApproval.decided.length > 0)) {
      const { missing, eligible } = status.pendingApproval;
      ctx.out.result({ workflowId, ...status }, ctx.out.yellow(`Waits for ${missing} more ${missing === 1 ? 'person' : 'people'} to sign (${eligible.join(' or ')}).`), `Next: keywarden approve ${workflowId} --as NAME`);
      return EXIT.waiting;
    }
    if (status?.outcome !== undefined) {
      const result = await failed;
      ctx.out.result({ workflowId, ...result }, `${key}: ${result.outcome}`);
      return result.outcome === 'recovered' ? EXIT.done : EXIT.failed;
    }
    if (Date.now() > end) {
      if (status === undefined) throw noWorker('keywarden');
      ctx.out.result({ workflowId, ...status }, `phase: ${status.phase}`, `Next: keywarden status ${workflowId}`);
      return EXIT.waiting;
    }
    await new Promise((r) => setTimeout(r, 50));
  }
}
