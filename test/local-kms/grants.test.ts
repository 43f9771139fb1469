/** Grants: what they allow, to whom, within which contexts, and how they end. */
import {
  CreateGrantCommand, CreateKeyCommand, DecryptCommand, EncryptCommand, GenerateDataKeyCommand, ListGrantsCommand, ListRetirableGrantsCommand, RetireGrantCommand, RevokeGrantCommand,
  type CreateGrantCommandInput, type KMSClient,
} from '@aws-sdk/client-kms';
import { EAST, errorOf, role, session, startFixture, type Caller, type Fixture } from './fixture';

let fixture: Fixture;
let root: KMSClient;
beforeAll(async () => {
  fixture = await startFixture();
  root = fixture.client();
});
afterAll(() => fixture.stop());

const as = (caller: Caller): KMSClient => fixture.client(EAST, caller);
const newKey = async () => (await root.send(new CreateKeyCommand({}))).KeyMetadata!.KeyId!;
const grant = (KeyId: string, more: Partial<CreateGrantCommandInput> = {}, client = root) =>
  client.send(new CreateGrantCommand({ KeyId, GranteePrincipal: role('nobody'), Operations: ['Encrypt', 'Decrypt'], ...more }));
const Plaintext = Buffer.from('p');

describe('a grant', () => {
  it('lets its grantee do what it names and nothing else, until it is revoked', async () => {
    const KeyId = await newKey();
    const { GrantId } = await grant(KeyId);
    await as('AKIANOBODY').send(new EncryptCommand({ KeyId, Plaintext }));
    expect((await errorOf(as('AKIANOBODY').send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256' })))).name).toBe('AccessDeniedException');
    expect((await errorOf(as('AKIAREWRAP').send(new EncryptCommand({ KeyId, Plaintext })))).name).toBe('AccessDeniedException');
    await root.send(new RevokeGrantCommand({ KeyId, GrantId }));
    expect((await errorOf(as('AKIANOBODY').send(new EncryptCommand({ KeyId, Plaintext })))).name).toBe('AccessDeniedException');
  });

  it.each([
    ['EncryptionContextSubset', { purpose: 'tde', more: 'x' }, true],
    ['EncryptionContextSubset', { more: 'x' }, false],
    ['EncryptionContextEquals', { purpose: 'tde' }, true],
    ['EncryptionContextEquals', { purpose: 'tde', more: 'x' }, false],
  ] as const)('constrained by %s judges the context %j: %s', async (constraint, EncryptionContext, allowed) => {
    const KeyId = await newKey();
    await grant(KeyId, { Constraints: { [constraint]: { purpose: 'tde' } } });
    const call = as('AKIANOBODY').send(new EncryptCommand({ KeyId, Plaintext, EncryptionContext }));
    if (allowed) await call;
    else expect((await errorOf(call)).name).toBe('AccessDeniedException');
  });

  it('is made once for one name and terms, and again for each call without a name', async () => {
    const KeyId = await newKey();
    const [first, second] = [await grant(KeyId, { Name: 'named' }), await grant(KeyId, { Name: 'named' })];
    expect(second.GrantId).toBe(first.GrantId);
    expect(second.GrantToken).not.toBe(first.GrantToken);
    expect((await grant(KeyId, { Name: 'named', Operations: ['Encrypt'] })).GrantId).not.toBe(first.GrantId);
    await grant(KeyId);
    await grant(KeyId);
    expect((await root.send(new ListGrantsCommand({ KeyId }))).Grants).toHaveLength(4);
  });

  it('is retired by its retiring principal, by token or by id, and by nobody else', async () => {
    const KeyId = await newKey();
    const one = await grant(KeyId, { RetiringPrincipal: session('rewrap') });
    const two = await grant(KeyId, { RetiringPrincipal: role('rewrap') });
    expect((await errorOf(as('AKIANOBODY').send(new RetireGrantCommand({ GrantToken: one.GrantToken })))).name).toBe('AccessDeniedException');
    expect((await root.send(new ListRetirableGrantsCommand({ RetiringPrincipal: role('rewrap') }))).Grants).toHaveLength(1);
    await as('AKIAREWRAP').send(new RetireGrantCommand({ GrantToken: one.GrantToken }));
    await as('AKIAREWRAP').send(new RetireGrantCommand({ KeyId: `arn:aws:kms:us-east-1:000000000000:key/${KeyId}`, GrantId: two.GrantId }));
    expect((await root.send(new ListGrantsCommand({ KeyId }))).Grants).toEqual([]);
    expect((await errorOf(root.send(new RetireGrantCommand({ GrantToken: one.GrantToken })))).name).toBe('InvalidGrantTokenException');
  });

  it('of CreateGrant hands on no more than it gives', async () => {
    const KeyId = await newKey();
    await grant(KeyId, { Operations: ['CreateGrant', 'Decrypt'] });
    await grant(KeyId, { GranteePrincipal: role('rewrap'), Operations: ['Decrypt'] }, as('AKIANOBODY'));
    expect((await errorOf(grant(KeyId, { GranteePrincipal: role('rewrap') }, as('AKIANOBODY')))).name).toBe('AccessDeniedException');
  });

  it('shows its token to be effective in a Region that lags behind', async () => {
    const KeyId = await newKey();
    await fixture.kms.admin.addFault({ kind: 'stale-state', operation: 'CreateGrant', ms: 60_000, count: 1 });
    const { GrantToken } = await grant(KeyId);
    expect((await errorOf(as('AKIANOBODY').send(new EncryptCommand({ KeyId, Plaintext })))).name).toBe('AccessDeniedException');
    const { CiphertextBlob } = await as('AKIANOBODY').send(new EncryptCommand({ KeyId, Plaintext, GrantTokens: [GrantToken!] }));
    await as('AKIANOBODY').send(new DecryptCommand({ CiphertextBlob, GrantTokens: [GrantToken!] }));
  });

  it('is not made by a dry run', async () => {
    const KeyId = await newKey();
    expect((await errorOf(grant(KeyId, { DryRun: true }))).name).toBe('DryRunOperationException');
    expect((await root.send(new ListGrantsCommand({ KeyId }))).Grants).toEqual([]);
  });
});
