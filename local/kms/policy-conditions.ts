/** Condition operators and keys of key policies. What is not evaluated here is refused when the policy is put. */

/** Values of a condition key (lower case) for one request; undefined where the request does not carry the key. */
export type ConditionValues = (key: string) => readonly string[] | undefined;
export type ConditionBlock = Readonly<Record<string, Readonly<Record<string, string | number | boolean | ReadonlyArray<string | number | boolean>>>>>;

const patterns = new Map<string, RegExp>();

/** `*` any run, `?` any one character; everything else stands for itself. */
export function matchesPattern(pattern: string, value: string): boolean {
  if (pattern === '*' || pattern === value) return true;
  let compiled = patterns.get(pattern);
  if (compiled === undefined) {
    compiled = new RegExp(`^${pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[\\s\\S]*').replaceAll('?', '[\\s\\S]')}$`);
    if (patterns.size > 10_000) patterns.clear();
    patterns.set(pattern, compiled);
  }
  return compiled.test(value);
}

/** ARN matching compares the six parts one by one, so a wildcard never crosses a colon. */
function matchesArn(pattern: string, value: string): boolean {
  if (pattern === '*') return true;
  const expected = splitArn(pattern);
  const actual = splitArn(value);
  return expected.length === 6 && actual.length === 6 && expected.every((part, index) => matchesPattern(part, actual[index]!));
}
const splitArn = (arn: string): string[] => {
  const parts = arn.split(':');
  return parts.length < 6 ? parts : [...parts.slice(0, 5), parts.slice(5).join(':')];
};

type Test = (expected: string, actual: string) => boolean;
const numeric = (compare: (actual: number, expected: number) => boolean): Test => (expected, actual) => compare(Number(actual), Number(expected));

const POSITIVE: Record<string, Test> = {
  StringEquals: (expected, actual) => expected === actual,
  StringEqualsIgnoreCase: (expected, actual) => expected.toLowerCase() === actual.toLowerCase(),
  StringLike: matchesPattern,
  ArnEquals: matchesArn,
  ArnLike: matchesArn,
  Bool: (expected, actual) => expected.toLowerCase() === actual.toLowerCase(),
  NumericEquals: numeric((actual, expected) => actual === expected),
  NumericLessThan: numeric((actual, expected) => actual < expected),
  NumericLessThanEquals: numeric((actual, expected) => actual <= expected),
  NumericGreaterThan: numeric((actual, expected) => actual > expected),
  NumericGreaterThanEquals: numeric((actual, expected) => actual >= expected),
};
const NEGATED: Record<string, string> = {
  StringNotEquals: 'StringEquals',
  StringNotEqualsIgnoreCase: 'StringEqualsIgnoreCase',
  StringNotLike: 'StringLike',
  ArnNotEquals: 'ArnEquals',
  ArnNotLike: 'ArnLike',
  NumericNotEquals: 'NumericEquals',
};

interface Operator { readonly test: Test; readonly negated: boolean; readonly ifExists: boolean; readonly set?: string }

/** Undefined for an operator that is not known. `Null` is apart. */
export function parseOperator(name: string): Operator | undefined {
  const [set, bare] = name.includes(':') ? [name.slice(0, name.indexOf(':')), name.slice(name.indexOf(':') + 1)] : [undefined, name];
  if (set !== undefined && set !== 'ForAnyValue' && set !== 'ForAllValues') return undefined;
  const ifExists = bare.endsWith('IfExists');
  const base = ifExists ? bare.slice(0, -'IfExists'.length) : bare;
  const test = POSITIVE[base] ?? POSITIVE[NEGATED[base] ?? ''];
  return test === undefined ? undefined : { test, negated: NEGATED[base] !== undefined, ifExists, set };
}

const KNOWN_KEYS = new Set([
  'aws:multifactorauthage', 'aws:multifactorauthpresent', 'aws:principalaccount', 'aws:principalarn', 'aws:principalorgid', 'aws:principaltype',
  'aws:requestedregion', 'aws:sourceaccount', 'aws:sourcearn', 'aws:sourcevpc', 'aws:sourcevpce', 'aws:tagkeys', 'aws:viaawsservice',
  'kms:bypasspolicylockoutsafetycheck', 'kms:calleraccount', 'kms:encryptionalgorithm', 'kms:encryptioncontextkeys', 'kms:grantconstrainttype',
  'kms:granteeprincipal', 'kms:grantisforawsresource', 'kms:grantoperations', 'kms:keyorigin', 'kms:keyspec', 'kms:keyusage', 'kms:macalgorithm',
  'kms:multiregion', 'kms:multiregionkeytype', 'kms:policyname', 'kms:primaryregion', 'kms:reencryptonsamekey', 'kms:replicaregion', 'kms:requestalias',
  'kms:resourcealiases', 'kms:retiringprincipal', 'kms:rotationperiodindays', 'kms:schedulekeydeletionpendingwindowindays', 'kms:signingalgorithm', 'kms:viaservice',
]);
const KNOWN_PREFIXES = ['kms:encryptioncontext:', 'aws:resourcetag/', 'aws:requesttag/', 'aws:principaltag/'];

/** Why a condition block cannot be evaluated here, or undefined where it can. */
export function conditionFault(block: unknown): string | undefined {
  if (typeof block !== 'object' || block === null || Array.isArray(block)) return 'Condition is not an object';
  for (const [name, tests] of Object.entries(block)) {
    const operator = parseOperator(name);
    if (operator === undefined && name !== 'Null') return `condition operator ${name} is not supported`;
    if (typeof tests !== 'object' || tests === null || Array.isArray(tests)) return `condition ${name} is not an object`;
    for (const key of Object.keys(tests)) {
      const lower = key.toLowerCase();
      if (!KNOWN_KEYS.has(lower) && !KNOWN_PREFIXES.some((prefix) => lower.startsWith(prefix))) return `condition key ${key} is not supported`;
      if (operator?.set !== undefined && lower.startsWith('kms:encryptioncontext:')) return `OverlyPermissiveCondition: ${key} is single-valued and takes no set operator`;
    }
  }
  return undefined;
}

/** Every operator and every key must hold; the listed values of one key are alternatives. */
export function conditionsHold(block: ConditionBlock | undefined, values: ConditionValues): boolean {
  if (block === undefined) return true;
  for (const [name, tests] of Object.entries(block)) {
    for (const [key, listed] of Object.entries(tests)) {
      const expected = (Array.isArray(listed) ? listed : [listed]).map(String);
      const actual = values(key.toLowerCase());
      if (!(name === 'Null' ? expected.includes(String(actual === undefined)) : holds(parseOperator(name)!, expected, actual))) return false;
    }
  }
  return true;
}

function holds({ test, negated, ifExists, set }: Operator, expected: string[], actual: readonly string[] | undefined): boolean {
  const passes = (value: string): boolean => expected.some((one) => test(one, value)) !== negated;
  if (set === 'ForAllValues') return (actual ?? []).every(passes);
  if (actual === undefined || actual.length === 0) return set === 'ForAnyValue' ? ifExists : ifExists || negated;
  // without a set operator a negated test must hold for every value, a positive one for any
  return negated && set === undefined ? actual.every(passes) : actual.some(passes);
}
