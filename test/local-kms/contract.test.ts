/**
 * One contract, two servers: the local KMS must keep it; moto_server, where it is on PATH, must keep it too but for the
 * deviations listed by name. A deviation that moto has mended, or one that is not listed, fails.
 */
import {
  CancelKeyDeletionCommand, CreateAliasCommand, CreateGrantCommand, CreateKeyCommand, DecryptCommand, DeleteAliasCommand, DescribeKeyCommand, DisableKeyCommand, EnableKeyCommand,
  EnableKeyRotationCommand, EncryptCommand, GenerateDataKeyCommand, GenerateMacCommand, GenerateRandomCommand, GetKeyPolicyCommand, GetKeyRotationStatusCommand, GetPublicKeyCommand, ListAliasesCommand,
  ListGrantsCommand, ListKeyRotationsCommand, ListKeysCommand, ListResourceTagsCommand, PutKeyPolicyCommand, ReEncryptCommand, ReplicateKeyCommand, RevokeGrantCommand, RotateKeyOnDemandCommand,
  ScheduleKeyDeletionCommand, SignCommand, TagResourceCommand, UpdateAliasCommand, UpdateKeyDescriptionCommand, UpdatePrimaryRegionCommand, VerifyCommand, VerifyMacCommand,
  type CreateKeyCommandInput, type KMSClient,
} from '@aws-sdk/client-kms';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { createServer, type AddressInfo } from 'node:net';
import { EAST, WEST, clientAt, startFixture, type Fixture } from './fixture';

interface Clients { readonly east: KMSClient; readonly west: KMSClient }
interface Clause { readonly name: string; readonly answer: string; ask(clients: Clients): Promise<unknown> }

const Plaintext = Buffer.from('p');
const ROLE = 'arn:aws:iam::000000000000:role/r';
const make = async ({ east }: Clients, input: CreateKeyCommandInput = {}): Promise<string> => (await east.send(new CreateKeyCommand(input))).KeyMetadata!.KeyId!;
const pending = async (clients: Clients): Promise<string> => {
  const KeyId = await make(clients);
  await clients.east.send(new ScheduleKeyDeletionCommand({ KeyId }));
  return KeyId;
};
const disabled = async (clients: Clients): Promise<string> => {
  const KeyId = await make(clients);
  await clients.east.send(new DisableKeyCommand({ KeyId }));
  return KeyId;
};
const stateOf = async (kms: KMSClient, KeyId: string) => (await kms.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata!.KeyState;
const encrypt = ({ east }: Clients, KeyId: string, EncryptionContext?: Record<string, string>) => east.send(new EncryptCommand({ KeyId, Plaintext, EncryptionContext }));
const opened = (plaintext: Uint8Array | undefined) => Buffer.from(plaintext!).toString();
let count = 0;
const aliasName = () => `alias/contract-${process.pid}-${(count += 1)}`;

/** The name of the error that ends the asking, or what it resolves to: `succeeded` for a whole answer. */
async function answerOf(clause: Clause, clients: Clients): Promise<string> {
  try {
    const value = await clause.ask(clients);
    return typeof value === 'object' && !Array.isArray(value) ? 'succeeded' : String(value);
  } catch (error) {
    return (error as Error).name;
  }
}

const clause = (name: string, answer: string, ask: Clause['ask']): Clause => ({ name, answer, ask });

const CONTRACT: readonly Clause[] = [
  clause('a new key is Enabled', 'Enabled', async (c) => stateOf(c.east, await make(c))),
  clause('a new multi-Region key id begins with mrk-', 'true', async (c) => (await make(c, { MultiRegion: true })).startsWith('mrk-')),
  clause('keys are listed', 'true', async (c) => { const id = await make(c); return (await c.east.send(new ListKeysCommand({ Limit: 1000 }))).Keys!.some(({ KeyId }) => KeyId === id); }),
  clause('encrypt and decrypt round trip', 'p', async (c) => opened((await c.east.send(new DecryptCommand({ CiphertextBlob: (await encrypt(c, await make(c))).CiphertextBlob }))).Plaintext)),
  clause('a context opens what it closed', 'p', async (c) => opened((await c.east.send(new DecryptCommand({ CiphertextBlob: (await encrypt(c, await make(c), { a: 'b', c: 'd' })).CiphertextBlob, EncryptionContext: { c: 'd', a: 'b' } }))).Plaintext)),
  clause('a wrong context does not open', 'InvalidCiphertextException', async (c) => c.east.send(new DecryptCommand({ CiphertextBlob: (await encrypt(c, await make(c), { a: 'b' })).CiphertextBlob, EncryptionContext: { a: 'x' } }))),
  clause('garbage does not open', 'InvalidCiphertextException', (c) => c.east.send(new DecryptCommand({ CiphertextBlob: Buffer.alloc(100, 7) }))),
  clause('another key does not open', 'IncorrectKeyException', async (c) => c.east.send(new DecryptCommand({ CiphertextBlob: (await encrypt(c, await make(c))).CiphertextBlob, KeyId: await make(c) }))),
  clause('more than 4096 bytes are refused', 'ValidationException', async (c) => c.east.send(new EncryptCommand({ KeyId: await make(c), Plaintext: Buffer.alloc(4097) }))),
  clause('a data key opens to its plaintext', 'true', async (c) => { const key = await c.east.send(new GenerateDataKeyCommand({ KeyId: await make(c), KeySpec: 'AES_256' })); return opened((await c.east.send(new DecryptCommand({ CiphertextBlob: key.CiphertextBlob }))).Plaintext) === opened(key.Plaintext); }),
  clause('re-encryption moves to another key', 'p', async (c) => { const to = await make(c); const moved = await c.east.send(new ReEncryptCommand({ CiphertextBlob: (await encrypt(c, await make(c))).CiphertextBlob, DestinationKeyId: to })); return opened((await c.east.send(new DecryptCommand({ CiphertextBlob: moved.CiphertextBlob, KeyId: to }))).Plaintext); }),
  clause('a dry run says so', 'DryRunOperationException', async (c) => c.east.send(new EncryptCommand({ KeyId: await make(c), Plaintext, DryRun: true }))),
  clause('random bytes have the length asked', '32', async (c) => (await c.east.send(new GenerateRandomCommand({ NumberOfBytes: 32 }))).Plaintext!.length),
  clause('a MAC verifies', 'true', async (c) => { const KeyId = await make(c, { KeySpec: 'HMAC_256', KeyUsage: 'GENERATE_VERIFY_MAC' }); const { Mac } = await c.east.send(new GenerateMacCommand({ KeyId, Message: Plaintext, MacAlgorithm: 'HMAC_SHA_256' })); return (await c.east.send(new VerifyMacCommand({ KeyId, Message: Plaintext, Mac, MacAlgorithm: 'HMAC_SHA_256' }))).MacValid; }),
  clause('a bad MAC is refused', 'KMSInvalidMacException', async (c) => c.east.send(new VerifyMacCommand({ KeyId: await make(c, { KeySpec: 'HMAC_256', KeyUsage: 'GENERATE_VERIFY_MAC' }), Message: Plaintext, Mac: Buffer.alloc(32), MacAlgorithm: 'HMAC_SHA_256' }))),
  clause('a signature verifies', 'true', async (c) => { const KeyId = await make(c, { KeySpec: 'ECC_NIST_P256', KeyUsage: 'SIGN_VERIFY' }); const { Signature } = await c.east.send(new SignCommand({ KeyId, Message: Plaintext, SigningAlgorithm: 'ECDSA_SHA_256' })); return (await c.east.send(new VerifyCommand({ KeyId, Message: Plaintext, Signature, SigningAlgorithm: 'ECDSA_SHA_256' }))).SignatureValid; }),
  clause('an RSA key gives its public half', 'RSA_2048', async (c) => (await c.east.send(new GetPublicKeyCommand({ KeyId: await make(c, { KeySpec: 'RSA_2048', KeyUsage: 'ENCRYPT_DECRYPT' }) }))).KeySpec),
  clause('an RSA key refuses the symmetric algorithm', 'InvalidKeyUsageException', async (c) => encrypt(c, await make(c, { KeySpec: 'RSA_2048', KeyUsage: 'ENCRYPT_DECRYPT' }))),
  clause('disable and enable change the state', 'Disabled Enabled', async (c) => { const KeyId = await disabled(c); const before = await stateOf(c.east, KeyId); await c.east.send(new EnableKeyCommand({ KeyId })); return `${before} ${await stateOf(c.east, KeyId)}`; }),
  clause('a disabled key does not encrypt', 'DisabledException', async (c) => encrypt(c, await disabled(c))),
  clause('a key pending deletion does not encrypt', 'KMSInvalidStateException', async (c) => encrypt(c, await pending(c))),
  clause('a key pending deletion cannot be enabled', 'KMSInvalidStateException', async (c) => c.east.send(new EnableKeyCommand({ KeyId: await pending(c) }))),
  clause('a deletion is scheduled once', 'KMSInvalidStateException', async (c) => c.east.send(new ScheduleKeyDeletionCommand({ KeyId: await pending(c) }))),
  clause('scheduling a deletion answers the state and the window', 'PendingDeletion 7', async (c) => { const { KeyState, PendingWindowInDays } = await c.east.send(new ScheduleKeyDeletionCommand({ KeyId: await make(c), PendingWindowInDays: 7 })); return `${KeyState} ${PendingWindowInDays}`; }),
  clause('a window of five days is refused', 'ValidationException', async (c) => c.east.send(new ScheduleKeyDeletionCommand({ KeyId: await make(c), PendingWindowInDays: 5 }))),
  clause('a cancelled deletion leaves the key Disabled', 'Disabled', async (c) => { const KeyId = await pending(c); await c.east.send(new CancelKeyDeletionCommand({ KeyId })); return stateOf(c.east, KeyId); }),
  clause('a deletion that is not scheduled cannot be cancelled', 'KMSInvalidStateException', async (c) => c.east.send(new CancelKeyDeletionCommand({ KeyId: await make(c) }))),
  clause('an unknown key is not found', 'NotFoundException', (c) => c.east.send(new DescribeKeyCommand({ KeyId: '134f2428-cec1-4b25-a1ae-9048164dba47' }))),
  clause('rotation is off at first', 'false', async (c) => (await c.east.send(new GetKeyRotationStatusCommand({ KeyId: await make(c) }))).KeyRotationEnabled),
  clause('rotation keeps its period', 'true 100', async (c) => { const KeyId = await make(c); await c.east.send(new EnableKeyRotationCommand({ KeyId, RotationPeriodInDays: 100 })); const status = await c.east.send(new GetKeyRotationStatusCommand({ KeyId })); return `${status.KeyRotationEnabled} ${status.RotationPeriodInDays}`; }),
  clause('a rotation period of ten days is refused', 'ValidationException', async (c) => c.east.send(new EnableKeyRotationCommand({ KeyId: await make(c), RotationPeriodInDays: 10 }))),
  clause('rotation on demand is listed with its material', 'ON_DEMAND true', async (c) => { const KeyId = await make(c); await c.east.send(new RotateKeyOnDemandCommand({ KeyId })); await new Promise((resolve) => setTimeout(resolve, 60)); const [rotation] = (await c.east.send(new ListKeyRotationsCommand({ KeyId }))).Rotations!; return `${rotation!.RotationType} ${rotation!.KeyMaterialId !== undefined}`; }),
  clause('an alias names its key', 'true', async (c) => { const [KeyId, AliasName] = [await make(c), aliasName()]; await c.east.send(new CreateAliasCommand({ AliasName, TargetKeyId: KeyId })); return (await c.east.send(new DescribeKeyCommand({ KeyId: AliasName }))).KeyMetadata!.KeyId === KeyId; }),
  clause('an alias is made once', 'AlreadyExistsException', async (c) => { const alias = new CreateAliasCommand({ AliasName: aliasName(), TargetKeyId: await make(c) }); await c.east.send(alias); return c.east.send(alias); }),
  clause('an alias moves', 'true', async (c) => { const [one, two, AliasName] = [await make(c), await make(c), aliasName()]; await c.east.send(new CreateAliasCommand({ AliasName, TargetKeyId: one })); await c.east.send(new UpdateAliasCommand({ AliasName, TargetKeyId: two })); return (await c.east.send(new ListAliasesCommand({ KeyId: two }))).Aliases!.length === 1; }),
  clause('an alias that is gone is not found', 'NotFoundException', (c) => c.east.send(new DeleteAliasCommand({ AliasName: aliasName() }))),
  clause('an alias in the reserved space is refused', 'ValidationException', async (c) => c.east.send(new CreateAliasCommand({ AliasName: `alias/aws/${process.pid}`, TargetKeyId: await make(c) }))),
  clause('tags are kept', 'a=b', async (c) => { const KeyId = await make(c); await c.east.send(new TagResourceCommand({ KeyId, Tags: [{ TagKey: 'a', TagValue: 'b' }] })); return (await c.east.send(new ListResourceTagsCommand({ KeyId }))).Tags!.map(({ TagKey, TagValue }) => `${TagKey}=${TagValue}`); }),
  clause('a description is kept', 'new', async (c) => { const KeyId = await make(c, { Description: 'old' }); await c.east.send(new UpdateKeyDescriptionCommand({ KeyId, Description: 'new' })); return (await c.east.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata!.Description; }),
  clause('a policy is read back', 'true', async (c) => { const KeyId = await make(c); const { Policy } = await c.east.send(new GetKeyPolicyCommand({ KeyId, PolicyName: 'default' })); await c.east.send(new PutKeyPolicyCommand({ KeyId, PolicyName: 'default', Policy })); return (await c.east.send(new GetKeyPolicyCommand({ KeyId, PolicyName: 'default' }))).Policy === Policy; }),
  clause('a policy that is not JSON is refused', 'MalformedPolicyDocumentException', async (c) => c.east.send(new PutKeyPolicyCommand({ KeyId: await make(c), PolicyName: 'default', Policy: '{' }))),
  clause('a grant is listed until it is revoked', '1 0', async (c) => { const KeyId = await make(c); const { GrantId } = await c.east.send(new CreateGrantCommand({ KeyId, GranteePrincipal: ROLE, Operations: ['Decrypt'] })); const before = (await c.east.send(new ListGrantsCommand({ KeyId }))).Grants!.length; await c.east.send(new RevokeGrantCommand({ KeyId, GrantId })); return `${before} ${(await c.east.send(new ListGrantsCommand({ KeyId }))).Grants!.length}`; }),
  clause('a replica is in the making first', 'Creating', async (c) => (await c.east.send(new ReplicateKeyCommand({ KeyId: await make(c, { MultiRegion: true }), ReplicaRegion: WEST }))).ReplicaKeyMetadata!.KeyState),
  clause('a replica opens what the primary closed', 'p', async (c) => { const KeyId = await make(c, { MultiRegion: true }); await c.east.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: WEST })); await new Promise((resolve) => setTimeout(resolve, 60)); return opened((await c.west.send(new DecryptCommand({ CiphertextBlob: (await encrypt(c, KeyId)).CiphertextBlob }))).Plaintext); }),
  clause('a Region holds one replica', 'AlreadyExistsException', async (c) => { const replicate = new ReplicateKeyCommand({ KeyId: await make(c, { MultiRegion: true }), ReplicaRegion: WEST }); await c.east.send(replicate); return c.east.send(replicate); }),
  clause('a primary with replicas waits for them', 'PendingReplicaDeletion', async (c) => { const KeyId = await make(c, { MultiRegion: true }); await c.east.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: WEST })); await c.east.send(new ScheduleKeyDeletionCommand({ KeyId })); return stateOf(c.east, KeyId); }),
  clause('the primary Region can be moved', 'PRIMARY', async (c) => { const KeyId = await make(c, { MultiRegion: true }); await c.east.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: WEST })); await new Promise((resolve) => setTimeout(resolve, 60)); await c.east.send(new UpdatePrimaryRegionCommand({ KeyId, PrimaryRegion: WEST })); return (await c.west.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata!.MultiRegionConfiguration!.MultiRegionKeyType; }),
];

/** What moto_server 5.2.1 answers instead, by the clause's name. */
const MOTO_DEVIATIONS: Readonly<Record<string, string>> = {
  'garbage does not open': 'AccessDeniedException',
  'another key does not open': 'AccessDeniedException',
  'a dry run says so': 'succeeded',
  'an RSA key gives its public half': 'undefined',
  'an RSA key refuses the symmetric algorithm': 'succeeded',
  'a disabled key does not encrypt': 'succeeded',
  'a key pending deletion does not encrypt': 'succeeded',
  'a key pending deletion cannot be enabled': 'succeeded',
  'a deletion is scheduled once': 'succeeded',
  'scheduling a deletion answers the state and the window': 'undefined undefined',
  'a window of five days is refused': 'succeeded',
  'a deletion that is not scheduled cannot be cancelled': 'succeeded',
  'rotation keeps its period': 'true undefined',
  'a rotation period of ten days is refused': 'succeeded',
  'rotation on demand is listed with its material': 'ON_DEMAND false',
  'an alias in the reserved space is refused': 'succeeded',
  'a policy that is not JSON is refused': 'succeeded',
  'a replica is in the making first': 'Enabled',
  'a replica opens what the primary closed': 'AccessDeniedException',
  'a Region holds one replica': 'succeeded',
  'a primary with replicas waits for them': 'PendingDeletion',
  'the primary Region can be moved': 'SyntaxError',
};

let fixture: Fixture;
beforeAll(async () => {
  fixture = await startFixture();
});
afterAll(() => fixture.stop());

describe('the local KMS', () => {
  it.each(CONTRACT.map((entry) => [entry.name, entry] as const))('keeps the clause: %s', async (_name, entry) => {
    expect(await answerOf(entry, { east: fixture.client(EAST), west: fixture.client(WEST) })).toBe(entry.answer);
  });
});

const freePort = (): Promise<number> => new Promise((resolve, reject) => {
  const probe = createServer().once('error', reject).listen(0, '127.0.0.1', () => {
    const { port } = probe.address() as AddressInfo;
    probe.close(() => resolve(port));
  });
});

function motoOnPath(): boolean {
  try {
    execFileSync('moto_server', ['--help'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

if (!motoOnPath()) {
  it.skip('moto_server: skipped, it is not on PATH', () => undefined);
} else {
  describe('moto_server', () => {
    let server: ChildProcess;
    let clients: Clients;

    beforeAll(async () => {
      const port = await freePort();
      server = spawn('moto_server', ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
      const url = `http://127.0.0.1:${port}`;
      for (let attempt = 0; attempt < 200; attempt += 1) {
        if (await fetch(`${url}/moto-api/`).then((response) => response.ok, () => false)) break;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      clients = { east: clientAt(url, EAST, 'AKIAIOSFODNN7EXAMPLE'), west: clientAt(url, WEST, 'AKIAIOSFODNN7EXAMPLE') };
    }, 30_000);
    afterAll(async () => {
      const ended = new Promise((resolve) => server.once('exit', resolve));
      server.kill();
      await ended;
    });

    it('has only deviations that name a clause', () => {
      const names = CONTRACT.map(({ name }) => name);
      for (const name of Object.keys(MOTO_DEVIATIONS)) expect(names).toContain(name);
    });

    it.each(CONTRACT.map((entry) => [entry.name in MOTO_DEVIATIONS ? 'deviates as listed' : 'agrees', entry.name, entry] as const))('%s: %s', async (_how, name, entry) => {
      const deviation = MOTO_DEVIATIONS[name];
      expect(deviation).not.toBe(entry.answer);
      expect(await answerOf(entry, clients)).toBe(deviation ?? entry.answer);
    });
  });
}
