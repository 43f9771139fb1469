import type { Client, WorkflowHandle } from '@temporalio/client';
import { KeywardenError } from '../domain/errors';
import { WORKFLOW_QUEUE } from '../domain/names';
import type { ProcedureStatus } from '../domain/status';
import type { Context } from './context';

/** Starts a procedure; the same id again is refused by the server while one is open. */
export async function start(ctx: Context, type: string, workflowId: string, input: object): Promise<WorkflowHandle> {
  const client = await ctx.temporal();
  return client.workflow.start(type, { taskQueue: WORKFLOW_QUEUE, workflowId, args: [input], staticSummary: `${type} ${String((input as { key?: string }).key ?? '')}`.slice(0, 180) });
}

/** Status by query; undefined when no worker answered in time. */
export async function statusOf(handle: Pick<WorkflowHandle, 'query'>, client: Client, timeoutMs = 3_000): Promise<ProcedureStatus | undefined> {
  try {
    return await client.withDeadline(Date.now() + timeoutMs, () => handle.query<ProcedureStatus>('status'));
  } catch (error) {
    // the server could not have it answered (no poller, out of time); an answer that is a refusal is another kind of error
    if (error instanceof Error && error.name === 'ServiceError') return undefined;
    throw error;
  }
}

/** Which part is at fault when nothing moves: Temporal answered, so it is the worker. */
export function noWorker(queue: string, orElse: string): KeywardenError {
  return new KeywardenError('KW-TEMPORAL', `Temporal is up, but no worker answers on the queue "${queue}"`, {
    notDone: 'the procedure is started and waits for a worker; nothing else was done yet',
    next: `start a worker (keywarden worker), or ${orElse}`,
  });
}

/** A procedure's result, or its failure, until `stop` is called: an open long poll would keep the command from ending. */
export function watchEnd(client: Client, handle: WorkflowHandle): { ended: Promise<unknown>; stop(): void } {
  const abort = new AbortController();
  const ended = client.connection.withAbortSignal(abort.signal, () => handle.result());
  ended.catch(() => undefined);
  return { ended, stop: () => abort.abort() };
}
