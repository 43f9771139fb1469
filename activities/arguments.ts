import * as z from 'zod';
import { ALERT_KINDS } from '../domain/alert';
import type { Config } from '../domain/config';
import { columnKeyName, incident, key, KEY_ID, parseInput, proof, text } from '../domain/inputs';

/**
 * The form of what each activity may be given. A workflow of an attacker's can schedule any of them with anything (DESIGN.md, Namespace access):
 * what has not this form is refused before the activity begins. Whether it may act is another matter: that comes from receipts.
 */
type Forms = Record<string, z.ZodType>;

export function formsOf(config: Pick<Config, 'regions'>): Forms {
  const keyId = z.string().regex(KEY_ID, 'a key id');
  const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'the digest of a plan');
  const region = z.enum(config.regions as [string, ...string[]], `one of ${config.regions.join(', ')}`);
  const regions = z.array(region).max(config.regions.length);
  const purpose = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'a purpose');
  const arrived = z.strictObject({ token: proof, runId: z.string().max(100), comment: z.string().max(2_000).optional(), as: z.enum(['approve', 'reject']).optional() });
  // inputs of procedures are judged field by field in the activity itself
  const input = z.looseObject({});
  const proved = z.strictObject({ input, proof: arrived.optional() });
  const judged = z.strictObject({ input, decisions: z.array(arrived).max(200), malformed: z.int().min(0) });
  const inRegion = z.strictObject({ digest, region });
  const place = z.strictObject({ material: z.string().regex(/^([0-9a-f]{64})?$/, 'key material, or nothing'), purpose: z.string().max(400), subjectId: z.string().max(4_000) });
  const certificate = z.strictObject({ text: z.string().max(20_000), mac: z.string().max(200) });
  const ofKey = z.strictObject({ keyId });
  return {
    disableKey: proved.extend({ regions: regions.optional() }),
    openWindow: proved,
    holdDisabled: proved.extend({ holdMs: z.number().optional() }),
    considerRevocation: judged,
    considerWidening: judged,
    considerRecovery: judged,
    proveEffect: z.strictObject({ keyId, regions, since: z.iso.datetime() }),
    beginDisables: z.strictObject({ input, proof: arrived }),
    endDisables: ofKey,
    windowState: ofKey.extend({ revokedAt: z.iso.datetime().optional() }),
    census: ofKey,
    consumers: ofKey,
    deletionState: ofKey,
    closeWindow: z.strictObject({ keyId, reason: text(), incident: incident.optional() }),
    quarantineRegion: inRegion,
    scheduleDeletion: inRegion,
    disableQuarantined: inRegion,
    cancelDeletion: inRegion,
    restorePolicy: inRegion,
    enableKey: inRegion,
    proveRecovery: inRegion,
    beginRecovery: z.strictObject({ digest }),
    finishRecovery: z.strictObject({ digest }),
    endRecovery: z.strictObject({ key, why: z.string().max(100_000) }),
    considerErasure: judged,
    withholdSubject: z.strictObject({ digest }),
    restoreSubject: z.strictObject({ digest }),
    deleteSubject: z.strictObject({ digest }),
    keepErased: z.strictObject({ certificate }),
    proveErasure: z.strictObject({ certificate }),
    makeKey: z.strictObject({ purpose, input }),
    replicateKey: z.strictObject({ purpose, region }),
    pointAlias: z.strictObject({ purpose, region }),
    makeCanary: z.strictObject({ purpose }),
    findOwnKeys: z.unknown(),
    makeSchedule: z.unknown(),
    dueKeys: z.unknown(),
    considerRotation: judged,
    beginRotation: ofKey,
    beginColumnKey: z.strictObject({ cek: columnKeyName }),
    makeMaterial: z.strictObject({ keyId, digest: digest.optional() }),
    rewrapColumnKeys: ofKey,
    planStretches: z.strictObject({ keyId, after: place.optional(), count: z.int().min(1).max(50) }),
    rewrapStretch: z.strictObject({ keyId, after: place.optional(), upTo: place }),
    verifyRotation: ofKey,
    considerReplacement: judged,
    beginReplacement: z.strictObject({ digest }),
    makeReplacement: inRegion,
    considerCutover: judged,
    cutover: inRegion,
    deactivate: inRegion,
    rollBack: ofKey.extend({ why: z.string().max(100_000).optional() }),
    withdrawReplacement: ofKey.extend({ region }),
    endReplacement: ofKey.extend({ why: z.string().max(100_000).optional() }),
    verifyReplacement: ofKey,
    openedBy: ofKey,
    settleReplacement: ofKey,
    endRotation: z.strictObject({ keyId, outcome: z.enum(['rotated', 'incomplete', 'ended']), why: z.string().max(100_000).optional() }),
    alert: z.strictObject({
      kind: z.enum(ALERT_KINDS),
      occasion: z.string().max(200).optional(),
      key,
      keyId: keyId.optional(),
      who: z.array(z.string().max(200)).max(20).optional(),
      reason: text().optional(),
      incident: incident.optional(),
      deadline: z.iso.datetime().optional(),
      detail: z.string().max(20_000).optional(),
      // people type it: nothing but a command of ours, and nothing that a shell would make more of; the rest is told without it
      command: z.string().max(600).regex(/^keywarden (approve|reject|erase|recover|revoke|rotate|status|verify-rotation) [^\n\r;&|<>`$\\]*$/, 'a keywarden command').optional().catch(undefined),
    }),
  };
}

/** The argument of an activity, or KW-INPUT; one without a form is a defect of ours, and found by a test. */
export function argumentOf(forms: Forms, activity: string, raw: unknown): unknown {
  return parseInput(forms[activity] ?? z.never(), raw, activity);
}
