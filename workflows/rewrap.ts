import { condition } from '@temporalio/workflow';
import type { RewrapPlace, StretchDone } from '../domain/activities';
import type { Progress } from '../domain/status';
import { rewrapping, rotating } from './duties';

/** Where a re-wrap stands; what continue-as-new carries of it. */
export interface Rewrapped extends StretchDone {
  /** Keys that were stale at the beginning. */
  total: number;
  /** When it began, milliseconds. */
  since: number;
  /** All stretches up to this place are done in this pass. */
  after?: RewrapPlace;
}

/** Stretches that one run of the workflow does at most: its history stays far below the server's limits, whatever a stretch costs. */
export const STRETCHES_A_RUN = 300;
/** Ends of stretches asked for at once. */
const PLANNED = 20;
/** How often a failing stretch's patience is that of the workflow. */
type Patience = <T>(act: () => Promise<T>) => Promise<T>;

/**
 * Slides a window of parallel stretches over all stale subject keys. Resolves to true when a pass has come to its end, to false when the run has
 * done enough and wants to continue as new; nothing is under way then.
 */
export async function slide(keyId: string, parallel: number, at: Rewrapped, o: { patience: Patience; show(p: Progress): void; enough(): boolean }): Promise<boolean> {
  let planned: RewrapPlace[] = [];
  let cut = at.after;
  let ended = false;
  let begun = 0;
  let failure: unknown;
  const underWay: { upTo: RewrapPlace; done: boolean }[] = [];
  const run = async (after: RewrapPlace | undefined, stretch: (typeof underWay)[number]): Promise<void> => {
    try {
      const done = await o.patience(() => rewrapping.rewrapStretch.executeWithOptions({ summary: `re-wrap up to ${stretch.upTo.subjectId.slice(0, 60)}` }, [{ keyId, upTo: stretch.upTo, ...(after === undefined ? {} : { after }) }]));
      at.rewrapped += done.rewrapped;
      at.changed += done.changed;
      at.setAside += done.setAside;
    } catch (error) {
      failure ??= error;
    }
    stretch.done = true;
    // only what is done without a gap behind it may be left behind
    while (underWay[0]?.done === true && failure === undefined) at.after = underWay.shift()!.upTo;
    o.show(progressOf(at));
  };
  for (;;) {
    if (planned.length === 0 && !ended && !o.enough() && begun < STRETCHES_A_RUN) {
      const after = cut;
      planned = (await o.patience(() => rotating.planStretches.executeWithOptions({ summary: 'cut the next stretches' }, [{ keyId, count: PLANNED, ...(after === undefined ? {} : { after }) }]))).ends;
      ended = planned.length === 0;
    }
    const stop = ended || failure !== undefined || o.enough() || begun >= STRETCHES_A_RUN;
    if (stop && underWay.every((s) => s.done)) break;
    if (!stop && underWay.filter((s) => !s.done).length < parallel) {
      const stretch = { upTo: planned.shift()!, done: false };
      underWay.push(stretch);
      begun++;
      void run(cut, stretch);
      cut = stretch.upTo;
      continue;
    }
    const running = underWay.filter((s) => !s.done).length;
    await condition(() => underWay.filter((s) => !s.done).length < running);
  }
  if (failure !== undefined) throw failure;
  if (ended) delete at.after;
  return ended;
}

function progressOf(at: Rewrapped): Progress {
  const done = at.rewrapped + at.changed + at.setAside;
  const seconds = (Date.now() - at.since) / 1_000;
  const perSecond = seconds > 0 ? done / seconds : undefined;
  return {
    done,
    total: Math.max(at.total, done),
    setAside: at.setAside,
    ...(perSecond === undefined || perSecond === 0 ? {} : { perSecond: Math.round(perSecond), leftMs: Math.round((Math.max(0, at.total - done) / perSecond) * 1_000) }),
  };
}
