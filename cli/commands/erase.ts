import type { Client, WorkflowHandle } from '@temporalio/client';
import { KeywardenError } from '../../domain/errors';
import { eraseInput, parseInput } from '../../domain/inputs';
import { workflowIdFor } from '../../domain/names';
import { SUBJECT_ID } from '../../domain/subject';
import type { Context } from '../context';
import { EXIT } from '../output';
import { noWorker, start, statusOf, watchEnd } from '../procedures';
import type { Register } from '../register';

interface EraseOptions {
  reason?: string;
  hash?: boolean;
  role?: string;
  dryRun?: boolean;
  yes?: boolean;
}

export const register: Register = (program, run) => {
  program
    .command('erase <subject>')
    .description("destroy one person's keys; two people sign (eraseSubject)")
    .option('--reason <text>', 'why; it stands in histories and the audit trail, so never who')
    .option('--hash', 'keep the request and print the hash, start nothing: for a start elsewhere, and to see whose erasure a plan is')
    .option('--role <role>', 'role under which to sign')
    .option('--yes', 'do not ask')
    .option('--dry-run', 'show the plan, do nothing')
    .action(run<[string, EraseOptions]>(erase));
};

async function erase(ctx: Context, subject: string, o: EraseOptions): Promise<number> {
  if (!SUBJECT_ID.test(subject)) throw new KeywardenError('KW-INPUT', 'must be the id of a subject, as the application knows it', { path: 'SUBJECT', notDone: 'nothing was started', next: 'give the id itself; its hash is computed here' });
  if (o.reason?.includes(subject) === true) throw new KeywardenError('KW-INPUT', 'names the subject', { path: '--reason', notDone: 'nothing was started', next: 'say why, not who: it stands in histories and in the audit trail' });
  const store = await ctx.store();
  const subjectId = await store.hashSubject(subject);
  if (o.hash === true) {
    await known(ctx, subject, subjectId);
    await store.requestErasure(subject);
    ctx.out.result({ subjectId }, subjectId);
    return EXIT.done;
  }
  const input = parseInput(eraseInput, { subjectId, reason: o.reason });
  await known(ctx, subject, subjectId);
  const workflowId = workflowIdFor('eraseSubject', subjectId, new Date());
  const { planForStart, roleFor, showAndSign } = await import('../signing');
  const plan = await planForStart(ctx, 'eraseSubject', input, { workflowId });
  if (o.dryRun === true) {
    const { planInWords } = await import('../../domain/plan');
    ctx.out.result({ plan }, ...planInWords(plan, 0), 'Nothing was done (--dry-run).');
    return EXIT.done;
  }
  const client = await ctx.temporal();
  const proof = ctx.options.as === undefined ? undefined : await showAndSign(ctx, plan, { decision: 'approve', role: await roleFor(ctx, plan, o.role), yes: o.yes });
  await store.requestErasure(subject);
  const handle = await start(ctx, 'eraseSubject', workflowId, { ...input, ...(proof === undefined ? {} : { proof }), ...(ctx.options.as === undefined ? {} : { requestedBy: ctx.options.as }) });
  const end = watchEnd(client, handle);
  try {
    return await waitForPeople(ctx, handle, client, end.ended, proof !== undefined);
  } finally {
    end.stop();
  }
}

/** A slip in the id is found here, not after two people have signed. */
async function known(ctx: Context, subject: string, subjectId: string): Promise<void> {
  const [config, store] = await Promise.all([ctx.config(), ctx.store()]);
  for (const purpose of config.purposes) if ((await store.readSubjectKey(subject, purpose)) !== undefined) return;
  const { state } = (await store.readErasure(subjectId)) ?? {};
  if (state === 'deleted') return; // an erasure that was ended from outside is taken up again
  throw new KeywardenError('KW-SUBJECT-UNKNOWN', state === 'proven' ? 'the subject was erased already, and has no key since' : 'the subject has no key', { notDone: 'nothing was started', next: 'check the id' });
}

/** Until somebody must sign, or it is over. */
async function waitForPeople(ctx: Context, handle: WorkflowHandle, client: Client, ended: Promise<unknown>, signed: boolean): Promise<number> {
  const { workflowId } = handle;
  for (const latest = Date.now() + 10_000; ; await new Promise((r) => setTimeout(r, 50))) {
    const status = await Promise.race([statusOf(handle, client), ended.then(() => undefined)]);
    if (status?.pendingApproval !== undefined && (!signed || status.pendingApproval.decided.length > 0)) {
      const { missing, eligible } = status.pendingApproval;
      ctx.out.result({ workflowId, ...status }, ctx.out.yellow(`Waits for ${missing} more ${missing === 1 ? 'person' : 'people'} to sign (${eligible.join(' or ')}).`), `Next: keywarden approve ${workflowId} --as NAME`);
      return EXIT.waiting;
    }
    if (status?.outcome !== undefined) {
      const { outcome } = (await ended) as { outcome: string };
      ctx.out.result({ workflowId, ...status }, `ended: ${outcome}`);
      return outcome === 'proven' ? EXIT.done : EXIT.failed;
    }
    if (Date.now() > latest) {
      if (status === undefined) throw noWorker('keywarden', `keywarden status ${workflowId}`);
      ctx.out.result({ workflowId, ...status }, `phase: ${status.phase}`, `Next: keywarden status ${workflowId}`);
      return EXIT.waiting;
    }
  }
}
