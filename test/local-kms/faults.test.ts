/** Each kind of fault, as the client sees it, and as the key is afterwards. */
import { CreateAliasCommand, CreateKeyCommand, DecryptCommand, DescribeKeyCommand, DisableKeyCommand, EnableKeyCommand, EncryptCommand, ListAliasesCommand, ListKeysCommand, ReplicateKeyCommand, RotateKeyOnDemandCommand, type KMSClient } from '@aws-sdk/client-kms';
import { EAST, PRINCIPALS, WEST, errorOf, startFixture, until, type Fixture } from './fixture';

let fixture: Fixture;
let kms: KMSClient;
let KeyId: string;
beforeAll(async () => {
  fixture = await startFixture();
  kms = fixture.client();
  KeyId = (await kms.send(new CreateKeyCommand({ MultiRegion: true }))).KeyMetadata!.KeyId!;
  await kms.send(new CreateAliasCommand({ AliasName: 'alias/faulty', TargetKeyId: KeyId }));
  await kms.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: WEST }));
  await until(async () => (await stateIn(WEST)) === 'Enabled');
});
afterAll(() => fixture.stop());
afterEach(async () => {
  await fixture.kms.admin.clearFaults();
  await kms.send(new EnableKeyCommand({ KeyId }));
});

const admin = () => fixture.kms.admin;
const stateIn = async (region = EAST) => (await fixture.client(region).send(new DescribeKeyCommand({ KeyId }))).KeyMetadata!.KeyState;
const encrypt = (name = KeyId, client = kms) => client.send(new EncryptCommand({ KeyId: name, Plaintext: Buffer.from('p') }));

it('latency delays the answer', async () => {
  await admin().addFault({ kind: 'latency', ms: 150 });
  const started = performance.now();
  await encrypt();
  expect(performance.now() - started).toBeGreaterThan(140);
});

it('silent never answers and has no effect; the caller\'s time-out ends it', async () => {
  await admin().addFault({ kind: 'silent', operation: 'DisableKey' });
  await expect(kms.send(new DisableKeyCommand({ KeyId }), { abortSignal: AbortSignal.timeout(200) })).rejects.toMatchObject({ name: expect.stringMatching(/Abort|Timeout/) });
  expect(await stateIn()).toBe('Enabled');
  expect(await admin().calls({ operation: 'DisableKey' })).toMatchObject([{ answerLost: true }]);
});

it('error answers 500 KMSInternalException, or what it is told', async () => {
  await admin().addFault({ kind: 'error', count: 1 });
  expect(await errorOf(encrypt())).toMatchObject({ name: 'KMSInternalException', status: 500 });
  await admin().addFault({ kind: 'error', count: 1, errorCode: 'DependencyTimeoutException', status: 503 });
  expect(await errorOf(encrypt())).toMatchObject({ name: 'DependencyTimeoutException', status: 503 });
  await encrypt();
});

it('drop-before cuts the connection and changes nothing', async () => {
  await admin().addFault({ kind: 'drop-before', operation: 'DisableKey', count: 1 });
  await expect(kms.send(new DisableKeyCommand({ KeyId }))).rejects.toThrow(/socket hang up/);
  expect(await stateIn()).toBe('Enabled');
});

it('drop-after cuts the connection when the change is done', async () => {
  await admin().addFault({ kind: 'drop-after', operation: 'DisableKey', count: 1 });
  await expect(kms.send(new DisableKeyCommand({ KeyId }))).rejects.toThrow(/socket hang up/);
  expect(await stateIn()).toBe('Disabled');
});

it('throttle and deny answer as the service would', async () => {
  await admin().addFault({ kind: 'throttle', count: 1 });
  expect(await errorOf(encrypt())).toEqual({ name: 'ThrottlingException', message: 'You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.', status: 400 });
  await admin().addFault({ kind: 'deny', count: 1 });
  expect((await errorOf(encrypt())).name).toBe('AccessDeniedException');
});

describe('stale-state', () => {
  it('shows readers and cryptography the state before the change for a while; changes see the truth', async () => {
    const { CiphertextBlob } = await encrypt();
    await admin().addFault({ kind: 'stale-state', operation: 'DisableKey', ms: 300, count: 1 });
    await kms.send(new DisableKeyCommand({ KeyId }));
    expect(await stateIn()).toBe('Enabled');
    await kms.send(new DecryptCommand({ CiphertextBlob }));
    expect((await errorOf(kms.send(new RotateKeyOnDemandCommand({ KeyId })))).name).toBe('DisabledException');
    await until(async () => (await stateIn()) === 'Disabled');
    expect((await errorOf(kms.send(new DecryptCommand({ CiphertextBlob })))).name).toBe('DisabledException');
  });

  it('lets one Region lag behind another', async () => {
    await admin().addFault({ kind: 'stale-state', region: WEST, operation: 'RotateKeyOnDemand', ms: 60_000 });
    const materialIn = async (region: string) => (await fixture.client(region).send(new DescribeKeyCommand({ KeyId }))).KeyMetadata!.CurrentKeyMaterialId;
    const before = await materialIn(WEST);
    await kms.send(new RotateKeyOnDemandCommand({ KeyId }));
    await until(async () => (await materialIn(EAST)) !== before);
    expect(await materialIn(WEST)).toBe(before);
  });

  it('hides what was just made from lists', async () => {
    await admin().addFault({ kind: 'stale-state', operation: 'CreateAlias', ms: 60_000 });
    await kms.send(new CreateAliasCommand({ AliasName: 'alias/hidden', TargetKeyId: KeyId }));
    expect((await kms.send(new ListAliasesCommand({ KeyId }))).Aliases!.map(({ AliasName }) => AliasName)).toEqual(['alias/faulty']);
  });
});

describe('a fault strikes only', () => {
  it('the Region, the operations and the caller that it names', async () => {
    await admin().addFault({ kind: 'throttle', region: WEST });
    await encrypt();
    expect((await errorOf(encrypt(KeyId, fixture.client(WEST)))).name).toBe('ThrottlingException');
    await admin().clearFaults();
    await admin().addFault({ kind: 'throttle', operation: ['ListKeys', 'ListAliases'], principal: PRINCIPALS.AKIAADMIN.arn });
    await encrypt();
    await kms.send(new ListKeysCommand({}));
    expect((await errorOf(fixture.client(EAST, 'AKIAADMIN').send(new ListKeysCommand({})))).name).toBe('ThrottlingException');
  });

  it('the key that it names, whatever the request calls it', async () => {
    const other = (await kms.send(new CreateKeyCommand({}))).KeyMetadata!.KeyId!;
    const { CiphertextBlob } = await encrypt();
    for (const keyId of [KeyId, `arn:aws:kms:us-east-1:000000000000:key/${KeyId}`, 'alias/faulty']) {
      await admin().clearFaults();
      await admin().addFault({ kind: 'throttle', keyId });
      for (const name of [KeyId, 'alias/faulty']) expect((await errorOf(encrypt(name))).name).toBe('ThrottlingException');
      expect((await errorOf(kms.send(new DecryptCommand({ CiphertextBlob })))).name).toBe('ThrottlingException');
      await encrypt(other);
    }
  });

  it('as often, and as probably, as it says', async () => {
    await admin().addFault({ kind: 'throttle', count: 2 });
    const seen = await Promise.allSettled([1, 2, 3, 4].map(() => encrypt()));
    expect(seen.filter(({ status }) => status === 'rejected')).toHaveLength(2);
    await admin().addFault({ kind: 'throttle', probability: 0 });
    await encrypt();
  });
});

it('refuses a kind of fault that it does not know', async () => {
  await expect(admin().addFault({ kind: 'earthquake' as never })).rejects.toThrow(/unknown kind/);
});

it('records calls without plaintext or context values', async () => {
  await kms.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from('never-recorded'), EncryptionContext: { purpose: 'hidden-value' } }));
  const calls = await admin().calls({ operation: 'Encrypt', limit: 1 });
  expect(calls).toMatchObject([{ operation: 'Encrypt', region: EAST, principalArn: PRINCIPALS.AKIAROOT.arn, keyArn: `arn:aws:kms:us-east-1:000000000000:key/${KeyId}`, encryptionContextKeys: ['purpose'], readOnly: true }]);
  expect(JSON.stringify(calls)).not.toMatch(/never-recorded|hidden-value|bmV2ZXItcmVjb3JkZWQ/);
  await errorOf(kms.send(new DescribeKeyCommand({ KeyId: 'fake' })));
  expect(await admin().calls({ errorCode: 'NotFoundException' })).toMatchObject([{ errorMessage: "Invalid keyId 'fake'" }]);
});

it('keeps its admin endpoints from pages in a browser', async () => {
  const fromPage = await fetch(`${fixture.kms.url}/_local/faults`, { method: 'DELETE', headers: { origin: 'http://example.com' } });
  expect(fromPage.status).toBe(403);
  expect(await admin().health()).toMatchObject({ ok: true, regions: [EAST, WEST] });
});
