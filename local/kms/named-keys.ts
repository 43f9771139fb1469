/** Which keys a request is about, before it is read: for faults and hot keys, which come before validation. */
import { readHeader } from './ciphertext';
import { aliasId, keyArn } from './model';
import type { Store } from './store';

const FIELDS = ['KeyId', 'TargetKeyId', 'SourceKeyId', 'DestinationKeyId', 'AliasName'];

/** `ids`: key ids only. `all`: also ARNs and alias names, whatever the request itself said. */
export function namedKeys(store: Store, account: string, region: string, request: Record<string, unknown>, want: 'ids' | 'all' = 'all'): string[] {
  const ids = new Set<string>();
  for (const field of FIELDS) {
    const name = request[field];
    if (typeof name !== 'string') continue;
    const bare = name.replace(/^arn:[^/]*:(key\/|(?=alias\/))/, '');
    ids.add(bare.startsWith('alias/') ? store.get('alias', aliasId(region, bare))?.keyId ?? bare : bare);
  }
  if (typeof request.CiphertextBlob === 'string') {
    const header = readHeader(Buffer.from(request.CiphertextBlob, 'base64'));
    if (header !== undefined) ids.add(header.keyId);
  }
  if (want === 'ids') return [...ids];
  const aliases: string[] = [];
  for (const alias of store.childrenOf('alias', region)) if (ids.has(alias.keyId)) aliases.push(alias.name);
  return [...[...ids].flatMap((id) => [id, keyArn(account, region, id)]), ...aliases];
}
