import { readFileSync } from 'node:fs';
import type { KMSClientConfig } from '@aws-sdk/client-kms';
import { KeywardenError } from '../domain/errors';
import type { Duty } from '../domain/names';

/** Local access keys by who uses them: a duty, `operator`, `application`, or `person:NAME`. Made by `keywarden dev`. */
export type LocalCredentials = Record<string, { accessKeyId: string; secretAccessKey: string }>;

export type Who = Duty | 'operator' | 'application' | `person:${string}`;

/**
 * Credentials of a duty's process. In production AWS's own chain (its role), one duty a process; in development the file that
 * `KEYWARDEN_DEV_CREDENTIALS` names, so that one process can hold all duties and still be three principals to KMS.
 */
export function credentialsFor(who: Who, env: NodeJS.ProcessEnv = process.env): KMSClientConfig['credentials'] {
  const path = env['KEYWARDEN_DEV_CREDENTIALS'];
  if (path === undefined) return undefined;
  const found = (JSON.parse(readFileSync(path, 'utf8')) as LocalCredentials)[who];
  if (found === undefined) throw new KeywardenError('KW-IDENTITY', `${path} has no access key for ${who}`, { path: 'KEYWARDEN_DEV_CREDENTIALS', notDone: 'KMS was not called', next: 'start `keywarden dev` again; it makes the missing ones' });
  return found;
}
