/** Who calls: the principal registered for an access key id, and which names in a policy mean it. */
export interface Principal {
  readonly accessKeyId: string;
  readonly arn: string;
  readonly account: string;
  /** The role of an assumed-role session, without its path (the session's ARN does not carry one). */
  readonly role?: string;
  readonly isRoot: boolean;
  readonly identityPolicy?: object;
}

const ARN = /^arn:aws[a-z-]*:(iam|sts)::(\d{12}):(root|user\/.+|role\/.+|assumed-role\/([^/]+)\/[^/]+)$/;

/** Throws on an ARN that is no IAM user, role, session or account root. */
export function readPrincipal(accessKeyId: string, arn: string, identityPolicy?: object): Principal {
  const match = ARN.exec(arn);
  if (match === null) throw new Error(`${arn} is not the ARN of a user, role, role session or account root`);
  return { accessKeyId, arn, account: match[2]!, role: match[4], isRoot: match[3] === 'root', identityPolicy };
}

const accountRoot = (principal: Principal): string => `arn:aws:iam::${principal.account}:root`;

/** The value of aws:PrincipalArn: the role for a session, else the principal itself. */
export const principalArn = (principal: Principal): string =>
  principal.role === undefined ? principal.arn : `arn:aws:iam::${principal.account}:role/${principal.role}`;

/** True where the ARN is this principal's role. Role names are unique in an account, so the path need not be known. */
export function isRoleOf(arn: string, principal: Principal): boolean {
  const prefix = `arn:aws:iam::${principal.account}:role/`;
  return principal.role !== undefined && arn.startsWith(prefix) && arn.slice(arn.lastIndexOf('/') + 1) === principal.role;
}

/** `itself`: named directly. `account`: only its account is named, which leaves the decision to its identity policy. */
export function matchPrincipal(listed: readonly string[], principal: Principal): 'itself' | 'account' | 'no' {
  let viaAccount = false;
  for (const name of listed) {
    if (name === '*' || name === principal.arn || isRoleOf(name, principal)) return 'itself';
    if (name === accountRoot(principal)) viaAccount = true;
  }
  return viaAccount ? 'account' : 'no';
}

/** NotPrincipal with Deny spares a principal only when it, its role and its account are all listed, as in IAM. */
export function sparedByNotPrincipal(listed: readonly string[], principal: Principal): boolean {
  const has = (matches: (name: string) => boolean): boolean => listed.some(matches);
  if (has((name) => name === '*')) return true;
  return has((name) => name === accountRoot(principal)) && has((name) => name === principal.arn)
    && (principal.role === undefined || has((name) => isRoleOf(name, principal)));
}
