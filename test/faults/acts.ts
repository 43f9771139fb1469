/** What people do in these tests, in one line each. */
import type { RecoverInput, RevokeInput } from '../../domain/inputs';
import { digest, policyDigest } from '../../domain/digest';
import { quarantinePolicy } from '../../domain/policies';
import { rolesForPolicies } from '../../activities/planning';
import { REGIONS, type World } from '../harness/world';

export const reason = 'a test of what can fail';
export const DOWN = { 'us-east-1': 'Disabled', 'us-west-2': 'Disabled' };
export const UP = { 'us-east-1': 'Enabled', 'us-west-2': 'Enabled' };

/** Access keys of the duties, as faults name them. */
export const EMERGENCY = 'AKIALOCALEMERGENCY';
export const RECOVERY = 'AKIALOCALRECOVERY';

export const names = (prefix: string, n: number): string[] => Array.from({ length: n }, (_, i) => `${prefix}-${i + 1}`);

/** Alice revokes; resolves when all that follows at once is done. */
export async function revoked(world: World, input: Partial<RevokeInput> & { key: string }): Promise<string> {
  const { workflowId } = await world.revoke({ reason, ...input });
  await world.stepsDone(workflowId, 'disable', 'alert', 'open-window', 'prove-effect', 'census');
  return workflowId;
}

/** The second signature of a quarantine or a deletion. */
export async function signWidening(world: World, workflowId: string, input: Partial<RevokeInput> & { key: string }, by = 'bob'): Promise<void> {
  const proof = await world.token(workflowId, 'revokeKey', { reason, ...input }, by, 'KeyRecoveryAdmin');
  await world.client.workflow.getHandle(workflowId).signal('approve', { proof });
}

/** Bob asks for the recovery, carol signs too. Does not wait for its end. */
export async function recovery(world: World, key: string, input: Partial<RecoverInput> = {}) {
  const full: RecoverInput = { key, reason, ...input };
  const handle = await world.recover(full, 'bob');
  const proof = await world.token(handle.workflowId, 'recoverKey', full, 'carol', 'KeyRecoveryAdmin');
  await handle.signal('approve', { proof });
  return handle;
}

export async function recovered(world: World, key: string, input: Partial<RecoverInput> = {}): Promise<{ outcome: string; states?: Record<string, string> }> {
  return (await recovery(world, key, input)).result() as Promise<{ outcome: string; states?: Record<string, string> }>;
}

/** Whether the key's policy is the quarantine's, in every Region. */
export async function isQuarantined(world: World, keyId: string): Promise<boolean> {
  const wanted = digest(JSON.parse(quarantinePolicy(rolesForPolicies(world.config))));
  const found = await Promise.all(REGIONS.map(async (r) => policyDigest(await world.root.get(r)!.policy(keyId))));
  return found.every((d) => d === wanted);
}

/** The codes of audit rows of a workflow: `action phase`. */
export async function rowsOf(world: World, workflowId: string): Promise<string[]> {
  const rows: string[] = [];
  for await (const { entry } of world.store.real.readAudit({ workflowId })) rows.push(`${entry.action} ${entry.phase}`);
  return rows;
}
