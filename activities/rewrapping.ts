import { Context, heartbeat } from '@temporalio/activity';
import type { RewrapPlace, RotationActivities, StretchDone } from '../domain/activities';
import { KeywardenError } from '../domain/errors';
import { openWindowOf, rotationOf } from '../domain/keyRow';
import type { SubjectKey } from '../stores/store';
import type { Deps } from './deps';
import { entry, execution, type Execution } from './execution';
import type { RegionalKms } from './kms';
import { rotationTarget } from './materials';
import { Mover } from './mover';
import type { Pacer } from './pacer';

/** The claim of the rotation that an activity works for; whoever has none re-wraps nothing. */
export interface Held {
  e: Execution;
  keyId: string;
  purpose: string;
  /** The material under which everything must stand. */
  material: string;
  /** The one CEK that is re-wrapped, where it is not everything. */
  columnKey?: string;
  /** The CMK to which everything moves; absent where it stays. */
  to?: { keyId: string; keyArn: string };
}

/** Where a rotation moves wrapped keys, as audit rows say it. */
export const destination = ({ to, material }: Held): { to: string } | { material: string } => (to === undefined ? { material } : { to: to.keyId });

/** Sorts behind every material: whatever stands under the CMK is stale. */
export const NO_MATERIAL = '~';

/** Read from the key's row, never from the workflow; a revocation takes the claim away. */
export async function held(deps: Deps, keyId: string): Promise<Held> {
  const e = await execution(deps);
  const row = await deps.store.readKey(keyId);
  const { material, replace, to, columnKey } = rotationOf(row, keyId, e);
  if (replace === true) return { e, keyId, purpose: row!.purpose, material: NO_MATERIAL, to: await replacementIn(deps, keyId, to) };
  if (material === undefined) throw new KeywardenError('KW-NOT-YET', 'the new material is not there yet', { key: keyId, notDone: 'nothing was re-wrapped', next: 'it is tried again' });
  return { e, keyId, purpose: row!.purpose, material, ...(columnKey === undefined ? {} : { columnKey }) };
}

/** The new CMK of a replacement that is at work. */
async function replacementIn(deps: Deps, keyId: string, to: string | undefined): Promise<{ keyId: string; keyArn: string }> {
  const row = to === undefined ? undefined : await deps.store.readKey(to);
  if (row?.replaces === undefined) throw new KeywardenError('KW-NOT-YET', 'the new CMK is not there yet', { key: keyId, notDone: 'nothing was re-wrapped', next: 'it is tried again' });
  if (row.replaces.phase === 'rolled-back' || openWindowOf(row) !== undefined) throw new KeywardenError('KW-PREEMPTED', `the new CMK ${row.keyId} was taken out of use`, { key: keyId, notDone: 'the rest was not re-wrapped', next: 'look at `keywarden status`' });
  const { region } = (await rotationTarget(deps, keyId)).kms;
  return { keyId: row.keyId, keyArn: `arn:aws:kms:${region}:${deps.config.account}:key/${row.keyId}` };
}

/** Where a stretch stands after its last written page: what a heartbeat holds, and where the next attempt goes on. */
interface Standing {
  after?: RewrapPlace | undefined;
  done: StretchDone;
  pages: number;
}

export function rewrapActivities(deps: Deps, pacerOf: (kms: RegionalKms) => Pacer): Pick<RotationActivities, 'planStretches' | 'rewrapStretch'> {
  const { rewrap } = deps.config;
  return {
    async planStretches(a) {
      const { keyId, material } = await held(deps, a.keyId);
      const cut = (after: RewrapPlace | undefined, size: number, count: number): Promise<RewrapPlace[]> => deps.store.staleStretches({ keyId, material, after, size: Math.ceil(size), count });
      const ends: RewrapPlace[] = [];
      // the first are shorter, each by its part: side by side, equal ones would all end at once, and KMS would wait for the next
      for (let i = 1; a.after === undefined && i < rewrap.stretches && i < a.count; i++) {
        const [end] = await cut(ends.at(-1), (rewrap.stretchKeys * i) / rewrap.stretches, 1);
        if (end === undefined) return { ends };
        ends.push(end);
      }
      return { ends: [...ends, ...(await cut(ends.at(-1) ?? a.after, rewrap.stretchKeys, a.count - ends.length))] };
    },

    async rewrapStretch(a) {
      const mine = await held(deps, a.keyId);
      const { kms } = await rotationTarget(deps, a.keyId);
      const mover = new Mover(deps, mine, kms, pacerOf(kms));
      let at: Standing = (Context.current().info.heartbeatDetails as Standing | undefined) ?? { after: a.after, done: { rewrapped: 0, changed: 0, setAside: 0 }, pages: 0 };
      const read = (after: RewrapPlace | undefined): Promise<SubjectKey[]> => {
        const page = deps.store.readStale({ keyId: mine.keyId, material: mine.material, after, upTo: a.upTo, limit: rewrap.pageKeys });
        page.catch(() => undefined); // told where it is waited for
        return page;
      };
      const beat = setInterval(() => heartbeat(at), 2_000);
      try {
        for (let next = read(at.after), first = true; ; first = false) {
          const page = await next;
          const last = page.at(-1);
          if (last === undefined) return at.done;
          if (first) await intend(deps, mine, 'RewrapSubjectKeys');
          const after = { material: last.keyMaterialId ?? '', purpose: last.purpose, subjectId: last.subjectId };
          next = read(after); // while this page is with KMS
          const counts = await mover.page(page, `${Context.current().info.attempt}/${at.pages}`);
          at = { after, done: { rewrapped: at.done.rewrapped + counts.rewrapped, changed: at.done.changed + counts.changed, setAside: at.done.setAside + counts.setAside }, pages: at.pages + 1 };
          heartbeat(at);
          Context.current().cancellationSignal.throwIfAborted();
        }
      } finally {
        clearInterval(beat);
      }
    },
  };
}

/** Rule 3: no wrapped key is overwritten before this row is stored; each page's own row is written with the page. */
export async function intend(deps: Deps, mine: Held, action: string, occasion = ''): Promise<void> {
  const { e, keyId } = mine;
  const where = await deps.trail.record([entry(deps, e, { action, phase: 'intended', keyId, occasion, detail: destination(mine) })]);
  // the page's row goes to the store itself: what is told before it must stand there before it
  if (where === 'journal') await deps.trail.drain();
}
