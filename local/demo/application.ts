import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { DecryptCommand, GenerateDataKeyCommand, type KMSClient } from '@aws-sdk/client-kms';
import type { Config } from '../../domain/config';
import { aliasOf } from '../../domain/names';
import type { Store, SubjectKey } from '../../stores/store';

/** The part of an application that the story shows: one user's field, under that user's own data key, wrapped by the CMK of `user-data`. */
export interface EncryptedField {
  subjectId: string;
  /** Base64 of IV (12 bytes) ‖ tag (16) ‖ ciphertext; AES-256-GCM, the subject as additional data. */
  field: string;
}

export class DemoApplication {
  constructor(private readonly kms: KMSClient, private readonly store: Store, private readonly config: Config) {}

  async encrypt(subjectId: string, text: string): Promise<EncryptedField> {
    const key = (await this.store.readSubjectKey(subjectId, 'user-data')) ?? (await this.makeKey(subjectId));
    const plain = await this.unwrap(key);
    const iv = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', plain, iv).setAAD(Buffer.from(subjectId));
    const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
    plain.fill(0);
    return { subjectId, field: Buffer.concat([iv, cipher.getAuthTag(), body]).toString('base64') };
  }

  async decrypt({ subjectId, field }: EncryptedField): Promise<string> {
    const key = await this.store.readSubjectKey(subjectId, 'user-data');
    if (key === undefined) throw new Error(`no subject key for ${subjectId}`);
    const plain = await this.unwrap(key);
    const bytes = Buffer.from(field, 'base64');
    const decipher = createDecipheriv('aes-256-gcm', plain, bytes.subarray(0, 12)).setAAD(Buffer.from(subjectId)).setAuthTag(bytes.subarray(12, 28));
    const text = Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString('utf8');
    plain.fill(0);
    return text;
  }

  private context(subjectId: string): Record<string, string> {
    return { application: this.config.application, environment: this.config.environment, purpose: 'user-data', subject: subjectId };
  }

  private async makeKey(subjectId: string): Promise<SubjectKey> {
    const made = await this.kms.send(new GenerateDataKeyCommand({ KeyId: aliasOf(this.config, 'user-data'), KeySpec: 'AES_256', EncryptionContext: this.context(subjectId) }));
    made.Plaintext?.fill(0);
    return this.store.putSubjectKey({ subjectId, purpose: 'user-data', encryptedKey: Buffer.from(made.CiphertextBlob!).toString('base64'), keyArn: made.KeyId!, keyId: made.KeyId!.split('/')[1]!, ...(made.KeyMaterialId === undefined ? {} : { keyMaterialId: made.KeyMaterialId }), createdAt: new Date().toISOString() });
  }

  private async unwrap(key: SubjectKey): Promise<Buffer> {
    const { Plaintext } = await this.kms.send(new DecryptCommand({ KeyId: key.keyId, CiphertextBlob: Buffer.from(key.encryptedKey, 'base64'), EncryptionContext: this.context(key.subjectId) }));
    return Buffer.from(Plaintext!);
  }
}
