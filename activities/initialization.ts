import type { KeyMetadata } from '@aws-sdk/client-kms';
import { sleep } from '@temporalio/activity';
import type { InitializeActivities } from '../domain/activities';
import { KeywardenError } from '../domain/errors';
import { initializeInput, parseInput } from '../domain/inputs';
import { aliasOf, CANARY_CONTEXT, CHECKPOINT_KEY, DUTIES, receiptsKey, TAG } from '../domain/names';
import { shippedPolicy } from '../domain/policies';
import type { Deps } from './deps';
import { effect, found as foundDone } from './effect';
import { execution } from './execution';
import { ownershipTags, type RegionalKms } from './kms';
import { rolesForPolicies } from './planning';

/** Makes or finds the CMKs. CreateKey has no client token (facts A3): what exists is found by alias, then by the tags written at creation. */
export function initializeActivities(deps: Deps): Omit<InitializeActivities, 'makeSchedule'> {
  const { config } = deps;
  const [primaryRegion] = config.regions as [string];
  const primary = deps.kms.get(primaryRegion)!;

  return {
    async findOwnKeys() {
      const names = [...DUTIES.map(receiptsKey), CHECKPOINT_KEY];
      const missing: string[] = [];
      for (const name of names) if ((await primary.describe(name)) === undefined) missing.push(name);
      if (missing.length > 0) {
        throw new KeywardenError('KW-KEY-UNKNOWN', `Keywarden's own keys are missing in ${primaryRegion}: ${missing.join(', ')}`, { notDone: 'no key was made', next: 'apply infrastructure/terraform (in development `keywarden dev` makes them)' });
      }
      return { keys: names, searchable: deps.searchable, purposes: [...config.purposes], regions: [...config.regions] };
    },

    async makeKey({ purpose, input }) {
      parseInput(initializeInput, input);
      known(deps, purpose);
      const e = await execution(deps);
      const alias = aliasOf(config, purpose);
      const found = (await primary.describe(alias)) ?? (await findByTags(deps, primary, purpose));
      const made = found === undefined;
      const facts = { action: 'CreateKey', detail: { purpose, region: primaryRegion } };
      if (!made) await foundDone(deps, e, facts);
      const metadata = found ?? (await effect(deps, e, facts, () =>
        primary.createKey({ policy: shippedPolicy(rolesForPolicies(config)), tags: ownershipTags(config, purpose), description: alias }))).metadata;
      await settled(primary, metadata.KeyId!);
      if (made) await primary.enableRotation(metadata.KeyId!, config.rotation.periodDays);
      await deps.store.changeKey(metadata.KeyId!, (row) => ({ row: row ?? { keyId: metadata.KeyId!, purpose, epoch: 0 }, result: undefined }));
      return { purpose, keyId: metadata.KeyId!, keyArn: metadata.Arn!, alias, made, regions: [...config.regions] };
    },

    async replicateKey({ purpose, region }) {
      known(deps, purpose);
      const there = deps.kms.get(region);
      const key = await theKey(deps, primary, purpose);
      if (there === undefined || region === primaryRegion) return { made: false };
      const e = await execution(deps);
      const facts = { action: 'ReplicateKey', keyId: key.KeyId!, keyArn: key.Arn!, region };
      if ((await there.describe(key.KeyId!)) !== undefined) {
        await foundDone(deps, e, facts);
        await settled(there, key.KeyId!);
        return { made: false };
      }
      await effect(deps, e, facts, () =>
        primary.replicate(key.KeyId!, { region, policy: shippedPolicy(rolesForPolicies(config)), tags: ownershipTags(config, purpose), description: aliasOf(config, purpose) }));
      await settled(there, key.KeyId!);
      return { made: true };
    },

    async pointAlias({ purpose, region }) {
      known(deps, purpose);
      const kms = deps.kms.get(region);
      if (kms === undefined) throw new KeywardenError('KW-INPUT', `${region} is not a Region of this configuration`, { path: 'region', notDone: 'no alias was made', next: 'correct the configuration' });
      const key = await theKey(deps, primary, purpose);
      const alias = aliasOf(config, purpose);
      const target = await kms.describe(alias);
      const e = await execution(deps);
      const facts = { action: 'CreateAlias', keyId: key.KeyId!, keyArn: key.Arn!, region, detail: { alias } };
      if (target?.KeyId === key.KeyId) {
        await foundDone(deps, e, facts);
        return { made: false };
      }
      if (target !== undefined) throw new KeywardenError('KW-PLAN-DRIFT', `${alias} in ${region} points at ${target.KeyId ?? 'another key'}`, { key: key.KeyId!, notDone: 'the alias was not moved', next: 'find out who moved it; initializeKeys makes aliases and never moves them' });
      await effect(deps, e, facts, () => kms.createAlias(alias, key.KeyId!));
      return { made: true };
    },

    async makeCanary({ purpose }) {
      known(deps, purpose);
      const key = await theKey(deps, primary, purpose);
      const row = await deps.store.readKey(key.KeyId!);
      if (row?.canary !== undefined || key.KeyState !== 'Enabled') return { made: false };
      const canary = Buffer.from(await primary.encrypt(key.KeyId!, Buffer.from('keywarden canary'), CANARY_CONTEXT)).toString('base64');
      await deps.store.changeKey(key.KeyId!, (r) => ({ row: { ...(r ?? { keyId: key.KeyId!, purpose, epoch: 0 }), canary: r?.canary ?? canary }, result: undefined }));
      return { made: true };
    },
  };
}

function known(deps: Deps, purpose: string): void {
  if (!deps.config.purposes.includes(purpose)) {
    throw new KeywardenError('KW-INPUT', `"${purpose}" is not a purpose of this configuration (${deps.config.purposes.join(', ')})`, { path: 'input.purposes', notDone: 'no key was made', next: 'add the purpose to the configuration first' });
  }
}

async function theKey(deps: Deps, primary: RegionalKms, purpose: string): Promise<KeyMetadata> {
  const key = (await primary.describe(aliasOf(deps.config, purpose))) ?? (await findByTags(deps, primary, purpose));
  if (key === undefined) throw new KeywardenError('KW-NOT-YET', `the CMK of ${purpose} cannot be seen yet`, { key: purpose, notDone: 'the step', next: 'it is tried again' });
  return key;
}

/** A key made by an attempt whose answer was lost. Keys that are on their way out are not reused. */
async function findByTags(deps: Deps, kms: RegionalKms, purpose: string): Promise<KeyMetadata | undefined> {
  const known = new Set((await deps.store.listKeys()).map((r) => r.keyId));
  for await (const keyId of kms.keys()) {
    const tags = await kms.tags(keyId).catch(() => ({}) as Record<string, string>); // keys of others deny it
    if (tags[TAG.purpose] !== purpose || tags[TAG.application] !== deps.config.application || tags[TAG.environment] !== deps.config.environment || tags[TAG.replaces] !== undefined) continue;
    const metadata = await kms.describe(keyId);
    if (metadata !== undefined && (metadata.KeyState === 'Enabled' || metadata.KeyState === 'Creating' || (metadata.KeyState === 'Disabled' && known.has(keyId)))) return metadata;
  }
  return undefined;
}

export async function settled(kms: RegionalKms, keyId: string): Promise<void> {
  for (let i = 0; i < 40; i++) {
    const state = (await kms.describe(keyId))?.KeyState;
    if (state !== undefined && state !== 'Creating') return;
    await sleep(200);
  }
  throw new KeywardenError('KW-NOT-YET', `the key is still being made in ${kms.region}`, { key: keyId, notDone: 'the step', next: 'it is tried again' });
}
