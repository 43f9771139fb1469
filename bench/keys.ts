import { setTimeout as pause } from 'node:timers/promises';
import { ownershipTags } from '../activities/kms';
import { rolesForPolicies } from '../activities/planning';
import { aliasOf } from '../domain/names';
import { shippedPolicy } from '../domain/policies';
import type { BenchStack } from './stack';

export interface MadeKey {
  purpose: string;
  keyId: string;
}

/** So many keys are made side by side: the local KMS syncs a batch of changes as fast as one. */
const AT_ONCE = 24;

/** CMKs with the shipped policy, tags and aliases, in every Region, straight in KMS: `initializeKeys` keeps to AWS's quota of five a second. */
export async function makeKeys(stack: Pick<BenchStack, 'config' | 'kms'>, purposes: readonly string[], disabled: boolean): Promise<MadeKey[]> {
  const { config } = stack;
  const [primary, ...others] = config.regions as [string, ...string[]];
  const recovery = stack.kms('recovery');
  const emergency = stack.kms('emergency');
  const policy = shippedPolicy(rolesForPolicies(config));
  const make = async (purpose: string): Promise<MadeKey> => {
    const alias = aliasOf(config, purpose);
    const o = { policy, tags: ownershipTags(config, purpose), description: alias };
    const keyId = (await recovery.get(primary)!.createKey(o)).metadata.KeyId!;
    for (const region of others) await recovery.get(primary)!.replicate(keyId, { ...o, region });
    for (const region of others) while ((await recovery.get(region)!.describe(keyId))?.KeyState !== 'Enabled') await pause(60);
    await Promise.all(config.regions.map((region) => recovery.get(region)!.createAlias(alias, keyId)));
    if (disabled) await Promise.all(config.regions.map((region) => emergency.get(region)!.disable(keyId)));
    return { purpose, keyId };
  };
  return sideBySide(purposes, AT_ONCE, make);
}

/** Does `act` for each, so many at once; answers in order. */
export async function sideBySide<A, B>(all: readonly A[], atOnce: number, act: (a: A) => Promise<B>): Promise<B[]> {
  const answers: B[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let i = next++; i < all.length; i = next++) answers[i] = await act(all[i]!);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, all.length) }, lane));
  return answers;
}
