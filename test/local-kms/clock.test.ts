/** The clock can be set, runs on from there, and what falls due happens on its date. */
import {
  CancelKeyDeletionCommand, CreateAliasCommand, CreateKeyCommand, DescribeKeyCommand, DisableKeyCommand, DisableKeyRotationCommand, EnableKeyCommand, EnableKeyRotationCommand, EncryptCommand,
  DecryptCommand, GetKeyRotationStatusCommand, ListAliasesCommand, ListKeyRotationsCommand, RotateKeyOnDemandCommand, ScheduleKeyDeletionCommand, type KMSClient,
} from '@aws-sdk/client-kms';
import { DAY, errorOf, startFixture, type Fixture } from './fixture';

let fixture: Fixture;
let kms: KMSClient;
beforeEach(async () => {
  fixture = await startFixture();
  kms = fixture.client();
});
afterEach(() => fixture.stop());

const newKey = async () => (await kms.send(new CreateKeyCommand({}))).KeyMetadata!.KeyId!;
const now = async () => (await fixture.kms.admin.clock()).getTime();
const advance = (ms: number) => fixture.kms.admin.advanceClock(ms);
const rotations = async (KeyId: string) => (await kms.send(new ListKeyRotationsCommand({ KeyId }))).Rotations!;
const near = (a: Date, b: number) => expect(Math.abs(a.getTime() - b)).toBeLessThan(5000);

it('is set by ISO date or milliseconds and keeps running', async () => {
  await fixture.kms.admin.setClock('2030-01-01T00:00:00Z');
  const first = await now();
  expect(first - Date.parse('2030-01-01T00:00:00Z')).toBeLessThan(2000);
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(await now()).toBeGreaterThan(first + 20);
  await fixture.kms.admin.setClock(Date.parse('2031-01-01T00:00:00Z'));
  expect((await kms.send(new CreateKeyCommand({}))).KeyMetadata!.CreationDate!.getUTCFullYear()).toBe(2031);
});

describe('a scheduled deletion', () => {
  it('happens when the window ends and not before, and takes the aliases along', async () => {
    const KeyId = await newKey();
    await kms.send(new CreateAliasCommand({ AliasName: 'alias/dying', TargetKeyId: KeyId }));
    const { CiphertextBlob } = await kms.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from('p') }));
    const { DeletionDate } = await kms.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 7 }));
    near(DeletionDate!, (await now()) + 7 * DAY);
    await advance(7 * DAY - 60_000);
    expect((await kms.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata).toMatchObject({ KeyState: 'PendingDeletion', DeletionDate, Enabled: false });
    await advance(61_000);
    expect(await errorOf(kms.send(new DescribeKeyCommand({ KeyId })))).toMatchObject({ name: 'NotFoundException', message: `Key 'arn:aws:kms:us-east-1:000000000000:key/${KeyId}' does not exist` });
    expect((await errorOf(kms.send(new CancelKeyDeletionCommand({ KeyId })))).name).toBe('NotFoundException');
    expect((await errorOf(kms.send(new DecryptCommand({ CiphertextBlob })))).name).toBe('NotFoundException');
    expect((await kms.send(new ListAliasesCommand({}))).Aliases).toEqual([]);
    expect(await fixture.kms.admin.calls({ operation: 'DeleteKey' })).toMatchObject([{ eventType: 'AwsServiceEvent', readOnly: false }]);
  });

  it('lasts 30 days where nobody says how long, and can be taken back until then, to Disabled', async () => {
    const KeyId = await newKey();
    near((await kms.send(new ScheduleKeyDeletionCommand({ KeyId }))).DeletionDate!, (await now()) + 30 * DAY);
    await advance(29 * DAY);
    expect(await kms.send(new CancelKeyDeletionCommand({ KeyId }))).toMatchObject({ KeyId: `arn:aws:kms:us-east-1:000000000000:key/${KeyId}` });
    await advance(30 * DAY);
    const { KeyMetadata } = await kms.send(new DescribeKeyCommand({ KeyId }));
    expect(KeyMetadata!.KeyState).toBe('Disabled');
    expect(KeyMetadata).not.toHaveProperty('DeletionDate');
  });
});

describe('automatic rotation', () => {
  it('happens every period, each on its date, also when the clock jumps over several', async () => {
    const KeyId = await newKey();
    const start = await now();
    const { CiphertextBlob } = await kms.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from('p') }));
    await kms.send(new EnableKeyRotationCommand({ KeyId, RotationPeriodInDays: 100 }));
    await advance(99 * DAY);
    expect(await rotations(KeyId)).toEqual([]);
    await advance(202 * DAY);
    const done = await rotations(KeyId);
    expect(done.map(({ RotationType }) => RotationType)).toEqual(['AUTOMATIC', 'AUTOMATIC', 'AUTOMATIC']);
    done.forEach(({ RotationDate }, index) => near(RotationDate!, start + (index + 1) * 100 * DAY));
    near((await kms.send(new GetKeyRotationStatusCommand({ KeyId }))).NextRotationDate!, start + 400 * DAY);
    await kms.send(new DecryptCommand({ CiphertextBlob }));
  });

  it('keeps its schedule through an on-demand rotation', async () => {
    const KeyId = await newKey();
    const start = await now();
    await kms.send(new EnableKeyRotationCommand({ KeyId, RotationPeriodInDays: 90 }));
    await advance(10 * DAY);
    await kms.send(new RotateKeyOnDemandCommand({ KeyId }));
    await advance(81 * DAY);
    const done = await rotations(KeyId);
    expect(done.map(({ RotationType }) => RotationType)).toEqual(['ON_DEMAND', 'AUTOMATIC']);
    near(done[1]!.RotationDate!, start + 90 * DAY);
  });

  it('waits while the key is disabled, and catches up once when it is enabled', async () => {
    const KeyId = await newKey();
    const start = await now();
    await kms.send(new EnableKeyRotationCommand({ KeyId, RotationPeriodInDays: 90 }));
    await kms.send(new DisableKeyCommand({ KeyId }));
    await advance(200 * DAY);
    expect(await rotations(KeyId)).toEqual([]);
    await kms.send(new EnableKeyCommand({ KeyId }));
    const done = await rotations(KeyId);
    expect(done).toHaveLength(1);
    near(done[0]!.RotationDate!, start + 200 * DAY);
    near((await kms.send(new GetKeyRotationStatusCommand({ KeyId }))).NextRotationDate!, start + 270 * DAY);
  });

  it('is shown as off while a deletion is pending, and as before when it is taken back', async () => {
    const KeyId = await newKey();
    await kms.send(new EnableKeyRotationCommand({ KeyId }));
    await kms.send(new ScheduleKeyDeletionCommand({ KeyId }));
    expect((await kms.send(new GetKeyRotationStatusCommand({ KeyId }))).KeyRotationEnabled).toBe(false);
    await kms.send(new CancelKeyDeletionCommand({ KeyId }));
    expect(await kms.send(new GetKeyRotationStatusCommand({ KeyId }))).toMatchObject({ KeyRotationEnabled: true, RotationPeriodInDays: 365 });
  });

  it('counts anew from the last time it was enabled', async () => {
    const KeyId = await newKey();
    await kms.send(new EnableKeyRotationCommand({ KeyId, RotationPeriodInDays: 90 }));
    await advance(80 * DAY);
    await kms.send(new DisableKeyRotationCommand({ KeyId }));
    await kms.send(new EnableKeyRotationCommand({ KeyId, RotationPeriodInDays: 90 }));
    near((await kms.send(new GetKeyRotationStatusCommand({ KeyId }))).NextRotationDate!, (await now()) + 90 * DAY);
    await advance(20 * DAY);
    expect(await rotations(KeyId)).toEqual([]);
  });
});
