/** Key and identity policies as parsed documents. Source: IAM User Guide, grammar of the policy language. */
import { limitExceeded, malformedPolicy } from './errors';
import { conditionFault, type ConditionBlock } from './policy-conditions';

export interface Statement {
  readonly sid?: string;
  readonly deny: boolean;
  readonly principals?: readonly string[];
  readonly notPrincipals?: readonly string[];
  readonly actions?: readonly string[];
  readonly notActions?: readonly string[];
  readonly resources?: readonly string[];
  readonly notResources?: readonly string[];
  readonly condition?: ConditionBlock;
}
export interface PolicyDocument { readonly statements: readonly Statement[] }

/** AWS's limit for a key policy, in bytes. */
export const POLICY_SIZE_LIMIT = 32_768;

const parsed = new Map<string, PolicyDocument>();

/** Throws MalformedPolicyDocumentException, or LimitExceededException above 32,768 bytes. */
export function parseKeyPolicy(text: string): PolicyDocument {
  const known = parsed.get(text);
  if (known !== undefined) return known;
  if (Buffer.byteLength(text) > POLICY_SIZE_LIMIT) throw limitExceeded('Policy document is too large');
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw malformedPolicy('Policy document is not valid JSON');
  }
  const policy = readDocument(document, true);
  if (parsed.size > 20_000) parsed.clear();
  parsed.set(text, policy);
  return policy;
}

const identityPolicies = new WeakMap<object, PolicyDocument>();

export function parseIdentityPolicy(document: object): PolicyDocument {
  let policy = identityPolicies.get(document);
  if (policy === undefined) identityPolicies.set(document, (policy = readDocument(document, false)));
  return policy;
}

function readDocument(document: unknown, keyPolicy: boolean): PolicyDocument {
  const { Version, Statement: statements } = asObject(document, 'Policy document');
  if (Version !== undefined && Version !== '2012-10-17' && Version !== '2008-10-17') throw malformedPolicy('Policy document has an invalid Version');
  if (statements === undefined) throw malformedPolicy('Policy document has no Statement');
  return { statements: (Array.isArray(statements) ? statements : [statements]).map((statement) => readStatement(statement, keyPolicy)) };
}

const ELEMENTS = new Set(['Sid', 'Effect', 'Principal', 'NotPrincipal', 'Action', 'NotAction', 'Resource', 'NotResource', 'Condition']);

function readStatement(value: unknown, keyPolicy: boolean): Statement {
  const statement = asObject(value, 'Statement');
  const strange = Object.keys(statement).find((element) => !ELEMENTS.has(element));
  if (strange !== undefined) throw malformedPolicy(`Statement has an unknown element ${strange}`);
  const { Sid, Effect, Principal, NotPrincipal, Action, NotAction, Resource, NotResource, Condition } = statement;
  if (Effect !== 'Allow' && Effect !== 'Deny') throw malformedPolicy('Statement has no Effect of Allow or Deny');
  if (keyPolicy && (Principal === undefined) === (NotPrincipal === undefined)) throw malformedPolicy('Statement of a key policy needs a Principal or a NotPrincipal');
  if (!keyPolicy && (Principal !== undefined || NotPrincipal !== undefined)) throw malformedPolicy('An identity policy names no Principal');
  if (Action !== undefined && NotAction !== undefined) throw malformedPolicy('Statement has both Action and NotAction');
  const fault = Condition === undefined ? undefined : conditionFault(Condition);
  if (fault !== undefined) throw malformedPolicy(fault);
  return {
    sid: Sid as string | undefined,
    deny: Effect === 'Deny',
    principals: readPrincipals(Principal),
    notPrincipals: readPrincipals(NotPrincipal),
    actions: lowerCase(texts(Action, 'Action')),
    notActions: lowerCase(texts(NotAction, 'NotAction')),
    resources: texts(Resource, 'Resource'),
    notResources: texts(NotResource, 'NotResource'),
    condition: Condition as ConditionBlock | undefined,
  };
}

const PRINCIPAL_ARN = /^arn:aws[a-z-]*:(iam::\d{12}:(root|(user|role)\/[\w+=,.@/-]+)|sts::\d{12}:(assumed-role\/[\w+=,.@-]+\/[\w+=,.@-]+|federated-user\/[\w+=,.@-]+))$/;

/** AWS principals as ARNs; `*` for everyone. Service and federated principals match nobody here. */
function readPrincipals(value: unknown): string[] | undefined {
  if (value === undefined) return undefined;
  if (value === '*') return ['*'];
  const principals: string[] = [];
  for (const [kind, listed] of Object.entries(asObject(value, 'Principal'))) {
    const names = texts(listed, 'Principal') ?? [];
    if (kind === 'AWS') principals.push(...names.map(readAwsPrincipal));
    else if (kind === 'Service' || kind === 'Federated' || kind === 'CanonicalUser') principals.push(...names.map((name) => `${kind.toLowerCase()}:${name}`));
    else throw malformedPolicy(`Unknown kind of principal ${kind}`);
  }
  return principals;
}

function readAwsPrincipal(name: string): string {
  if (name === '*') return name;
  if (/^\d{12}$/.test(name)) return `arn:aws:iam::${name}:root`;
  if (!PRINCIPAL_ARN.test(name)) throw malformedPolicy('Policy contains a statement with one or more invalid principals.');
  return name;
}

function texts(value: unknown, element: string): string[] | undefined {
  if (value === undefined) return undefined;
  const values = Array.isArray(value) ? value : [value];
  if (!values.every((one) => typeof one === 'string')) throw malformedPolicy(`${element} is not a string or a list of strings`);
  return values;
}

const lowerCase = (values: string[] | undefined): string[] | undefined => values?.map((value) => value.toLowerCase());

function asObject(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformedPolicy(`${name} is not an object`);
  return value as Record<string, unknown>;
}

/** What KMS gives a key whose creator names no policy. */
export const defaultKeyPolicy = (account: string): string => JSON.stringify({
  Version: '2012-10-17',
  Id: 'key-default-1',
  Statement: [{ Sid: 'Enable IAM User Permissions', Effect: 'Allow', Principal: { AWS: `arn:aws:iam::${account}:root` }, Action: 'kms:*', Resource: '*' }],
});
