/**
 * What a wrapped key is bound to (DESIGN.md, Choices): KMS opens it only under exactly this context, so a ciphertext that is moved to another
 * row, purpose or environment opens nowhere. KMS writes it into CloudTrail in clear: names in it are opaque ids, never a person's.
 */
export type EncryptionContext = Record<string, string>;

interface Where {
  application: string;
  environment: string;
}

export function subjectContext(where: Where, purpose: string, subjectId: string): EncryptionContext {
  return { application: where.application, environment: where.environment, purpose, subject: subjectId };
}

export function columnKeyContext(where: Where, purpose: string, cek: string): EncryptionContext {
  return { application: where.application, environment: where.environment, purpose, cek };
}
