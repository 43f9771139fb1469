import { KeywardenError } from './errors';

/** The name under which Keywarden's values stand in the Always Encrypted catalog. */
export const PROVIDER = 'AWS_KMS';

/** An encrypted value of a CEK, taken apart. Byte by byte: docs/column-keys.md. */
export interface EncryptedValue {
  provider: string;
  /** ARN of the CMK. */
  keyArn: string;
  /** KMS key material id, 64 hex digits; absent where it is not known. */
  keyMaterialId?: string;
  /** KMS's CiphertextBlob. */
  ciphertext: Uint8Array;
}

const MAGIC = [0x4b, 0x57, 0x01] as const; // "KW", version 1. Microsoft's values begin with 0x01, so neither is taken for the other
const MATERIAL_BYTES = 32;
const UNKNOWN = '0'.repeat(2 * MATERIAL_BYTES);
/** KMS's own bound for a CiphertextBlob is 6,144 bytes; SQL Server's for a value is 8,000. */
const MAX_BYTES = 8_000;

export function packValue(v: EncryptedValue): Uint8Array {
  const provider = Buffer.from(v.provider, 'ascii');
  const arn = Buffer.from(v.keyArn, 'ascii');
  const material = Buffer.from(v.keyMaterialId ?? UNKNOWN, 'hex');
  if (provider.length > 255 || arn.length > 2_048 || material.length !== MATERIAL_BYTES || v.ciphertext.length > 6_144) throw new KeywardenError('KW-BUG', 'an encrypted value that does not fit its envelope', { notDone: 'the value was not made' });
  return Buffer.concat([Buffer.from([...MAGIC, provider.length]), provider, uint16(arn.length), arn, material, uint16(v.ciphertext.length), v.ciphertext]);
}

/** @throws KW-WRAPPED-KEY for whatever is not, from its first byte to its last, an envelope of this version */
export function unpackValue(bytes: Uint8Array): EncryptedValue {
  const b = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = MAGIC.length;
  const take = (length: number): Buffer => {
    if (at + length > b.length) throw notOurs('it is cut short');
    return b.subarray(at, (at += length));
  };
  if (b.length > MAX_BYTES || !MAGIC.every((m, i) => b[i] === m)) throw notOurs('it is not an envelope of this version');
  const provider = take(take(1)[0]!).toString('latin1');
  const keyArn = take(take(2).readUInt16BE()).toString('latin1');
  const keyMaterialId = take(MATERIAL_BYTES).toString('hex');
  const ciphertext = Uint8Array.from(take(take(2).readUInt16BE()));
  if (at !== b.length) throw notOurs('something follows it');
  if (!/^[\x21-\x7e]+$/.test(provider) || !/^[\x21-\x7e]+$/.test(keyArn) || ciphertext.length === 0) throw notOurs('a part of it is empty or not ASCII');
  return { provider, keyArn, ...(keyMaterialId === UNKNOWN ? {} : { keyMaterialId }), ciphertext };
}

function uint16(n: number): Buffer {
  const b = Buffer.alloc(2);
  b.writeUInt16BE(n);
  return b;
}

function notOurs(why: string): KeywardenError {
  return new KeywardenError('KW-WRAPPED-KEY', `the encrypted value cannot be read: ${why}`, { notDone: 'the value was left as it is', next: 'find out who wrote it; a value of another provider is moved with that provider first' });
}

export function unknownColumnKey(name: string): KeywardenError {
  return new KeywardenError('KW-INPUT', 'no column encryption key has this name', { path: 'input.cek', key: name, notDone: 'nothing was started', next: 'take the name from sys.column_encryption_keys, in its own letter case' });
}
