/**
 * The blob of symmetric keys: AES-256-GCM under one generation of key material.
 *
 * | bytes | |
 * | 1 | version, 1 |
 * | 1 | 1 for a multi-Region key id (`mrk-…`), else 0 |
 * | 16 | key id |
 * | 32 | key material id |
 * | 12 | IV, random |
 * | 16 | GCM tag |
 * | n | ciphertext |
 *
 * Additional authenticated data: the first 50 bytes, then the encryption context, sorted, every part with its length.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { invalidCiphertext } from './errors';
import { rawBytes } from './material';
import type { Material, SharedKey } from './model';

const VERSION = 1;
const HEADER = 50;
const IV = 12;
const TAG = 16;

export interface BlobHeader { readonly keyId: string; readonly materialId: string }

function additionalData(header: Buffer, context: Record<string, string>): Buffer {
  const parts: Buffer[] = [header];
  for (const key of Object.keys(context).sort()) {
    for (const text of [key, context[key]!]) {
      const bytes = Buffer.from(text, 'utf8');
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      parts.push(length, bytes);
    }
  }
  return Buffer.concat(parts);
}

function writeHeader(keyId: string, materialId: string): Buffer {
  const header = Buffer.alloc(HEADER);
  header[0] = VERSION;
  header[1] = keyId.startsWith('mrk-') ? 1 : 0;
  header.write(keyId.replace('mrk-', '').replaceAll('-', ''), 2, 'hex');
  header.write(materialId, 18, 'hex');
  return header;
}

/** Undefined for what cannot be a blob of this service. Says nothing about its being genuine. */
export function readHeader(blob: Buffer): BlobHeader | undefined {
  if (blob.length < HEADER + IV + TAG + 1 || blob[0] !== VERSION || blob[1]! > 1) return undefined;
  const id = blob.toString('hex', 2, 18);
  return {
    keyId: blob[1] === 1 ? `mrk-${id}` : `${id.slice(0, 8)}-${id.slice(8, 12)}-${id.slice(12, 16)}-${id.slice(16, 20)}-${id.slice(20)}`,
    materialId: blob.toString('hex', 18, 50),
  };
}

export function seal(keyId: string, material: Material, plaintext: Buffer, context: Record<string, string>): Buffer {
  const header = writeHeader(keyId, material.id);
  const iv = randomBytes(IV);
  const cipher = createCipheriv('aes-256-gcm', rawBytes(material), iv);
  cipher.setAAD(additionalData(header, context));
  const body = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([header, iv, cipher.getAuthTag(), body]);
}

/** Throws InvalidCiphertextException, without a message, for anything but this key's own blob with this very context. */
export function open(shared: SharedKey, blob: Buffer, context: Record<string, string>): { plaintext: Buffer; materialId: string } {
  const header = readHeader(blob);
  const material = header?.keyId === shared.keyId ? shared.materials.find(({ id }) => id === header.materialId) : undefined;
  if (material === undefined) throw invalidCiphertext();
  const decipher = createDecipheriv('aes-256-gcm', rawBytes(material), blob.subarray(HEADER, HEADER + IV), { authTagLength: TAG });
  decipher.setAAD(additionalData(blob.subarray(0, HEADER), context));
  decipher.setAuthTag(blob.subarray(HEADER + IV, HEADER + IV + TAG));
  try {
    return { plaintext: Buffer.concat([decipher.update(blob.subarray(HEADER + IV + TAG)), decipher.final()]), materialId: material.id };
  } catch {
    throw invalidCiphertext();
  }
}
