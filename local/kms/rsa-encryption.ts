/** RSA-OAEP with SHA-1 or SHA-256 (MGF1 with the same hash, empty label). Source: RFC 8017, KMS Developer Guide. */
import { constants, createPublicKey, privateDecrypt, publicEncrypt } from 'node:crypto';
import { invalidCiphertext, validation } from './errors';
import { specificationOf } from './key-specs';
import { currentMaterial, privateKeyOf } from './material';
import type { SharedKey } from './model';

const HASHES: Record<string, { name: string; bytes: number }> = { RSAES_OAEP_SHA_1: { name: 'sha1', bytes: 20 }, RSAES_OAEP_SHA_256: { name: 'sha256', bytes: 32 } };

const options = (shared: SharedKey, algorithm: string) =>
  ({ padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: HASHES[algorithm]!.name, key: privateKeyOf(currentMaterial(shared)) });

export function rsaEncrypt(shared: SharedKey, algorithm: string, plaintext: Buffer): Buffer {
  const longest = specificationOf(shared.keySpec).size! / 8 - 2 * HASHES[algorithm]!.bytes - 2;
  if (plaintext.length > longest) throw validation(`Algorithm ${algorithm} and key spec ${shared.keySpec} cannot encrypt data larger than ${longest} bytes.`);
  const { key, ...padding } = options(shared, algorithm);
  return publicEncrypt({ ...padding, key: createPublicKey(key) }, plaintext);
}

export function rsaDecrypt(shared: SharedKey, algorithm: string, ciphertext: Buffer): Buffer {
  try {
    return privateDecrypt(options(shared, algorithm), ciphertext);
  } catch {
    throw invalidCiphertext();
  }
}
