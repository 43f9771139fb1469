/** What a request takes from the quotas. Source: AWS KMS Developer Guide, "Request quotas", notes to the table. */
import { quotaClass, type Cost } from './quotas';

const familyOf = (algorithm: unknown): string | undefined =>
  (typeof algorithm !== 'string' ? undefined : algorithm.startsWith('RSA') ? 'rsa' : algorithm.startsWith('ECDSA') ? 'ecc' : undefined);

export function costsOf(operation: string, region: string, request: Record<string, unknown>): Cost[] {
  const algorithm = request.EncryptionAlgorithm ?? request.SigningAlgorithm ?? request.SourceEncryptionAlgorithm;
  const name = quotaClass(operation, familyOf(algorithm), String(request.KeyPairSpec));
  const costs: Cost[] = name === undefined ? [] : [{ name, region, tokens: 1 }];
  // a replica is created twice, the first time as a dry run
  if (operation === 'ReplicateKey' && typeof request.ReplicaRegion === 'string') costs.push({ name: 'CreateKey', region: request.ReplicaRegion, tokens: 2 });
  if (operation === 'UpdatePrimaryRegion' && typeof request.PrimaryRegion === 'string' && request.PrimaryRegion !== region) costs.push({ name: operation, region: request.PrimaryRegion, tokens: 1 });
  return costs;
}
