import { setTimeout as pause } from 'node:timers/promises';
import type { BenchStack } from './stack';
import type { MadeKey } from './keys';
import { exactNow } from './timing';

/** When KMS had disabled the key in so many Regions, by KMS's own record of calls; milliseconds since the epoch. */
export async function disabledAt(stack: BenchStack, keyId: string, since: number, regions: number, within = 30_000): Promise<number> {
  for (const end = Date.now() + within; Date.now() < end; await pause(5)) {
    const calls = await stack.admin.calls({ operation: 'DisableKey', since: new Date(since).toISOString() });
    const done = calls.filter((c) => c.errorCode === undefined && c.keyArn?.endsWith(keyId) === true);
    if (new Set(done.map((c) => c.region)).size >= regions) return Math.max(...done.map((c) => Date.parse(c.time)));
  }
  throw new Error(`KMS has not disabled ${keyId} within ${within / 1_000} s`);
}

/** From the start of `revokeKey`, with its proof, until KMS has disabled the key in every Region. */
export async function timeToDisabled(stack: BenchStack, key: MadeKey): Promise<{ ms: number; atRest(): Promise<void> }> {
  const start = await stack.revocation(key);
  const since = exactNow();
  const handle = await start();
  // nothing asks while it happens: the moment stands in KMS's record
  await pause(40);
  const ms = (await disabledAt(stack, key.keyId, since, stack.config.regions.length)) - since;
  return { ms, atRest: () => stack.atRest(handle) };
}
