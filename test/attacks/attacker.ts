/**
 * Somebody who can do everything to the Temporal namespace, and nothing else: start, signal, terminate, reset, cancel, complete activities,
 * poll every queue, and run workflows of their own that schedule our activities with what they like.
 */
import type { ActivityOptions } from '@temporalio/workflow';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { TimeoutFailure } from '@temporalio/common';
import { Worker } from '@temporalio/worker';
import { asKeywardenError } from '../../cli/output';
import { activityQueue, type Duty } from '../../domain/names';
import type { World } from '../harness/world';

export interface Order {
  duty: Duty;
  activity: string;
  argument: unknown;
}

const TEXT = `
const { proxyActivities } = require('@temporalio/workflow');
exports.evil = async (queue, activity, args, options) => {
  const act = proxyActivities({ taskQueue: queue, ...options })[activity];
  return act(...args);
};
exports.revokeKey = exports.recoverKey = exports.evil;
`;

/** Runs the attacker's own workflow code on `queue`: one of theirs, or ours, where it takes the tasks of our workflows too. */
export async function attacker(world: World, queue: string, more = ''): Promise<{ stop(): Promise<void> }> {
  const dir = mkdtempSync(join(resolve(__dirname, '../../dist'), 'evil-'));
  const path = join(dir, 'evil.js');
  writeFileSync(path, TEXT + more);
  const worker = await Worker.create({ connection: world.native, taskQueue: queue, workflowsPath: path });
  const running = worker.run();
  return {
    async stop() {
      worker.shutdown();
      await running;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Has one of our activities done by a workflow of the attacker's; resolves to its result, rejects with its failure. */
export async function order(world: World, o: Order, how: { workflowId?: string; type?: 'evil' | 'revokeKey' | 'recoverKey'; queue?: string; options?: ActivityOptions } = {}): Promise<unknown> {
  const args = [activityQueue(o.duty), o.activity, [o.argument], { startToCloseTimeout: '20 s', heartbeatTimeout: '15 s', retry: { maximumAttempts: 1 }, ...how.options }];
  return world.client.workflow.execute(how.type ?? 'evil', { taskQueue: how.queue ?? 'evil', workflowId: how.workflowId ?? world.id('evil'), args });
}

/** The stable code with which an order was refused. */
export async function refusal(world: World, o: Order, how?: Parameters<typeof order>[2]): Promise<string> {
  try {
    await order(world, o, how);
    return 'done';
  } catch (error) {
    return timedOut(error) ? 'not within its time' : asKeywardenError(error).code;
  }
}

function timedOut(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof TimeoutFailure) return true;
  return false;
}
