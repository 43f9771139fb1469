import { readFile } from 'node:fs/promises';
import { parseConfig, type Config } from '../domain/config';
import { KeywardenError } from '../domain/errors';

/** Reads the file that `KEYWARDEN_CONFIG` names (default `keywarden.config.json`); throws one KW-CONFIG that names each wrong field. */
export async function loadConfig(env: NodeJS.ProcessEnv = process.env): Promise<Config> {
  const path = env['KEYWARDEN_CONFIG'] ?? 'keywarden.config.json';
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new KeywardenError('KW-CONFIG', `the configuration ${path} cannot be read`, { path: 'KEYWARDEN_CONFIG', notDone: 'nothing was started', next: 'name the file in KEYWARDEN_CONFIG, or run `keywarden dev`, which makes one', cause });
  }
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new KeywardenError('KW-CONFIG', `${path} is not JSON: ${cause instanceof Error ? cause.message : ''}`, { path: 'KEYWARDEN_CONFIG', notDone: 'nothing was started', next: 'correct the file', cause });
  }
  return parseConfig(raw, { kmsEndpoint: env['AWS_ENDPOINT_URL_KMS'] });
}
