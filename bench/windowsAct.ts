import { setTimeout as pause } from 'node:timers/promises';
import { disablePlan } from '../activities/planning';
import type { Benchmark } from './benchmarks';
import type { OpenWindow, Windows } from './openWindows';
import { exactNow, ratioOf, spread } from './timing';

const ROUNDS = 50;
/** More than a worker caches: a window this far from the last one touched is out of its memory. */
const FORGOTTEN = 45;

/**
 * Acting on a window that the worker's cache has dropped: a signed decision by Update, until its answer. The worker gets the history,
 * replays it, verifies the signature in an activity, reads the server's time of arrival, audits and answers.
 */
export const windowsAct: Benchmark = {
  figures: ['windows.act'],
  measures: 'a signed decision on an open window that is out of the cache, until it is answered',
  async run(session) {
    const { few, many } = await session.pair();
    const times = { few: [] as number[], many: [] as number[] };
    const chosen = { few: forgotten(few), many: forgotten(many) };
    for (let round = 0; round < ROUNDS; round++) {
      const order = [['few', few], ['many', many]] as const;
      for (const [name, windows] of round % 2 === 0 ? order : [...order].reverse()) {
        times[name].push(await timeToAct(windows, chosen[name][round]!));
        await pause(40);
      }
    }
    session.note(`${few.open.length} windows: ${spread(times.few)}; ${many.open.length} windows: ${spread(times.many)}`);
    return [{ name: 'windows.act', unit: 'x', against: `${few.open.length} open windows, p50`, goal: 1.2, ...ratioOf(times.many, times.few, 50) }];
  },
};

/** Spread over all that are out of the cache, each used once; the oldest first, so that every one stays out until its turn. */
function forgotten({ open }: Windows): OpenWindow[] {
  const out = open.slice(0, open.length - FORGOTTEN);
  return Array.from({ length: ROUNDS }, (_, i) => out[Math.floor((i * out.length) / ROUNDS)]!);
}

async function timeToAct({ stack }: Windows, { key, handle }: OpenWindow): Promise<number> {
  const { runId } = await handle.describe().then((d) => ({ runId: d.runId }));
  const input = { key: key.purpose, reason: 'benchmark' };
  const plan = disablePlan(stack.config, input, key, { workflowId: handle.workflowId, firstRunId: runId });
  const proof = await stack.sign('alice', 'EmergencyKeyAdmin', plan);
  const since = exactNow();
  const answer = await handle.executeUpdate<{ accepted: boolean; code?: string }, [object]>('decide', { args: [{ proof, decision: 'approve' }] });
  const ms = exactNow() - since;
  if (!answer.accepted) throw new Error(`the decision was refused: ${answer.code ?? ''}`);
  return ms;
}
