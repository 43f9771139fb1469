/** From what a request calls a key (id, ARN, alias name, alias ARN) to the key in the request's Region. */
import type { Call } from './call';
import { accessDenied, keyNotFound, notFound } from './errors';
import { aliasArn, aliasId, keyArn, regionalId, type RegionalKey, type SharedKey } from './model';
import type { KeyState } from './states';

export interface Key {
  readonly arn: string;
  readonly state: KeyState;
  readonly regional: RegionalKey;
  readonly shared: SharedKey;
  /** The alias that the request named, if it did. */
  readonly requestAlias?: string;
}

const KEY_ID = /^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$/;
const ARN = /^arn:aws[a-z-]*:kms:([^:]*):([^:]*):(key|alias)\/(.+)$/;

export const stateAt = (regional: RegionalKey, now: number): KeyState =>
  regional.transition !== undefined && now < regional.transition.until ? regional.transition.state : regional.state;

/** Management operations take ids and ARNs only; cryptographic ones, DescribeKey and GetPublicKey take aliases too. */
export function findKey(call: Call, reference: string, aliases: 'with-aliases' | 'ids-only' = 'ids-only'): Key {
  const match = ARN.exec(reference);
  if (match === null) return aliases === 'with-aliases' && reference.startsWith('alias/') ? byAlias(call, reference) : byId(call, reference);
  const [, region, account, kind, name] = match as unknown as [string, string, string, string, string];
  if (region !== call.region) throw notFound(`Invalid arn ${region}`);
  if (account !== call.settings.account) throw foreignAccount(call, reference);
  if (kind === 'key') return byId(call, name);
  if (aliases === 'ids-only') throw notFound(`Invalid keyId '${reference}'`);
  return byAlias(call, `alias/${name}`);
}

const foreignAccount = (call: Call, reference: string): Error => accessDenied(
  `User: ${call.principal.arn} is not authorized to perform: kms:${call.operation} on resource: ${reference} because the resource does not exist in this Region, `
  + 'no resource-based policies allow access, or a resource-based policy explicitly denies access');

function byAlias(call: Call, name: string): Key {
  const alias = call.view.get('alias', aliasId(call.region, name));
  if (alias === undefined) throw notFound(`Alias ${aliasArn(call.settings.account, call.region, name)} is not found.`);
  return { ...byId(call, alias.keyId), requestAlias: name };
}

function byId(call: Call, keyId: string): Key {
  if (!KEY_ID.test(keyId)) throw notFound(`Invalid keyId '${keyId}'`);
  return keyIn(call, call.region, keyId);
}

/** The key of that id in a Region; NotFoundException where there is none. */
export function keyIn(call: Call, region: string, keyId: string): Key {
  const arn = keyArn(call.settings.account, region, keyId);
  const regional = call.view.get('key', regionalId(region, keyId));
  const shared = call.view.get('shared', keyId);
  if (regional === undefined || shared === undefined) throw keyNotFound(arn);
  return { arn, regional, shared, state: stateAt(regional, call.now) };
}
