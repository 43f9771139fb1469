/** Every cell of the key-state table, over the wire where the state can be reached, on the pure table where not. */
import {
  CancelKeyDeletionCommand, CreateAliasCommand, CreateGrantCommand, CreateKeyCommand, DecryptCommand, DeleteAliasCommand, DescribeKeyCommand, DisableKeyCommand, DisableKeyRotationCommand,
  EnableKeyCommand, EnableKeyRotationCommand, EncryptCommand, GenerateDataKeyCommand, GenerateDataKeyPairCommand, GenerateDataKeyWithoutPlaintextCommand, GenerateMacCommand, GetKeyLastUsageCommand,
  GetKeyPolicyCommand, GetKeyRotationStatusCommand, GetParametersForImportCommand, GetPublicKeyCommand, ListAliasesCommand, ListGrantsCommand, ListKeyPoliciesCommand, ListKeyRotationsCommand,
  ListResourceTagsCommand, PutKeyPolicyCommand, ReEncryptCommand, ReplicateKeyCommand, RetireGrantCommand, RevokeGrantCommand, RotateKeyOnDemandCommand, ScheduleKeyDeletionCommand, SignCommand,
  TagResourceCommand, UntagResourceCommand, UpdateAliasCommand, UpdateKeyDescriptionCommand, UpdatePrimaryRegionCommand, VerifyCommand, VerifyMacCommand,
  type KMSClient, type KeySpec,
} from '@aws-sdk/client-kms';
import { STATE_TABLE, stateRefusal, type KeyState } from '../../local/kms/states';
import { defaultKeyPolicy } from '../../local/kms/policy-document';
import { ACCOUNT, EAST, WEST, errorOf, role, startFixture, type Fixture } from './fixture';
import { CELLS, STATE_ROWS } from './expected-answers';

const NORTH = 'eu-west-1';
let fixture: Fixture;

beforeAll(async () => {
  // states that pass by themselves stay for an hour, long enough to be looked at
  fixture = await startFixture({ regions: [EAST, WEST, NORTH], propagationMs: 3_600_000 });
});
afterAll(() => fixture.stop());

type Kind = 'symmetric' | 'signing' | 'hmac';
interface Subject { readonly client: KMSClient; readonly region: string; readonly KeyId: string; readonly arn: string }
interface Way { readonly kind?: Kind; readonly before?: (subject: Subject) => Promise<unknown>; readonly call: (subject: Subject) => Promise<unknown>; readonly answers?: string }

const SPEC: Record<Kind, { KeySpec: KeySpec; KeyUsage: 'ENCRYPT_DECRYPT' | 'SIGN_VERIFY' | 'GENERATE_VERIFY_MAC' }> = {
  symmetric: { KeySpec: 'SYMMETRIC_DEFAULT', KeyUsage: 'ENCRYPT_DECRYPT' },
  signing: { KeySpec: 'ECC_NIST_P256', KeyUsage: 'SIGN_VERIFY' },
  hmac: { KeySpec: 'HMAC_256', KeyUsage: 'GENERATE_VERIFY_MAC' },
};

let count = 0;
const Message = Buffer.from('message');
const DRY = 'DryRunOperationException';
const decryptDry = { DryRun: true, DryRunModifiers: ['IGNORE_CIPHERTEXT' as const] };
const unknownGrant = 'f'.repeat(64);
const tags = [{ TagKey: 'a', TagValue: 'b' }];
const otherKey = async ({ client }: Subject, kind: Kind = 'symmetric') => (await client.send(new CreateKeyCommand(SPEC[kind]))).KeyMetadata!.KeyId!;
const aliasOn = async (subject: Subject, TargetKeyId: string) => {
  const AliasName = `alias/state-${(count += 1)}`;
  await subject.client.send(new CreateAliasCommand({ AliasName, TargetKeyId }));
  return AliasName;
};
let alias = '';

/** How each operation is tried. `answers`: the error that an OK cell gives here, because nothing is really done. */
const WAYS: Record<string, Way> = {
  DescribeKey: { call: ({ client, KeyId }) => client.send(new DescribeKeyCommand({ KeyId })) },
  Encrypt: { call: ({ client, KeyId }) => client.send(new EncryptCommand({ KeyId, Plaintext: Message })) },
  Decrypt: { call: ({ client, KeyId }) => client.send(new DecryptCommand({ KeyId, ...decryptDry } as never)), answers: DRY },
  ReEncrypt: { call: ({ client, KeyId }) => client.send(new ReEncryptCommand({ SourceKeyId: KeyId, DestinationKeyId: KeyId, ...decryptDry } as never)), answers: DRY },
  GenerateDataKey: { call: ({ client, KeyId }) => client.send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256' })) },
  GenerateDataKeyWithoutPlaintext: { call: ({ client, KeyId }) => client.send(new GenerateDataKeyWithoutPlaintextCommand({ KeyId, KeySpec: 'AES_256' })) },
  GenerateDataKeyPair: { call: ({ client, KeyId }) => client.send(new GenerateDataKeyPairCommand({ KeyId, KeyPairSpec: 'ECC_NIST_P256' })) },
  Sign: { kind: 'signing', call: ({ client, KeyId }) => client.send(new SignCommand({ KeyId, Message, SigningAlgorithm: 'ECDSA_SHA_256' })) },
  Verify: { kind: 'signing', call: ({ client, KeyId }) => client.send(new VerifyCommand({ KeyId, Message, Signature: Message, SigningAlgorithm: 'ECDSA_SHA_256' })), answers: 'KMSInvalidSignatureException' },
  GenerateMac: { kind: 'hmac', call: ({ client, KeyId }) => client.send(new GenerateMacCommand({ KeyId, Message, MacAlgorithm: 'HMAC_SHA_256' })) },
  VerifyMac: { kind: 'hmac', call: ({ client, KeyId }) => client.send(new VerifyMacCommand({ KeyId, Message, Mac: Message, MacAlgorithm: 'HMAC_SHA_256' })), answers: 'KMSInvalidMacException' },
  GetPublicKey: { kind: 'signing', call: ({ client, KeyId }) => client.send(new GetPublicKeyCommand({ KeyId })) },
  EnableKey: { call: ({ client, KeyId }) => client.send(new EnableKeyCommand({ KeyId })) },
  DisableKey: { call: ({ client, KeyId }) => client.send(new DisableKeyCommand({ KeyId })) },
  EnableKeyRotation: { call: ({ client, KeyId }) => client.send(new EnableKeyRotationCommand({ KeyId })) },
  DisableKeyRotation: { call: ({ client, KeyId }) => client.send(new DisableKeyRotationCommand({ KeyId })) },
  GetKeyRotationStatus: { call: ({ client, KeyId }) => client.send(new GetKeyRotationStatusCommand({ KeyId })) },
  RotateKeyOnDemand: { call: ({ client, KeyId }) => client.send(new RotateKeyOnDemandCommand({ KeyId })) },
  ListKeyRotations: { call: ({ client, KeyId }) => client.send(new ListKeyRotationsCommand({ KeyId })) },
  ScheduleKeyDeletion: { call: ({ client, KeyId }) => client.send(new ScheduleKeyDeletionCommand({ KeyId })) },
  CancelKeyDeletion: { call: ({ client, KeyId }) => client.send(new CancelKeyDeletionCommand({ KeyId })) },
  ReplicateKey: { call: ({ client, KeyId }) => client.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: NORTH })) },
  UpdatePrimaryRegion: { call: ({ client, KeyId, region }) => client.send(new UpdatePrimaryRegionCommand({ KeyId, PrimaryRegion: region === EAST ? WEST : EAST })) },
  CreateAlias: { call: (subject) => aliasOn(subject, subject.KeyId) },
  UpdateAlias: {
    before: async (subject) => { alias = await aliasOn(subject, await otherKey(subject)); },
    call: ({ client, KeyId }) => client.send(new UpdateAliasCommand({ AliasName: alias, TargetKeyId: KeyId })),
  },
  DeleteAlias: {
    before: async (subject) => { alias = await aliasOn(subject, subject.KeyId).catch(() => aliasOn(subject, subject.KeyId)); },
    call: ({ client }) => client.send(new DeleteAliasCommand({ AliasName: alias })),
  },
  ListAliases: { call: ({ client, KeyId }) => client.send(new ListAliasesCommand({ KeyId })) },
  GetKeyPolicy: { call: ({ client, KeyId }) => client.send(new GetKeyPolicyCommand({ KeyId })) },
  ListKeyPolicies: { call: ({ client, KeyId }) => client.send(new ListKeyPoliciesCommand({ KeyId })) },
  PutKeyPolicy: { call: ({ client, KeyId }) => client.send(new PutKeyPolicyCommand({ KeyId, Policy: defaultKeyPolicy(ACCOUNT) })) },
  TagResource: { call: ({ client, KeyId }) => client.send(new TagResourceCommand({ KeyId, Tags: tags })) },
  UntagResource: { call: ({ client, KeyId }) => client.send(new UntagResourceCommand({ KeyId, TagKeys: ['a'] })) },
  UpdateKeyDescription: { call: ({ client, KeyId }) => client.send(new UpdateKeyDescriptionCommand({ KeyId, Description: 'd' })) },
  ListResourceTags: { call: ({ client, KeyId }) => client.send(new ListResourceTagsCommand({ KeyId })) },
  CreateGrant: { call: ({ client, KeyId }) => client.send(new CreateGrantCommand({ KeyId, GranteePrincipal: role('r'), Operations: ['Decrypt'] })) },
  ListGrants: { call: ({ client, KeyId }) => client.send(new ListGrantsCommand({ KeyId })) },
  RevokeGrant: { call: ({ client, KeyId }) => client.send(new RevokeGrantCommand({ KeyId, GrantId: unknownGrant })), answers: 'NotFoundException' },
  RetireGrant: { call: ({ client, arn }) => client.send(new RetireGrantCommand({ KeyId: arn, GrantId: unknownGrant })), answers: 'NotFoundException' },
  GetKeyLastUsage: { call: ({ client, KeyId }) => client.send(new GetKeyLastUsageCommand({ KeyId })) },
  GetParametersForImport: { call: ({ client, KeyId }) => client.send(new GetParametersForImportCommand({ KeyId, WrappingAlgorithm: 'RSAES_OAEP_SHA_256', WrappingKeySpec: 'RSA_2048' })) },
};

const COLUMNS: KeyState[] = ['Enabled', 'Disabled', 'PendingDeletion', 'PendingReplicaDeletion', 'PendingImport', 'Unavailable', 'Creating', 'Updating'];
const columnOf = (state: KeyState): number => (state === 'PendingReplicaDeletion' ? 2 : ['Enabled', 'Disabled', 'PendingDeletion', 'PendingImport', 'Unavailable', 'Creating', 'Updating'].indexOf(state));

async function replicate(KeyId: string): Promise<void> {
  await fixture.client(EAST).send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: WEST }));
}

/** Replicas that have been in the making for an hour are Enabled: the clock is moved, not waited for. */
const settle = () => fixture.kms.admin.advanceClock(3_600_001);

async function subjectIn(state: KeyState, kind: Kind, multiRegion: boolean, before: Way['before']): Promise<Subject> {
  const east = fixture.client(EAST);
  const replicas = state === 'PendingReplicaDeletion' || state === 'Creating' || state === 'Updating' || (multiRegion && state !== 'PendingImport');
  const { KeyMetadata } = await east.send(new CreateKeyCommand({ ...SPEC[kind], MultiRegion: replicas, ...(state === 'PendingImport' ? { Origin: 'EXTERNAL' } : {}) }));
  const KeyId = KeyMetadata!.KeyId!;
  // the state of a replica in the making is seen in its Region, that of a new primary in the Region it moves to
  const region = state === 'Creating' || state === 'Updating' ? WEST : EAST;
  const subject = { client: fixture.client(region), region, KeyId, arn: `arn:aws:kms:${region}:${ACCOUNT}:key/${KeyId}` };
  if (region === EAST) await before?.(subject);
  if (replicas) await replicate(KeyId);
  if (replicas && state !== 'Creating') await settle();
  if (state === 'Disabled') await east.send(new DisableKeyCommand({ KeyId }));
  if (state === 'PendingDeletion' && replicas) {
    // a multi-Region primary reaches PendingDeletion only alone, so its last replica has to be gone
    await fixture.client(WEST).send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 7 }));
    await fixture.kms.admin.advanceClock(7 * 86_400_000 + 1);
  }
  if (state === 'PendingDeletion' || state === 'PendingReplicaDeletion') await east.send(new ScheduleKeyDeletionCommand({ KeyId }));
  if (state === 'Updating') await east.send(new UpdatePrimaryRegionCommand({ KeyId, PrimaryRegion: WEST }));
  if (region === WEST) await before?.(subject);
  expect((await subject.client.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata!.KeyState).toBe(state);
  return subject;
}

function expectCell(cell: string, seen: { name: string; message: string }, arn: string): void {
  const { error, message } = CELLS[cell]!;
  expect(seen.name).toBe(error);
  const shown = seen.message.replaceAll(arn, '<key>');
  if (typeof message === 'string') expect(shown).toBe(message);
  else expect(shown).toMatch(message);
}

it('has a way to try every operation of the table, and a row for every operation that it knows', () => {
  expect(Object.keys(WAYS).sort()).toEqual(Object.keys(STATE_ROWS).sort());
  for (const operation of Object.keys(STATE_TABLE)) if (!['GenerateDataKeyPairWithoutPlaintext', 'ImportKeyMaterial'].includes(operation)) expect(STATE_ROWS).toHaveProperty(operation);
});

describe.each(Object.keys(STATE_ROWS))('%s', (operation) => {
  const row = STATE_ROWS[operation]!;
  const way = WAYS[operation]!;
  const overTheWire = COLUMNS.filter((state) => state !== 'Unavailable' && row[columnOf(state)] !== '-');

  it.each(overTheWire)('answers a key that is %s as the table says', async (state) => {
    const cell = row[columnOf(state)]!;
    const multiRegion = operation === 'ReplicateKey' || operation === 'UpdatePrimaryRegion';
    const subject = await subjectIn(state, way.kind ?? 'symmetric', multiRegion, way.before);
    if (cell === 'o' && way.answers === undefined) await way.call(subject);
    else {
      const seen = await errorOf(way.call(subject));
      if (cell === 'o') expect(seen.name).toBe(way.answers);
      else expectCell(cell, seen, subject.arn);
      expect(seen.status).toBe(400);
    }
  });

  if (row[columnOf('Unavailable')] !== '-') {
    it('answers a key that is Unavailable as the table says (table only: there are no custom key stores)', () => {
      const cell = row[columnOf('Unavailable')]!;
      const refusal = stateRefusal(operation, 'Unavailable', 'arn');
      if (cell === 'o') expect(refusal).toBeUndefined();
      else expectCell(cell, { name: refusal!.code, message: refusal!.message }, 'arn');
    });
  }
});
