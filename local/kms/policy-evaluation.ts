/**
 * May this principal do this? As IAM decides it: an explicit Deny wins; else the key policy must allow the principal, or
 * allow its account while its identity policy allows, or a grant must. Source: IAM User Guide, "Policy evaluation logic".
 */
import { conditionsHold, matchesPattern, type ConditionValues } from './policy-conditions';
import { parseIdentityPolicy, type PolicyDocument, type Statement } from './policy-document';
import { matchPrincipal, sparedByNotPrincipal, type Principal } from './principals';

export interface Question {
  readonly principal: Principal;
  /** `kms:Encrypt` */
  readonly action: string;
  readonly resource: string;
  /** Absent for what has no resource policy: CreateKey, the lists, aliases. */
  readonly keyPolicy?: PolicyDocument;
  readonly conditions: ConditionValues;
  /** Asked last: whether a grant allows it. */
  readonly granted?: () => boolean;
}

export type Decision = { allowed: true; by: 'policy' | 'grant' } | { allowed: false; reason: string };

export function decide(question: Question): Decision {
  const { principal, keyPolicy } = question;
  const own = principal.identityPolicy === undefined ? undefined : evaluate(parseIdentityPolicy(principal.identityPolicy), question, () => 'itself');
  const key = keyPolicy === undefined ? undefined : evaluate(keyPolicy, question, (statement) => whoIsMeant(statement, principal));
  if (key?.denied) return { allowed: false, reason: 'with an explicit deny in a resource-based policy' };
  if (own?.denied) return { allowed: false, reason: 'with an explicit deny in an identity-based policy' };

  const ownAllows = principal.isRoot || own?.allowed === 'itself';
  if (keyPolicy === undefined) {
    return ownAllows ? { allowed: true, by: 'policy' } : { allowed: false, reason: `because no identity-based policy allows the ${question.action} action` };
  }
  if (key!.allowed === 'itself' || (key!.allowed === 'account' && ownAllows)) return { allowed: true, by: 'policy' };
  if (question.granted?.()) return { allowed: true, by: 'grant' };
  const missing = key!.allowed === 'account' ? 'identity-based' : 'resource-based';
  return { allowed: false, reason: `because no ${missing} policy allows the ${question.action} action` };
}

type Meant = 'itself' | 'account' | 'no';

function whoIsMeant(statement: Statement, principal: Principal): Meant {
  if (statement.principals !== undefined) return matchPrincipal(statement.principals, principal);
  if (statement.deny) return sparedByNotPrincipal(statement.notPrincipals!, principal) ? 'no' : 'itself';
  return matchPrincipal(statement.notPrincipals!, principal) === 'no' ? 'itself' : 'no';
}

function evaluate(policy: PolicyDocument, question: Question, meant: (statement: Statement) => Meant): { denied: boolean; allowed: Meant } {
  let allowed: Meant = 'no';
  for (const statement of policy.statements) {
    const match = meant(statement);
    if (match === 'no' || !covers(statement, question)) continue;
    if (statement.deny) return { denied: true, allowed: 'no' };
    if (allowed !== 'itself') allowed = match;
  }
  return { denied: false, allowed };
}

/** A statement without Action or Resource is accepted by the service, and covers nothing. */
function covers(statement: Statement, { action, resource, conditions }: Question): boolean {
  const name = action.toLowerCase();
  const actionCovered = statement.actions?.some((pattern) => matchesPattern(pattern, name))
    ?? (statement.notActions === undefined ? false : !statement.notActions.some((pattern) => matchesPattern(pattern, name)));
  const resourceCovered = statement.resources?.some((pattern) => matchesPattern(pattern, resource))
    ?? (statement.notResources === undefined ? false : !statement.notResources.some((pattern) => matchesPattern(pattern, resource)));
  return actionCovered && resourceCovered && conditionsHold(statement.condition, conditions);
}
