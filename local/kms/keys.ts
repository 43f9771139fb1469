/** CreateKey, DescribeKey, ListKeys, UpdateKeyDescription, EnableKey, DisableKey, GetKeyLastUsage. */
import { authorize, authorizeByIdentity } from './authorization';
import { operation } from './call';
import { unsupported, validation } from './errors';
import * as fields from './fields';
import { checkState } from './key-state';
import { KEY_SPECS, specificationOf } from './key-specs';
import { findKey, type Key } from './key-lookup';
import { keyMetadata } from './key-metadata';
import { newKeyId, newMaterial } from './material';
import { keyArn, regionalId, type RegionalKey, type SharedKey } from './model';
import { page, pageOutput } from './pages';
import { policyForNewKey } from './policies';
import { catchUpRotation } from './rotation-schedule';
import { checkTags, requestTagValues } from './tags';
import { flag, oneOf, required, text } from './validate';

const SPECS = Object.keys(KEY_SPECS);
const USAGES = ['SIGN_VERIFY', 'ENCRYPT_DECRYPT', 'GENERATE_VERIFY_MAC', 'KEY_AGREEMENT'] as const;

/** The usage of a new key; only symmetric encryption keys may leave it out. */
function usageOf(keySpec: string, asked: string | undefined): string {
  if (asked === undefined && keySpec !== 'SYMMETRIC_DEFAULT') throw validation('You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.');
  const usage = asked ?? 'ENCRYPT_DECRYPT';
  if (!specificationOf(keySpec).usages.includes(usage)) throw validation(`KeyUsage ${usage} is not compatible with KeySpec ${keySpec}`);
  return usage;
}

export const keyOperations = [
  operation('CreateKey', {
    Policy: fields.policy,
    Description: fields.description,
    KeyUsage: oneOf(USAGES),
    CustomerMasterKeySpec: oneOf(SPECS),
    KeySpec: oneOf(SPECS),
    Origin: oneOf(['AWS_KMS', 'EXTERNAL', 'AWS_CLOUDHSM', 'EXTERNAL_KEY_STORE']),
    BypassPolicyLockoutSafetyCheck: flag(),
    Tags: fields.tags,
    MultiRegion: flag(),
  }, async (call, input) => {
    const keySpec = input.KeySpec ?? input.CustomerMasterKeySpec ?? 'SYMMETRIC_DEFAULT';
    const keyUsage = usageOf(keySpec, input.KeyUsage);
    const origin = input.Origin ?? 'AWS_KMS';
    if (origin !== 'AWS_KMS' && origin !== 'EXTERNAL') throw unsupported('The local KMS has no custom key stores');
    if (origin === 'EXTERNAL' && keySpec !== 'SYMMETRIC_DEFAULT') throw unsupported('The local KMS imports material for symmetric encryption keys only');
    const multiRegion = input.MultiRegion ?? false;
    const tags = checkTags(input.Tags ?? []);
    authorizeByIdentity(call, 'CreateKey', '*', { values: { 'kms:keyspec': [keySpec], 'kms:keyusage': [keyUsage], 'kms:keyorigin': [origin], 'kms:multiregion': [String(multiRegion)], ...requestTagValues(tags) } });
    if (tags.length > 0) authorizeByIdentity(call, 'TagResource', '*', { values: requestTagValues(tags) });

    const keyId = newKeyId(multiRegion);
    const arn = keyArn(call.settings.account, call.region, keyId);
    const shared: SharedKey = {
      keyId, keySpec, keyUsage, origin, multiRegion, primaryRegion: call.region, regions: [call.region],
      materials: origin === 'EXTERNAL' ? [] : [await newMaterial(keySpec)],
    };
    const draft: RegionalKey = { keyId, region: call.region, createdAt: call.now, state: origin === 'EXTERNAL' ? 'PendingImport' : 'Enabled', description: input.Description ?? '', policy: '', tags };
    const regional = { ...draft, policy: policyForNewKey(call, { arn, shared, regional: draft, state: draft.state }, input.Policy, input.BypassPolicyLockoutSafetyCheck) };
    call.put('shared', keyId, shared);
    call.put('key', regionalId(call.region, keyId), regional);
    call.trace.keyArn = arn;
    return { KeyMetadata: keyMetadata(call.settings.account, { arn, regional, shared }, call.now) };
  }),

  operation('DescribeKey', { KeyId: fields.keyId, GrantTokens: fields.grantTokens }, (call, { KeyId, GrantTokens }) => {
    const key = findKey(call, KeyId, 'with-aliases');
    authorize(call, 'DescribeKey', key, { grantTokens: GrantTokens });
    return { KeyMetadata: keyMetadata(call.settings.account, key, call.now) };
  }),

  operation('ListKeys', { Limit: fields.limit(1000), Marker: fields.marker }, (call, input) => {
    authorizeByIdentity(call, 'ListKeys');
    const found = page(call.view.childrenOf('key', call.region), ({ keyId }) => keyId, input, 100);
    return pageOutput('Keys', found, ({ keyId }) => ({ KeyId: keyId, KeyArn: keyArn(call.settings.account, call.region, keyId) }));
  }),

  operation('UpdateKeyDescription', { KeyId: fields.keyId, Description: required(text(0, 8192)) }, (call, { KeyId, Description }) => {
    const key = findKey(call, KeyId);
    authorize(call, 'UpdateKeyDescription', key);
    checkState(call, key);
    call.put('key', regionalId(call.region, key.shared.keyId), { ...key.regional, description: Description });
  }),

  operation('EnableKey', { KeyId: fields.keyId }, (call, { KeyId }) => {
    const key = findKey(call, KeyId);
    authorize(call, 'EnableKey', key);
    checkState(call, key);
    if (key.regional.state === 'Enabled') return;
    call.put('key', regionalId(call.region, key.shared.keyId), { ...key.regional, state: 'Enabled' });
    // a rotation that fell due while the key was disabled happens at once
    if (key.shared.primaryRegion === call.region) putIfChanged(key, catchUpRotation(key.shared, call.now), (shared) => call.put('shared', shared.keyId, shared));
  }),

  operation('DisableKey', { KeyId: fields.keyId }, (call, { KeyId }) => {
    const key = findKey(call, KeyId);
    authorize(call, 'DisableKey', key);
    checkState(call, key);
    if (key.regional.state === 'Disabled') return;
    call.put('key', regionalId(call.region, key.shared.keyId), { ...key.regional, state: 'Disabled' });
  }),
];

function putIfChanged(key: Key, shared: SharedKey, put: (shared: SharedKey) => void): void {
  if (shared !== key.shared) put(shared);
}
