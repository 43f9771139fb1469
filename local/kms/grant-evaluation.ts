/** Does a grant allow it? Source: AWS KMS Developer Guide, "Grants in AWS KMS", grant constraints. */
import type { Call } from './call';
import type { Key } from './key-lookup';
import { regionalId, type Grant } from './model';
import { isRoleOf, type Principal } from './principals';

export interface GrantedContext { readonly encryptionContext?: Record<string, string>; readonly grantTokens?: readonly string[] }

/** Operations whose input carries an encryption context; constraints say nothing about the others. */
const CONSTRAINED = new Set(['Encrypt', 'Decrypt', 'ReEncryptFrom', 'ReEncryptTo', 'GenerateDataKey', 'GenerateDataKeyWithoutPlaintext', 'GenerateDataKeyPair', 'GenerateDataKeyPairWithoutPlaintext']);

/** A grant names its principal exactly; the account stands for nobody in it. */
export const isGrantPrincipal = (arn: string | undefined, principal: Principal): boolean =>
  arn !== undefined && (arn === principal.arn || isRoleOf(arn, principal));

export function constraintsHold(grant: Grant, action: string, context: Record<string, string>): boolean {
  if (grant.constraints === undefined || !CONSTRAINED.has(action)) return true;
  const { EncryptionContextSubset: subset, EncryptionContextEquals: equal } = grant.constraints;
  if (subset !== undefined && !Object.entries(subset).every(([key, value]) => context[key] === value)) return false;
  return equal === undefined || (Object.keys(equal).length === Object.keys(context).length && Object.entries(equal).every(([key, value]) => context[key] === value));
}

/** The grants of the key that let the caller do `action`: those that have arrived, and those whose token is shown. */
export function* grantsFor(call: Call, action: string, key: Key, context: GrantedContext): Generator<Grant> {
  const parent = regionalId(key.regional.region, key.shared.keyId);
  const fits = (grant: Grant): boolean => grant.operations.includes(action) && isGrantPrincipal(grant.granteePrincipal, call.principal)
    && constraintsHold(grant, action, context.encryptionContext ?? {});
  for (const grant of call.view.childrenOf('grant', parent)) if (fits(grant)) yield grant;
  if (context.grantTokens === undefined || context.grantTokens.length === 0) return;
  for (const grant of call.truth.childrenOf('grant', parent)) if (context.grantTokens.includes(grant.token) && fits(grant)) yield grant;
}

export const grantAllows = (call: Call, action: string, key: Key, context: GrantedContext): boolean =>
  grantsFor(call, action, key, context).next().done === false;
