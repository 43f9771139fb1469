/** The service's answers, row by row of expected-answers.ts. Each row has one scenario here, each scenario a row. */
import {
  CancelKeyDeletionCommand, CreateAliasCommand, CreateKeyCommand, DecryptCommand, DeleteAliasCommand, DescribeKeyCommand, DisableKeyCommand, EnableKeyRotationCommand, EncryptCommand,
  GenerateDataKeyCommand, GenerateDataKeyPairCommand, GenerateMacCommand, GetKeyRotationStatusCommand, GetParametersForImportCommand, ImportKeyMaterialCommand, ListKeysCommand,
  PutKeyPolicyCommand, ReplicateKeyCommand, RotateKeyOnDemandCommand, ScheduleKeyDeletionCommand, SignCommand, TagResourceCommand, UpdateAliasCommand, VerifyCommand, VerifyMacCommand,
  type CreateKeyCommandInput, type KMSClient, type KeySpec,
} from '@aws-sdk/client-kms';
import { constants, createPublicKey, publicEncrypt, randomBytes } from 'node:crypto';
import { DAY, EAST, WEST, errorOf, startFixture, until, type Fixture } from './fixture';
import { EXPECTED_ERRORS, EXPECTED_METADATA, UNKNOWN_ID, UNKNOWN_MRK } from './expected-answers';

let fixture: Fixture;
let east: KMSClient;
let west: KMSClient;

beforeAll(async () => {
  fixture = await startFixture();
  east = fixture.client(EAST);
  west = fixture.client(WEST);
});
afterAll(() => fixture.stop());

/** The ARN of the key that the scenario is about; messages name it `<key>`. */
let keyArn = '';

async function make(input: CreateKeyCommandInput = {}): Promise<string> {
  const { KeyMetadata } = await east.send(new CreateKeyCommand(input));
  keyArn = KeyMetadata!.Arn!;
  return KeyMetadata!.KeyId!;
}
const rsa = (KeySpec: KeySpec, KeyUsage: 'ENCRYPT_DECRYPT' | 'SIGN_VERIFY' = 'ENCRYPT_DECRYPT') => make({ KeySpec, KeyUsage });
const hmac = () => make({ KeySpec: 'HMAC_256', KeyUsage: 'GENERATE_VERIFY_MAC' });
const describeKey = (KeyId: string) => east.send(new DescribeKeyCommand({ KeyId }));
const rotate = (KeyId: string) => east.send(new RotateKeyOnDemandCommand({ KeyId }));
const text = (value: string) => Buffer.from(value);

async function rotateAndSettle(KeyId: string): Promise<void> {
  await rotate(KeyId);
  await fixture.kms.admin.advanceClock(60_000);
}

async function imported(): Promise<string> {
  const KeyId = await make({ Origin: 'EXTERNAL' });
  const { PublicKey, ImportToken } = await east.send(new GetParametersForImportCommand({ KeyId, WrappingAlgorithm: 'RSAES_OAEP_SHA_256', WrappingKeySpec: 'RSA_2048' }));
  const key = createPublicKey({ key: Buffer.from(PublicKey!), type: 'spki', format: 'der' });
  const EncryptedKeyMaterial = publicEncrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, randomBytes(32));
  await east.send(new ImportKeyMaterialCommand({ KeyId, ImportToken, EncryptedKeyMaterial, ExpirationModel: 'KEY_MATERIAL_DOES_NOT_EXPIRE' }));
  return KeyId;
}

async function replicated(): Promise<string> {
  const KeyId = await make({ MultiRegion: true });
  await east.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: WEST }));
  await until(async () => (await west.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata!.Enabled === true);
  return KeyId;
}

const oversize = (spec: KeySpec, algorithm: 'RSAES_OAEP_SHA_1' | 'RSAES_OAEP_SHA_256', longest: number) => async () => {
  const KeyId = await rsa(spec);
  await east.send(new EncryptCommand({ KeyId, EncryptionAlgorithm: algorithm, Plaintext: randomBytes(longest) }));
  return east.send(new EncryptCommand({ KeyId, EncryptionAlgorithm: algorithm, Plaintext: randomBytes(longest + 1) }));
};
const withTags = (...names: string[]) => async () => east.send(new CreateKeyCommand({ Tags: names.map((TagKey) => ({ TagKey, TagValue: 'v' })) }));

const SCENARIOS: Record<string, () => Promise<unknown>> = {
  'encrypting too much with RSA_2048 and RSAES_OAEP_SHA_1': oversize('RSA_2048', 'RSAES_OAEP_SHA_1', 214),
  'encrypting too much with RSA_2048 and RSAES_OAEP_SHA_256': oversize('RSA_2048', 'RSAES_OAEP_SHA_256', 190),
  'encrypting too much with RSA_3072 and RSAES_OAEP_SHA_1': oversize('RSA_3072', 'RSAES_OAEP_SHA_1', 342),
  'encrypting too much with RSA_3072 and RSAES_OAEP_SHA_256': oversize('RSA_3072', 'RSAES_OAEP_SHA_256', 318),
  'encrypting too much with RSA_4096 and RSAES_OAEP_SHA_1': oversize('RSA_4096', 'RSAES_OAEP_SHA_1', 470),
  'encrypting too much with RSA_4096 and RSAES_OAEP_SHA_256': oversize('RSA_4096', 'RSAES_OAEP_SHA_256', 446),
  'describing an unknown key id': () => describeKey(UNKNOWN_ID),
  'describing an unknown key ARN': () => describeKey(`arn:aws:kms:us-east-1:000000000000:key/${UNKNOWN_ID}`),
  'describing an unknown multi-Region key id': () => describeKey(UNKNOWN_MRK),
  'describing fake-key-id': () => describeKey('fake-key-id'),
  'describing a UUID without dashes': () => describeKey(UNKNOWN_ID.replaceAll('-', '')),
  'describing mrk-fake-key-id': () => describeKey('mrk-fake-key-id'),
  'describing a key before its replica exists in the Region': async () => west.send(new DescribeKeyCommand({ KeyId: await make({ MultiRegion: true }) })),
  'describing an ARN of another Region': () => describeKey(`arn:aws:kms:us-west-2:000000000000:key/${UNKNOWN_ID}`),
  'creating an alias without its prefix': async () => east.send(new CreateAliasCommand({ AliasName: 'no-prefix', TargetKeyId: await make() })),
  'creating an alias twice': async () => {
    const alias = new CreateAliasCommand({ AliasName: 'alias/twice', TargetKeyId: await make() });
    await east.send(alias);
    return east.send(alias);
  },
  'deleting an alias twice': async () => {
    await east.send(new CreateAliasCommand({ AliasName: 'alias/gone', TargetKeyId: await make() }));
    await east.send(new DeleteAliasCommand({ AliasName: 'alias/gone' }));
    return east.send(new DeleteAliasCommand({ AliasName: 'alias/gone' }));
  },
  'creating an alias in the reserved space': async () => east.send(new CreateAliasCommand({ AliasName: 'alias/aws/mine', TargetKeyId: await make() })),
  'moving an alias to a key of another kind': async () => {
    await east.send(new CreateAliasCommand({ AliasName: 'alias/kind', TargetKeyId: await make() }));
    return east.send(new UpdateAliasCommand({ AliasName: 'alias/kind', TargetKeyId: await hmac() }));
  },
  'signing a digest of the wrong length': async () => east.send(new SignCommand({ KeyId: await rsa('RSA_2048', 'SIGN_VERIFY'), Message: randomBytes(16), MessageType: 'DIGEST', SigningAlgorithm: 'RSASSA_PSS_SHA_256' })),
  'verifying a bad signature': async () => east.send(new VerifyCommand({ KeyId: await rsa('RSA_2048', 'SIGN_VERIFY'), Message: text('m'), Signature: randomBytes(256), SigningAlgorithm: 'RSASSA_PSS_SHA_256' })),
  'verifying a bad MAC': async () => east.send(new VerifyMacCommand({ KeyId: await hmac(), Message: text('m'), Mac: randomBytes(32), MacAlgorithm: 'HMAC_SHA_256' })),
  'making a MAC with an invalid key id': () => east.send(new GenerateMacCommand({ KeyId: 'key_id', Message: text('m'), MacAlgorithm: 'HMAC_SHA_256' })),
  'verifying a MAC with an invalid key id': () => east.send(new VerifyMacCommand({ KeyId: 'key_id', Message: text('m'), Mac: randomBytes(32), MacAlgorithm: 'HMAC_SHA_256' })),
  'decrypting a data key without its context': async () => {
    const { CiphertextBlob } = await east.send(new GenerateDataKeyCommand({ KeyId: await make(), KeySpec: 'AES_256', EncryptionContext: { purpose: 'test' } }));
    return east.send(new DecryptCommand({ CiphertextBlob }));
  },
  'decrypting the private key of a pair without its context': async () => {
    const { PrivateKeyCiphertextBlob } = await east.send(new GenerateDataKeyPairCommand({ KeyId: await make(), KeyPairSpec: 'ECC_NIST_P256', EncryptionContext: { purpose: 'test' } }));
    return east.send(new DecryptCommand({ CiphertextBlob: PrivateKeyCiphertextBlob }));
  },
  'decrypting garbage': () => east.send(new DecryptCommand({ CiphertextBlob: randomBytes(200) })),
  'decrypting under another key': async () => {
    const { CiphertextBlob } = await east.send(new EncryptCommand({ KeyId: await make(), Plaintext: text('p') }));
    return east.send(new DecryptCommand({ CiphertextBlob, KeyId: await make() }));
  },
  'encrypting more than 4096 bytes': async () => east.send(new EncryptCommand({ KeyId: await make(), Plaintext: randomBytes(4097) })),
  'encrypting with a signing key': async () => east.send(new EncryptCommand({ KeyId: await rsa('RSA_2048', 'SIGN_VERIFY'), Plaintext: text('p'), EncryptionAlgorithm: 'RSAES_OAEP_SHA_256' })),
  'encrypting with an algorithm of another spec': async () => east.send(new EncryptCommand({ KeyId: await make(), Plaintext: text('p'), EncryptionAlgorithm: 'RSAES_OAEP_SHA_256' })),
  'creating an HMAC key without usage': () => east.send(new CreateKeyCommand({ KeySpec: 'HMAC_256' })),
  'creating an RSA key without usage': () => east.send(new CreateKeyCommand({ KeySpec: 'RSA_2048' })),
  'tagging with the same tag key twice': async () => east.send(new TagResourceCommand({ KeyId: await make(), Tags: [{ TagKey: 'a', TagValue: '1' }, { TagKey: 'a', TagValue: '2' }] })),
  'creating a key with 51 tags': withTags(...Array.from({ length: 51 }, (_, index) => `tag${index}`)),
  'tagging a key with a reserved tag key': async () => east.send(new TagResourceCommand({ KeyId: await make(), Tags: [{ TagKey: 'aws:x', TagValue: '1' }] })),
  'creating a key with a tag key aws:x': withTags('aws:x'),
  'creating a key with a tag key AWS:x': withTags('AWS:x'),
  'creating a key with a tag key of 129 characters': withTags('a'.repeat(129)),
  'rotating an unknown key on demand': () => rotate(UNKNOWN_ID),
  'rotating an RSA key on demand': async () => rotate(await rsa('RSA_2048')),
  'rotating an HMAC key on demand': async () => rotate(await hmac()),
  'rotating an imported key with nothing pending': async () => rotate(await imported()),
  'rotating a disabled key': async () => {
    const KeyId = await make();
    await east.send(new DisableKeyCommand({ KeyId }));
    return rotate(KeyId);
  },
  'rotating a key the 26th time': async () => {
    const KeyId = await make();
    for (let count = 0; count < 25; count += 1) await rotateAndSettle(KeyId);
    return rotate(KeyId);
  },
  'rotating within 20 minutes of an automatic rotation': async () => {
    const KeyId = await make();
    await east.send(new EnableKeyRotationCommand({ KeyId, RotationPeriodInDays: 90 }));
    await fixture.kms.admin.advanceClock(90 * DAY - 19 * 60_000);
    return rotate(KeyId);
  },
  'enabling rotation with a period of 89 days': async () => east.send(new EnableKeyRotationCommand({ KeyId: await make(), RotationPeriodInDays: 89 })),
  'generating a data key pair as a dry run': async () => east.send(new GenerateDataKeyPairCommand({ KeyId: await make(), KeyPairSpec: 'RSA_2048', DryRun: true })),
  'generating a data key with a spec and a length': async () => east.send(new GenerateDataKeyCommand({ KeyId: await make(), KeySpec: 'AES_256', NumberOfBytes: 32 })),
  'generating a data key with neither spec nor length': async () => east.send(new GenerateDataKeyCommand({ KeyId: await make() })),
  'using a disabled key': async () => {
    const KeyId = await make();
    await east.send(new DisableKeyCommand({ KeyId }));
    return east.send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256' }));
  },
  'using a key pending deletion': async () => {
    const KeyId = await make();
    await east.send(new ScheduleKeyDeletionCommand({ KeyId }));
    return east.send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256' }));
  },
  'scheduling a deletion twice': async () => {
    const KeyId = await make();
    await east.send(new ScheduleKeyDeletionCommand({ KeyId }));
    return east.send(new ScheduleKeyDeletionCommand({ KeyId }));
  },
  'cancelling a deletion that is not scheduled': async () => east.send(new CancelKeyDeletionCommand({ KeyId: await make() })),
  'scheduling a deletion in 6 days': async () => east.send(new ScheduleKeyDeletionCommand({ KeyId: await make(), PendingWindowInDays: 6 })),
  'replicating a replica': async () => west.send(new ReplicateKeyCommand({ KeyId: await replicated(), ReplicaRegion: EAST })),
  'replicating a single-Region key': async () => east.send(new ReplicateKeyCommand({ KeyId: await make(), ReplicaRegion: WEST })),
  'replicating into a Region twice': async () => east.send(new ReplicateKeyCommand({ KeyId: await replicated(), ReplicaRegion: WEST })),
  'putting a policy that is not JSON': async () => east.send(new PutKeyPolicyCommand({ KeyId: await make(), Policy: '{ Version' })),
  'putting a policy above 32,768 bytes': async () => east.send(new PutKeyPolicyCommand({ KeyId: await make(), Policy: JSON.stringify({ Id: 'x'.repeat(32_768), Statement: [] }) })),
  'putting a policy that locks its caller out': async () => east.send(new PutKeyPolicyCommand({ KeyId: await make(), Policy: JSON.stringify({ Version: '2012-10-17', Statement: [] }) })),
  'listing with a made-up marker': () => east.send(new ListKeysCommand({ Marker: 'made-up' })),
};

describe('an error answer', () => {
  it('has one scenario for each row, and no scenario without a row', () => {
    expect(Object.keys(SCENARIOS).sort()).toEqual(EXPECTED_ERRORS.map(({ when }) => when).sort());
  });

  it.each(EXPECTED_ERRORS.map((row) => [row.when, row] as const))('when %s', async (when, { error, message }) => {
    const seen = await errorOf(SCENARIOS[when]!());
    expect(seen.name).toBe(error);
    expect(seen.status).toBe(400);
    const shown = seen.message.replaceAll(keyArn, '<key>');
    if (typeof message === 'string') expect(shown).toBe(message);
    else expect(shown).toMatch(message);
  });
});

describe('the metadata of a new key', () => {
  it('is as recorded for a symmetric key', async () => {
    const { KeyMetadata } = await east.send(new CreateKeyCommand({ Description: 'test key 123' }));
    const { KeyId, Arn, CreationDate, CurrentKeyMaterialId, Description, ...rest } = KeyMetadata!;
    expect(rest).toEqual(EXPECTED_METADATA.symmetric);
    expect(Arn).toBe(`arn:aws:kms:us-east-1:000000000000:key/${KeyId}`);
    expect(CreationDate).toBeInstanceOf(Date);
    expect(CurrentKeyMaterialId).toMatch(/^[0-9a-f]{64}$/);
    expect(Description).toBe('test key 123');
  });

  it('is as recorded for an HMAC key, which has no material id', async () => {
    const { KeyMetadata } = await east.send(new CreateKeyCommand({ KeySpec: 'HMAC_256', KeyUsage: 'GENERATE_VERIFY_MAC', Description: 'test key' }));
    const { KeyId: _id, Arn: _arn, CreationDate: _date, Description: _text, ...rest } = KeyMetadata!;
    expect(rest).toEqual(EXPECTED_METADATA.hmac);
  });

  it('names itself as primary when it is multi-Region, and says nothing of Regions when it is not', async () => {
    const { KeyMetadata } = await east.send(new CreateKeyCommand({ MultiRegion: true }));
    expect(KeyMetadata!.KeyId).toMatch(/^mrk-[0-9a-f]{32}$/);
    expect(KeyMetadata!.MultiRegionConfiguration).toEqual({ MultiRegionKeyType: 'PRIMARY', PrimaryKey: { Arn: KeyMetadata!.Arn, Region: EAST }, ReplicaKeys: [] });
    expect((await east.send(new CreateKeyCommand({}))).KeyMetadata).not.toHaveProperty('MultiRegionConfiguration');
  });

  it('becomes, for a fresh replica, Creating and not enabled, with the default policy and nothing inherited', async () => {
    const KeyId = await make({ MultiRegion: true, Description: 'test replicated key', Tags: [{ TagKey: 'a', TagValue: 'b' }] });
    const { ReplicaKeyMetadata, ReplicaPolicy, ReplicaTags } = await east.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: WEST }));
    expect(ReplicaKeyMetadata).toMatchObject({ Enabled: false, KeyState: 'Creating', Description: '', KeyId });
    expect(ReplicaKeyMetadata).not.toHaveProperty('CurrentKeyMaterialId');
    expect(JSON.parse(ReplicaPolicy!)).toEqual({
      Version: '2012-10-17', Id: 'key-default-1',
      Statement: [{ Sid: 'Enable IAM User Permissions', Effect: 'Allow', Principal: { AWS: 'arn:aws:iam::000000000000:root' }, Action: 'kms:*', Resource: '*' }],
    });
    expect(ReplicaTags ?? []).toEqual([]);
  });
});

describe('the rotation status', () => {
  it('gives period and next date only while automatic rotation is on', async () => {
    const KeyId = await make();
    expect(await east.send(new GetKeyRotationStatusCommand({ KeyId }))).toMatchObject({ KeyId, KeyRotationEnabled: false });
    await east.send(new EnableKeyRotationCommand({ KeyId, RotationPeriodInDays: 90 }));
    const { $metadata: _, ...status } = await east.send(new GetKeyRotationStatusCommand({ KeyId }));
    expect(status).toEqual({ KeyId, KeyRotationEnabled: true, NextRotationDate: expect.any(Date), RotationPeriodInDays: 90 });
  });
});
