/** Opaque to Keywarden, and seen by CloudTrail in the encryption context: an id, never an address or a name. Never of the form of a subject's hash (domain/erasure.ts). */
export const SUBJECT_ID = /^(?!subject-[0-9a-f]{32}$)[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}$/;
/** A field of a subject's data, as the application names it. */
export const FIELD_NAME = /^[A-Za-z0-9][A-Za-z0-9._:/+-]{0,127}$/;
