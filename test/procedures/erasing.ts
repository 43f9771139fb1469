/** What people do to erase a person, and what there is to see of them. */
import type { WorkflowHandle } from '@temporalio/client';
import type { EraseInput } from '../../domain/inputs';
import { WORKFLOW_QUEUE } from '../../domain/names';
import type { World } from '../harness/world';

/** A name that stands in no word of ours, so that it is found wherever it should not be. */
export const PERSON = 'zebulon-4711';
export const seconds = (n: number): number => n / 86_400;

/** Keeps the request, as `keywarden erase` does, and answers the workflow's input. */
export async function request(world: World, person = PERSON): Promise<EraseInput> {
  return { subjectId: await world.store.real.requestErasure(person), reason: 'article 17, by letter' };
}

export async function start(world: World, input: EraseInput, by?: string, workflowId = world.id('eraseSubject')): Promise<WorkflowHandle> {
  const proof = by === undefined ? {} : { proof: await world.sign(by, 'KeyRecoveryAdmin', await world.plan('eraseSubject', input, { workflowId })) };
  return world.client.workflow.start('eraseSubject', { taskQueue: WORKFLOW_QUEUE, workflowId, args: [{ ...input, ...proof }] });
}

/** Asked for and signed by bob, signed by carol; the keys are withheld when it resolves. */
export async function erasing(world: World, person = PERSON, workflowId?: string): Promise<{ handle: WorkflowHandle; input: EraseInput }> {
  const input = await request(world, person);
  const handle = await start(world, input, 'bob', workflowId);
  await handle.signal('approve', { proof: await world.token(handle.workflowId, 'eraseSubject', input, 'carol', 'KeyRecoveryAdmin') });
  await world.stepsDone(handle.workflowId, 'withhold');
  return { handle, input };
}
