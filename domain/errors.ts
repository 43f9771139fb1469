/**
 * Every way in which Keywarden refuses or fails, on one screen. Codes are stable: programs switch on them.
 * `final` errors are never retried; the others may succeed when what they wait for is back.
 */
export const ERROR_CODES = {
  // refused at the door: nothing was done
  'KW-INPUT': { final: true, means: 'a field of the input is missing, unknown or of the wrong form' },
  'KW-CONFIG': { final: true, means: 'the configuration is not valid' },
  'KW-KEY-UNKNOWN': { final: true, means: 'no such key in any Region of the configuration' },
  'KW-KEY-FOREIGN': { final: true, means: 'the key belongs to another application or environment' },
  'KW-KEY-OWN': { final: true, means: "the key is one of Keywarden's own" },
  'KW-KEY-DESTROYED': { final: true, means: 'the key was destroyed' },
  'KW-OUTAGE': { final: true, means: 'the key protects the database and the outage was not acknowledged' },
  'KW-BRANCH': { final: true, means: 'the operation would cut off what it needs to finish' },
  'KW-WINDOW-CLOSED': { final: true, means: 'the recovery window has ended, or there is none' },
  'KW-GRANT-UNKNOWN': { final: true, means: 'a grant appeared on the key after its revocation' },
  'KW-CENSUS': { final: true, means: 'something still depends on the key' },
  'KW-PROCEDURE-OPEN': { final: true, means: 'another procedure holds the key' },
  // a subject's data
  'KW-KEY-REVOKED': { final: true, means: 'the key was taken out of use, and with it all data under it' },
  'KW-SUBJECT-UNKNOWN': { final: true, means: 'the subject has no key: its encryption was never initialized' },
  'KW-SUBJECT-ERASED': { final: true, means: 'the subject is being erased: its keys are no longer given out, and no new one is made' },
  'KW-SUBJECT-KEY': { final: true, means: "the subject's wrapped key is corrupt, or was wrapped for something else" },
  'KW-FIELD-FORM': { final: true, means: 'the bytes are not an encrypted field of a version that this build knows' },
  'KW-FIELD-FORGED': { final: true, means: 'the encrypted field was changed, or is not of this subject, purpose and field' },
  'KW-NOT-BUILT': { final: true, means: 'this build cannot do that yet' },
  'KW-ROTATION-QUOTA': { final: true, means: 'the on-demand rotations that KMS allows in the life of a key are used up' },
  'KW-WRAPPED-KEY': { final: true, means: 'a wrapped key does not open: corrupt, of another context, or of an unknown CMK' },
  // approvals
  'KW-APPROVAL-FORM': { final: true, means: 'the proof is not a Keywarden approval' },
  'KW-APPROVAL-SIGNATURE': { final: true, means: 'the signature does not fit the identity' },
  'KW-APPROVAL-NOBODY': { final: true, means: 'the identity is not listed in the configuration' },
  'KW-APPROVAL-ROLE': { final: true, means: 'the person lacks the role, or the role may not approve this' },
  'KW-APPROVAL-EXPIRED': { final: true, means: 'the proof had expired when it reached the server' },
  'KW-APPROVAL-FUTURE': { final: true, means: 'the proof is dated in the future or lives longer than 15 minutes' },
  'KW-APPROVAL-PLAN': { final: true, means: 'the proof is for another plan' },
  'KW-APPROVAL-WORKFLOW': { final: true, means: 'the proof is for another workflow or run' },
  'KW-APPROVAL-SAME-PERSON': { final: true, means: 'this person has already signed' },
  'KW-APPROVAL-REUSED': { final: true, means: 'the proof was used before' },
  'KW-APPROVAL-LAPSED': { final: true, means: 'the window ended or a newer revocation exists' },
  'KW-APPROVAL-NOT-SEEN': { final: true, means: 'the proof does not stand in the history of this workflow' },
  'KW-APPROVAL-MISSING': { final: true, means: 'too few different people have signed this plan' },
  'KW-PLAN-DRIFT': { final: true, means: 'the key is no longer as the plan expects' },
  'KW-PREEMPTED': { final: true, means: 'a newer revocation took the key over' },
  // waiting for something
  'KW-KMS': { final: false, means: 'KMS did not do what was asked' },
  'KW-KMS-DENIED': { final: false, means: 'KMS denied the call to this duty' },
  'KW-KMS-SILENT': { final: false, means: 'KMS did not answer' },
  'KW-STORE': { final: false, means: 'the database did not answer' },
  'KW-AUDIT': { final: false, means: 'neither store nor journal took the audit row' },
  'KW-SNS': { final: false, means: 'SNS did not take the message' },
  'KW-TEMPORAL': { final: false, means: 'Temporal did not answer' },
  'KW-NOT-YET': { final: false, means: 'the state that must hold does not hold yet' },
  // the tool itself
  'KW-USAGE': { final: true, means: 'the command line is wrong' },
  'KW-IDENTITY': { final: true, means: 'no private key for this person on this machine' },
  'KW-AUDIT-BROKEN': { final: true, means: 'the audit chain does not verify' },
  'KW-SCHEMA': { final: true, means: 'the database has a schema that this build does not know' },
  'KW-BUG': { final: true, means: 'a defect of Keywarden' },
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** What an operator reads: what happened, to which key, what was not done, and what to do next. */
export interface ErrorFacts {
  /** Path of the offending field, as in `input.reason` or `people[2].identities[0].publicKey`. */
  path?: string;
  /** Key id, alias or purpose. */
  key?: string;
  /** What was not done because of this, as a sentence. */
  notDone?: string;
  /** What to do next, as a sentence; commands in it can be typed. */
  next?: string;
  cause?: unknown;
}

export class KeywardenError extends Error {
  override readonly name = 'KeywardenError';
  readonly path: string | undefined;
  readonly key: string | undefined;
  readonly notDone: string | undefined;
  readonly next: string | undefined;

  constructor(
    readonly code: ErrorCode,
    /** What happened, without the other facts. */
    readonly what: string,
    facts: ErrorFacts = {},
  ) {
    super(sentence(code, what, facts), facts.cause === undefined ? undefined : { cause: facts.cause });
    this.path = facts.path;
    this.key = facts.key;
    this.notDone = facts.notDone;
    this.next = facts.next;
  }

  get final(): boolean {
    return ERROR_CODES[this.code].final;
  }

  toJSON(): Record<string, unknown> {
    const { code, what, path, key, notDone, next } = this;
    return { code, what, path, key, notDone, next };
  }
}

function sentence(code: ErrorCode, what: string, f: ErrorFacts): string {
  const parts = [`${code}: ${f.path === undefined ? '' : `${f.path}: `}${what}`];
  if (f.key !== undefined) parts.push(`Key: ${f.key}`);
  if (f.notDone !== undefined) parts.push(`Not done: ${f.notDone}`);
  if (f.next !== undefined) parts.push(`Next: ${f.next}`);
  return parts.map((p) => p.replace(/[.\s]+$/, '')).join('. ') + '.';
}
