import { condition, ParentClosePolicy, startChild, WorkflowIdReusePolicy } from '@temporalio/workflow';
import type { DueKey } from '../domain/activities';
import { parseInput, rotateDueInput, type RotateDueInput } from '../domain/inputs';
import { workflowIdFor } from '../domain/names';
import { ROTATE_DUE_STEPS } from '../domain/steps';
import { rotating } from './duties';
import { asProcedure, Procedure, reasonOf } from './procedure';
import type { rotateKey, RotateResult } from './rotateKey';

export interface RotateDueResult {
  keys: (DueKey & { rotation?: string; outcome?: string })[];
}

type Step = (typeof ROTATE_DUE_STEPS)[number]['name'];

/** So long the day's run waits for its rotations; one that lasts longer goes on by itself, and the next day's run leaves its key alone. */
const DAY_S_WORK = '20 hours';

/** The daily run of the Schedule: rotates each key that is due, side by side, and tells what is overdue. */
export async function rotateDueKeys(raw: RotateDueInput = {}): Promise<RotateDueResult> {
  return asProcedure(async () => {
    const p = new Procedure<Step>('Rotate what is due', ROTATE_DUE_STEPS);
    parseInput(rotateDueInput, raw);
    p.phase('looking');
    const { keys, searchable } = await p.persist('look', () => rotating.dueKeys.executeWithOptions({ summary: 'which keys are due?' }, []), (d) => `${d.keys.filter((k) => k.due).length} of ${d.keys.length} keys are due`);
    p.becomeSearchable('all', searchable);
    p.phase('rotating');
    const result: RotateDueResult = { keys };
    p.mark('rotate', 'running');
    const rotations = result.keys.filter((k) => k.due).map(async (key) => {
      key.rotation = workflowIdFor('rotateKey', key.purpose, new Date());
      // a rotation belongs to its key, not to the day: it outlives this run
      const child = await startChild<typeof rotateKey>('rotateKey', { workflowId: key.rotation, args: [{ key: key.purpose, reason: `due: ${key.why}`.slice(0, 500) }], parentClosePolicy: ParentClosePolicy.ABANDON, workflowIdReusePolicy: WorkflowIdReusePolicy.REJECT_DUPLICATE });
      key.outcome = 'running';
      key.outcome = await child.result().then((r: RotateResult) => r.outcome, (e: unknown) => `failed: ${reasonOf(e).slice(0, 300)}`);
    });
    let over = false;
    void Promise.all(rotations.map((r) => r.catch(() => undefined))).then(() => (over = true));
    await condition(() => over, DAY_S_WORK, { summary: "the day's rotations" });
    p.mark('rotate', 'done', result.keys.filter((k) => k.due).map((k) => `${k.purpose}: ${k.outcome ?? 'not started'}`).join(', ') || 'none was due');
    const overdue = result.keys.filter((k) => k.overdue && k.outcome !== 'rotated');
    await p.persist('warn', async () => {
      for (const k of overdue) await rotating.alert.executeWithOptions({ summary: `tell security: ${k.purpose} is overdue` }, [{ kind: 'rotation-overdue', occasion: k.purpose, key: k.purpose, ...(k.keyId === '' ? {} : { keyId: k.keyId }), detail: `${k.why}${k.open === undefined ? '' : `; ${k.open} holds the key`}`, command: 'keywarden verify-rotation --json' }]);
    }, () => (overdue.length === 0 ? 'nothing is overdue' : overdue.map((k) => k.purpose).join(', ')));
    p.outcome(result.keys.some((k) => k.due && k.outcome !== 'rotated') ? 'not all rotated' : 'done');
    await p.decisions.close('the procedure has ended');
    return result;
  });
}
