/** Quotas: the documented rates, the shared symmetric one, hot keys, and no quota at all. */
import { CreateKeyCommand, DescribeKeyCommand, DisableKeyCommand, EnableKeyCommand, EncryptCommand, GenerateRandomCommand } from '@aws-sdk/client-kms';
import { Quotas, type Cost } from '../../local/kms/quotas';
import { costsOf } from '../../local/kms/request-costs';
import { EAST, WEST, errorOf, startFixture } from './fixture';

/** How many requests of that cost pass at one moment, and one second later. */
function burst(setting: ConstructorParameters<typeof Quotas>[0], costs: Cost[], most = 200_000): [number, number] {
  let now = 0;
  const quotas = new Quotas(setting, () => now);
  const run = () => {
    for (let count = 0; count < most; count += 1) {
      try {
        quotas.spend('000000000000', costs);
      } catch {
        return count;
      }
    }
    return most;
  };
  const first = run();
  now += 1000;
  return [first, run()];
}

describe('the documented rates', () => {
  it.each([
    ['Decrypt', 'us-east-1', {}, 100_000],
    ['Encrypt', 'us-east-2', {}, 20_000],
    ['GenerateMac', 'eu-north-1', {}, 10_000],
    ['Decrypt', 'us-east-1', { EncryptionAlgorithm: 'RSAES_OAEP_SHA_256' }, 1000],
    ['Sign', 'us-east-1', { SigningAlgorithm: 'ECDSA_SHA_256' }, 1000],
    ['GenerateDataKeyPair', 'us-east-1', { KeyPairSpec: 'RSA_3072' }, 4],
    ['GenerateDataKeyPair', 'us-east-1', { KeyPairSpec: 'ECC_NIST_P256' }, 100],
    ['CreateKey', 'us-east-1', {}, 5],
    ['DisableKey', 'us-east-1', {}, 5],
    ['TagResource', 'us-east-1', {}, 10],
    ['ScheduleKeyDeletion', 'us-east-1', {}, 15],
    ['PutKeyPolicy', 'us-east-1', {}, 15],
    ['CreateGrant', 'us-east-1', {}, 50],
    ['ListGrants', 'us-east-1', {}, 100],
    ['ListAliases', 'us-east-1', {}, 500],
    ['GetKeyPolicy', 'us-east-1', {}, 1000],
    ['DescribeKey', 'us-east-1', {}, 2000],
    ['ReplicateKey', 'us-east-1', { ReplicaRegion: 'us-west-2' }, 2],
    ['UpdatePrimaryRegion', 'us-east-1', { PrimaryRegion: 'us-west-2' }, 5],
  ])('%s in %s with %j passes %s times a second', (operation, region, request, rate) => {
    const costs = costsOf(operation, region, request);
    const [first, second] = burst('aws', costs);
    expect(first).toBe(rate);
    expect(second).toBe(rate);
  });

  it('are shared by the symmetric operations, and settable', () => {
    const quotas = new Quotas({ symmetric: 3 }, () => 0);
    for (const operation of ['Encrypt', 'Decrypt', 'ReEncrypt']) quotas.spend('0', costsOf(operation, EAST, {}));
    expect(() => quotas.spend('0', costsOf('GenerateDataKey', EAST, {}))).toThrow(/exceeded the rate/);
    quotas.spend('0', costsOf('GenerateDataKey', WEST, {}));
  });
});

describe('over the wire', () => {
  it('throttles in one Region with the service\'s words, and recovers', async () => {
    const fixture = await startFixture({ quotas: { symmetric: 5 } });
    const kms = fixture.client();
    const answers = await Promise.all(Array.from({ length: 20 }, () => kms.send(new GenerateRandomCommand({ NumberOfBytes: 1 })).then(() => 'ok', (error: Error) => `${error.name}: ${error.message}`)));
    expect(answers.filter((answer) => answer === 'ok').length).toBeLessThan(12);
    expect(answers).toContain('ThrottlingException: You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.');
    await fixture.client(WEST).send(new GenerateRandomCommand({ NumberOfBytes: 1 }));
    await new Promise((resolve) => setTimeout(resolve, 300));
    await kms.send(new GenerateRandomCommand({ NumberOfBytes: 1 }));
    await fixture.kms.admin.setQuotas('off');
    await Promise.all(Array.from({ length: 30 }, () => kms.send(new GenerateRandomCommand({ NumberOfBytes: 1 }))));
    await fixture.stop();
  });

  it('throttles a hot key below its quota where so asked, and no other key', async () => {
    const fixture = await startFixture({ quotas: { hotKey: 2, EnableKey: 1000, DisableKey: 1000 } });
    const kms = fixture.client();
    const [hot, cool] = [(await kms.send(new CreateKeyCommand({}))).KeyMetadata!.KeyId!, (await kms.send(new CreateKeyCommand({}))).KeyMetadata!.KeyId!];
    await kms.send(new DisableKeyCommand({ KeyId: hot }));
    await kms.send(new EnableKeyCommand({ KeyId: hot }));
    expect((await errorOf(kms.send(new DisableKeyCommand({ KeyId: hot })))).name).toBe('ThrottlingException');
    await kms.send(new DisableKeyCommand({ KeyId: cool }));
    await kms.send(new EncryptCommand({ KeyId: hot, Plaintext: Buffer.from('p') }));
    expect((await kms.send(new DescribeKeyCommand({ KeyId: hot }))).KeyMetadata!.KeyState).toBe('Enabled');
    await fixture.stop();
  });
});
