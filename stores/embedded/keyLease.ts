import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { KeywardenError } from '../../domain/errors';
import type { Connection } from './connection';

/**
 * A lease, not a lock: it ends by itself after `leaseMs`, so that a killed process holds nobody up for longer. What runs under it
 * must be safe (if wasteful) when a second one runs beside it after that.
 */
export async function withKeyLease<T>(connection: Connection, keyId: string, options: { leaseMs: number; waitMs: number }, act: () => Promise<T>): Promise<T> {
  const owner = randomUUID();
  const deadline = Date.now() + options.waitMs;
  while (!(await take(connection, keyId, owner, options.leaseMs))) {
    // random, so that those who wait do not all ask at once
    const wait = 15 + Math.random() * 35;
    if (Date.now() + wait >= deadline) {
      throw new KeywardenError('KW-STORE', `another process has held the lease of the key for ${options.waitMs} ms`, {
        key: keyId,
        notDone: 'what needs the lease was not begun',
        next: `call again; a lease left by a killed process ends by itself after ${options.leaseMs} ms`,
      });
    }
    await sleep(wait);
  }
  try {
    return await act();
  } finally {
    // what was done is done: a lease that cannot be given back now ends by itself
    await release(connection, keyId, owner).catch(() => undefined);
  }
}

async function take(connection: Connection, keyId: string, owner: string, leaseMs: number): Promise<boolean> {
  return connection.transaction('taking the lease of the key', async (tx) => {
    const now = Date.now();
    const [taken = []] = await tx.run([
      `INSERT INTO key_lease (key_id, owner, expires_at) VALUES (?, ?, ?)
       ON CONFLICT (key_id) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at WHERE key_lease.expires_at <= ?
       RETURNING owner`,
      [keyId, owner, now + leaseMs, now],
    ]);
    return taken.length > 0;
  });
}

/** Only by its owner: after the lease ended by itself it may be somebody else's. */
async function release(connection: Connection, keyId: string, owner: string): Promise<void> {
  await connection.transaction('giving the lease of the key back', (tx) => tx.run(['DELETE FROM key_lease WHERE key_id = ? AND owner = ?', [keyId, owner]]));
}
