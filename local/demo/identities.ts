import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { calculateJwkThumbprint, CompactSign, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose';
import { KeywardenError } from '../../domain/errors';

/** Private keys of local identities: one file each, readable by its owner only. */
export function identitiesDir(env: NodeJS.ProcessEnv = process.env): string {
  return env['KEYWARDEN_IDENTITIES'] ?? join(homedir(), '.keywarden', 'identities');
}

/** Makes a person's Ed25519 key, or finds it. Returns the public part, as the configuration lists it. */
export async function makeIdentity(dir: string, name: string): Promise<{ publicKey: { kty: 'OKP'; crv: 'Ed25519'; x: string }; made: boolean }> {
  const path = join(dir, `${name}.json`);
  const made = !existsSync(path);
  if (made) {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const { privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
    writeFileSync(path, `${JSON.stringify(await exportJWK(privateKey))}\n`, { mode: 0o600, flag: 'wx' });
    chmodSync(path, 0o600);
  }
  const { x } = JSON.parse(readFileSync(path, 'utf8')) as JWK;
  return { publicKey: { kty: 'OKP', crv: 'Ed25519', x: x! }, made };
}

/** Signs as a person of this machine: compact JWS, EdDSA, `kid` = thumbprint of the public key. */
export async function signAs(dir: string, name: string, typ: string, payload: object): Promise<string> {
  let jwk: JWK;
  try {
    jwk = JSON.parse(readFileSync(join(dir, `${name}.json`), 'utf8')) as JWK;
  } catch (cause) {
    throw new KeywardenError('KW-IDENTITY', `there is no private key for ${name} in ${dir}`, { path: '--as', notDone: 'nothing was signed', next: `make one: keywarden identity add ${name} --role ROLE`, cause });
  }
  const kid = await calculateJwkThumbprint({ kty: 'OKP', crv: 'Ed25519', x: jwk.x! });
  return new CompactSign(new TextEncoder().encode(JSON.stringify(payload))).setProtectedHeader({ alg: 'EdDSA', typ, kid }).sign(await importJWK(jwk, 'EdDSA'));
}
