/** GetKeyPolicy, PutKeyPolicy, ListKeyPolicies, and the checks that every new policy passes. */
import { authorize, conditionValues } from './authorization';
import { operation, type Call } from './call';
import { malformedPolicy, notFound, validation } from './errors';
import * as fields from './fields';
import { findKey, type Key } from './key-lookup';
import { regionalId } from './model';
import { page, pageOutput } from './pages';
import { defaultKeyPolicy, parseKeyPolicy } from './policy-document';
import { decide } from './policy-evaluation';
import { flag, required, text } from './validate';

const POLICY_NAME = 'default';
const policyName = text(1, 128, /^[\w]+$/);

/** Throws MalformedPolicyDocumentException where the caller would lock itself out of the policy. */
function checkLockout(call: Call, key: Key, policy: string): void {
  const question = { principal: call.principal, action: 'kms:PutKeyPolicy', resource: key.arn, keyPolicy: parseKeyPolicy(policy), conditions: conditionValues(call, key) };
  // delegating to the account is enough: whether an identity policy then allows it is not the key policy's matter
  const asAccount = { ...call.principal, identityPolicy: ALLOW_ALL };
  if (!decide({ ...question, principal: asAccount }).allowed) throw malformedPolicy('The new key policy will not allow you to update the key policy in the future.');
}
const ALLOW_ALL = { Statement: { Effect: 'Allow', Action: '*', Resource: '*' } };

/** The given policy, checked, or the default one. */
export function policyForNewKey(call: Call, key: Key, given: string | undefined, bypassLockoutCheck = false): string {
  if (given === undefined) return defaultKeyPolicy(call.settings.account);
  parseKeyPolicy(given);
  if (!bypassLockoutCheck) checkLockout(call, key, given);
  return given;
}

export const policyOperations = [
  operation('GetKeyPolicy', { KeyId: fields.keyId, PolicyName: policyName }, (call, { KeyId, PolicyName = POLICY_NAME }) => {
    const key = findKey(call, KeyId);
    authorize(call, 'GetKeyPolicy', key, { values: { 'kms:policyname': [PolicyName] } });
    if (PolicyName !== POLICY_NAME) throw notFound(`No such policy exists`);
    return { Policy: key.regional.policy, PolicyName };
  }),

  operation('PutKeyPolicy', { KeyId: fields.keyId, PolicyName: policyName, Policy: required(fields.policy), BypassPolicyLockoutSafetyCheck: flag() }, (call, input) => {
    const { PolicyName = POLICY_NAME, Policy, BypassPolicyLockoutSafetyCheck: bypass = false } = input;
    const key = findKey(call, input.KeyId);
    authorize(call, 'PutKeyPolicy', key, { values: { 'kms:policyname': [PolicyName], 'kms:bypasspolicylockoutsafetycheck': [String(bypass)] } });
    if (PolicyName !== POLICY_NAME) throw validation('Invalid policy name. The only valid policy name is default.');
    const policy = policyForNewKey(call, key, Policy, bypass);
    call.put('key', regionalId(call.region, key.shared.keyId), { ...key.regional, policy });
  }),

  operation('ListKeyPolicies', { KeyId: fields.keyId, Limit: fields.limit(1000), Marker: fields.marker }, (call, input) => {
    authorize(call, 'ListKeyPolicies', findKey(call, input.KeyId));
    return pageOutput('PolicyNames', page([POLICY_NAME], (name) => name, input, 100), (name) => name);
  }),
];
