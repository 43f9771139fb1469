/** Multi-Region keys: what Regions share, what they keep to themselves, how primaries move and go. */
import {
  CancelKeyDeletionCommand, CreateAliasCommand, CreateGrantCommand, CreateKeyCommand, DecryptCommand, DescribeKeyCommand, DisableKeyCommand, EnableKeyRotationCommand, EncryptCommand,
  GenerateDataKeyCommand, GetKeyPolicyCommand, GetKeyRotationStatusCommand, ListAliasesCommand, ListGrantsCommand, ListResourceTagsCommand, PutKeyPolicyCommand, ReplicateKeyCommand,
  RotateKeyOnDemandCommand, ScheduleKeyDeletionCommand, TagResourceCommand, UpdateKeyDescriptionCommand, UpdatePrimaryRegionCommand, type KMSClient,
} from '@aws-sdk/client-kms';
import { DAY, EAST, WEST, errorOf, role, startFixture, until, type Fixture } from './fixture';

let fixture: Fixture;
let east: KMSClient;
let west: KMSClient;
beforeAll(async () => {
  fixture = await startFixture();
  east = fixture.client(EAST);
  west = fixture.client(WEST);
});
afterAll(() => fixture.stop());

const describeIn = async (client: KMSClient, KeyId: string) => (await client.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata!;
const stateIn = async (client: KMSClient, KeyId: string) => (await describeIn(client, KeyId)).KeyState;
const secret = Buffer.from('a secret');

async function replicated(): Promise<string> {
  const KeyId = (await east.send(new CreateKeyCommand({ MultiRegion: true }))).KeyMetadata!.KeyId!;
  await east.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: WEST }));
  await until(async () => (await stateIn(west, KeyId)) === 'Enabled');
  return KeyId;
}

it('decrypts in each Region what another encrypted, and answers with its own ARN', async () => {
  const KeyId = await replicated();
  const { CiphertextBlob } = await east.send(new EncryptCommand({ KeyId, Plaintext: secret }));
  const opened = await west.send(new DecryptCommand({ CiphertextBlob }));
  expect(Buffer.from(opened.Plaintext!)).toEqual(secret);
  expect(opened.KeyId).toBe(`arn:aws:kms:us-west-2:000000000000:key/${KeyId}`);
});

it('keeps state, policy, description, tags, aliases and grants to the Region', async () => {
  const KeyId = await replicated();
  await east.send(new DisableKeyCommand({ KeyId }));
  await east.send(new UpdateKeyDescriptionCommand({ KeyId, Description: 'east' })).catch(() => undefined);
  await east.send(new TagResourceCommand({ KeyId, Tags: [{ TagKey: 'a', TagValue: 'b' }] }));
  await east.send(new CreateAliasCommand({ AliasName: 'alias/own', TargetKeyId: KeyId }));
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: { AWS: '000000000000' }, Action: 'kms:*', Resource: '*' }] });
  await east.send(new PutKeyPolicyCommand({ KeyId, Policy }));
  await west.send(new CreateGrantCommand({ KeyId, GranteePrincipal: role('r'), Operations: ['Decrypt'] }));

  expect(await describeIn(west, KeyId)).toMatchObject({ KeyState: 'Enabled', Description: '' });
  await west.send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256' }));
  expect((await west.send(new ListResourceTagsCommand({ KeyId }))).Tags).toEqual([]);
  expect((await west.send(new ListAliasesCommand({ KeyId }))).Aliases).toEqual([]);
  expect((await west.send(new GetKeyPolicyCommand({ KeyId }))).Policy).toContain('key-default-1');
  expect((await east.send(new ListGrantsCommand({ KeyId }))).Grants).toEqual([]);
  expect((await errorOf(east.send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256' })))).name).toBe('DisabledException');
});

it('shares rotation, which only the primary sets and triggers', async () => {
  const KeyId = await replicated();
  for (const command of [new EnableKeyRotationCommand({ KeyId }), new RotateKeyOnDemandCommand({ KeyId })]) {
    expect((await errorOf(west.send(command as EnableKeyRotationCommand))).name).toBe('UnsupportedOperationException');
  }
  await east.send(new EnableKeyRotationCommand({ KeyId, RotationPeriodInDays: 100 }));
  expect(await west.send(new GetKeyRotationStatusCommand({ KeyId }))).toMatchObject({ KeyRotationEnabled: true, RotationPeriodInDays: 100 });
  await east.send(new RotateKeyOnDemandCommand({ KeyId }));
  await fixture.kms.admin.advanceClock(1000);
  const [here, there] = [await describeIn(east, KeyId), await describeIn(west, KeyId)];
  expect(there.CurrentKeyMaterialId).toBe(here.CurrentKeyMaterialId);
});

describe('moving the primary', () => {
  it('updates both keys for a moment, during which they decrypt and refuse to be disabled', async () => {
    const slow = await startFixture({ propagationMs: 60_000 });
    const [slowEast, slowWest] = [slow.client(EAST), slow.client(WEST)];
    const KeyId = (await slowEast.send(new CreateKeyCommand({ MultiRegion: true }))).KeyMetadata!.KeyId!;
    await slowEast.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: WEST }));
    expect((await errorOf(slowWest.send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256' })))).message).toMatch(/ is creating\.$/);
    expect((await errorOf(slowEast.send(new UpdatePrimaryRegionCommand({ KeyId, PrimaryRegion: WEST })))).message).toMatch(/us-west-2.* is creating\.$/);
    await slow.kms.admin.advanceClock(61_000);
    await slowEast.send(new UpdatePrimaryRegionCommand({ KeyId, PrimaryRegion: WEST }));
    for (const client of [slowEast, slowWest]) {
      expect(await stateIn(client, KeyId)).toBe('Updating');
      await client.send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256' }));
      expect((await errorOf(client.send(new DisableKeyCommand({ KeyId })))).message).toMatch(/ is updating\.$/);
    }
    await slow.kms.admin.advanceClock(61_000);
    expect(await describeIn(slowWest, KeyId)).toMatchObject({ KeyState: 'Enabled', MultiRegionConfiguration: { MultiRegionKeyType: 'PRIMARY', PrimaryKey: { Region: WEST }, ReplicaKeys: [{ Region: EAST }] } });
    expect(await describeIn(slowEast, KeyId)).toMatchObject({ KeyState: 'Enabled', MultiRegionConfiguration: { MultiRegionKeyType: 'REPLICA' } });
    await slow.stop();
  });

  it('needs both keys enabled and a replica in the new Region', async () => {
    const KeyId = await replicated();
    await west.send(new DisableKeyCommand({ KeyId }));
    expect((await errorOf(east.send(new UpdatePrimaryRegionCommand({ KeyId, PrimaryRegion: WEST })))).message).toMatch(/us-west-2.* is disabled\.$/);
    const alone = (await east.send(new CreateKeyCommand({ MultiRegion: true }))).KeyMetadata!.KeyId!;
    expect((await errorOf(east.send(new UpdatePrimaryRegionCommand({ KeyId: alone, PrimaryRegion: WEST })))).name).toBe('NotFoundException');
  });
});

describe('deleting a primary that has replicas', () => {
  it('waits for the last replica to be gone, then for its own window', async () => {
    const KeyId = await replicated();
    const answer = await east.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 10 }));
    expect(answer).toMatchObject({ KeyState: 'PendingReplicaDeletion', PendingWindowInDays: 10 });
    expect(answer).not.toHaveProperty('DeletionDate');
    expect(await describeIn(east, KeyId)).toMatchObject({ PendingDeletionWindowInDays: 10, Enabled: false });
    expect((await errorOf(east.send(new EncryptCommand({ KeyId, Plaintext: secret })))).message).toContain('is pending deletion');

    await west.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 7 }));
    await fixture.kms.admin.advanceClock(6 * DAY);
    expect(await stateIn(east, KeyId)).toBe('PendingReplicaDeletion');
    const before = (await fixture.kms.admin.clock()).getTime();
    await fixture.kms.admin.advanceClock(2 * DAY);
    expect((await errorOf(west.send(new DescribeKeyCommand({ KeyId })))).name).toBe('NotFoundException');
    const primary = await describeIn(east, KeyId);
    expect(primary.KeyState).toBe('PendingDeletion');
    // the window began when the replica went, a day after `before`, not when anybody looked
    expect(Math.abs(primary.DeletionDate!.getTime() - (before + 11 * DAY))).toBeLessThan(60_000);
    await fixture.kms.admin.advanceClock(11 * DAY);
    expect(await errorOf(east.send(new DescribeKeyCommand({ KeyId })))).toMatchObject({ name: 'NotFoundException', message: `Key 'arn:aws:kms:us-east-1:000000000000:key/${KeyId}' does not exist` });
  });

  it('can be taken back, to Disabled, and leaves the replica usable meanwhile', async () => {
    const KeyId = await replicated();
    await east.send(new ScheduleKeyDeletionCommand({ KeyId }));
    await west.send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256' }));
    await east.send(new CancelKeyDeletionCommand({ KeyId }));
    expect(await stateIn(east, KeyId)).toBe('Disabled');
  });

  it('refuses a new replica where one is pending deletion', async () => {
    const KeyId = await replicated();
    await west.send(new ScheduleKeyDeletionCommand({ KeyId }));
    expect((await errorOf(east.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: WEST })))).name).toBe('AlreadyExistsException');
  });
});

it('refuses a Region that it does not serve', async () => {
  expect((await errorOf(fixture.client('eu-north-1').send(new DescribeKeyCommand({ KeyId: 'x' })))).name).toBe('InvalidSignatureException');
});
