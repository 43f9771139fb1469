import type { Acknowledged, Consumer, ConsumerSeen } from '../store';
import type { Connection } from './connection';

/** A process that was killed leaves its row; after a week nobody asks for it. */
const FORGOTTEN_MS = 7 * 86_400_000;

export async function saveConsumer(connection: Connection, consumer: Consumer, acknowledged: readonly Acknowledged[]): Promise<void> {
  await connection.transaction('saying that a consumer lives', (tx) => {
    const now = Date.now();
    return tx.run(
      ['DELETE FROM consumer WHERE last_seen < ?', [now - FORGOTTEN_MS]],
      [
        `INSERT INTO consumer (consumer_id, purposes, drains_within_ms, last_seen) VALUES (?, ?, ?, ?)
         ON CONFLICT (consumer_id) DO UPDATE SET purposes = excluded.purposes, drains_within_ms = excluded.drains_within_ms, last_seen = excluded.last_seen`,
        [consumer.consumerId, JSON.stringify(consumer.purposes), consumer.drainsWithinMs, now],
      ],
      [
        // the first moment at an epoch stands; an older epoch that comes late changes nothing
        `INSERT INTO consumer_ack (consumer_id, key_id, epoch, acknowledged_at, opened)
         SELECT ?, value ->> '$.keyId', value ->> '$.epoch', ?, coalesce(value ->> '$.opened', 0) FROM json_each(?) WHERE true
         ON CONFLICT (consumer_id, key_id) DO UPDATE SET epoch = max(epoch, excluded.epoch), opened = max(opened, excluded.opened),
           acknowledged_at = CASE WHEN excluded.epoch > epoch THEN excluded.acknowledged_at ELSE acknowledged_at END`,
        [consumer.consumerId, now, JSON.stringify(acknowledged)],
      ],
    );
  });
}

export async function removeConsumer(connection: Connection, consumerId: string): Promise<void> {
  await connection.transaction('taking a consumer out', (tx) => tx.run(['DELETE FROM consumer WHERE consumer_id = ?', [consumerId]]));
}

export async function consumersOf(connection: Connection, purpose: string, keyId: string): Promise<ConsumerSeen[]> {
  const rows = await connection.read(
    'reading who uses the key',
    `SELECT c.consumer_id, c.drains_within_ms, c.last_seen, a.epoch, a.acknowledged_at, a.opened
     FROM consumer c LEFT JOIN consumer_ack a ON a.consumer_id = c.consumer_id AND a.key_id = ?
     WHERE EXISTS (SELECT 1 FROM json_each(c.purposes) WHERE value = ?) ORDER BY c.consumer_id`,
    [keyId, purpose],
  );
  const now = Date.now();
  return rows.map((r) => ({
    consumerId: r['consumer_id'] as string,
    drainsWithinMs: r['drains_within_ms'] as number,
    lastSeenMsAgo: Math.max(0, now - (r['last_seen'] as number)),
    ...(r['epoch'] === null ? {} : { acknowledged: { epoch: r['epoch'] as number, msAgo: Math.max(0, now - (r['acknowledged_at'] as number)), ...(r['opened'] === 1 ? { opened: true as const } : {}) } }),
  }));
}
