/** ReplicateKey and UpdatePrimaryRegion. Regions share identity, material and rotation, and nothing else. */
import { authorize, authorizeByIdentity } from './authorization';
import { operation, type Call } from './call';
import { alreadyExists, notFound, unsupported, validation } from './errors';
import * as fields from './fields';
import { checkState } from './key-state';
import { findKey, keyIn, type Key } from './key-lookup';
import { keyMetadata } from './key-metadata';
import { keyArn, regionalId, type RegionalKey } from './model';
import { policyForNewKey } from './policies';
import { stateRefusal } from './states';
import { checkTags, requestTagValues } from './tags';
import { flag } from './validate';

function checkPrimary(call: Call, { arn, shared }: Key): void {
  if (!shared.multiRegion || shared.primaryRegion !== call.region) throw unsupported(`${arn} is not a multi-region primary key.`);
}

function checkRegion(call: Call, region: string): void {
  if (!call.settings.regions.includes(region)) throw validation(`The region ${region} is not available.`);
}

export const multiRegionOperations = [
  operation('ReplicateKey', {
    KeyId: fields.keyId, ReplicaRegion: fields.region, Policy: fields.policy, BypassPolicyLockoutSafetyCheck: flag(), Description: fields.description, Tags: fields.tags,
  }, (call, input) => {
    const { ReplicaRegion: region } = input;
    const primary = findKey(call, input.KeyId);
    const tags = checkTags(input.Tags ?? []);
    authorize(call, 'ReplicateKey', primary, { values: { 'kms:replicaregion': [region] } });
    authorizeByIdentity(call, 'CreateKey', '*', { values: { 'aws:requestedregion': [region], 'kms:multiregion': ['true'], ...requestTagValues(tags) } });
    if (tags.length > 0) authorizeByIdentity(call, 'TagResource', '*', { values: requestTagValues(tags) });
    checkState(call, primary);
    checkPrimary(call, primary);
    checkRegion(call, region);
    const { keyId } = primary.shared;
    const arn = keyArn(call.settings.account, region, keyId);
    if (primary.shared.regions.includes(region)) throw alreadyExists(`${arn} already exists.`);

    const shared = { ...primary.shared, regions: [...primary.shared.regions, region] };
    const draft: RegionalKey = {
      keyId, region, createdAt: call.now, state: 'Enabled', transition: { state: 'Creating', until: call.now + call.settings.propagationMs },
      description: input.Description ?? '', policy: '', tags,
    };
    const regional = { ...draft, policy: policyForNewKey(call, { arn, shared, regional: draft, state: 'Creating' }, input.Policy, input.BypassPolicyLockoutSafetyCheck) };
    call.put('shared', keyId, shared);
    call.put('key', regionalId(region, keyId), regional);
    return { ReplicaKeyMetadata: { ...keyMetadata(call.settings.account, { arn, regional, shared }, call.now), KeyState: 'Creating', Enabled: false }, ReplicaPolicy: regional.policy, ReplicaTags: tags };
  }),

  operation('UpdatePrimaryRegion', { KeyId: fields.keyId, PrimaryRegion: fields.region }, (call, { KeyId, PrimaryRegion: region }) => {
    const primary = findKey(call, KeyId);
    const context = { values: { 'kms:primaryregion': [region] } };
    authorize(call, 'UpdatePrimaryRegion', primary, context);
    checkState(call, primary);
    checkPrimary(call, primary);
    checkRegion(call, region);
    if (region === call.region) throw validation(`${primary.arn} is already the primary key.`);
    if (!primary.shared.regions.includes(region)) throw notFound(`Key '${keyArn(call.settings.account, region, primary.shared.keyId)}' does not exist`);
    const replica = keyIn(call, region, primary.shared.keyId);
    authorize(call, 'UpdatePrimaryRegion', replica, context);
    for (const { state, arn } of [primary, replica]) {
      const refusal = stateRefusal('UpdatePrimaryRegion', state, arn);
      if (refusal !== undefined) throw refusal;
    }
    const transition = { state: 'Updating', until: call.now + call.settings.propagationMs } as const;
    call.put('shared', primary.shared.keyId, { ...primary.shared, primaryRegion: region });
    for (const { regional } of [primary, replica]) call.put('key', regionalId(regional.region, regional.keyId), { ...regional, transition });
  }),
];
