import { checkLife, refused, type VerifiedApproval } from '../../domain/approval';
import type { Config } from '../../domain/config';
import { digest } from '../../domain/digest';
import { rolesOf } from '../../domain/config';
import type { Plan } from '../../domain/plan';
import { localVerifier } from './local';
import type { Verifier } from './verifier';

const VERIFIERS: readonly Verifier[] = [localVerifier];

/**
 * Who signed what: signature, identity and role by configuration, life at `arrivedAt` (milliseconds, the server's time).
 * Says nothing yet about the plan.
 */
export async function verifyApproval(token: string, config: Config, arrivedAt: number): Promise<VerifiedApproval> {
  const verifier = VERIFIERS.find((v) => v.takes(token));
  if (verifier === undefined) throw refused('KW-APPROVAL-FORM', 'no verifier knows this form of proof', 'sign with `keywarden sign`');
  const { person, claims } = await verifier.verify(token, config);
  if (!rolesOf(config, person).includes(claims.role)) throw refused('KW-APPROVAL-ROLE', `${person} does not hold ${claims.role}`, `sign under a role that ${person} holds`);
  checkLife(claims, arrivedAt);
  return { person, claims, planDigest: digestOf(claims.plan) };
}

/** A plan without a canonical form (a fraction, a nesting without end) is none of ours; it must not be judged again for ever. */
function digestOf(plan: Plan): string {
  try {
    return digest(plan);
  } catch {
    throw refused('KW-APPROVAL-FORM', 'the plan in the proof has no canonical form', 'sign with `keywarden sign`');
  }
}
