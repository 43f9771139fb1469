/** Key policies are enforced for the caller that the access key id names. */
import {
  CreateAliasCommand, CreateGrantCommand, CreateKeyCommand, DecryptCommand, DescribeKeyCommand, EncryptCommand, GenerateDataKeyCommand, GenerateMacCommand, GenerateRandomCommand,
  GetKeyPolicyCommand, ListAliasesCommand, ListKeyPoliciesCommand, ListKeysCommand, PutKeyPolicyCommand, ReEncryptCommand, ScheduleKeyDeletionCommand, TagResourceCommand, type KMSClient,
} from '@aws-sdk/client-kms';
import { ACCOUNT, EAST, clientAt, errorOf, role, session, startFixture, type Caller, type Fixture } from './fixture';

let fixture: Fixture;
let root: KMSClient;
beforeAll(async () => {
  fixture = await startFixture();
  root = fixture.client();
});
afterAll(() => fixture.stop());

type Statement = Record<string, unknown>;
const account = { Sid: 'account', Effect: 'Allow', Principal: { AWS: `arn:aws:iam::${ACCOUNT}:root` }, Action: 'kms:*', Resource: '*' };
const policy = (...Statement: Statement[]): string => JSON.stringify({ Version: '2012-10-17', Statement });
const allow = (name: string, Action: string | string[], more: Statement = {}): Statement => ({ Effect: 'Allow', Principal: { AWS: role(name) }, Action, Resource: '*', ...more });
const deny = (Action: string | string[], more: Statement = {}): Statement => ({ Effect: 'Deny', Principal: '*', Action, Resource: '*', ...more });
const as = (caller: Caller): KMSClient => fixture.client(EAST, caller);
const Plaintext = Buffer.from('p');

/** A key under the account statement and these. */
async function keyWith(...statements: Statement[]): Promise<string> {
  return (await root.send(new CreateKeyCommand({ Policy: policy(account, ...statements) }))).KeyMetadata!.KeyId!;
}
const encrypt = (caller: Caller, KeyId: string, EncryptionContext?: Record<string, string>) => as(caller).send(new EncryptCommand({ KeyId, Plaintext, EncryptionContext }));
const denied = async (call: Promise<unknown>): Promise<string> => {
  const seen = await errorOf(call);
  expect(seen).toMatchObject({ name: 'AccessDeniedException', status: 400 });
  return seen.message;
};

describe('who is asking', () => {
  it('is refused when the access key id is unknown', async () => {
    expect(await errorOf(clientAt(fixture.kms.url, EAST, 'AKIAUNKNOWN').send(new ListKeysCommand({})))).toEqual({ name: 'UnrecognizedClientException', message: 'The security token included in the request is invalid.', status: 400 });
  });

  it('is refused when the request is not signed', async () => {
    const response = await fetch(fixture.kms.url, { method: 'POST', headers: { 'x-amz-target': 'TrentService.ListKeys' }, body: '{}' });
    expect(response.status).toBe(400);
    expect(response.headers.get('x-amzn-requestid')).toMatch(/^[0-9a-f-]{36}$/);
    expect(await response.json()).toMatchObject({ __type: 'MissingAuthenticationTokenException' });
  });

  it('is known by a presigned form as well', async () => {
    const url = `${fixture.kms.url}/?X-Amz-Credential=AKIAROOT%2F20261123%2Fus-east-1%2Fkms%2Faws4_request&X-Amz-Signature=ab`;
    expect((await fetch(url, { method: 'POST', headers: { 'x-amz-target': 'TrentService.ListKeys' }, body: '{}' })).status).toBe(200);
  });

  it('may be registered while the server runs', async () => {
    await fixture.kms.admin.addPrincipal('AKIALATE', { arn: session('late') });
    const KeyId = await keyWith(allow('late', 'kms:Encrypt'));
    const late = clientAt(fixture.kms.url, EAST, 'AKIALATE');
    await late.send(new EncryptCommand({ KeyId, Plaintext }));
    late.destroy();
  });
});

describe('an allow', () => {
  it('to the account lets those in whose identity policy allows, and no others', async () => {
    const KeyId = await keyWith();
    await encrypt('AKIAROOT', KeyId);
    await encrypt('AKIAADMIN', KeyId);
    await as('AKIAREADER').send(new DescribeKeyCommand({ KeyId }));
    expect(await denied(encrypt('AKIAREADER', KeyId))).toBe(
      `User: ${session('reader')} is not authorized to perform: kms:Encrypt on resource: arn:aws:kms:us-east-1:${ACCOUNT}:key/${KeyId} because no identity-based policy allows the kms:Encrypt action`);
  });

  it('without the account statement leaves everyone out who is not named, root included', async () => {
    const KeyId = (await root.send(new CreateKeyCommand({ Policy: policy(allow('admin', 'kms:*')), BypassPolicyLockoutSafetyCheck: true }))).KeyMetadata!.KeyId!;
    await encrypt('AKIAADMIN', KeyId);
    expect(await denied(encrypt('AKIAROOT', KeyId))).toContain('because no resource-based policy allows the kms:Encrypt action');
    expect(await denied(encrypt('AKIANOBODY', KeyId))).toContain('because no resource-based policy allows the kms:Encrypt action');
  });

  it.each([
    ['the role', { AWS: role('nobody') }],
    ['the role with a path', { AWS: `arn:aws:iam::${ACCOUNT}:role/some/path/nobody` }],
    ['the session', { AWS: session('nobody') }],
    ['a list', { AWS: [role('other'), role('nobody')] }],
    ['everyone in AWS', { AWS: '*' }],
    ['everyone', '*'],
  ])('naming %s needs no identity policy', async (_name, Principal) => {
    await encrypt('AKIANOBODY', await keyWith({ Effect: 'Allow', Principal, Action: 'kms:Encrypt', Resource: '*' }));
  });

  it.each([
    ['another role', { AWS: role('nobody2') }],
    ['another session of the role', { AWS: `arn:aws:sts::${ACCOUNT}:assumed-role/nobody/other` }],
    ['a service', { Service: 'kms.amazonaws.com' }],
  ])('naming %s does not reach the caller', async (_name, Principal) => {
    await denied(encrypt('AKIANOBODY', await keyWith({ Effect: 'Allow', Principal, Action: 'kms:Encrypt', Resource: '*' })));
  });

  it('covers actions by wildcard and by exception, in any case', async () => {
    await encrypt('AKIANOBODY', await keyWith(allow('nobody', 'kms:Enc*')));
    await encrypt('AKIANOBODY', await keyWith(allow('nobody', 'KMS:encrypt')));
    const excepted = await keyWith({ Effect: 'Allow', Principal: { AWS: role('nobody') }, NotAction: 'kms:Encrypt', Resource: '*' });
    await denied(encrypt('AKIANOBODY', excepted));
    await as('AKIANOBODY').send(new DescribeKeyCommand({ KeyId: excepted }));
  });

  it('covers resources by ARN pattern', async () => {
    await encrypt('AKIANOBODY', await keyWith(allow('nobody', 'kms:Encrypt', { Resource: 'arn:aws:kms:us-east-1:*:key/*' })));
    await denied(encrypt('AKIANOBODY', await keyWith(allow('nobody', 'kms:Encrypt', { Resource: 'arn:aws:kms:us-west-2:*:key/*' }))));
  });

  it('without an action or a resource covers nothing', async () => {
    await denied(encrypt('AKIANOBODY', await keyWith({ Effect: 'Allow', Principal: '*', Resource: '*' })));
    await denied(encrypt('AKIANOBODY', await keyWith({ Effect: 'Allow', Principal: '*', Action: 'kms:*' })));
  });
});

describe('a deny', () => {
  it('wins over every allow, and says so', async () => {
    const KeyId = await keyWith(allow('nobody', 'kms:*'), deny('kms:Encrypt'));
    for (const caller of ['AKIAROOT', 'AKIAADMIN', 'AKIANOBODY'] as const) expect(await denied(encrypt(caller, KeyId))).toMatch(/ with an explicit deny in a resource-based policy$/);
  });

  it('in an identity policy wins as well', async () => {
    await fixture.kms.admin.addPrincipal('AKIADENIED', { arn: session('denied'), identityPolicy: { Statement: [{ Effect: 'Deny', Action: 'kms:Encrypt', Resource: '*' }] } });
    const client = clientAt(fixture.kms.url, EAST, 'AKIADENIED');
    expect(await denied(client.send(new EncryptCommand({ KeyId: await keyWith(allow('denied', 'kms:*')), Plaintext })))).toMatch(/ with an explicit deny in an identity-based policy$/);
    client.destroy();
  });

  it('to all but named principals spares one whose session, role and account are all listed', async () => {
    const others = (...AWS: string[]) => ({ Effect: 'Deny', NotPrincipal: { AWS }, Action: 'kms:Encrypt', Resource: '*' });
    const everyone = allow('nobody', 'kms:*');
    await encrypt('AKIANOBODY', await keyWith(everyone, others(session('nobody'), role('nobody'), ACCOUNT)));
    await denied(encrypt('AKIANOBODY', await keyWith(everyone, others(role('nobody')))));
    await denied(encrypt('AKIAADMIN', await keyWith(everyone, others(session('nobody'), role('nobody'), ACCOUNT))));
  });
});

describe('a condition', () => {
  const context = { purpose: 'canary', application: 'buzztutor' };
  const rows: Array<[string, Record<string, Record<string, unknown>>, boolean]> = [
    ['StringEquals on the context', { StringEquals: { 'kms:EncryptionContext:purpose': 'canary' } }, true],
    ['StringEquals on another value', { StringEquals: { 'kms:EncryptionContext:purpose': 'Canary' } }, false],
    ['StringEquals with the key in another case', { StringEquals: { 'kms:encryptioncontext:PURPOSE': 'canary' } }, true],
    ['StringEquals on an absent pair', { StringEquals: { 'kms:EncryptionContext:user': 'x' } }, false],
    ['StringEqualsIfExists on an absent pair', { StringEqualsIfExists: { 'kms:EncryptionContext:user': 'x' } }, true],
    ['StringNotEquals on an absent pair', { StringNotEquals: { 'kms:EncryptionContext:user': 'x' } }, true],
    ['StringNotEquals on the value', { StringNotEquals: { 'kms:EncryptionContext:purpose': ['canary', 'x'] } }, false],
    ['StringLike', { StringLike: { 'kms:EncryptionContext:purpose': 'can?r*' } }, true],
    ['StringNotLike', { StringNotLike: { 'kms:EncryptionContext:purpose': 'can*' } }, false],
    ['ForAllValues on the context keys', { 'ForAllValues:StringEquals': { 'kms:EncryptionContextKeys': ['purpose', 'application', 'more'] } }, true],
    ['ForAllValues on too few context keys', { 'ForAllValues:StringEquals': { 'kms:EncryptionContextKeys': ['purpose'] } }, false],
    ['ForAnyValue on the context keys', { 'ForAnyValue:StringEquals': { 'kms:EncryptionContextKeys': ['purpose'] } }, true],
    ['ForAnyValue on other context keys', { 'ForAnyValue:StringEquals': { 'kms:EncryptionContextKeys': ['user'] } }, false],
    ['ArnEquals on the role', { ArnEquals: { 'aws:PrincipalArn': role('nobody') } }, true],
    ['ArnLike on roles', { ArnLike: { 'aws:PrincipalArn': `arn:aws:iam::${ACCOUNT}:role/no*` } }, true],
    ['ArnNotEquals on the role', { ArnNotEquals: { 'aws:PrincipalArn': role('nobody') } }, false],
    ['ArnNotLike on another role', { ArnNotLike: { 'aws:PrincipalArn': role('other') } }, true],
    ['the caller account', { StringEquals: { 'kms:CallerAccount': ACCOUNT, 'aws:PrincipalAccount': ACCOUNT } }, true],
    ['Bool on MFA, which no session carries', { Bool: { 'aws:MultiFactorAuthPresent': 'true' } }, false],
    ['BoolIfExists on MFA', { BoolIfExists: { 'aws:MultiFactorAuthPresent': 'true' } }, true],
    ['Null true on an absent key', { Null: { 'kms:ViaService': 'true' } }, true],
    ['Null false on an absent key', { Null: { 'kms:ViaService': 'false' } }, false],
    ['StringEquals on ViaService, which a direct call lacks', { StringEquals: { 'kms:ViaService': 'rds.us-east-1.amazonaws.com' } }, false],
    ['Bool on MultiRegion', { Bool: { 'kms:MultiRegion': 'false' } }, true],
    ['a tag of the key', { StringEquals: { 'aws:ResourceTag/team': 'security' } }, true],
    ['another tag of the key', { StringEquals: { 'aws:ResourceTag/team': 'sales' } }, false],
    ['two operators of which one fails', { StringEquals: { 'kms:EncryptionContext:purpose': 'canary' }, Bool: { 'kms:MultiRegion': 'true' } }, false],
  ];

  it.each(rows)('%s', async (_name, Condition, holds) => {
    const KeyId = await keyWith(allow('nobody', 'kms:Encrypt', { Condition }));
    await root.send(new TagResourceCommand({ KeyId, Tags: [{ TagKey: 'team', TagValue: 'security' }] }));
    if (holds) await encrypt('AKIANOBODY', KeyId, context);
    else await denied(encrypt('AKIANOBODY', KeyId, context));
  });

  it('on the deletion window denies a short one', async () => {
    const KeyId = await keyWith(deny('kms:ScheduleKeyDeletion', { Condition: { NumericLessThan: { 'kms:ScheduleKeyDeletionPendingWindowInDays': '30' } } }));
    await denied(root.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 7 })));
    await root.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 30 }));
  });

  it('on aliases tells how the key was named and what names it has', async () => {
    const byName = await keyWith(allow('nobody', 'kms:Encrypt', { Condition: { StringEquals: { 'kms:RequestAlias': 'alias/asked' } } }));
    await root.send(new CreateAliasCommand({ AliasName: 'alias/asked', TargetKeyId: byName }));
    await encrypt('AKIANOBODY', 'alias/asked');
    await denied(encrypt('AKIANOBODY', byName));
    const having = await keyWith(allow('nobody', 'kms:Encrypt', { Condition: { 'ForAnyValue:StringEquals': { 'kms:ResourceAliases': 'alias/has' } } }));
    await denied(encrypt('AKIANOBODY', having));
    await root.send(new CreateAliasCommand({ AliasName: 'alias/has', TargetKeyId: having }));
    await encrypt('AKIANOBODY', having);
  });

  it('on same-key re-encryption, grant operations, MAC algorithm and request tags holds for the operation that carries it', async () => {
    const same = await keyWith(deny('kms:ReEncrypt*', { Condition: { Bool: { 'kms:ReEncryptOnSameKey': 'true' } } }));
    const { CiphertextBlob } = await encrypt('AKIAROOT', same);
    await denied(root.send(new ReEncryptCommand({ CiphertextBlob, DestinationKeyId: same })));
    await root.send(new ReEncryptCommand({ CiphertextBlob, DestinationKeyId: await keyWith() }));
    const grants = await keyWith(deny('kms:CreateGrant', { Condition: { 'ForAnyValue:StringEquals': { 'kms:GrantOperations': ['Decrypt'] } } }));
    await denied(root.send(new CreateGrantCommand({ KeyId: grants, GranteePrincipal: role('r'), Operations: ['Encrypt', 'Decrypt'] })));
    await root.send(new CreateGrantCommand({ KeyId: grants, GranteePrincipal: role('r'), Operations: ['Encrypt'] }));
    const mac = (await root.send(new CreateKeyCommand({ KeySpec: 'HMAC_256', KeyUsage: 'GENERATE_VERIFY_MAC', Policy: policy(account, deny('kms:GenerateMac', { Condition: { StringEquals: { 'kms:MacAlgorithm': 'HMAC_SHA_256' } } })) }))).KeyMetadata!.KeyId!;
    await denied(root.send(new GenerateMacCommand({ KeyId: mac, Message: Plaintext, MacAlgorithm: 'HMAC_SHA_256' })));
    const tagged = await keyWith(deny('kms:TagResource', { Condition: { StringEquals: { 'aws:RequestTag/team': 'sales' } } }));
    await denied(root.send(new TagResourceCommand({ KeyId: tagged, Tags: [{ TagKey: 'team', TagValue: 'sales' }] })));
    await root.send(new TagResourceCommand({ KeyId: tagged, Tags: [{ TagKey: 'team', TagValue: 'security' }] }));
  });
});

describe('what has no key policy', () => {
  it('is decided by the identity policy: root and those it allows, nobody else', async () => {
    for (const call of [new CreateKeyCommand({}), new ListKeysCommand({}), new ListAliasesCommand({}), new GenerateRandomCommand({ NumberOfBytes: 1 })]) {
      await as('AKIAROOT').send(call as ListKeysCommand);
      await as('AKIAADMIN').send(call as ListKeysCommand);
      expect(await denied(as('AKIANOBODY').send(call as ListKeysCommand))).toMatch(/ on resource: \* because no identity-based policy allows the kms:\w+ action$/);
      await denied(as('AKIAREADER').send(call as ListKeysCommand));
    }
  });

  it('asks for an alias on the alias and on the key', async () => {
    const KeyId = await keyWith(allow('nobody', 'kms:*'));
    expect(await denied(as('AKIANOBODY').send(new CreateAliasCommand({ AliasName: 'alias/mine', TargetKeyId: KeyId })))).toContain(':alias/mine ');
    const closed = await keyWith(deny('kms:CreateAlias'));
    expect(await denied(root.send(new CreateAliasCommand({ AliasName: 'alias/mine', TargetKeyId: closed })))).toContain(`key/${closed} `);
  });
});

describe('the quarantine policy', () => {
  const crypto = ['kms:Encrypt', 'kms:Decrypt', 'kms:ReEncrypt*', 'kms:GenerateDataKey*', 'kms:GenerateMac', 'kms:VerifyMac', 'kms:Sign', 'kms:Verify', 'kms:CreateGrant'];
  const others = { ArnNotEquals: { 'aws:PrincipalArn': role('rewrap') } };
  const quarantine = policy(
    account,
    allow('rewrap', 'kms:ReEncryptFrom'),
    deny(crypto, { Condition: others }),
    deny(crypto.filter((action) => action !== 'kms:ReEncrypt*').concat('kms:ReEncryptTo')),
  );

  it('lets only the re-wrap role move data out, whatever grants or identity policies say', async () => {
    const KeyId = await keyWith(allow('nobody', 'kms:*'));
    const destination = await keyWith(allow('rewrap', 'kms:ReEncryptTo'));
    await root.send(new CreateGrantCommand({ KeyId, GranteePrincipal: role('reader'), Operations: ['Decrypt'] }));
    const { CiphertextBlob } = await encrypt('AKIAROOT', KeyId);
    await as('AKIAREADER').send(new DecryptCommand({ CiphertextBlob }));
    await root.send(new PutKeyPolicyCommand({ KeyId, Policy: quarantine }));

    for (const caller of ['AKIAROOT', 'AKIAADMIN', 'AKIANOBODY', 'AKIAREADER', 'AKIAREWRAP'] as const) {
      for (const call of [
        encrypt(caller, KeyId),
        as(caller).send(new DecryptCommand({ CiphertextBlob })),
        as(caller).send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256' })),
        as(caller).send(new ReEncryptCommand({ CiphertextBlob, DestinationKeyId: KeyId })),
        as(caller).send(new CreateGrantCommand({ KeyId, GranteePrincipal: role('nobody'), Operations: ['Decrypt'] })),
      ]) expect(await denied(call)).toMatch(/ with an explicit deny in a resource-based policy$/);
    }
    await denied(root.send(new ReEncryptCommand({ CiphertextBlob, DestinationKeyId: destination })));
    const moved = await as('AKIAREWRAP').send(new ReEncryptCommand({ CiphertextBlob, DestinationKeyId: destination }));
    expect(Buffer.from((await root.send(new DecryptCommand({ CiphertextBlob: moved.CiphertextBlob }))).Plaintext!)).toEqual(Plaintext);
  });

  it('is read back as it was put', async () => {
    const KeyId = await keyWith();
    await root.send(new PutKeyPolicyCommand({ KeyId, Policy: quarantine }));
    expect(await root.send(new GetKeyPolicyCommand({ KeyId }))).toMatchObject({ Policy: quarantine, PolicyName: 'default' });
    expect((await root.send(new ListKeyPoliciesCommand({ KeyId }))).PolicyNames).toEqual(['default']);
  });
});

describe('a new policy is refused', () => {
  const put = async (...statements: Statement[]) => errorOf(root.send(new PutKeyPolicyCommand({ KeyId: await keyWith(), Policy: policy(account, ...statements) })));

  it.each([
    ['has an unknown condition operator', allow('r', 'kms:*', { Condition: { StringSounds: { 'aws:PrincipalArn': 'x' } } })],
    ['has a condition operator that is not evaluated here', allow('r', 'kms:*', { Condition: { IpAddress: { 'aws:SourceIp': '10.0.0.0/8' } } })],
    ['has a condition key that is not evaluated here', allow('r', 'kms:*', { Condition: { StringEquals: { 'aws:UserAgent': 'x' } } })],
    ['uses a set operator on one context value', allow('r', 'kms:*', { Condition: { 'ForAnyValue:StringEquals': { 'kms:EncryptionContext:a': 'x' } } })],
    ['names no principal', { Effect: 'Allow', Action: 'kms:*', Resource: '*' }],
    ['names what is no principal', { Effect: 'Allow', Principal: { AWS: 'somebody' }, Action: 'kms:*', Resource: '*' }],
    ['has another effect', { Effect: 'Maybe', Principal: '*', Action: 'kms:*', Resource: '*' }],
    ['has an element that is not known', { Effect: 'Allow', Principal: '*', Actions: 'kms:*', Resource: '*' }],
  ])('when a statement %s', async (_name, statement) => {
    expect(await put(statement)).toMatchObject({ name: 'MalformedPolicyDocumentException', status: 400 });
  });

  it('when it denies its caller the next PutKeyPolicy, unless the check is bypassed', async () => {
    const KeyId = await keyWith();
    const Policy = policy(account, deny('kms:PutKeyPolicy'));
    expect((await errorOf(root.send(new PutKeyPolicyCommand({ KeyId, Policy })))).name).toBe('MalformedPolicyDocumentException');
    await root.send(new PutKeyPolicyCommand({ KeyId, Policy, BypassPolicyLockoutSafetyCheck: true }));
    await denied(root.send(new PutKeyPolicyCommand({ KeyId, Policy })));
  });
});
