import { KeywardenError } from '../../domain/errors';
import type { DecideAnswer } from '../../workflows/messages';
import type { Context } from '../context';
import { EXIT } from '../output';
import type { Register } from '../register';

interface Options {
  role?: string;
  comment?: string;
  yes?: boolean;
  dryRun?: boolean;
}

/** `approve` and `reject`: build the plan here, show it, sign what was shown, send it. */
export const register: Register = (program, run) => {
  for (const decision of ['approve', 'reject'] as const) {
    program
      .command(`${decision} <workflow>`)
      .description(`${decision} what a procedure waits for`)
      .option('--role <role>', 'role under which to sign')
      .option('--comment <text>', 'stands in the audit trail')
      .option('--yes', 'do not ask')
      .option('--dry-run', 'show the plan, sign nothing')
      .action(run<[string, Options]>((ctx, workflow, o) => decide(ctx, workflow, decision, o)));
  }
};

async function decide(ctx: Context, workflowId: string, decision: 'approve' | 'reject', o: Options): Promise<number> {
  const { planOfWorkflow, roleFor, showAndSign } = await import('../signing');
  const plan = await planOfWorkflow(ctx, workflowId);
  if (o.dryRun === true) {
    const { planInWords } = await import('../../domain/plan');
    ctx.out.result({ plan }, ...planInWords(plan, (await ctx.config()).recovery.windowDays * 86_400_000), 'Nothing was signed (--dry-run).');
    return EXIT.done;
  }
  const proof = await showAndSign(ctx, plan, { decision, role: await roleFor(ctx, plan, o.role), yes: o.yes });
  const handle = (await ctx.temporal()).workflow.getHandle(workflowId);
  const message = { proof, ...(o.comment === undefined ? {} : { comment: o.comment }) };
  const answer = await Promise.race([handle.executeUpdate<DecideAnswer, [object]>('decide', { args: [{ ...message, decision }] }), new Promise<undefined>((r) => setTimeout(() => r(undefined), 8_000).unref())]);
  if (answer === undefined) {
    // without a worker an Update waits; a signal is kept by the server and counts at the time it arrived
    await handle.signal(decision, message);
    ctx.out.result({ workflowId, accepted: 'pending' }, 'No worker answers; the signature was left with Temporal and counts from now.', `Next: keywarden status ${workflowId}`);
    return EXIT.waiting;
  }
  if (!answer.accepted) throw new KeywardenError((answer.code ?? 'KW-APPROVAL-FORM') as never, answer.reason ?? 'refused', { notDone: 'the signature was not counted', next: `look at keywarden status ${workflowId}` });
  const missing = answer.missing ?? 0;
  ctx.out.result({ workflowId, ...answer }, `Accepted: ${ctx.person()} ${decision === 'approve' ? 'approved' : 'rejected'}.`, decision === 'reject' ? `The procedure goes no further: keywarden status ${workflowId}` : missing > 0 ? `${missing} more must sign: keywarden approve ${workflowId} --as NAME` : `Next: keywarden status ${workflowId}`);
  return EXIT.done;
}
