/** Whose a subject key is: the one place that says it, for the library, the re-wrap and the erasure alike. */

/** Opaque to Keywarden, and seen by CloudTrail in the encryption context: an id, never an address or a name. */
export const SUBJECT_ID = /^[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}$/;
/** A field of a subject's data, as the application names it. */
export const FIELD_NAME = /^[A-Za-z0-9][A-Za-z0-9._:/+-]{0,127}$/;

/** KMS encryption context of a subject key: KMS opens the key for nothing else. */
export function subjectContext(where: { application: string; environment: string }, purpose: string, subjectId: string): { application: string; environment: string; purpose: string; subject: string } {
  return { application: where.application, environment: where.environment, purpose, subject: subjectId };
}
