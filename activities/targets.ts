import type { KeyMetadata } from '@aws-sdk/client-kms';
import type { Config } from '../domain/config';
import { KeywardenError } from '../domain/errors';
import { aliasOf, OWN_PURPOSE, TAG } from '../domain/names';
import { destroyed, type KeyRow } from '../domain/keyRow';
import type { Store } from '../stores/store';
import { errorName, type RegionalKms } from './kms';

/** The CMK that an input names, as configuration and KMS know it. */
export interface Target {
  keyId: string;
  /** ARN in the first Region that answered. */
  keyArn: string;
  purpose: string;
  /** By Region: what KMS said; a Region that did not answer is missing. */
  seen: Map<string, KeyMetadata>;
  /** Regions that answered that they have no such key. */
  absent: string[];
  /** Regions that did not answer in time. */
  silent: { region: string; why: string }[];
}

/** How long the other Regions may take once one has answered: a silent Region delays none (rule 2). */
const GRACE_MS = 700;

/**
 * Resolves a purpose, alias, key id or ARN to one of this environment's CMKs. All Regions are asked at once.
 * @throws KW-KEY-UNKNOWN, KW-KEY-FOREIGN, KW-KEY-OWN; KW-KMS-SILENT when no Region answers.
 */
export async function resolveTarget(config: Config, kms: ReadonlyMap<string, RegionalKms>, key: string): Promise<Target> {
  const name = nameOf(config, key);
  const seen = new Map<string, KeyMetadata>();
  const absent: string[] = [];
  const silent: Target['silent'] = [];
  const asked = [...kms].map(async ([region, k]) => {
    try {
      const found = await k.describe(name);
      if (found === undefined) absent.push(region);
      else seen.set(region, found);
    } catch (error) {
      silent.push({ region, why: error instanceof Error ? error.message : String(error) });
    }
  });
  await settledOrGrace(asked, () => seen.size > 0, GRACE_MS);
  for (const region of kms.keys()) {
    if (!seen.has(region) && !absent.includes(region) && !silent.some((s) => s.region === region)) silent.push({ region, why: 'no answer yet' });
  }
  const [first] = seen;
  if (first === undefined) {
    if (silent.length > 0) throw new KeywardenError('KW-KMS-SILENT', `no Region could say which key this is: ${silent.map((s) => `${s.region}: ${s.why}`).join('; ')}`, { key, notDone: 'nothing was done', next: 'it is tried again until a Region answers' });
    throw unknownKey(kms, key);
  }
  const [region, metadata] = first;
  const keyId = metadata.KeyId!;
  // an alias moved in one Region would make two keys of one name: act on neither
  for (const [r, m] of seen) {
    if (m.KeyId !== keyId) throw new KeywardenError('KW-KEY-UNKNOWN', `"${key}" is ${keyId} in ${region} but ${m.KeyId} in ${r}`, { path: 'input.key', key, notDone: 'nothing was done', next: 'name the key by its key id' });
  }
  return { keyId, keyArn: metadata.Arn!, purpose: await purposeOf(config, kms.get(region)!, keyId, name, key), seen, absent, silent };
}

/** As `resolveTarget`; a key that KMS no longer has, but that is on record, is said to be destroyed. @throws KW-KEY-DESTROYED */
export async function knownTarget(from: { config: Config; kms: ReadonlyMap<string, RegionalKms>; store: Pick<Store, 'readKey' | 'listKeys'> }, key: string): Promise<Target> {
  try {
    return await resolveTarget(from.config, from.kms, key);
  } catch (error) {
    if (!(error instanceof KeywardenError) || error.code !== 'KW-KEY-UNKNOWN') throw error;
    const id = key.split('/').at(-1)!;
    // an alias goes with its key: a purpose or an alias is the one that was destroyed last
    const row = (await from.store.readKey(id)) ?? (await from.store.listKeys()).filter((r) => r.purpose === id && isGone(r)).at(-1);
    if (row === undefined || !isGone(row)) throw error;
    throw destroyed(row, key);
  }
}

/** On record as destroyed, or as left to KMS to destroy. */
function isGone(row: KeyRow): boolean {
  return row.destroyedAt !== undefined || row.window?.outcome === 'deletion-scheduled' || row.window?.deadlineFromKms === true;
}

/** A CMK that a signature names by its id: whose it is, by the tags written when it was made, from the first Region that answers. */
export async function signedTarget(config: Config, kms: ReadonlyMap<string, RegionalKms>, keyId: string, key: string): Promise<Pick<Target, 'keyId' | 'keyArn' | 'purpose'>> {
  const errors: unknown[] = [];
  const asked = [...kms].map(async ([region, k]) => {
    try {
      return { region, purpose: ownPurpose(config, await k.tags(keyId), key) };
    } catch (error) {
      errors.push(error);
      throw error;
    }
  });
  const found = await Promise.any(asked).catch(() => {
    const refusal = errors.find((e) => e instanceof KeywardenError && e.final);
    if (refusal !== undefined) throw refusal;
    if (errors.every((e) => errorName((e as KeywardenError).cause) === 'NotFoundException')) throw unknownKey(kms, key);
    throw errors[0];
  });
  if (config.purposes.includes(key) && found.purpose !== key) {
    throw new KeywardenError('KW-APPROVAL-PLAN', `the proof names ${keyId}, which is the key of ${found.purpose}`, { key, notDone: 'nothing was done', next: 'look at the plan again, then sign what it says now' });
  }
  return { keyId, keyArn: `arn:aws:kms:${found.region}:${config.account}:key/${keyId}`, purpose: found.purpose };
}

function unknownKey(kms: ReadonlyMap<string, RegionalKms>, key: string): KeywardenError {
  return new KeywardenError('KW-KEY-UNKNOWN', `no Region of the configuration (${[...kms.keys()].join(', ')}) has the key`, { path: 'input.key', key, notDone: 'nothing was done', next: 'look at `keywarden status` for the keys of this environment' });
}

/** A purpose of the configuration stands for its alias; everything else stands for itself. */
function nameOf(config: Config, key: string): string {
  if (key.startsWith('alias/') || key.startsWith('arn:') || key.startsWith('mrk-') || /^[0-9a-f]{8}-/.test(key)) return key;
  if (!config.purposes.includes(key)) {
    throw new KeywardenError('KW-KEY-UNKNOWN', `"${key}" is not a purpose of this configuration (${config.purposes.join(', ')})`, { path: 'input.key', key, notDone: 'nothing was done', next: 'give a purpose, an alias, a key id or an ARN' });
  }
  return aliasOf(config, key);
}

/** An alias under this environment's prefix names its purpose; a bare id is identified by its tags, which were written when it was made. */
async function purposeOf(config: Config, kms: RegionalKms, keyId: string, name: string, key: string): Promise<string> {
  const prefix = aliasOf(config, '');
  if (name.startsWith(prefix) && config.purposes.includes(name.slice(prefix.length))) return name.slice(prefix.length);
  return ownPurpose(config, await kms.tags(keyId), key);
}

function ownPurpose(config: Config, tags: Record<string, string>, key: string): string {
  const purpose = tags[TAG.purpose];
  if (purpose === OWN_PURPOSE) {
    throw new KeywardenError('KW-KEY-OWN', "this is one of Keywarden's own keys; without it no approval could be verified", { path: 'input.key', key, notDone: 'nothing was done', next: 'it is renewed where it was made: by Terraform, or by `keywarden dev` in development' });
  }
  if (tags[TAG.application] !== config.application || tags[TAG.environment] !== config.environment || purpose === undefined) {
    throw new KeywardenError('KW-KEY-FOREIGN', `the key belongs to ${tags[TAG.application] ?? 'no application'}/${tags[TAG.environment] ?? 'no environment'}, this is ${config.application}/${config.environment}`, { path: 'input.key', key, notDone: 'nothing was done', next: 'use the Keywarden of that environment' });
  }
  return purpose;
}

/** Waits for all, but no longer than `graceMs` once `enough` holds. */
export async function settledOrGrace(all: Promise<unknown>[], enough: () => boolean, graceMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  let started = false;
  const grace = new Promise<void>((resolve) => {
    const look = (): void => {
      if (!enough() || started) return;
      started = true;
      timer = setTimeout(resolve, graceMs);
    };
    for (const p of all) void p.then(look, look);
  });
  await Promise.race([Promise.allSettled(all), grace]);
  clearTimeout(timer);
}

/** KMS's state of the key by Region, `absent` where it has none; with `otherwise`, that where a Region does not answer. */
export async function statesIn(kms: ReadonlyMap<string, RegionalKms>, keyId: string, regions: readonly string[], otherwise?: string): Promise<Record<string, string>> {
  const states = await Promise.all(regions.map(async (region) => {
    const asked = kms.get(region)!.describe(keyId).then((m) => m?.KeyState ?? 'absent');
    return [region, await (otherwise === undefined ? asked : asked.catch(() => otherwise))] as const;
  }));
  return Object.fromEntries(states);
}

/** States in which a key does nothing: disabled, or on its way out. */
export const isDown = (state: string | undefined): boolean => state === 'Disabled' || state === 'PendingDeletion' || state === 'PendingReplicaDeletion';

export function isDisabledEverywhere(target: Target): boolean {
  return target.silent.length === 0 && target.seen.size > 0 && [...target.seen.values()].every((m) => isDown(m.KeyState));
}

/** The earliest date at which KMS destroys the key in a Region, if it is pending. */
export function deletionDate(target: Pick<Target, 'seen'>): number | undefined {
  const dates = [...target.seen.values()].flatMap((m) => (m.DeletionDate === undefined ? [] : [m.DeletionDate.getTime()]));
  return dates.length === 0 ? undefined : Math.min(...dates);
}
