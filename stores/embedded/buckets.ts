import type { Bucket } from '../../domain/pacing';
import type { Connection } from './connection';

/** The time is this machine's, which all processes that share the file have in common. */
export function changeBucket<T>(connection: Connection, name: string, change: (bucket: Bucket | undefined, now: number) => { bucket: Bucket; result: T }): Promise<T> {
  return connection.transaction('taking a share of the request rate', async (tx) => {
    const [found = []] = await tx.run(['SELECT document FROM request_bucket WHERE name = ?', [name]]);
    const { bucket, result } = change(found.map((r) => JSON.parse(r['document'] as string) as Bucket)[0], Date.now());
    await tx.run(['INSERT INTO request_bucket (name, document) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET document = excluded.document', [name, JSON.stringify(bucket)]]);
    return result;
  });
}
