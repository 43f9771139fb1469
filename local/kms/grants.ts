/** CreateGrant, ListGrants, RevokeGrant, RetireGrant, ListRetirableGrants. */
import { createHash, randomBytes } from 'node:crypto';
import { authorize, authorizeByIdentity } from './authorization';
import { operation, type Call } from './call';
import { accessDenied, dryRun, invalidGrantId, invalidGrantToken, limitExceeded, notFound, validation } from './errors';
import * as fields from './fields';
import { grantsFor, isGrantPrincipal } from './grant-evaluation';
import { checkState } from './key-state';
import { findKey, keyIn, type Key } from './key-lookup';
import { epochSeconds, keyArn, regionalId, type Grant } from './model';
import { page, pageOutput } from './pages';
import { list, oneOf, required, structure, text, textMap, type Field } from './validate';

const GRANTS_PER_KEY = 50_000;
const OPERATIONS = ['Decrypt', 'Encrypt', 'GenerateDataKey', 'GenerateDataKeyWithoutPlaintext', 'ReEncryptFrom', 'ReEncryptTo', 'Sign', 'Verify', 'GetPublicKey',
  'CreateGrant', 'RetireGrant', 'DescribeKey', 'GenerateDataKeyPair', 'GenerateDataKeyPairWithoutPlaintext', 'GenerateMac', 'VerifyMac', 'DeriveSharedSecret'];
const principal = text(1, 256, /^[\w+=,.@:/-]+$/);
const grantIdField = text(1, 128);

const grantPath = (grant: Grant): string => `${regionalId(grant.region, grant.keyId)}/${grant.grantId}`;
const grantsOf = (call: Call, key: Key): Iterable<Grant> => call.view.childrenOf('grant', regionalId(key.regional.region, key.shared.keyId));
const sameTerms = (a: Grant, b: Grant): boolean => termsOf(a) === termsOf(b);
const termsOf = (grant: Grant): string =>
  JSON.stringify([grant.name, grant.granteePrincipal, grant.retiringPrincipal, [...grant.operations].sort(), sortedConstraints(grant)]);
const sortedConstraints = ({ constraints }: Grant): unknown => [constraints?.EncryptionContextEquals, constraints?.EncryptionContextSubset]
  .map((context) => context && Object.entries(context).sort(([a], [b]) => (a < b ? -1 : 1)));

function findGrant(call: Call, key: Key, grantId: string): Grant {
  const grant = call.view.get('grant', `${regionalId(key.regional.region, key.shared.keyId)}/${grantId}`);
  if (grant === undefined) throw notFound(`Grant ID ${grantId} not found`);
  return grant;
}

const shown = (account: string) => (grant: Grant): object => ({
  KeyId: keyArn(account, grant.region, grant.keyId),
  GrantId: grant.grantId,
  ...(grant.name === undefined ? {} : { Name: grant.name }),
  CreationDate: epochSeconds(grant.createdAt),
  GranteePrincipal: grant.granteePrincipal,
  ...(grant.retiringPrincipal === undefined ? {} : { RetiringPrincipal: grant.retiringPrincipal }),
  IssuingAccount: grant.issuingAccount,
  Operations: grant.operations,
  ...(grant.constraints === undefined ? {} : { Constraints: grant.constraints }),
});

/** Who may create grants only by a grant cannot hand on more than that grant gives. */
function checkNotWider(call: Call, key: Key, wanted: Grant, grantTokens: string[] | undefined): void {
  for (const parent of grantsFor(call, 'CreateGrant', key, { grantTokens })) {
    const narrower = wanted.operations.every((name) => parent.operations.includes(name));
    if (narrower && (parent.constraints === undefined || JSON.stringify(sortedConstraints(parent)) === JSON.stringify(sortedConstraints(wanted)))) return;
  }
  throw accessDenied(`User: ${call.principal.arn} is not authorized to perform: kms:CreateGrant on resource: ${key.arn} because the grant that allows it does not cover the requested grant`);
}

export const grantOperations = [
  operation('CreateGrant', {
    KeyId: fields.keyId,
    GranteePrincipal: required(principal),
    RetiringPrincipal: principal,
    Operations: required(list(oneOf(OPERATIONS) as Field<string>)),
    Constraints: structure({ EncryptionContextSubset: textMap(), EncryptionContextEquals: textMap() }),
    GrantTokens: fields.grantTokens,
    Name: text(1, 256, /^[a-zA-Z0-9:/_-]+$/),
    DryRun: fields.dryRunFlag,
  }, (call, input) => {
    const key = findKey(call, input.KeyId);
    if (input.Operations.length === 0) throw validation('Operations must not be empty');
    const { EncryptionContextSubset: subset, EncryptionContextEquals: equal } = input.Constraints ?? {};
    const by = authorize(call, 'CreateGrant', key, {
      encryptionContext: equal ?? subset,
      grantTokens: input.GrantTokens,
      values: {
        'kms:grantoperations': input.Operations,
        'kms:grantisforawsresource': ['false'],
        'kms:granteeprincipal': [input.GranteePrincipal],
        'kms:retiringprincipal': input.RetiringPrincipal === undefined ? undefined : [input.RetiringPrincipal],
        'kms:grantconstrainttype': input.Constraints === undefined ? undefined : [equal === undefined ? 'EncryptionContextSubset' : 'EncryptionContextEquals'],
      },
    });
    const grant: Grant = {
      grantId: createHash('sha256').update(randomBytes(32)).digest('hex'),
      token: randomBytes(48).toString('base64url'),
      keyId: key.shared.keyId,
      region: call.region,
      name: input.Name,
      createdAt: call.now,
      granteePrincipal: input.GranteePrincipal,
      retiringPrincipal: input.RetiringPrincipal,
      issuingAccount: `arn:aws:iam::${call.settings.account}:root`,
      operations: input.Operations,
      constraints: input.Constraints === undefined ? undefined : { ...(subset && { EncryptionContextSubset: subset }), ...(equal && { EncryptionContextEquals: equal }) },
    };
    if (by === 'grant') checkNotWider(call, key, grant, input.GrantTokens);
    checkState(call, key);
    if (input.DryRun) throw dryRun();
    const existing = [...grantsOf(call, key)];
    // only a named grant with the very same terms is idempotent; its token is new
    const twin = input.Name === undefined ? undefined : existing.find((other) => sameTerms(other, grant));
    if (twin === undefined && existing.length >= GRANTS_PER_KEY) throw limitExceeded(`The limit of ${GRANTS_PER_KEY} grants for ${key.arn} has been reached.`);
    const stored = { ...grant, grantId: twin?.grantId ?? grant.grantId, createdAt: twin?.createdAt ?? grant.createdAt };
    call.put('grant', grantPath(stored), stored);
    return { GrantToken: stored.token, GrantId: stored.grantId };
  }),

  operation('ListGrants', { KeyId: fields.keyId, GrantId: grantIdField, GranteePrincipal: principal, Limit: fields.limit(100), Marker: fields.marker }, (call, input) => {
    const key = findKey(call, input.KeyId);
    authorize(call, 'ListGrants', key);
    const listed = [...grantsOf(call, key)].filter((grant) => (input.GrantId ?? grant.grantId) === grant.grantId && (input.GranteePrincipal ?? grant.granteePrincipal) === grant.granteePrincipal);
    return pageOutput('Grants', page(listed, ({ grantId }) => grantId, input, 50), shown(call.settings.account));
  }),

  operation('RevokeGrant', { KeyId: fields.keyId, GrantId: required(grantIdField), DryRun: fields.dryRunFlag }, (call, { KeyId, GrantId, DryRun }) => {
    const key = findKey(call, KeyId);
    authorize(call, 'RevokeGrant', key);
    const grant = findGrant(call, key, GrantId);
    if (DryRun) throw dryRun();
    call.remove('grant', grantPath(grant));
  }),

  operation('RetireGrant', { GrantToken: text(1, 8192), KeyId: fields.optionalKeyId, GrantId: grantIdField, DryRun: fields.dryRunFlag }, (call, input) => {
    const grant = grantToRetire(call, input);
    const key = keyIn(call, call.region, grant.keyId);
    call.trace.keyArn = key.arn;
    const own = isGrantPrincipal(grant.retiringPrincipal, call.principal) || (grant.operations.includes('RetireGrant') && isGrantPrincipal(grant.granteePrincipal, call.principal));
    if (!own) authorize(call, 'RetireGrant', key);
    if (input.DryRun) throw dryRun();
    call.remove('grant', grantPath(grant));
  }),

  operation('ListRetirableGrants', { RetiringPrincipal: required(principal), Limit: fields.limit(100), Marker: fields.marker }, (call, input) => {
    authorizeByIdentity(call, 'ListRetirableGrants');
    const listed: Grant[] = [];
    for (const key of call.view.childrenOf('key', call.region)) {
      for (const grant of call.view.childrenOf('grant', regionalId(call.region, key.keyId))) if (grant.retiringPrincipal === input.RetiringPrincipal) listed.push(grant);
    }
    return pageOutput('Grants', page(listed, ({ grantId }) => grantId, input, 50), shown(call.settings.account));
  }),
];

function grantToRetire(call: Call, { GrantToken, KeyId, GrantId }: { GrantToken?: string; KeyId?: string; GrantId?: string }): Grant {
  if (GrantToken !== undefined) {
    for (const { keyId } of call.truth.childrenOf('key', call.region)) {
      for (const grant of call.truth.childrenOf('grant', regionalId(call.region, keyId))) if (grant.token === GrantToken) return grant;
    }
    throw invalidGrantToken('The grant token is not valid.');
  }
  if (KeyId === undefined || GrantId === undefined) throw validation('Either a grant token, or a key ARN and a grant ID, must be specified.');
  if (!/^[0-9a-f]{64}$/.test(GrantId)) throw invalidGrantId('The grant ID is not valid.');
  return findGrant(call, findKey(call, KeyId), GrantId);
}
