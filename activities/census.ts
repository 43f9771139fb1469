import type { Census } from '../domain/activities';
import type { Deps } from './deps';

const DAY_MS = 86_400_000;

/**
 * Everything that still depends on a CMK: CEK values, subject keys, database encryption, backups within retention. One computation for whoever
 * looks (`keywarden status KEY`) and for the duty that schedules a deletion (rule 8). `at`: now, in milliseconds.
 */
export async function takeCensus({ store, config }: Pick<Deps, 'store' | 'config'>, keyId: string, at: number): Promise<Census> {
  const [wrapped, row] = await Promise.all([store.countWrapped(keyId), store.readKey(keyId)]);
  const databases = config.databases.filter((d) => d.purpose === row?.purpose).map((d) => d.name);
  const used = wrapped.columnKeyValues + wrapped.subjectKeys + databases.length > 0;
  // what stood under the key last stands in backups until their retention is over
  const last = used ? (row?.window === undefined ? at : Date.parse(row.window.revokedAt)) : row?.replacedBy === undefined ? undefined : Date.parse(row.replacedBy.at);
  const until = last === undefined ? undefined : last + config.backups.retentionDays * DAY_MS;
  const backups = until !== undefined && until > at ? new Date(until).toISOString() : undefined;
  return { ...wrapped, databases, ...(backups === undefined ? {} : { backupsUntil: backups }), empty: !used && backups === undefined };
}

/** Why a CMK may not be retired yet; [] where it may. */
export function dependents({ subjectKeys, columnKeyValues, databases, backupsUntil }: Census): string[] {
  return [
    ...(subjectKeys === 0 ? [] : [`${subjectKeys} subject keys`]),
    ...(columnKeyValues === 0 ? [] : [`${columnKeyValues} CEK values`]),
    ...(databases.length === 0 ? [] : [`the database ${databases.join(', ')}`]),
    ...(backupsUntil === undefined ? [] : [`backups until ${backupsUntil}`]),
  ];
}
