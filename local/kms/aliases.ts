/** CreateAlias, UpdateAlias, DeleteAlias, ListAliases. An alias belongs to one account and Region, not to its key. */
import { authorize, authorizeAlias, authorizeByIdentity } from './authorization';
import { operation, type Call } from './call';
import { alreadyExists, limitExceeded, notFound, validation } from './errors';
import * as fields from './fields';
import { checkState } from './key-state';
import { findKey, keyIn, type Key } from './key-lookup';
import { specificationOf } from './key-specs';
import { aliasArn, aliasId, epochSeconds, type Alias } from './model';
import { page, pageOutput } from './pages';

const ALIASES_PER_KEY = 50;

function checkName(name: string): void {
  if (!name.startsWith('alias/')) throw validation('Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html');
  if (name.startsWith('alias/aws/')) throw validation(`Alias names beginning with alias/aws/ are reserved`);
  if (!/^alias\/[a-zA-Z0-9/_-]+$/.test(name)) throw validation(`1 validation error detected: Value '${name}' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$`);
}

function findAlias(call: Call, name: string): Alias {
  const alias = call.view.get('alias', aliasId(call.region, name));
  if (alias === undefined) throw notFound(`Alias ${aliasArn(call.settings.account, call.region, name)} is not found.`);
  return alias;
}

function checkAliasQuota(call: Call, key: Key): void {
  let count = 0;
  for (const alias of call.view.childrenOf('alias', call.region)) if (alias.keyId === key.shared.keyId) count += 1;
  if (count >= ALIASES_PER_KEY) throw limitExceeded(`The limit of ${ALIASES_PER_KEY} aliases for ${key.arn} has been reached.`);
}

const kindOf = ({ shared }: Key): string => {
  const { family } = specificationOf(shared.keySpec);
  return `${family === 'rsa' || family === 'ecc' ? 'asymmetric' : family} ${shared.keyUsage}`;
};

export const aliasOperations = [
  operation('CreateAlias', { AliasName: fields.aliasName, TargetKeyId: fields.keyId }, (call, { AliasName, TargetKeyId }) => {
    checkName(AliasName);
    const key = findKey(call, TargetKeyId);
    authorizeAlias(call, 'CreateAlias', AliasName);
    authorize(call, 'CreateAlias', key);
    checkState(call, key);
    if (call.view.get('alias', aliasId(call.region, AliasName)) !== undefined) {
      throw alreadyExists(`An alias with the name ${aliasArn(call.settings.account, call.region, AliasName)} already exists`);
    }
    checkAliasQuota(call, key);
    call.put('alias', aliasId(call.region, AliasName), { name: AliasName, region: call.region, keyId: key.shared.keyId, createdAt: call.now, updatedAt: call.now });
  }),

  operation('UpdateAlias', { AliasName: fields.aliasName, TargetKeyId: fields.keyId }, (call, { AliasName, TargetKeyId }) => {
    checkName(AliasName);
    const target = findKey(call, TargetKeyId);
    const alias = findAlias(call, AliasName);
    const current = keyIn(call, call.region, alias.keyId);
    authorizeAlias(call, 'UpdateAlias', AliasName);
    authorize(call, 'UpdateAlias', current);
    authorize(call, 'UpdateAlias', target);
    call.trace.keyArn = target.arn;
    checkState(call, target);
    if (kindOf(current) !== kindOf(target)) throw validation(`Alias ${AliasName} cannot be moved to ${target.arn}: the current and the new KMS key must be of the same type and key usage.`);
    if (current.shared.keyId !== target.shared.keyId) checkAliasQuota(call, target);
    call.put('alias', aliasId(call.region, AliasName), { ...alias, keyId: target.shared.keyId, updatedAt: call.now });
  }),

  operation('DeleteAlias', { AliasName: fields.aliasName }, (call, { AliasName }) => {
    checkName(AliasName);
    const alias = findAlias(call, AliasName);
    authorizeAlias(call, 'DeleteAlias', AliasName);
    authorize(call, 'DeleteAlias', keyIn(call, call.region, alias.keyId));
    call.remove('alias', aliasId(call.region, AliasName));
  }),

  operation('ListAliases', { KeyId: fields.optionalKeyId, Limit: fields.limit(100), Marker: fields.marker }, (call, input) => {
    authorizeByIdentity(call, 'ListAliases');
    const keyId = input.KeyId === undefined ? undefined : findKey(call, input.KeyId).shared.keyId;
    const listed = [...call.view.childrenOf('alias', call.region)].filter((alias) => keyId === undefined || alias.keyId === keyId);
    return pageOutput('Aliases', page(listed, ({ name }) => name, input, 50), (alias) => ({
      AliasName: alias.name,
      AliasArn: aliasArn(call.settings.account, call.region, alias.name),
      TargetKeyId: alias.keyId,
      CreationDate: epochSeconds(alias.createdAt),
      LastUpdatedDate: epochSeconds(alias.updatedAt),
    }));
  }),
];
