import type { AuditEntry } from '../../domain/audit';

/** An audit entry of a revocation, told apart by its event id. */
export function disabling(eventId: string, more: Partial<AuditEntry> = {}): AuditEntry {
  return { eventId, at: '2026-01-05T09:00:00.000Z', actor: 'duty:emergency', operation: 'revokeKey', action: 'kms:DisableKey', phase: 'done', workflowId: 'revoke-user-data', keyId: 'mrk-user-data', requestId: '7d5c1f3a-0000-4000-8000-000000000000', ...more };
}

export async function collect<T>(from: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of from) all.push(one);
  return all;
}

/** What a rejected promise was rejected with; fails the test when it was not. */
export async function failure(promise: Promise<unknown>): Promise<{ code?: string } & Error> {
  return promise.then(
    () => {
      throw new Error('expected a rejection');
    },
    (e: unknown) => e as { code?: string } & Error,
  );
}
