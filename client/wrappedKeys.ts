import { DecryptCommand, GenerateDataKeyWithoutPlaintextCommand, type KMSClient } from '@aws-sdk/client-kms';
import { subjectContext } from '../domain/encryptionContext';
import { KeywardenError } from '../domain/errors';
import { errorName, isSilence } from '../domain/kmsErrors';
import { aliasOf, CANARY_CONTEXT } from '../domain/names';
import type { SubjectKey } from '../stores/store';

/** The longest that one Region is waited for. */
const KMS_MS = 3_000;

/** KMS's part in a subject key: made without plaintext, opened for its own subject and purpose only. The next Region is asked where one is silent. */
export class WrappedKeys {
  constructor(private readonly where: { application: string; environment: string }, private readonly kms: readonly KMSClient[]) {}

  /** A new key that nobody has seen: KMS answers its ciphertext only, with the material that wraps it. */
  async make(subjectId: string, purpose: string): Promise<SubjectKey> {
    const alias = aliasOf(this.where, purpose);
    const made = await this.ask('GenerateDataKeyWithoutPlaintext', alias, (kms, abortSignal) =>
      kms.send(new GenerateDataKeyWithoutPlaintextCommand({ KeyId: alias, KeySpec: 'AES_256', EncryptionContext: subjectContext(this.where, purpose, subjectId) }), { abortSignal }));
    const keyArn = made.KeyId!;
    return {
      subjectId,
      purpose,
      encryptedKey: Buffer.from(made.CiphertextBlob!).toString('base64'),
      keyId: keyArn.slice(keyArn.indexOf(':key/') + 5),
      keyArn,
      ...(made.KeyMaterialId === undefined ? {} : { keyMaterialId: made.KeyMaterialId }),
      createdAt: new Date().toISOString(),
    };
  }

  /** 32 bytes in the clear; the caller zeroes them. */
  async open(key: SubjectKey): Promise<Uint8Array> {
    const { Plaintext } = await this.ask('Decrypt', key.keyId, (kms, abortSignal) =>
      kms.send(new DecryptCommand({ KeyId: key.keyId, CiphertextBlob: Buffer.from(key.encryptedKey, 'base64'), EncryptionContext: subjectContext(this.where, key.purpose, key.subjectId) }), { abortSignal }));
    if (Plaintext?.length === 32) return Plaintext;
    Plaintext?.fill(0);
    throw corrupt(key.keyId, 'it is not a 256-bit key');
  }

  /** @throws as `open`, where this process cannot use the CMK */
  async openCanary(keyId: string, canary: string): Promise<void> {
    const { Plaintext } = await this.ask('Decrypt', keyId, (kms, abortSignal) => kms.send(new DecryptCommand({ KeyId: keyId, CiphertextBlob: Buffer.from(canary, 'base64'), EncryptionContext: { ...CANARY_CONTEXT } }), { abortSignal }));
    Plaintext?.fill(0);
  }

  private async ask<T>(operation: string, key: string, send: (kms: KMSClient, abortSignal: AbortSignal) => Promise<T>): Promise<T> {
    let silence: unknown;
    for (const kms of this.kms) {
      try {
        return await send(kms, AbortSignal.timeout(KMS_MS));
      } catch (error) {
        if (!isSilence(error)) throw refusal(error, operation, key);
        silence = error;
      }
    }
    throw new KeywardenError('KW-KMS-SILENT', `${operation}: KMS did not answer in any Region that was given`, { key, notDone: 'nothing was encrypted or decrypted', next: 'call again when KMS answers', cause: silence });
  }
}

function refusal(error: unknown, operation: string, key: string): KeywardenError {
  const name = errorName(error);
  const says = error instanceof Error ? error.message : String(error);
  if (name === 'DisabledException' || name === 'KMSInvalidStateException') return revoked(key, `KMS says ${name}`, error);
  if (name === 'AccessDeniedException') return new KeywardenError('KW-KMS-DENIED', `${operation}: ${says}`, { key, notDone: 'nothing was encrypted or decrypted', next: "compare the key's policy with the shipped one; a quarantined key denies it to everybody", cause: error });
  if (['InvalidCiphertextException', 'IncorrectKeyException', 'ValidationException'].includes(name)) return corrupt(key, `KMS says ${name}`, error);
  return new KeywardenError('KW-KMS', `${operation}: ${name}: ${says}`, { key, notDone: 'nothing was encrypted or decrypted', next: 'read what KMS said', cause: error });
}

function corrupt(key: string, why: string, cause?: unknown): KeywardenError {
  return new KeywardenError('KW-SUBJECT-KEY', `the wrapped key of the subject does not open: ${why}`, { key, notDone: 'nothing was encrypted or decrypted', next: 'find out who wrote the row; restore it from a backup', cause });
}

export function revoked(key: string, why: string, cause?: unknown): KeywardenError {
  return new KeywardenError('KW-KEY-REVOKED', `the key was taken out of use: ${why}`, { key, notDone: 'nothing was encrypted or decrypted', next: 'look at `keywarden status`; it works again when the key is recovered', cause });
}
