/** Proofs that nobody should accept: made by hand, past every check of our own signing. */
import { createHmac, createPrivateKey, generateKeyPairSync, sign as signBytes, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { calculateJwkThumbprint, type JWK } from 'jose';
import { demoFiles } from '../../local/demo/files';
import type { World } from '../harness/world';

export const TYP = 'keywarden-approval+jws';
const b64 = (value: string | Buffer): string => Buffer.from(value).toString('base64url');

export function jwkOf(world: World, name: string): JWK {
  return JSON.parse(readFileSync(join(demoFiles(world.dataDir).identities, `${name}.json`), 'utf8')) as JWK;
}

export async function kidOf(world: World, name: string): Promise<string> {
  return calculateJwkThumbprint({ kty: 'OKP', crv: 'Ed25519', x: jwkOf(world, name).x! });
}

export function keyOf(world: World, name: string): KeyObject {
  return createPrivateKey({ key: jwkOf(world, name) as never, format: 'jwk' });
}

/** Mallory's own key, which no configuration lists. */
export async function stranger(): Promise<{ key: KeyObject; kid: string }> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const { x } = publicKey.export({ format: 'jwk' });
  return { key: privateKey, kid: await calculateJwkThumbprint({ kty: 'OKP', crv: 'Ed25519', x: x! }) };
}

/** A compact JWS over any payload, under any header. */
export function jws(header: object, payload: unknown, how: { key: KeyObject } | { secret: Buffer } | 'unsigned'): string {
  const signed = `${b64(JSON.stringify(header))}.${b64(typeof payload === 'string' ? payload : JSON.stringify(payload))}`;
  const signature = how === 'unsigned' ? '' : 'secret' in how ? createHmac('sha256', how.secret).update(signed).digest() : signBytes(null, Buffer.from(signed), how.key);
  return `${signed}.${b64(Buffer.from(signature))}`;
}

/** A genuine token whose claims were changed after it was signed. */
export function tampered(token: string, change: (claims: Record<string, unknown>) => void): string {
  const [header, payload, signature] = token.split('.') as [string, string, string];
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
  change(claims);
  return [header, b64(JSON.stringify(claims)), signature].join('.');
}
