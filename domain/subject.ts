/** Opaque to Keywarden, and seen by CloudTrail in the encryption context: an id, never an address or a name. */
export const SUBJECT_ID = /^[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}$/;
/** A field of a subject's data, as the application names it. */
export const FIELD_NAME = /^[A-Za-z0-9][A-Za-z0-9._:/+-]{0,127}$/;
