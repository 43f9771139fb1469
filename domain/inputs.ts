import * as z from 'zod';
import { SUBJECT_HASH } from './erasure';
import { KeywardenError } from './errors';

/** Inputs of the workflow types, as in DESIGN.md's table. Checked by the workflow, and again by each activity: a workflow may be an attacker's. */

export const MAX_TEXT = 2_000;

/** A key id as KMS makes them: of a multi-Region key, or of one Region's. */
export const KEY_ID = /^(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

export const text = (max = MAX_TEXT) => z.string().trim().min(1, 'must not be empty').max(max, `at most ${max} characters`);

export const key = z
  .string()
  .max(400)
  .regex(
    /^(arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key\/[\w-]+|alias\/[\w/:-]+)|alias\/[\w/:-]+|mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[a-z0-9][a-z0-9-]{0,62})$/,
    'a purpose, an alias, a key id or an ARN',
  );

export const proof = z.string().max(16_384, 'at most 16384 characters');
const requestedBy = z.string().max(200);
export const incident = text(200);

export const revokeInput = z.strictObject({
  key,
  reason: text(),
  mode: z.enum(['disable', 'quarantine']).optional(),
  incident: incident.optional(),
  afterWindow: z.enum(['disabled', 'deletion-scheduled', 'destroyed']).optional(),
  acknowledgeOutage: z.boolean().optional(),
  /** The plan names the loss: what still depends on the key may become unreadable for ever (crypto-shred). */
  acceptLoss: z.boolean().optional(),
  /** Record of `keywarden revoke --direct`, signed by the person who did it. */
  directRecord: proof.optional(),
  proof: proof.optional(),
  requestedBy: requestedBy.optional(),
});

export const recoverInput = z.strictObject({
  key,
  reason: text(),
  incident: incident.optional(),
  /** Grants that appeared after the revocation and may stay, by grant id. */
  acceptGrants: z.array(z.string().regex(/^[0-9a-f]{64}$/, 'a grant id')).max(50).optional(),
  proof: proof.optional(),
  requestedBy: requestedBy.optional(),
});

export const rotateInput = z.strictObject({
  key,
  strategy: z.enum(['in-place', 'replace']).optional(),
  reason: text().optional(),
  /** Ask a person before new material is made, also when it is due. */
  signOff: z.literal('required').optional(),
  proof: proof.optional(),
  requestedBy: requestedBy.optional(),
});

/** SQL Server's `sysname`, as the catalog has it. */
export const columnKeyName = z.string().min(1, 'must not be empty').max(128, 'at most 128 characters').regex(/^[^\p{Cc}]+$/u, 'no control characters');

export const rotateColumnKeyInput = z.strictObject({ cek: columnKeyName, requestedBy: requestedBy.optional() });
export const eraseInput = z.strictObject({
  /** The hash, never the id: what stands here stands in histories. */
  subjectId: z.string().regex(SUBJECT_HASH, 'must be the hash that `keywarden erase ID --hash` prints, never the id itself'),
  reason: text(),
  proof: proof.optional(),
  requestedBy: requestedBy.optional(),
});

export const rotateDueInput = z.strictObject({ requestedBy: requestedBy.optional() });

export const initializeInput = z.strictObject({
  purposes: z.array(z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/)).min(1).max(100).optional(),
  requestedBy: requestedBy.optional(),
});

export const decision = z.strictObject({
  proof,
  comment: z.string().max(MAX_TEXT).optional(),
});

export type RevokeInput = z.output<typeof revokeInput>;
export type RecoverInput = z.output<typeof recoverInput>;
export type RotateInput = z.output<typeof rotateInput>;
export type RotateColumnKeyInput = z.output<typeof rotateColumnKeyInput>;
export type EraseInput = z.output<typeof eraseInput>;
export type RotateDueInput = z.output<typeof rotateDueInput>;
export type InitializeInput = z.output<typeof initializeInput>;

/** Parses or throws `KW-INPUT` with the path of the first wrong field; nothing has been done then. */
export function parseInput<T>(schema: z.ZodType<T>, raw: unknown, root = 'input'): T {
  const parsed = schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const unknownField = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const path = [root, ...(issue?.path ?? []).map(String), ...(unknownField === undefined ? [] : [unknownField])].join('.');
  const missing = issue?.code === 'invalid_type' && issue.input === undefined && !has(raw, issue.path);
  throw new KeywardenError('KW-INPUT', unknownField !== undefined ? 'unknown field' : missing ? 'is missing' : (issue?.message ?? 'not valid'), {
    path,
    notDone: 'nothing was started',
    next: path === `${root}.subjectId` ? 'run `keywarden erase ID`: it computes the hash, so that nobody stands in a history in the clear' : unknownField !== undefined ? 'remove the field, or correct its name' : 'correct the field and start again',
  });
}

function has(raw: unknown, path: readonly PropertyKey[]): boolean {
  let at: unknown = raw;
  for (const p of path) {
    if (typeof at !== 'object' || at === null) return false;
    at = (at as Record<PropertyKey, unknown>)[p];
  }
  return at !== undefined;
}

/** What a plan holds of an input: all of it, except the signature itself and the claim of who asked. */
export function plannedInput<T extends { proof?: unknown; requestedBy?: unknown; directRecord?: unknown }>(input: T): Omit<T, 'proof' | 'requestedBy' | 'directRecord'> {
  const { proof: _p, requestedBy: _r, directRecord: _d, ...rest } = input;
  return rest;
}
