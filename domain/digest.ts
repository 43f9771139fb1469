import { createHash } from 'node:crypto';
import { canonicalJson } from './canonical';

/** SHA-256 over the canonical JSON, as `sha256:<64 hex>`. Not for workflow code: the sandbox has no crypto. */
export function digest(value: unknown): string {
  return `sha256:${createHash('sha256').update(canonicalJson(value)).digest('hex')}`;
}

/** Digest of a key policy document: white space and the order of names don't count, all else does. */
export function policyDigest(policyJson: string): string {
  return digest(JSON.parse(policyJson) as unknown);
}
