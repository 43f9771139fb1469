import { KeywardenError } from './errors';

/**
 * One row for each CMK in the store: its open procedure and an increasing epoch (DESIGN.md, Choices).
 * All changes are the pure functions below, applied by the store under the row's lock.
 */
export interface ProcedureRef {
  workflowId: string;
  firstRunId: string;
}

/** How one Region looked when the key was revoked; what a recovery restores. */
export interface RegionSnapshot {
  keyArn: string;
  state: string;
  /** The key policy document as KMS gave it, JSON text. */
  policy: string;
  policyDigest: string;
  /** Grant ids, sorted. */
  grants: string[];
  aliases: string[];
}

export type WindowOutcome = 'recovered' | 'disabled' | 'deletion-scheduled' | 'destroyed';

export interface RecoveryWindow {
  /** The revocation that opened it. */
  procedure: ProcedureRef;
  mode: 'disable' | 'quarantine';
  /** ISO 8601. */
  revokedAt: string;
  deadline: string;
  /** The deadline is KMS's own `DeletionDate`. */
  deadlineFromKms?: true;
  snapshot: Record<string, RegionSnapshot>;
  /** Regions in which the disabled state was seen. */
  disabledIn: string[];
  /** Revocations that may still have an attempt to disable under way; a recovery waits until there is none. */
  disabling: ProcedureRef[];
  /** Later revocations that joined; they are told how the window ends. */
  joiners?: ProcedureRef[];
  incident?: string;
  /** An earlier window of the same disabling ended without recovery: this one serves what is still to be signed, and nothing is recovered in it (rule 4). */
  noRecovery?: true;
  outcome?: WindowOutcome;
}

export interface KeyRow {
  keyId: string;
  purpose: string;
  /** Raised by each revocation; what was accepted under an older one has lapsed. */
  epoch: number;
  /** Base64 ciphertext of the canary, made under the encryption context `purpose=canary`. */
  canary?: string;
  window?: RecoveryWindow;
  /** The recovery that is at work, if any. */
  recovery?: ProcedureRef & { since: string };
  /** The rotation that is at work, if any. */
  rotation?: Rotation;
  /** How the last rotation ended that went to its end. */
  rotated?: { at: string; material: string; workflowId: string; setAside: number };
  /** A CMK that a rotation made to take the place of another. */
  replaces?: Replaces;
  /** The CMK that took this one's place. */
  replacedBy?: { keyId: string; at: string; workflowId: string };
  destroyedAt?: string;
  /** How the last windows ended, newest last: for those who joined one and look late. */
  endings?: { revokedAt: string; deadline: string; outcome: WindowOutcome }[];
}

export interface Replaces extends ProcedureRef {
  /** The old CMK. */
  keyId: string;
  /** `overlap`: everything is being re-wrapped under it; `sign-off`: all of it was verified; `committed`: there is no way back; `rolled-back`: everything goes back. */
  phase: 'overlap' | 'sign-off' | 'committed' | 'rolled-back';
}

export interface Rotation extends ProcedureRef {
  since: string;
  /** The material that was current when the rotation took the key: any other after it is the new one. */
  from: string;
  /** The material under which everything is re-wrapped; absent until it is known to be there. */
  material?: string;
  /** When KMS was last asked for new material without a known answer. */
  askedAt?: string;
  /** It re-wraps this CEK only, under the material that is there: whoever takes the row over from it inherits nothing. */
  columnKey?: string;
  /** It moves everything to a new CMK; `to` is absent until that is made. */
  replace?: true;
  to?: string;
}

export interface Opened {
  row: KeyRow;
  /** The procedure whose window was joined, when one was open already. */
  joined?: ProcedureRef;
  /** The recovery that this revocation pre-empts. */
  preempted?: ProcedureRef;
  /** The rotation that this revocation pre-empts. */
  rotation?: ProcedureRef;
}

export interface Opening {
  keyId: string;
  purpose: string;
  procedure: ProcedureRef;
  /** Somebody who may revoke has signed. An adoption without a signature follows the open window and changes nothing about it. */
  signed: boolean;
  mode: 'disable' | 'quarantine';
  revokedAt: string;
  deadline: string;
  snapshot: Record<string, RegionSnapshot>;
  disabledIn: string[];
  incident?: string;
  noRecovery?: true;
}

/** Opens the window, or joins the one that is open and applies the stricter mode (rule 6). Idempotent for one procedure. */
export function openWindow(row: KeyRow | undefined, o: Opening): Opened {
  const base: KeyRow = row ?? { keyId: o.keyId, purpose: o.purpose, epoch: 0 };
  const open = base.window !== undefined && base.window.outcome === undefined ? base.window : undefined;
  if (open !== undefined && same(open.procedure, o.procedure)) {
    return { row: { ...base, window: seen(open, o) } };
  }
  if (open !== undefined && open.joiners?.some((p) => same(p, o.procedure))) return { row: base, joined: open.procedure };
  if (open !== undefined && !o.signed) return { row: { ...base, window: { ...seen(open, o), joiners: [...(open.joiners ?? []), o.procedure] } }, joined: open.procedure };
  const preempted = { ...(base.recovery === undefined ? {} : { preempted: ref(base.recovery) }), ...(base.rotation === undefined ? {} : { rotation: ref(base.rotation) }) };
  const { recovery: _ended, rotation: _too, ...rest } = base;
  if (open !== undefined) {
    const window: RecoveryWindow = { ...seen(open, o), mode: open.mode === 'disable' || o.mode === 'disable' ? 'disable' : 'quarantine', disabling: [...open.disabling, o.procedure], joiners: [...(open.joiners ?? []), o.procedure] };
    return { row: { ...rest, epoch: base.epoch + 1, window }, joined: open.procedure, ...preempted };
  }
  const { keyId: _k, purpose: _p, signed: _s, ...window } = o;
  return { row: { ...rest, epoch: base.epoch + 1, window: { ...window, disabling: o.signed ? [o.procedure] : [] } }, ...preempted };
}

/** A window whose revocation was ended from outside gets a new keeper; deadline, snapshot and epoch stand. */
export function takeOverWindow(row: KeyRow | undefined, abandoned: ProcedureRef, by: ProcedureRef): KeyRow | undefined {
  const window = openWindowOf(row);
  if (row === undefined || window === undefined || !same(window.procedure, abandoned)) return row;
  return { ...row, window: { ...window, procedure: by, disabling: [...window.disabling.filter((p) => !same(p, abandoned)), by] } };
}

/** What was recorded first stands: a later snapshot may show what was planted, or a quarantine policy. */
function seen(window: RecoveryWindow, o: Pick<Opening, 'snapshot' | 'disabledIn'>): RecoveryWindow {
  return {
    ...window,
    snapshot: { ...o.snapshot, ...window.snapshot },
    disabledIn: [...new Set([...window.disabledIn, ...o.disabledIn])].sort(),
  };
}

/** A revocation goes on with what a recovery made it stop; not while that is at work. */
export function beginDisables(row: KeyRow, procedure: ProcedureRef): KeyRow {
  const window = openWindowOf(row);
  if (window === undefined) return row;
  if (row.recovery !== undefined) throw new KeywardenError('KW-NOT-YET', `the recovery ${row.recovery.workflowId} is at work`, { key: row.keyId, notDone: 'nothing was disabled', next: 'it is tried again when that has ended' });
  return { ...row, window: { ...window, disabling: [...window.disabling.filter((p) => !same(p, procedure)), procedure] } };
}

/** A revocation has no attempt to disable under way any more. */
export function endDisables(row: KeyRow, procedure: ProcedureRef): KeyRow {
  const window = openWindowOf(row);
  if (window === undefined) return row;
  return { ...row, window: { ...window, disabling: window.disabling.filter((p) => !same(p, procedure)) } };
}

/** Adds what was seen of Regions that had been silent. */
export function addSnapshot(row: KeyRow, snapshot: Record<string, RegionSnapshot>): KeyRow {
  const window = openWindowOf(row);
  return window === undefined ? row : { ...row, window: seen(window, { snapshot, disabledIn: Object.keys(snapshot) }) };
}

export function openWindowOf(row: KeyRow | undefined): RecoveryWindow | undefined {
  return row?.window !== undefined && row.window.outcome === undefined ? row.window : undefined;
}

export function destroyed(row: KeyRow, key: string): KeywardenError {
  const by = row.window === undefined ? '' : `, after the revocation ${row.window.procedure.workflowId}`;
  return new KeywardenError('KW-KEY-DESTROYED', `the key ${row.keyId} was destroyed${row.destroyedAt === undefined ? '' : ` at ${row.destroyedAt}`}${by}; no call brings it back`, { path: 'input.key', key, notDone: 'nothing was done', next: 'restore the data from a copy under another key' });
}

/** Whether applications must do without the key: from its revocation until it is recovered, and for ever where it is not. */
export function isRevoked(row: Pick<KeyRow, 'window'>): boolean {
  return row.window !== undefined && row.window.outcome !== 'recovered';
}

/** The window in which a recovery may act now, or the reason why none may (rule 4: no recovery after the window). */
export function recoverableWindow(row: KeyRow | undefined, keyId: string, now: number): RecoveryWindow {
  const last = row?.window;
  if (row?.destroyedAt !== undefined) throw destroyed(row, keyId);
  if (last === undefined) {
    throw new KeywardenError('KW-WINDOW-CLOSED', 'the key has no recovery window: it was not revoked by Keywarden', { key: keyId, notDone: 'nothing was enabled', next: 'look at `keywarden status`; a key disabled by hand is adopted by `keywarden revoke`, then recovered' });
  }
  if (last.outcome !== undefined || last.noRecovery === true || now >= Date.parse(last.deadline)) {
    const over: Pick<RecoveryWindow, 'deadline' | 'outcome'> = last.noRecovery === true ? (row?.endings?.at(-1) ?? last) : last;
    throw new KeywardenError('KW-WINDOW-CLOSED', `the recovery window of the key ended${over.outcome === undefined ? '' : ` (${over.outcome})`}; its deadline was ${over.deadline}`, {
      key: keyId,
      notDone: 'nothing was enabled',
      next: last.outcome === 'recovered' ? 'the key was recovered already: see `keywarden status`' : 'restore the data from a copy under another key, or rotate to a new CMK',
    });
  }
  return last;
}

/** A recovery takes the row; a quarantine does not act while it is there. Idempotent for one procedure. */
export function beginRecovery(row: KeyRow, procedure: ProcedureRef, now: number): KeyRow {
  recoverableWindow(row, row.keyId, now);
  if (row.recovery !== undefined && same(row.recovery, procedure)) return row;
  if (row.recovery !== undefined) {
    throw new KeywardenError('KW-PROCEDURE-OPEN', `another recovery is at work: ${row.recovery.workflowId}`, { key: row.keyId, notDone: 'this recovery did not begin', next: `look at it with \`keywarden status\`, or end it` });
  }
  return { ...row, recovery: { ...procedure, since: new Date(now).toISOString() } };
}

/** The recovery is over, whatever its end. */
export function endRecovery(row: KeyRow, procedure: ProcedureRef): KeyRow {
  if (row.recovery === undefined || !same(row.recovery, procedure)) return row;
  const { recovery: _ended, ...rest } = row;
  return rest;
}

export function closeWindow(row: KeyRow, outcome: WindowOutcome, at: string): KeyRow {
  if (row.window === undefined) return row;
  const { recovery: _ended, endings = [], ...rest } = row;
  const { revokedAt, deadline } = row.window;
  const others = endings.filter((w) => w.revokedAt !== revokedAt); // a scheduled deletion ends a second time, destroyed
  return { ...rest, window: { ...row.window, outcome }, endings: [...others.slice(-9), { revokedAt, deadline, outcome }], ...(outcome === 'destroyed' ? { destroyedAt: at } : {}) };
}

/** A rotation takes the row; `abandoned` is one whose workflow was ended from outside. Idempotent for one procedure. */
export function beginRotation(row: KeyRow, procedure: ProcedureRef, from: string, at: string, abandoned?: ProcedureRef, replace?: true): KeyRow {
  const holder = openWindowOf(row)?.procedure ?? row.recovery ?? row.rotation;
  if (row.rotation !== undefined && holder === row.rotation && same(row.rotation, procedure)) return row;
  if (holder !== undefined && !(holder === row.rotation && abandoned !== undefined && same(holder, abandoned))) {
    throw new KeywardenError('KW-PROCEDURE-OPEN', `another procedure holds the key: ${holder.workflowId}`, { key: row.keyId, notDone: 'the key was not rotated', next: 'look at it with `keywarden status`; rotate when it has ended' });
  }
  if (replace === true) return { ...row, rotation: { ...ref(procedure), since: at, from, replace, ...(row.rotation?.to === undefined ? {} : { to: row.rotation.to }) } };
  if (row.rotation?.replace === true) {
    throw new KeywardenError('KW-PROCEDURE-OPEN', `${row.rotation.workflowId} was ended from outside while it moved everything to a new CMK`, { key: row.keyId, notDone: 'the key was not rotated', next: `finish that first: keywarden rotate ${row.purpose} --strategy replace goes on with it, a reject takes it back` });
  }
  // what an abandoned rotation had asked KMS for is still its answer: asking again would spend a second one
  const asked = row.rotation === undefined || row.rotation.columnKey !== undefined ? { from } : { from: row.rotation.from, ...(row.rotation.material === undefined ? {} : { material: row.rotation.material }), ...(row.rotation.askedAt === undefined ? {} : { askedAt: row.rotation.askedAt }) };
  return { ...row, rotation: { ...ref(procedure), since: at, ...asked } };
}

/** The re-wrap of one CEK takes the row as a rotation does. It never takes over a rotation that was ended from outside: that has more to do. */
export function beginColumnKey(row: KeyRow, procedure: ProcedureRef, columnKey: string, material: string, at: string, abandoned?: ProcedureRef): KeyRow {
  const begun = beginRotation(row, procedure, material, at, row.rotation?.columnKey === undefined ? undefined : abandoned);
  return begun === row ? row : { ...begun, rotation: { ...begun.rotation!, columnKey, material } };
}

/** The rotation as this procedure holds it; a revocation that came takes it away. */
export function rotationOf(row: KeyRow | undefined, keyId: string, procedure: ProcedureRef): Rotation {
  if (row?.rotation === undefined || !same(row.rotation, procedure) || openWindowOf(row) !== undefined) {
    throw new KeywardenError('KW-PREEMPTED', 'the key is not held by this rotation any more', { key: keyId, notDone: 'the rest was not re-wrapped; what was re-wrapped stays so', next: 'look at `keywarden status`; rotate again when the key is free' });
  }
  return row.rotation;
}

/** The rotation is over, whatever its end. */
export function endRotation(row: KeyRow, procedure: ProcedureRef, rotated?: KeyRow['rotated']): KeyRow {
  if (row.rotation === undefined || !same(row.rotation, procedure)) return row;
  const { rotation: _ended, ...rest } = row;
  return rotated === undefined ? rest : { ...rest, rotated };
}

const ref = (p: ProcedureRef): ProcedureRef => ({ workflowId: p.workflowId, firstRunId: p.firstRunId });

export function same(a: ProcedureRef, b: ProcedureRef): boolean {
  return a.workflowId === b.workflowId && a.firstRunId === b.firstRunId;
}
