import {
  CancelKeyDeletionCommand, CreateAliasCommand, CreateKeyCommand, DecryptCommand, DescribeKeyCommand, DisableKeyCommand, EnableKeyCommand, EncryptCommand,
  GenerateMacCommand, GetKeyPolicyCommand, KMSClient, ListAliasesCommand, ListGrantsCommand, ListKeysCommand, ListResourceTagsCommand, PutKeyPolicyCommand,
  ReplicateKeyCommand, ScheduleKeyDeletionCommand, VerifyMacCommand, EnableKeyRotationCommand, UpdateAliasCommand,
  GenerateDataKeyWithoutPlaintextCommand, GetKeyRotationStatusCommand, ListKeyRotationsCommand, ReEncryptCommand, RotateKeyOnDemandCommand,
  type KeyMetadata, type KMSClientConfig,
} from '@aws-sdk/client-kms';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { KeywardenError } from '../domain/errors';
import { errorName, isSilence } from '../domain/kmsErrors';
import { TAG } from '../domain/names';

export { errorName, isSilence };

/** Answer of a KMS write: its request id joins the audit row to CloudTrail. */
export interface Written {
  requestId: string | undefined;
}

export interface GrantSeen {
  grantId: string;
  grantee: string | undefined;
  operations: string[];
}

const FINAL_NAMES = new Set(['KMSInvalidStateException', 'NotFoundException', 'DisabledException', 'ValidationException', 'InvalidCiphertextException',
  'IncorrectKeyException', 'InvalidKeyUsageException', 'UnsupportedOperationException', 'LimitExceededException', 'MalformedPolicyDocumentException',
  'AlreadyExistsException', 'TagException', 'InvalidArnException', 'InvalidAliasNameException']);

/** A KMS error as ours: who was denied, what did not answer. Unknown outcomes (no answer) are told from refusals. */
export function kmsError(error: unknown, operation: string, key: string, region: string): KeywardenError {
  if (error instanceof KeywardenError) return error;
  const name = errorName(error);
  const text = error instanceof Error ? error.message : String(error);
  if (name === 'AccessDeniedException') {
    return new KeywardenError('KW-KMS-DENIED', `${operation} in ${region}: ${text}`, { key, notDone: `${operation} in ${region}`, next: 'compare the key policy with the shipped one; the call is tried again', cause: error });
  }
  if (isSilence(error)) {
    return new KeywardenError('KW-KMS-SILENT', `${operation}: KMS in ${region} did not answer (${name})`, { key, notDone: `${operation} in ${region}, as far as is known`, next: 'it is tried again until KMS answers', cause: error });
  }
  return new KeywardenError('KW-KMS', `${operation} in ${region}: ${name}${text === '' ? '' : `: ${text}`}`, { key, notDone: `${operation} in ${region}`, next: FINAL_NAMES.has(name) ? 'look at the key in this Region' : 'it is tried again', cause: error });
}

export interface KmsTimeouts {
  connectMs: number;
  requestMs: number;
}

/** KMS of one Region, for one duty's credentials. One method for each call that Keywarden makes; no retries (facts A5: workflows decide). */
export class RegionalKms {
  private readonly client: KMSClient;

  constructor(readonly region: string, config: Pick<KMSClientConfig, 'credentials' | 'endpoint'>, timeouts: KmsTimeouts = { connectMs: 1500, requestMs: 3000 }) {
    this.client = new KMSClient({
      ...config,
      region,
      maxAttempts: 1,
      requestHandler: new NodeHttpHandler({ connectionTimeout: timeouts.connectMs, requestTimeout: timeouts.requestMs, throwOnRequestTimeout: true }),
    });
  }

  private async call<T>(operation: string, key: string, send: () => Promise<T>): Promise<T> {
    try {
      return await send();
    } catch (error) {
      throw kmsError(error, operation, key, this.region);
    }
  }

  /** Metadata of a key by id, ARN or alias; undefined where this Region has no such key. */
  async describe(key: string): Promise<KeyMetadata | undefined> {
    try {
      return (await this.client.send(new DescribeKeyCommand({ KeyId: this.local(key) }))).KeyMetadata;
    } catch (error) {
      if (errorName(error) === 'NotFoundException') return undefined;
      throw kmsError(error, 'DescribeKey', key, this.region);
    }
  }

  async tags(keyId: string): Promise<Record<string, string>> {
    return this.call('ListResourceTags', keyId, async () => {
      const { Tags = [] } = await this.client.send(new ListResourceTagsCommand({ KeyId: keyId }));
      return Object.fromEntries(Tags.map((t) => [t.TagKey ?? '', t.TagValue ?? '']));
    });
  }

  async disable(keyId: string): Promise<Written> {
    return this.call('DisableKey', keyId, async () => written(await this.client.send(new DisableKeyCommand({ KeyId: keyId }))));
  }

  async enable(keyId: string): Promise<Written> {
    return this.call('EnableKey', keyId, async () => written(await this.client.send(new EnableKeyCommand({ KeyId: keyId }))));
  }

  async scheduleDeletion(keyId: string, days: number): Promise<Written & { deletionDate: Date | undefined }> {
    return this.call('ScheduleKeyDeletion', keyId, async () => {
      const out = await this.client.send(new ScheduleKeyDeletionCommand({ KeyId: keyId, PendingWindowInDays: days }));
      return { ...written(out), deletionDate: out.DeletionDate };
    });
  }

  async cancelDeletion(keyId: string): Promise<Written> {
    return this.call('CancelKeyDeletion', keyId, async () => written(await this.client.send(new CancelKeyDeletionCommand({ KeyId: keyId }))));
  }

  async policy(keyId: string): Promise<string> {
    return this.call('GetKeyPolicy', keyId, async () => (await this.client.send(new GetKeyPolicyCommand({ KeyId: keyId, PolicyName: 'default' }))).Policy ?? '{}');
  }

  async putPolicy(keyId: string, policy: string): Promise<Written> {
    return this.call('PutKeyPolicy', keyId, async () => written(await this.client.send(new PutKeyPolicyCommand({ KeyId: keyId, PolicyName: 'default', Policy: policy }))));
  }

  /** All grants, sorted by id. */
  async grants(keyId: string): Promise<GrantSeen[]> {
    return this.call('ListGrants', keyId, async () => {
      const found: GrantSeen[] = [];
      let Marker: string | undefined;
      do {
        const page = await this.client.send(new ListGrantsCommand({ KeyId: keyId, Limit: 100, Marker }));
        for (const g of page.Grants ?? []) found.push({ grantId: g.GrantId ?? '', grantee: g.GranteePrincipal, operations: [...(g.Operations ?? [])].sort() });
        Marker = page.Truncated === true ? page.NextMarker : undefined;
      } while (Marker !== undefined);
      return found.sort((a, b) => (a.grantId < b.grantId ? -1 : 1));
    });
  }

  async aliases(keyId: string): Promise<string[]> {
    return this.call('ListAliases', keyId, async () => {
      const found: string[] = [];
      let Marker: string | undefined;
      do {
        const page = await this.client.send(new ListAliasesCommand({ KeyId: keyId, Limit: 100, Marker }));
        for (const a of page.Aliases ?? []) if (a.AliasName !== undefined) found.push(a.AliasName);
        Marker = page.Truncated === true ? page.NextMarker : undefined;
      } while (Marker !== undefined);
      return found.sort();
    });
  }

  async *keys(): AsyncIterable<string> {
    let Marker: string | undefined;
    do {
      const page = await this.call('ListKeys', '*', () => this.client.send(new ListKeysCommand({ Limit: 1000, Marker })));
      for (const k of page.Keys ?? []) if (k.KeyId !== undefined) yield k.KeyId;
      Marker = page.Truncated === true ? page.NextMarker : undefined;
    } while (Marker !== undefined);
  }

  async createKey(o: { policy: string; tags: Record<string, string>; description: string }): Promise<Written & { metadata: KeyMetadata }> {
    return this.call('CreateKey', o.description, async () => {
      const out = await this.client.send(new CreateKeyCommand({ MultiRegion: true, Policy: o.policy, Description: o.description, Tags: asTags(o.tags) }));
      return { ...written(out), metadata: out.KeyMetadata! };
    });
  }

  async enableRotation(keyId: string, days: number): Promise<Written> {
    return this.call('EnableKeyRotation', keyId, async () => written(await this.client.send(new EnableKeyRotationCommand({ KeyId: keyId, RotationPeriodInDays: days }))));
  }

  /** All key material of a key, oldest first. */
  async rotations(keyId: string): Promise<{ id: string; state: string; at: Date | undefined; type: string | undefined }[]> {
    return this.call('ListKeyRotations', keyId, async () => {
      const found: { id: string; state: string; at: Date | undefined; type: string | undefined }[] = [];
      let Marker: string | undefined;
      do {
        const page = await this.client.send(new ListKeyRotationsCommand({ KeyId: keyId, IncludeKeyMaterial: 'ALL_KEY_MATERIAL', Limit: 1000, Marker }));
        for (const r of page.Rotations ?? []) found.push({ id: r.KeyMaterialId ?? '', state: r.KeyMaterialState ?? '', at: r.RotationDate, type: r.RotationType });
        Marker = page.Truncated === true ? page.NextMarker : undefined;
      } while (Marker !== undefined);
      return found;
    });
  }

  /** `next`: when KMS rotates by itself; absent where it does not. `rotating`: an on-demand rotation is under way. */
  async rotationStatus(keyId: string): Promise<{ next: Date | undefined; rotating: boolean }> {
    return this.call('GetKeyRotationStatus', keyId, async () => {
      const out = await this.client.send(new GetKeyRotationStatusCommand({ KeyId: keyId }));
      return { next: out.KeyRotationEnabled === true ? out.NextRotationDate : undefined, rotating: out.OnDemandRotationStartDate !== undefined };
    });
  }

  /** Not idempotent: each spends one of 25 (facts A3). */
  async rotateOnDemand(keyId: string): Promise<Written> {
    return this.call('RotateKeyOnDemand', keyId, async () => written(await this.client.send(new RotateKeyOnDemandCommand({ KeyId: keyId }))));
  }

  /** From one key to the current material of another, or of the same, in the same context, without plaintext; both are pinned. Errors are KMS's own: the mover tells them apart for each key. */
  async reEncrypt(from: string, to: string, ciphertext: Uint8Array, context: Record<string, string>): Promise<{ ciphertext: Uint8Array; material: string }> {
    const out = await this.client.send(new ReEncryptCommand({ CiphertextBlob: ciphertext, SourceKeyId: from, SourceEncryptionContext: context, DestinationKeyId: to, DestinationEncryptionContext: context }));
    return { ciphertext: out.CiphertextBlob!, material: out.DestinationKeyMaterialId ?? '' };
  }

  /** A new 256-bit data key that only KMS has seen. */
  async dataKey(keyId: string, context: Record<string, string>): Promise<{ ciphertext: Uint8Array; material: string | undefined }> {
    return this.call('GenerateDataKeyWithoutPlaintext', keyId, async () => {
      const out = await this.client.send(new GenerateDataKeyWithoutPlaintextCommand({ KeyId: keyId, KeySpec: 'AES_256', EncryptionContext: context }));
      return { ciphertext: out.CiphertextBlob!, material: out.KeyMaterialId };
    });
  }

  async replicate(keyId: string, o: { region: string; policy: string; tags: Record<string, string>; description: string }): Promise<Written> {
    return this.call('ReplicateKey', keyId, async () =>
      written(await this.client.send(new ReplicateKeyCommand({ KeyId: keyId, ReplicaRegion: o.region, Policy: o.policy, Description: o.description, Tags: asTags(o.tags) }))),
    );
  }

  async createAlias(alias: string, keyId: string): Promise<Written> {
    return this.call('CreateAlias', alias, async () => written(await this.client.send(new CreateAliasCommand({ AliasName: alias, TargetKeyId: keyId }))));
  }

  async updateAlias(alias: string, keyId: string): Promise<Written> {
    return this.call('UpdateAlias', alias, async () => written(await this.client.send(new UpdateAliasCommand({ AliasName: alias, TargetKeyId: keyId }))));
  }

  async encrypt(keyId: string, plaintext: Uint8Array, context: Record<string, string>): Promise<Uint8Array> {
    return this.call('Encrypt', keyId, async () => (await this.client.send(new EncryptCommand({ KeyId: keyId, Plaintext: plaintext, EncryptionContext: context }))).CiphertextBlob!);
  }

  /** The source key is always pinned: a blob under another key is refused by KMS. */
  async decrypt(keyId: string, ciphertext: Uint8Array, context: Record<string, string>): Promise<Uint8Array> {
    return this.call('Decrypt', keyId, async () => (await this.client.send(new DecryptCommand({ KeyId: keyId, CiphertextBlob: ciphertext, EncryptionContext: context }))).Plaintext!);
  }

  async mac(keyId: string, message: Uint8Array): Promise<Uint8Array> {
    return this.call('GenerateMac', keyId, async () => (await this.client.send(new GenerateMacCommand({ KeyId: keyId, Message: message, MacAlgorithm: 'HMAC_SHA_256' }))).Mac!);
  }

  /** False when the MAC does not fit. */
  async macFits(keyId: string, message: Uint8Array, mac: Uint8Array): Promise<boolean> {
    try {
      return (await this.client.send(new VerifyMacCommand({ KeyId: keyId, Message: message, Mac: mac, MacAlgorithm: 'HMAC_SHA_256' }))).MacValid === true;
    } catch (error) {
      if (errorName(error) === 'KMSInvalidMacException') return false;
      throw kmsError(error, 'VerifyMac', keyId, this.region);
    }
  }

  /** A multi-Region key has one id and an ARN in each Region: name it as this Region does. */
  private local(key: string): string {
    const arn = /^arn:[^:]+:kms:[^:]+:\d{12}:key\/(mrk-[0-9a-f]{32})$/.exec(key);
    return arn?.[1] ?? key;
  }

  close(): void {
    this.client.destroy();
  }
}

function written(out: { $metadata: { requestId?: string | undefined } }): Written {
  return { requestId: out.$metadata.requestId };
}

function asTags(tags: Record<string, string>): { TagKey: string; TagValue: string }[] {
  return Object.entries(tags).map(([TagKey, TagValue]) => ({ TagKey, TagValue }));
}

/** Tags that say whose a CMK is. */
export function ownershipTags(where: { application: string; environment: string }, purpose: string): Record<string, string> {
  return { [TAG.application]: where.application, [TAG.environment]: where.environment, [TAG.purpose]: purpose };
}
