/** Ciphertexts, contexts, rotation, re-encryption, signatures, MACs: all through the real SDK. */
import {
  CreateAliasCommand, CreateKeyCommand, DecryptCommand, DescribeKeyCommand, EncryptCommand, GenerateDataKeyCommand, GenerateDataKeyPairCommand, GenerateDataKeyWithoutPlaintextCommand,
  GenerateMacCommand, GenerateRandomCommand, GetKeyLastUsageCommand, GetKeyRotationStatusCommand, GetPublicKeyCommand, ListKeyRotationsCommand, ReEncryptCommand, RotateKeyOnDemandCommand, SignCommand,
  VerifyCommand, VerifyMacCommand, type CreateKeyCommandInput, type KMSClient, type KeySpec, type SigningAlgorithmSpec,
} from '@aws-sdk/client-kms';
import { constants, createHash, createPrivateKey, createPublicKey, publicEncrypt, randomBytes, sign, verify } from 'node:crypto';
import { errorOf, startFixture, type Fixture } from './fixture';

let fixture: Fixture;
let kms: KMSClient;
beforeAll(async () => {
  fixture = await startFixture({ propagationMs: 60_000 });
  kms = fixture.client();
});
afterAll(() => fixture.stop());

const make = async (input: CreateKeyCommandInput = {}) => (await kms.send(new CreateKeyCommand(input))).KeyMetadata!;
const secret = Buffer.from('a secret');
const context = { application: 'buzztutor', purpose: 'user-data' };

describe('a symmetric ciphertext', () => {
  it('opens with its context in any order, by itself or under its key by id, ARN, alias name or alias ARN', async () => {
    const { KeyId, Arn, CurrentKeyMaterialId } = await make();
    await kms.send(new CreateAliasCommand({ AliasName: 'alias/opens', TargetKeyId: KeyId }));
    const { CiphertextBlob } = await kms.send(new EncryptCommand({ KeyId: 'alias/opens', Plaintext: secret, EncryptionContext: context }));
    const reversed = Object.fromEntries(Object.entries(context).reverse());
    for (const name of [undefined, KeyId, Arn, 'alias/opens', 'arn:aws:kms:us-east-1:000000000000:alias/opens']) {
      const opened = await kms.send(new DecryptCommand({ CiphertextBlob, EncryptionContext: reversed, KeyId: name }));
      expect(Buffer.from(opened.Plaintext!)).toEqual(secret);
      expect(opened).toMatchObject({ KeyId: Arn, KeyMaterialId: CurrentKeyMaterialId, EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' });
    }
  });

  it.each([
    ['is missing', undefined],
    ['is empty', {}],
    ['lacks a pair', { application: 'buzztutor' }],
    ['has a pair too many', { ...context, more: 'x' }],
    ['differs in case', { ...context, purpose: 'User-Data' }],
    ['has its parts cut differently', { applicationbuzztutor: '', purpose: 'user-data' }],
  ])('stays shut when the context %s, without saying why', async (_name, wrong) => {
    const { KeyId } = await make();
    const { CiphertextBlob } = await kms.send(new EncryptCommand({ KeyId, Plaintext: secret, EncryptionContext: context }));
    expect(await errorOf(kms.send(new DecryptCommand({ CiphertextBlob, EncryptionContext: wrong as never })))).toEqual({ name: 'InvalidCiphertextException', message: 'UnknownError', status: 400 });
  });

  it('stays shut when any one of its bytes is changed', async () => {
    const { KeyId } = await make();
    const { CiphertextBlob } = await kms.send(new EncryptCommand({ KeyId, Plaintext: secret }));
    for (let index = 0; index < CiphertextBlob!.length; index += 1) {
      const changed = Buffer.from(CiphertextBlob!);
      changed[index]! ^= 0x01;
      // the changed key id names a key that is not there; everything else is garbage
      expect(['InvalidCiphertextException', 'NotFoundException']).toContain((await errorOf(kms.send(new DecryptCommand({ CiphertextBlob: changed })))).name);
    }
  });

  it('is never the same twice and does not hold the plaintext', async () => {
    const { KeyId } = await make();
    const blobs = await Promise.all([1, 2].map(() => kms.send(new EncryptCommand({ KeyId, Plaintext: secret }))));
    expect(Buffer.from(blobs[0]!.CiphertextBlob!)).not.toEqual(Buffer.from(blobs[1]!.CiphertextBlob!));
    expect(Buffer.from(blobs[0]!.CiphertextBlob!).includes(secret)).toBe(false);
  });
});

describe('a data key', () => {
  it('comes wrapped with the id of its material, in the length that was asked', async () => {
    const { KeyId, CurrentKeyMaterialId } = await make();
    for (const [asked, length] of [[{ KeySpec: 'AES_256' }, 32], [{ KeySpec: 'AES_128' }, 16], [{ NumberOfBytes: 64 }, 64]] as const) {
      const key = await kms.send(new GenerateDataKeyCommand({ KeyId, ...asked }));
      expect(key.Plaintext).toHaveLength(length);
      expect(key.KeyMaterialId).toBe(CurrentKeyMaterialId);
      const opened = await kms.send(new DecryptCommand({ CiphertextBlob: key.CiphertextBlob }));
      expect(Buffer.from(opened.Plaintext!)).toEqual(Buffer.from(key.Plaintext!));
    }
  });

  it('comes without plaintext when so asked', async () => {
    const { KeyId } = await make();
    expect(await kms.send(new GenerateDataKeyWithoutPlaintextCommand({ KeyId, KeySpec: 'AES_256' }))).not.toHaveProperty('Plaintext');
  });

  it('comes as a pair whose wrapped private key fits its public key', async () => {
    const { KeyId } = await make();
    const pair = await kms.send(new GenerateDataKeyPairCommand({ KeyId, KeyPairSpec: 'ECC_NIST_P256' }));
    const { Plaintext } = await kms.send(new DecryptCommand({ CiphertextBlob: pair.PrivateKeyCiphertextBlob }));
    const signature = sign('sha256', secret, createPrivateKey({ key: Buffer.from(Plaintext!), type: 'pkcs8', format: 'der' }));
    expect(verify('sha256', secret, createPublicKey({ key: Buffer.from(pair.PublicKey!), type: 'spki', format: 'der' }), signature)).toBe(true);
  });

  it('is not made by a key of another usage', async () => {
    const { KeyId } = await make({ KeySpec: 'HMAC_256', KeyUsage: 'GENERATE_VERIFY_MAC' });
    expect((await errorOf(kms.send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256' })))).name).toBe('InvalidKeyUsageException');
  });
});

describe('rotation on demand', () => {
  it('keeps old ciphertexts readable, makes new ones under the new material, and re-encrypts old to new', async () => {
    const { KeyId, Arn, CurrentKeyMaterialId: first } = await make();
    const old = await kms.send(new EncryptCommand({ KeyId, Plaintext: secret, EncryptionContext: context }));
    expect(await kms.send(new RotateKeyOnDemandCommand({ KeyId }))).toMatchObject({ KeyId });
    expect((await kms.send(new GetKeyRotationStatusCommand({ KeyId }))).OnDemandRotationStartDate).toBeInstanceOf(Date);
    expect((await kms.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata!.CurrentKeyMaterialId).toBe(first);
    await fixture.kms.admin.advanceClock(61_000);
    const second = (await kms.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata!.CurrentKeyMaterialId;
    expect(second).not.toBe(first);
    expect(await kms.send(new GetKeyRotationStatusCommand({ KeyId }))).not.toHaveProperty('OnDemandRotationStartDate');

    expect((await kms.send(new DecryptCommand({ CiphertextBlob: old.CiphertextBlob, EncryptionContext: context }))).KeyMaterialId).toBe(first);
    expect((await kms.send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256' }))).KeyMaterialId).toBe(second);
    const moved = await kms.send(new ReEncryptCommand({ CiphertextBlob: old.CiphertextBlob, DestinationKeyId: KeyId, SourceEncryptionContext: context, DestinationEncryptionContext: { moved: 'yes' } }));
    expect(moved).toMatchObject({ SourceKeyId: Arn, KeyId: Arn, SourceKeyMaterialId: first, DestinationKeyMaterialId: second, SourceEncryptionAlgorithm: 'SYMMETRIC_DEFAULT', DestinationEncryptionAlgorithm: 'SYMMETRIC_DEFAULT' });
    const opened = await kms.send(new DecryptCommand({ CiphertextBlob: moved.CiphertextBlob, EncryptionContext: { moved: 'yes' } }));
    expect(Buffer.from(opened.Plaintext!)).toEqual(secret);

    const { Rotations } = await kms.send(new ListKeyRotationsCommand({ KeyId }));
    expect(Rotations).toEqual([{ KeyId, KeyMaterialId: second, KeyMaterialState: 'CURRENT', RotationDate: expect.any(Date), RotationType: 'ON_DEMAND' }]);
    const all = (await kms.send(new ListKeyRotationsCommand({ KeyId, IncludeKeyMaterial: 'ALL_KEY_MATERIAL' }))).Rotations!;
    expect(all[0]).toEqual({ KeyId, KeyMaterialId: first, KeyMaterialState: 'NON_CURRENT' });
  });

  it('refuses a second one while the first is under way', async () => {
    const { KeyId } = await make();
    await kms.send(new RotateKeyOnDemandCommand({ KeyId }));
    expect((await errorOf(kms.send(new RotateKeyOnDemandCommand({ KeyId })))).name).toBe('ConflictException');
  });
});

describe('re-encryption', () => {
  it.each([['symmetric', 'rsa'], ['rsa', 'symmetric'], ['rsa', 'rsa'], ['symmetric', 'symmetric']] as const)('goes from %s to %s', async (from, to) => {
    const side = async (kind: 'symmetric' | 'rsa') => (kind === 'rsa'
      ? { KeyId: (await make({ KeySpec: 'RSA_2048', KeyUsage: 'ENCRYPT_DECRYPT' })).KeyId!, EncryptionAlgorithm: 'RSAES_OAEP_SHA_256' as const }
      : { KeyId: (await make()).KeyId!, EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' as const });
    const [source, destination] = [await side(from), await side(to)];
    const { CiphertextBlob } = await kms.send(new EncryptCommand({ ...source, Plaintext: secret }));
    const moved = await kms.send(new ReEncryptCommand({
      CiphertextBlob, SourceKeyId: source.KeyId, SourceEncryptionAlgorithm: source.EncryptionAlgorithm, DestinationKeyId: destination.KeyId, DestinationEncryptionAlgorithm: destination.EncryptionAlgorithm,
    }));
    expect('SourceKeyMaterialId' in moved).toBe(from === 'symmetric');
    expect('DestinationKeyMaterialId' in moved).toBe(to === 'symmetric');
    const opened = await kms.send(new DecryptCommand({ CiphertextBlob: moved.CiphertextBlob, ...destination }));
    expect(Buffer.from(opened.Plaintext!)).toEqual(secret);
  });

  it('refuses a source key that did not make the ciphertext', async () => {
    const [{ KeyId }, { KeyId: other }] = [await make(), await make()];
    const { CiphertextBlob } = await kms.send(new EncryptCommand({ KeyId, Plaintext: secret }));
    expect((await errorOf(kms.send(new ReEncryptCommand({ CiphertextBlob, SourceKeyId: other, DestinationKeyId: KeyId })))).name).toBe('IncorrectKeyException');
  });
});

describe('an RSA encryption key', () => {
  it('opens what others encrypt with its public key, and takes no context', async () => {
    const { KeyId } = await make({ KeySpec: 'RSA_2048', KeyUsage: 'ENCRYPT_DECRYPT' });
    const { PublicKey, EncryptionAlgorithms } = await kms.send(new GetPublicKeyCommand({ KeyId }));
    expect(EncryptionAlgorithms).toEqual(['RSAES_OAEP_SHA_1', 'RSAES_OAEP_SHA_256']);
    const key = createPublicKey({ key: Buffer.from(PublicKey!), type: 'spki', format: 'der' });
    const CiphertextBlob = publicEncrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, secret);
    const opened = await kms.send(new DecryptCommand({ KeyId, CiphertextBlob, EncryptionAlgorithm: 'RSAES_OAEP_SHA_256' }));
    expect(Buffer.from(opened.Plaintext!)).toEqual(secret);
    expect((await errorOf(kms.send(new DecryptCommand({ KeyId, CiphertextBlob, EncryptionAlgorithm: 'RSAES_OAEP_SHA_1' })))).name).toBe('InvalidCiphertextException');
    expect((await errorOf(kms.send(new EncryptCommand({ KeyId, Plaintext: secret, EncryptionAlgorithm: 'RSAES_OAEP_SHA_256', EncryptionContext: context })))).name).toBe('ValidationException');
  });
});

const SIGNERS: Array<[KeySpec, SigningAlgorithmSpec]> = [
  ['RSA_2048', 'RSASSA_PSS_SHA_256'], ['RSA_2048', 'RSASSA_PSS_SHA_384'], ['RSA_2048', 'RSASSA_PSS_SHA_512'], ['RSA_4096', 'RSASSA_PKCS1_V1_5_SHA_256'], ['RSA_4096', 'RSASSA_PKCS1_V1_5_SHA_512'],
  ['ECC_NIST_P256', 'ECDSA_SHA_256'], ['ECC_NIST_P384', 'ECDSA_SHA_384'], ['ECC_NIST_P521', 'ECDSA_SHA_512'], ['ECC_SECG_P256K1', 'ECDSA_SHA_256'],
];

describe.each(SIGNERS)('a %s key signing with %s', (KeySpec, SigningAlgorithm) => {
  it('makes signatures that it verifies and that fail for another message', async () => {
    const { KeyId, Arn } = await make({ KeySpec, KeyUsage: 'SIGN_VERIFY' });
    const { Signature } = await kms.send(new SignCommand({ KeyId, Message: secret, SigningAlgorithm }));
    expect(await kms.send(new VerifyCommand({ KeyId, Message: secret, Signature, SigningAlgorithm }))).toMatchObject({ KeyId: Arn, SignatureValid: true, SigningAlgorithm });
    expect((await errorOf(kms.send(new VerifyCommand({ KeyId, Message: Buffer.from('other'), Signature, SigningAlgorithm })))).name).toBe('KMSInvalidSignatureException');
    if (KeySpec.startsWith('ECC')) return;
    // a digest's signature is the message's: both ways of asking must agree
    const digest = createHash(`sha${SigningAlgorithm.slice(-3)}`).update(secret).digest();
    await kms.send(new VerifyCommand({ KeyId, Message: digest, MessageType: 'DIGEST', Signature, SigningAlgorithm }));
    const signed = await kms.send(new SignCommand({ KeyId, Message: digest, MessageType: 'DIGEST', SigningAlgorithm }));
    await kms.send(new VerifyCommand({ KeyId, Message: secret, Signature: signed.Signature, SigningAlgorithm }));
  });
});

it('says that a P-256 key cannot sign with SHA-384', async () => {
  const { KeyId } = await make({ KeySpec: 'ECC_NIST_P256', KeyUsage: 'SIGN_VERIFY' });
  expect(await errorOf(kms.send(new SignCommand({ KeyId, Message: secret, SigningAlgorithm: 'ECDSA_SHA_384' })))).toEqual({ name: 'InvalidKeyUsageException', message: 'Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_NIST_P256.', status: 400 });
});

it.each([[224, 28], [256, 32], [384, 48], [512, 64]] as const)('makes and verifies MACs with an HMAC_%s key', async (bits, length) => {
  const { KeyId, Arn } = await make({ KeySpec: `HMAC_${bits}`, KeyUsage: 'GENERATE_VERIFY_MAC' });
  const MacAlgorithm = `HMAC_SHA_${bits}` as const;
  const { Mac } = await kms.send(new GenerateMacCommand({ KeyId, Message: secret, MacAlgorithm }));
  expect(Mac).toHaveLength(length);
  expect(await kms.send(new VerifyMacCommand({ KeyId, Message: secret, Mac, MacAlgorithm }))).toMatchObject({ KeyId: Arn, MacValid: true, MacAlgorithm });
});

it('gives random bytes of the length asked for', async () => {
  expect((await kms.send(new GenerateRandomCommand({ NumberOfBytes: 33 }))).Plaintext).toHaveLength(33);
});

it('remembers a key\'s last cryptographic use, and counts no reading as one', async () => {
  const { KeyId } = await make();
  await kms.send(new DescribeKeyCommand({ KeyId }));
  expect(await kms.send(new GetKeyLastUsageCommand({ KeyId }))).not.toHaveProperty('KeyLastUsage');
  const { $metadata } = await kms.send(new EncryptCommand({ KeyId, Plaintext: secret }));
  expect((await kms.send(new GetKeyLastUsageCommand({ KeyId }))).KeyLastUsage).toMatchObject({ Operation: 'Encrypt', KmsRequestId: $metadata.requestId });
});

describe('a dry run', () => {
  it('answers that it would have succeeded, and has no effect', async () => {
    const { KeyId } = await make();
    const { CiphertextBlob } = await kms.send(new EncryptCommand({ KeyId, Plaintext: randomBytes(10) }));
    for (const call of [
      kms.send(new EncryptCommand({ KeyId, Plaintext: secret, DryRun: true })),
      kms.send(new DecryptCommand({ CiphertextBlob, DryRun: true })),
      kms.send(new ReEncryptCommand({ CiphertextBlob, DestinationKeyId: KeyId, DryRun: true })),
      kms.send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256', DryRun: true })),
    ]) expect((await errorOf(call)).name).toBe('DryRunOperationException');
  });
});
