import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { KeywardenError } from '../domain/errors';
import { EmbeddedStore } from './embedded/embeddedStore';
import type { Store } from './store';

/**
 * The store that KEYWARDEN_DATABASE_URL names. Only the URL is judged here: a database that does not answer shows itself in `ping`
 * and `migrate`, so that what must work without it can start.
 */
export async function openStore(url: string): Promise<Store> {
  const scheme = /^([a-z]+):/.exec(url)?.[1];
  if (scheme === 'file') return new EmbeddedStore(filePath(url));
  if (scheme === 'mssql') throw refused('SQL Server is not in this build yet');
  throw refused('it is not a database URL that Keywarden knows');
}

/** `file:data/keywarden.db`, `file:/var/lib/keywarden.db` or `file:///var/lib/keywarden.db`; only the last form is percent-decoded. */
function filePath(url: string): string {
  const rest = url.slice('file:'.length);
  if (rest === '' || rest.includes(':memory:')) throw refused('it names no file, and several processes must share one');
  if (/[?#\0]/.test(rest)) throw refused('a file URL takes no parameters');
  if (!rest.startsWith('//')) return resolve(rest);
  try {
    return fileURLToPath(url);
  } catch {
    throw refused('it is not a file URL');
  }
}

function refused(what: string): KeywardenError {
  // the URL itself may hold a password, so it is not repeated
  return new KeywardenError('KW-CONFIG', what, { path: 'KEYWARDEN_DATABASE_URL', notDone: 'no database was opened', next: 'set it to file:PATH' });
}
