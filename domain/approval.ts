import * as z from 'zod';
import { KeywardenError } from './errors';
import { ROLES, type Role } from './names';
import type { Plan } from './plan';

/** An approval lives 15 minutes at most (DESIGN.md, Words). */
export const MAX_APPROVAL_MS = 15 * 60_000;
/** How far a signer's clock may be ahead of the server's. */
export const CLOCK_SKEW_MS = 60_000;

const planShape = z.looseObject({
  v: z.literal(1),
  operation: z.string(),
  input: z.record(z.string(), z.unknown()),
  keyId: z.string(),
  workflowId: z.string(),
});

/** What a proof says, whoever verifies it. Times in milliseconds since the epoch. */
export const claimsSchema = z.strictObject({
  typ: z.literal('keywarden-approval'),
  v: z.literal(1),
  decision: z.enum(['approve', 'reject']),
  /** The role under which the person signs. */
  role: z.enum(ROLES),
  plan: planShape,
  iat: z.int(),
  exp: z.int(),
  jti: z.string().min(16).max(64),
});

export interface ApprovalClaims {
  typ: 'keywarden-approval';
  v: 1;
  decision: 'approve' | 'reject';
  role: Role;
  plan: Plan;
  iat: number;
  exp: number;
  jti: string;
}

/** A verified proof: who it is stands in configuration, never in the proof. */
export interface VerifiedApproval {
  person: string;
  claims: ApprovalClaims;
  /** SHA-256 of the plan's canonical JSON. */
  planDigest: string;
}

/** What a duty keeps when it has verified an approval; the MAC is made with a KMS key that only this duty can use. */
export interface Receipt {
  planDigest: string;
  person: string;
  role: Role;
  decision: 'approve' | 'reject';
  jti: string;
  workflowId: string;
  firstRunId: string;
  duty: string;
  keyId: string;
  /** The key's epoch when the approval was accepted: a newer revocation raises it, and the approval lapses (rule 5). */
  epoch: number;
  /** When the server took the proof in, ISO 8601. */
  at: string;
}

/** Judges the life of a proof at the time the server gives for its arrival (rule 5). */
export function checkLife(claims: Pick<ApprovalClaims, 'iat' | 'exp'>, arrivedAt: number): void {
  if (claims.exp - claims.iat > MAX_APPROVAL_MS || claims.iat > arrivedAt + CLOCK_SKEW_MS) {
    throw refused('KW-APPROVAL-FUTURE', 'the proof is dated in the future or lives longer than 15 minutes', 'check the clock of the machine that signed, then sign again');
  }
  if (arrivedAt > claims.exp) {
    throw refused('KW-APPROVAL-EXPIRED', `the proof expired at ${new Date(claims.exp).toISOString()}, before it reached the server at ${new Date(arrivedAt).toISOString()}`, 'sign again');
  }
}

export type ApprovalErrorCode = Extract<import('./errors').ErrorCode, `KW-APPROVAL-${string}`>;

export function refused(code: ApprovalErrorCode, what: string, next: string, key?: string): KeywardenError {
  return new KeywardenError(code, what, { notDone: 'the approval was not counted', next, ...(key === undefined ? {} : { key }) });
}

/** Reads the claims of a compact JWS without verifying it: for cheap refusals before an activity is spent. Pure, sandbox-safe. */
export function peekClaims(token: string): { planWorkflowId: string; jti: string } | undefined {
  const part = token.split('.')[1];
  if (part === undefined || token.split('.').length !== 3) return undefined;
  try {
    const parsed = claimsSchema.safeParse(JSON.parse(decodeBase64Url(part)));
    return parsed.success ? { planWorkflowId: parsed.data.plan.workflowId, jti: parsed.data.jti } : undefined;
  } catch {
    return undefined;
  }
}

/** Base64url without Buffer or atob, which the workflow sandbox lacks. */
function decodeBase64Url(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const bytes: number[] = [];
  let bits = 0;
  let value = 0;
  for (const c of text.replace(/=+$/, '')) {
    const i = alphabet.indexOf(c);
    if (i < 0) throw new SyntaxError('not base64url');
    value = (value << 6) | i;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((value >> bits) & 0xff);
      value &= (1 << bits) - 1;
    }
  }
  return new TextDecoder().decode(new Uint8Array(bytes));
}
