import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import { KeywardenError } from '../domain/errors';

/**
 * One encrypted field, version 1 (docs/library.md):
 *
 *   0   2  magic "KW"            4   8  check of the data key    24   n  ciphertext
 *   2   1  version 1            12  12  IV, random               24+n 16  tag
 *   3   1  suite 1 (AES-256-GCM)
 *
 * Additional data: bytes 0 to 11, then application, environment, purpose, subject and field, each with its length before it.
 */
const MAGIC = [0x4b, 0x57] as const;
const VERSION = 1;
const AES_256_GCM = 1;
const CHECK = 8;
const HEADER = 4 + CHECK;
const IV = 12;
const TAG = 16;
export const OVERHEAD = HEADER + IV + TAG;
/** What one field may hold. */
export const MAX_FIELD_BYTES = 64 * 1024 * 1024;

export interface Owner {
  application: string;
  environment: string;
  purpose: string;
  subjectId: string;
}

/** A data key in the clear. Whoever holds it calls `drop`, and uses nothing of it afterwards. */
export class DataKey {
  private readonly key: Buffer;
  /** Header, and the additional data but for the field. */
  private readonly bound: Buffer;
  private live = true;

  /** Takes the key's bytes over: they are zeroed here. */
  constructor(plaintext: Uint8Array, owner: Owner) {
    this.key = Buffer.alloc(plaintext.length);
    this.key.set(plaintext);
    plaintext.fill(0);
    // names the key without telling it (HMAC is a PRF): a field under another key is told from a field that was changed
    const check = createHmac('sha256', this.key).update('data key check v1').digest().subarray(0, CHECK);
    this.bound = Buffer.concat([Buffer.from([...MAGIC, VERSION, AES_256_GCM]), check, ...[owner.application, owner.environment, owner.purpose, owner.subjectId].map(withLength)]);
  }

  seal(field: string, plaintext: Uint8Array): Buffer {
    const bound = this.boundTo(field);
    const iv = randomBytes(IV);
    const cipher = createCipheriv('aes-256-gcm', this.key, iv).setAAD(bound);
    return Buffer.concat([this.bound.subarray(0, HEADER), iv, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  }

  /** @throws KW-FIELD-FORM, KW-FIELD-FORGED */
  open(field: string, message: Uint8Array): Buffer {
    const at = message.length - TAG;
    for (let i = 0; i < HEADER; i++) if (message[i] !== this.bound[i]) throw i < 4 ? notAField() : forged('it was encrypted under another data key');
    const decipher = createDecipheriv('aes-256-gcm', this.key, message.subarray(HEADER, HEADER + IV)).setAAD(this.boundTo(field)).setAuthTag(message.subarray(at));
    const text = decipher.update(message.subarray(HEADER + IV, at));
    try {
      decipher.final();
    } catch {
      text.fill(0);
      throw forged('it does not authenticate');
    }
    return text;
  }

  drop(): void {
    this.live = false;
    this.key.fill(0);
  }

  private boundTo(field: string): Buffer {
    if (!this.live) throw new KeywardenError('KW-BUG', 'a data key was used after it was dropped', { notDone: 'nothing was encrypted or decrypted' }); // never under a zeroed key
    const { bound } = this;
    const bytes = Buffer.allocUnsafe(bound.length + 2 + field.length); // field names are ASCII: one byte each
    bound.copy(bytes);
    bytes.writeUInt16BE(field.length, bound.length);
    bytes.write(field, bound.length + 2, 'latin1');
    return bytes;
  }
}

/** Refuses what cannot be a field before a key is fetched for it. */
export function checkForm(message: Uint8Array): void {
  if (!(message instanceof Uint8Array) || message.length < OVERHEAD || message[0] !== MAGIC[0] || message[1] !== MAGIC[1] || message[2] !== VERSION || message[3] !== AES_256_GCM) throw notAField();
}

function withLength(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function notAField(): KeywardenError {
  return new KeywardenError('KW-FIELD-FORM', 'the bytes are not an encrypted field of version 1', { notDone: 'nothing was decrypted', next: 'look at what was stored; a newer build may have written it' });
}

function forged(why: string): KeywardenError {
  return new KeywardenError('KW-FIELD-FORGED', `the field was changed, or is of another subject, purpose or field: ${why}`, { notDone: 'nothing was decrypted', next: 'find out who wrote it; restore it from a backup' });
}
