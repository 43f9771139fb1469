import { KeywardenError } from '../../domain/errors';
import { addSnapshot, beginColumnKey, beginRecovery, beginRotation, closeWindow, endDisables, endRecovery, openWindow, openWindowOf, recoverableWindow, same, type KeyRow, type Opening, type ProcedureRef, type RegionSnapshot } from '../../domain/keyRow';
import { pick, seeded } from './random';

const T0 = Date.parse('2026-11-23T12:00:00.000Z');
const DAY = 86_400_000;
const at = (ms: number): string => new Date(ms).toISOString();
const procedure = (name: string): ProcedureRef => ({ workflowId: name, firstRunId: `run-of-${name}` });
const shot = (policy: string): RegionSnapshot => ({ keyArn: 'arn', state: 'Disabled', policy, policyDigest: policy, grants: [], aliases: [] });
const opening = (by: string, changes: Partial<Opening> = {}): Opening => ({ keyId: 'key', purpose: 'user-data', procedure: procedure(by), signed: true, mode: 'disable', revokedAt: at(T0), deadline: at(T0 + 7 * DAY), snapshot: { east: shot('shipped') }, disabledIn: ['east'], ...changes });
const opened = (by = 'first', changes: Partial<Opening> = {}, row?: KeyRow): KeyRow => openWindow(row, opening(by, changes)).row;
const code = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    return (error as KeywardenError).code;
  }
  return 'accepted';
};

describe('opening a window', () => {
  it('on a key that the store does not know: epoch 1, one procedure that disables', () => {
    expect(opened()).toMatchObject({ keyId: 'key', purpose: 'user-data', epoch: 1, window: { procedure: procedure('first'), disabling: [procedure('first')] } });
  });
  it('rule 6: again by the same procedure changes nothing but what was seen of silent Regions; what was seen first stands', () => {
    const again = openWindow(opened(), opening('first', { deadline: at(0), snapshot: { east: shot('planted'), west: shot('shipped') }, disabledIn: ['east', 'west'] }));
    expect(again).toMatchObject({ row: { epoch: 1, window: { deadline: at(T0 + 7 * DAY), disabledIn: ['east', 'west'], snapshot: { east: { policy: 'shipped' }, west: { policy: 'shipped' } } } } });
    expect([again.joined, again.preempted]).toEqual([undefined, undefined]);
  });
  it('rule 6: by a second procedure joins the first, raises the epoch, keeps deadline and snapshot', () => {
    const second = openWindow(opened(), opening('second', { deadline: at(T0 + 99 * DAY), snapshot: { east: shot('quarantine') } }));
    expect(second.joined).toEqual(procedure('first'));
    expect(second.row).toMatchObject({ epoch: 2, window: { procedure: procedure('first'), deadline: at(T0 + 7 * DAY), snapshot: { east: { policy: 'shipped' } }, disabling: [procedure('first'), procedure('second')] } });
    expect(openWindow(second.row, opening('second')).row.epoch).toBe(2);
  });
  it.each([['disable', 'disable', 'disable'], ['disable', 'quarantine', 'disable'], ['quarantine', 'disable', 'disable'], ['quarantine', 'quarantine', 'quarantine']] as const)('rule 6: %s, then %s: %s', (first, second, mode) => {
    expect(opened('second', { mode: second }, opened('first', { mode: first })).window!.mode).toBe(mode);
  });
  it('rule 5: without a signature follows the open window: no epoch, no mode, no recovery of it is touched, however often', () => {
    const recovering = beginRecovery(opened('first', { mode: 'quarantine' }), procedure('recovery'), T0);
    const followed = openWindow(recovering, opening('adopter', { signed: false, mode: 'disable', snapshot: { west: shot('shipped') } }));
    expect(followed).toMatchObject({ joined: procedure('first'), row: { epoch: 1, recovery: procedure('recovery'), window: { mode: 'quarantine', disabling: [procedure('first')], joiners: [procedure('adopter')], snapshot: { west: {} } } } });
    expect(followed.preempted).toBeUndefined();
    expect(openWindow(followed.row, opening('adopter', { signed: false })).row).toEqual(followed.row);
  });
  it('how the last ten windows ended stays on the row, each once', () => {
    let row = opened('w0');
    for (let i = 0; i < 12; i++) {
      row = closeWindow(row, 'deletion-scheduled', at(T0));
      if (i % 2 === 0) row = closeWindow(row, 'destroyed', at(T0));
      row = opened(`w${i + 1}`, { revokedAt: at(T0 + (i + 1) * DAY) }, row);
    }
    expect(row.endings!.map((e) => [e.revokedAt, e.outcome])).toEqual([...Array(10).keys()].map((i) => [at(T0 + (i + 2) * DAY), i % 2 === 0 ? 'destroyed' : 'deletion-scheduled']));
  });
  it('takes the row from a recovery that is at work', () => {
    const recovering = beginRecovery(opened(), procedure('recovery'), T0);
    const { row, preempted } = openWindow(recovering, opening('second'));
    expect(preempted).toEqual(procedure('recovery'));
    expect(row.recovery).toBeUndefined();
    expect(row.epoch).toBe(2);
  });
  it('after a window that has ended opens a new one, with its own snapshot', () => {
    const again = openWindow(closeWindow(opened(), 'recovered', at(T0 + DAY)), opening('second', { deadline: at(T0 + 9 * DAY), snapshot: { east: shot('newer') } }));
    expect(again).toMatchObject({ row: { epoch: 2, window: { procedure: procedure('second'), deadline: at(T0 + 9 * DAY), snapshot: { east: { policy: 'newer' } } } } });
    expect(again.joined).toBeUndefined();
  });
  it('keeps the canary', () => expect(opened('first', {}, { keyId: 'key', purpose: 'user-data', epoch: 4, canary: 'AAAA' })).toMatchObject({ canary: 'AAAA', epoch: 5 }));
});

describe('rule 4: no recovery after the window', () => {
  const open = opened();
  it.each<[string, KeyRow | undefined, number, string]>([
    ['inside', open, T0 + DAY, 'accepted'], ['one millisecond before the end', open, T0 + 7 * DAY - 1, 'accepted'], ['at the end', open, T0 + 7 * DAY, 'KW-WINDOW-CLOSED'], ['after it', open, T0 + 8 * DAY, 'KW-WINDOW-CLOSED'],
    ['recovered', closeWindow(open, 'recovered', at(T0)), T0, 'KW-WINDOW-CLOSED'], ['disabled', closeWindow(open, 'disabled', at(T0)), T0, 'KW-WINDOW-CLOSED'], ['deletion-scheduled', closeWindow(open, 'deletion-scheduled', at(T0)), T0, 'KW-WINDOW-CLOSED'],
    ['destroyed', closeWindow(open, 'destroyed', at(T0)), T0, 'KW-KEY-DESTROYED'], ['never revoked', { keyId: 'key', purpose: 'x', epoch: 0 }, T0, 'KW-WINDOW-CLOSED'], ['unknown', undefined, T0, 'KW-WINDOW-CLOSED'],
  ])('%s', (_name, row, now, expected) => {
    expect(code(() => recoverableWindow(row, 'key', now))).toBe(expected);
    if (row !== undefined) expect(code(() => beginRecovery(row, procedure('recovery'), now))).toBe(expected);
  });
});

describe('a recovery', () => {
  it('takes the row once, whoever asks twice; a second one is told who has it', () => {
    const begun = beginRecovery(opened(), procedure('one'), T0);
    expect(beginRecovery(begun, procedure('one'), T0 + 5)).toBe(begun);
    expect(code(() => beginRecovery(begun, procedure('two'), T0))).toBe('KW-PROCEDURE-OPEN');
    expect(code(() => beginRecovery(begun, { ...procedure('one'), firstRunId: 'another run' }, T0))).toBe('KW-PROCEDURE-OPEN');
  });
  it('gives back only what is its own', () => {
    const begun = beginRecovery(opened(), procedure('one'), T0);
    expect(endRecovery(begun, procedure('two'))).toBe(begun);
    expect(endRecovery(begun, procedure('one')).recovery).toBeUndefined();
  });
  it('ends with the window', () => expect(closeWindow(beginRecovery(opened(), procedure('one'), T0), 'recovered', at(T0)).recovery).toBeUndefined());
});

it('what is pending to be disabled ends by its own procedure only', () => {
  const two = opened('second', {}, opened('first'));
  expect(endDisables(two, procedure('first')).window!.disabling).toEqual([procedure('second')]);
  expect(endDisables(two, procedure('third')).window!.disabling).toHaveLength(2);
  const over = closeWindow(two, 'disabled', at(T0));
  expect(endDisables(over, procedure('first'))).toBe(over);
  expect(addSnapshot(over, { west: shot('x') })).toBe(over);
});

it('random sequences of 30 changes keep what must hold (500 of them)', () => {
  const random = seeded(5);
  for (let round = 0; round < 500; round++) {
    let row: KeyRow | undefined;
    let first: RegionSnapshot | undefined;
    for (let step = 0, now = T0; step < 30; step++, now += random() * DAY) {
      const before = row;
      const who = procedure(pick(random, ['a', 'b', 'c']));
      const act = pick(random, ['open', 'open', 'endDisables', 'begin', 'endRecovery', 'close', 'snapshot']);
      if (act === 'open') {
        const result = openWindow(row, opening(who.workflowId, { mode: pick(random, ['disable', 'quarantine']), revokedAt: at(now), deadline: at(now + 7 * DAY), snapshot: { east: shot(`seen-${step}`) } }));
        row = result.row;
        const mine = before?.window !== undefined && openWindowOf(before) !== undefined && (same(before.window.procedure, who) || [...before.window.disabling, ...(before.window.joiners ?? [])].some((p) => same(p, who)));
        expect(row.epoch).toBe((before?.epoch ?? 0) + (mine ? 0 : 1)); // a new revocation raises it, a repeated one does not
        if (!mine) expect(row.recovery).toBeUndefined();
        if (openWindowOf(before) === undefined) first = row.window!.snapshot['east'];
        if (openWindowOf(before)?.mode === 'disable') expect(row.window!.mode).toBe('disable'); // never less strict
      } else if (row !== undefined) {
        if (act === 'endDisables') row = endDisables(row, who);
        if (act === 'snapshot') row = addSnapshot(row, { east: shot('planted') });
        if (act === 'endRecovery') row = endRecovery(row, who);
        if (act === 'close' && openWindowOf(row) !== undefined && random() < 0.3) row = closeWindow(row, pick(random, ['recovered', 'disabled', 'deletion-scheduled']), at(now));
        if (act === 'begin') {
          const allowed = code(() => recoverableWindow(before, 'key', now)) === 'accepted' && (before?.recovery === undefined || same(before.recovery, who));
          const was: KeyRow = row;
          expect(code(() => (row = beginRecovery(was, who, now))) === 'accepted').toBe(allowed);
        }
        expect(row.epoch).toBe(before!.epoch);
      }
      if (row?.recovery !== undefined) expect(openWindowOf(row)).toBeDefined(); // nobody recovers without a window
      if (openWindowOf(row) !== undefined) expect(row!.window!.snapshot['east']).toEqual(first); // what was recorded first stands
    }
  }
});

it('rule 4: a window that follows one that ended without recovery recovers nothing, and says when that one ended', () => {
  const row = opened('second', { noRecovery: true, revokedAt: at(T0 + 9 * DAY), deadline: at(T0 + 16 * DAY) }, closeWindow(opened(), 'disabled', at(T0 + 7 * DAY)));
  expect(code(() => recoverableWindow(row, 'key', T0 + 10 * DAY))).toBe('KW-WINDOW-CLOSED');
  expect(() => recoverableWindow(row, 'key', T0 + 10 * DAY)).toThrow(at(T0 + 7 * DAY));
});

describe('the re-wrap of one CEK', () => {
  const free: KeyRow = { keyId: 'key', purpose: 'user-data', epoch: 0 };
  const claimed = beginColumnKey(free, procedure('one'), 'CEK', 'material-1', at(T0));

  it('holds the key, and is idempotent', () => {
    expect(claimed.rotation).toEqual({ ...procedure('one'), since: at(T0), from: 'material-1', columnKey: 'CEK', material: 'material-1' });
    expect(beginColumnKey(claimed, procedure('one'), 'CEK', 'material-2', at(T0 + 1))).toBe(claimed);
    expect(code(() => beginRotation(claimed, procedure('other'), 'material-1', at(T0)))).toBe('KW-PROCEDURE-OPEN');
    expect(code(() => beginColumnKey(claimed, procedure('other'), 'CEK', 'material-1', at(T0)))).toBe('KW-PROCEDURE-OPEN');
    expect(code(() => beginColumnKey(opened(), procedure('other'), 'CEK', 'material-1', at(T0)))).toBe('KW-PROCEDURE-OPEN');
  });

  it('ended from outside, leaves no material that a rotation would go on with instead of making new', () => {
    expect(beginRotation(claimed, procedure('next'), 'material-1', at(T0), procedure('one')).rotation).toEqual({ ...procedure('next'), since: at(T0), from: 'material-1' });
  });

  it('takes over no rotation that was ended from outside: what that had asked KMS for would be forgotten', () => {
    const asked: KeyRow = { ...free, rotation: { ...procedure('rotation'), since: at(T0), from: 'material-1', askedAt: at(T0) } };
    expect(code(() => beginColumnKey(asked, procedure('one'), 'CEK', 'material-1', at(T0), procedure('rotation')))).toBe('KW-PROCEDURE-OPEN');
  });
});
