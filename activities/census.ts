import type { Census } from '../domain/activities';
import type { Deps } from './deps';
import { now } from './execution';

/** Everything that still depends on a CMK: CEK values, subject keys, database encryption, backups within retention. */
export async function takeCensus(deps: Deps, keyId: string): Promise<Census> {
  const [wrapped, row] = await Promise.all([deps.store.countWrapped(keyId), deps.store.readKey(keyId)]);
  const databases = deps.config.databases.filter((d) => d.purpose === row?.purpose).map((d) => d.name);
  const used = wrapped.columnKeyValues + wrapped.subjectKeys + databases.length > 0;
  // what was wrapped under the key until its revocation stands in backups until their retention is over
  const last = row?.window === undefined ? now(deps) : Date.parse(row.window.revokedAt);
  const until = last + deps.config.backups.retentionDays * 86_400_000;
  const backups = until > now(deps) && used;
  return { ...wrapped, databases, ...(backups ? { backupsUntil: new Date(until).toISOString() } : {}), empty: !used && !backups };
}
