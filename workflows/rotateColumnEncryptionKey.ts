import { CancellationScope, isCancellation, sleep, workflowInfo } from '@temporalio/workflow';
import type { ColumnKeyBegun } from '../domain/activities';
import { parseInput, rotateColumnKeyInput, type RotateColumnKeyInput } from '../domain/inputs';
import { ROTATE_COLUMN_KEY_STEPS } from '../domain/steps';
import { rewrapping, rotating } from './duties';
import { asProcedure, codeOf, Procedure, reasonOf } from './procedure';

export interface RotateColumnKeyResult {
  /** `current`: it stood on the current material already. `incomplete`: it does not open, and waits for a person. */
  outcome: 'rotated' | 'current' | 'incomplete';
  cek: string;
  keyId: string;
  material: string;
}

type Step = (typeof ROTATE_COLUMN_KEY_STEPS)[number]['name'];

/** One column encryption key under the current material of its CMK. */
export async function rotateColumnEncryptionKey(raw: RotateColumnKeyInput): Promise<RotateColumnKeyResult> {
  return asProcedure(async () => {
    const p = new Procedure<Step>(`Re-wrap ${String((raw as Partial<RotateColumnKeyInput> | undefined)?.cek).slice(0, 80)}`, ROTATE_COLUMN_KEY_STEPS);
    const { cek } = parseInput(rotateColumnKeyInput, raw);
    let begun: ColumnKeyBegun | undefined;
    const end = (keyId: string, why: string) => p.untilDone('close', () => rotating.endRotation.executeWithOptions({ summary: 'give the key back' }, [{ keyId, outcome: 'ended', why: why.slice(0, 2_000) }]));
    const tell = (kind: 'rotation-incomplete' | 'rotation-failed', { keyId, purpose }: ColumnKeyBegun, detail: string) =>
      rotating.alert.executeWithOptions({ summary: `tell security: ${kind}` }, [{ kind, key: purpose, keyId, detail: detail.slice(0, 1_000), command: `keywarden status ${kind === 'rotation-failed' ? workflowInfo().workflowId : purpose}` }]);
    try {
      p.phase('re-wrapping');
      const b = (begun = await p.persist('begin', () => rotating.beginColumnKey.executeWithOptions({ summary: `take the key of ${cek}` }, [{ cek }]), (c) => c.keyId));
      p.becomeSearchable(b.purpose, b.searchable);
      const done = await p.persist('re-wrap', async () => {
        for (;;) {
          const counts = await rewrapping.rewrapColumnKeys.executeWithOptions({ summary: `re-wrap ${cek}` }, [{ keyId: b.keyId }]);
          if (counts.changed === 0) return counts;
          await sleep('1 second', { summary: 'somebody changed it meanwhile: once more' });
        }
      });
      const outcome = done.setAside > 0 ? 'incomplete' : b.current ? 'current' : 'rotated';
      await p.step('close', () => end(b.keyId, `only ${cek} was re-wrapped: ${outcome}`));
      if (outcome === 'incomplete') await p.persist('notify', () => tell('rotation-incomplete', b, `The column encryption key ${cek} does not open and waits for a person.`));
      p.outcome(outcome);
      return { outcome, cek, keyId: b.keyId, material: b.material };
    } catch (error) {
      await CancellationScope.nonCancellable(async () => {
        const preempted = isCancellation(error) || codeOf(error) === 'KW-PREEMPTED';
        p.outcome(preempted ? 'pre-empted' : 'failed');
        if (begun === undefined) return;
        const why = preempted ? 'a revocation took the key, or it was cancelled' : reasonOf(error);
        await end(begun.keyId, why);
        await p.untilDone('notify', () => tell('rotation-failed', begun!, `${cek} was not re-wrapped: ${why}`));
      });
      throw error;
    } finally {
      await CancellationScope.nonCancellable(() => p.end());
    }
  });
}
