/** One key in a world of its own, where days pass in a second. */
import type { RecoverInput, RevokeInput } from '../../domain/inputs';
import type { RecoverResult } from '../../workflows/recoverKey';
import { createWorld, type World } from '../harness/world';
import { decide, resultOf } from './people';

export const input: RevokeInput = { key: 'user-data', reason: 'the key may have leaked' };
export const back: RecoverInput = { key: 'user-data', reason: 'the leak was a false alarm' };

export async function oneKey(): Promise<{ world: World; keyId: string }> {
  const world = await createWorld({ timeSkipping: true });
  await world.initialize('user-data');
  return { world, keyId: await world.keyId('user-data') };
}

/** A revocation whose window is open and which has nothing else to do. */
export async function revoked(world: World, changes: Partial<RevokeInput> = {}): Promise<{ workflowId: string; input: RevokeInput }> {
  const all = { ...input, ...changes };
  const { workflowId } = await world.revoke(all);
  await world.stepsDone(workflowId, 'alert', 'open-window', 'prove-effect', 'census');
  const keyId = await world.keyId('user-data');
  await world.until('nothing is pending to be disabled', async () => (await world.store.real.readKey(keyId))?.window?.disabling.length === 0).catch(async (error: Error) => {
    throw new Error(`${error.message}\n${await whatHappened(world, workflowId)}`);
  });
  return { workflowId, input: all };
}

/** Both signatures under a widening: the start's own counts as one. */
export async function widened(world: World, changes: Partial<RevokeInput>): Promise<{ workflowId: string; input: RevokeInput }> {
  const open = await revoked(world, changes);
  await world.until('the gate is open', async () => (await world.status(open.workflowId)).pendingApproval !== undefined);
  expect(await decide(world, open.workflowId, 'revokeKey', open.input, 'bob', 'KeyRecoveryAdmin')).toMatchObject({ accepted: true, missing: 0 });
  return open;
}

export async function recovered(world: World): Promise<RecoverResult> {
  const { workflowId } = await world.recover(back, 'bob');
  await world.until('one has signed', async () => (await world.status(workflowId)).pendingApproval?.decided.length === 1);
  expect(await decide(world, workflowId, 'recoverKey', back, 'alice', 'EmergencyKeyAdmin')).toMatchObject({ accepted: true, missing: 0 });
  return resultOf<RecoverResult>(world, workflowId);
}

/** The end of a history and the status, for the failure of a test. */
async function whatHappened(world: World, workflowId: string): Promise<string> {
  const { events } = await world.client.workflow.getHandle(workflowId).fetchHistory();
  const last = (events ?? []).slice(-25).map((e) => JSON.stringify(Object.fromEntries(Object.entries(e).filter(([, v]) => v !== null)), (_k, v: unknown) => (v instanceof Uint8Array ? Buffer.from(v).toString().slice(0, 200) : v)).slice(0, 400));
  return `${JSON.stringify(await world.status(workflowId).catch(String))}\n${JSON.stringify(await world.store.real.readKey(await world.keyId('user-data')))}\n${last.join('\n')}`;
}
