/** Turns a decision into AccessDeniedException in the service's words, and gives conditions their values. */
import type { Call } from './call';
import { accessDenied } from './errors';
import { grantAllows } from './grant-evaluation';
import type { Key } from './key-lookup';
import { aliasArn } from './model';
import type { ConditionValues } from './policy-conditions';
import { parseKeyPolicy } from './policy-document';
import { decide } from './policy-evaluation';
import { principalArn } from './principals';

/** What one operation adds to the request's context. Keys are condition keys in lower case. */
export interface RequestContext {
  readonly encryptionContext?: Record<string, string>;
  readonly grantTokens?: readonly string[];
  readonly values?: Record<string, readonly string[] | undefined>;
}

/** Throws AccessDeniedException unless the caller may do `action` (without `kms:`) on the key. */
export function authorize(call: Call, action: string, key: Key, context: RequestContext = {}): 'policy' | 'grant' {
  call.trace.keyArn ??= key.arn;
  const decision = decide({
    principal: call.principal,
    action: `kms:${action}`,
    resource: key.arn,
    keyPolicy: parseKeyPolicy(key.regional.policy),
    conditions: conditionValues(call, key, context),
    granted: () => grantAllows(call, action, key, context),
  });
  if (!decision.allowed) throw refusal(call, action, key.arn, decision.reason);
  return decision.by;
}

/** For what has no key policy: the identity policy decides, `*` or an alias ARN being the resource. */
export function authorizeByIdentity(call: Call, action: string, resource = '*', context: RequestContext = {}): void {
  const decision = decide({ principal: call.principal, action: `kms:${action}`, resource, conditions: conditionValues(call, undefined, context) });
  if (!decision.allowed) throw refusal(call, action, resource, decision.reason);
}

const refusal = (call: Call, action: string, resource: string, reason: string): Error =>
  accessDenied(`User: ${call.principal.arn} is not authorized to perform: kms:${action} on resource: ${resource} ${reason}`);

/** Values are looked up only when a condition asks for them. Keys that AWS would not send for a direct call are absent. */
export function conditionValues(call: Call, key: Key | undefined, context: RequestContext = {}): ConditionValues {
  const encryptionContext = context.encryptionContext ?? {};
  return (name) => {
    if (name.startsWith('kms:encryptioncontext:')) return pick(encryptionContext, name.slice('kms:encryptioncontext:'.length));
    if (name.startsWith('aws:resourcetag/')) {
      const wanted = name.slice('aws:resourcetag/'.length);
      const tag = key?.regional.tags.find(({ TagKey }) => TagKey.toLowerCase() === wanted);
      return tag === undefined ? undefined : [tag.TagValue];
    }
    if (context.values !== undefined && name in context.values) return context.values[name];
    return general(name, call, key, encryptionContext);
  };
}

function general(name: string, call: Call, key: Key | undefined, encryptionContext: Record<string, string>): readonly string[] | undefined {
  const { principal } = call;
  switch (name) {
    case 'aws:principalarn': return [principalArn(principal)];
    case 'aws:principalaccount':
    case 'kms:calleraccount': return [principal.account];
    case 'aws:principaltype': return [principal.isRoot ? 'Account' : principal.role === undefined ? 'User' : 'AssumedRole'];
    case 'aws:requestedregion': return [call.region];
    case 'aws:viaawsservice': return ['false'];
    case 'kms:encryptioncontextkeys': return nonEmpty(Object.keys(encryptionContext));
    case 'kms:requestalias': return key?.requestAlias === undefined ? undefined : [key.requestAlias];
    case 'kms:resourcealiases': return key === undefined ? undefined : nonEmpty(aliasesOf(call, key));
    case 'kms:multiregion': return key === undefined ? undefined : [String(key.shared.multiRegion)];
    case 'kms:multiregionkeytype': return key?.shared.multiRegion ? [key.shared.primaryRegion === key.regional.region ? 'PRIMARY' : 'REPLICA'] : undefined;
    case 'kms:keyspec': return key && [key.shared.keySpec];
    case 'kms:keyusage': return key && [key.shared.keyUsage];
    case 'kms:keyorigin': return key && [key.shared.origin];
    default: return undefined;
  }
}

const nonEmpty = (values: string[]): string[] | undefined => (values.length === 0 ? undefined : values);

function aliasesOf(call: Call, key: Key): string[] {
  const names: string[] = [];
  for (const alias of call.view.childrenOf('alias', call.region)) if (alias.keyId === key.shared.keyId) names.push(alias.name);
  return names;
}

function pick(context: Record<string, string>, wanted: string): string[] | undefined {
  for (const key in context) if (key.toLowerCase() === wanted) return [context[key]!];
  return undefined;
}

/** Alias operations are asked on the alias, where only an identity policy can answer, and on each key. */
export const authorizeAlias = (call: Call, action: string, name: string): void =>
  authorizeByIdentity(call, action, aliasArn(call.settings.account, call.region, name));
