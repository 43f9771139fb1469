import type { Client } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import type { temporal } from '@temporalio/proto';
import { KeywardenError } from '../domain/errors';

type Event = temporal.api.history.v1.IHistoryEvent;
type Payload = temporal.api.common.v1.IPayload;

/** Where and when the server took a proof in. */
export interface Arrival {
  /** Milliseconds since the epoch, the server's time of the event. */
  at: number;
  how: 'start' | 'signal' | 'update';
}

/**
 * Finds proofs in a run's history. The time of the event that brought a proof is the server's own, whatever the sender, the workflow or
 * the worker's clock say (rule 5). A proof that stands nowhere in the history did not come by a message.
 */
export async function findArrivals(client: Client, workflowId: string, runId: string, tokens: readonly string[]): Promise<Map<string, Arrival>> {
  const wanted = new Set(tokens);
  const found = new Map<string, Arrival>();
  let nextPageToken: Uint8Array | undefined;
  do {
    const page = await read(client, { namespace: client.options.namespace, execution: { workflowId, runId }, nextPageToken, maximumPageSize: 500 });
    for (const event of page.history?.events ?? []) {
      for (const [token, how] of proofsIn(event)) {
        if (wanted.has(token) && !found.has(token)) found.set(token, { at: timeOf(event), how });
      }
    }
    nextPageToken = page.nextPageToken?.length ? page.nextPageToken : undefined;
  } while (nextPageToken !== undefined && found.size < wanted.size);
  return found;
}

const firstRuns = new Map<string, string>();

/** The first run of the chain that a run belongs to, by the server's record of its start. */
export async function firstRunOf(client: Client, workflowId: string, runId: string): Promise<string> {
  const known = firstRuns.get(runId);
  if (known !== undefined) return known;
  const page = await read(client, { namespace: client.options.namespace, execution: { workflowId, runId }, maximumPageSize: 1 });
  const first = page.history?.events?.[0]?.workflowExecutionStartedEventAttributes?.firstExecutionRunId;
  const result = first === undefined || first === null || first === '' ? runId : first;
  if (firstRuns.size > 10_000) firstRuns.clear();
  firstRuns.set(runId, result);
  return result;
}

async function read(client: Client, request: temporal.api.workflowservice.v1.IGetWorkflowExecutionHistoryRequest) {
  try {
    return await client.workflowService.getWorkflowExecutionHistory(request);
  } catch (cause) {
    throw new KeywardenError('KW-TEMPORAL', 'the history of the workflow could not be read', { notDone: 'the proof was not judged', next: 'it is tried again', cause });
  }
}

function* proofsIn(event: Event): Iterable<[string, Arrival['how']]> {
  const start = event.workflowExecutionStartedEventAttributes?.input?.payloads;
  if (start) yield* proofs(start, 'start');
  const signal = event.workflowExecutionSignaledEventAttributes?.input?.payloads;
  if (signal) yield* proofs(signal, 'signal');
  const update = event.workflowExecutionUpdateAcceptedEventAttributes?.acceptedRequest?.input?.args?.payloads;
  if (update) yield* proofs(update, 'update');
}

/** A run after continue-as-new starts with what it carries; only the `proof` field of a first argument is a proof that arrived. */
function* proofs(payloads: Payload[], how: Arrival['how']): Iterable<[string, Arrival['how']]> {
  const [first] = payloads;
  if (first === undefined || (first.data?.length ?? 0) > 64 * 1024) return;
  try {
    const value: unknown = defaultPayloadConverter.fromPayload(first);
    const proof = typeof value === 'object' && value !== null ? (value as { proof?: unknown }).proof : undefined;
    if (typeof proof === 'string') yield [proof, how];
  } catch {
    // not JSON: not a message of ours
  }
}

function timeOf(event: Event): number {
  const t = event.eventTime;
  return Number(t?.seconds ?? 0) * 1000 + Math.floor((t?.nanos ?? 0) / 1e6);
}
