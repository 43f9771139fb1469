/**
 * Who a request claims to come from, and for which Region: the SigV4 credential scope, from the Authorization header or
 * the presigned form. The signature itself is not verified: the server does not know the secrets.
 */
import { KmsError } from './errors';

export interface CallerClaim { readonly accessKeyId: string; readonly region: string }

const SCOPE = /^([\w-]+)\/\d{8}\/([a-z0-9-]+)\/([a-z0-9-]+)\/aws4_request$/;

/** Throws MissingAuthenticationToken, IncompleteSignature or InvalidSignature exceptions. */
export function readCredentialScope(authorization: string | undefined, query: URLSearchParams, regions: readonly string[]): CallerClaim {
  const credential = authorization === undefined ? query.get('X-Amz-Credential') : /^AWS4-HMAC-SHA256\s.*?Credential=([^,\s]+)/.exec(authorization)?.[1];
  if (credential === null) throw new KmsError('MissingAuthenticationTokenException', 'Missing Authentication Token');
  const match = credential === undefined ? null : SCOPE.exec(credential);
  const signature = authorization === undefined ? query.get('X-Amz-Signature') : /Signature=([0-9a-f]+)/.exec(authorization)?.[1];
  if (match === null || !signature) throw new KmsError('IncompleteSignatureException', 'The request signature does not conform to AWS standards.');
  const [, accessKeyId, region, service] = match as unknown as [string, string, string, string];
  if (service !== 'kms') throw new KmsError('InvalidSignatureException', `Credential should be scoped to correct service: 'kms'.`);
  if (!regions.includes(region)) throw new KmsError('InvalidSignatureException', `Credential should be scoped to a valid region.`);
  return { accessKeyId, region };
}
