import { ROLES } from '../../domain/names';
import { dutiesOf, quorumOf, widens } from '../../domain/plan';
import { FLOORS, floorOf, quorumState, type QuorumName, type Signer } from '../../domain/quorum';
import { pick, seeded } from './random';

const E = 'EmergencyKeyAdmin';
const R = 'KeyRecoveryAdmin';
const M = 'KeyManagementAdmin';
const sign = (...list: string[]): Signer[] => list.map((s) => ({ person: s.slice(1), role: ({ E, R, M } as const)[s[0] as 'E' | 'R' | 'M'] }));

describe('rule 4: who must sign what', () => {
  it.each<[QuorumName, string[], boolean, number]>([
    ['revokeKey.disable', [], false, 1], ['revokeKey.disable', ['Ealice'], true, 0], ['revokeKey.disable', ['Rbob'], false, 1], ['revokeKey.disable', ['Mdave'], false, 1],
    ['revokeKey.widen', ['Ealice'], false, 1], ['revokeKey.widen', ['Ealice', 'Rbob'], true, 0], ['revokeKey.widen', ['Ealice', 'Eerin'], false, 1], ['revokeKey.widen', ['Rbob', 'Rcarol'], true, 0],
    ['recoverKey', ['Rbob', 'Rbob'], false, 1], ['recoverKey', ['Ralice', 'Ealice'], false, 1], ['recoverKey', ['Ealice', 'Eerin', 'Efrank'], false, 1], ['recoverKey', ['Mdave', 'Mgina'], false, 2],
    ['recoverKey', ['Ealice', 'Mdave', 'Rbob'], true, 0], ['recoverKey', ['Eerin', 'Ralice'], true, 0],
  ])('%s signed by %j: met %s', (name, signers, met, missing) => {
    expect(quorumState(FLOORS[name], sign(...signers))).toMatchObject({ met, missing });
  });

  it('tells under which roles the missing may sign', () => {
    expect(quorumState(FLOORS.recoverKey, sign('Ealice')).eligible).toEqual([R]);
    expect(quorumState(FLOORS.recoverKey, sign('Rbob')).eligible).toEqual([R, E]);
  });

  it('is raised by configuration and never lowered', () => {
    expect(floorOf('recoverKey', { recoverKey: 3 }).needed).toBe(3);
    for (const n of [0, 1, -5]) expect(floorOf('recoverKey', { recoverKey: n }).needed).toBe(2);
    expect(floorOf('recoverKey', {}).needed).toBe(2);
  });

  it('never counts a person twice, nor two of a role that may sign once, nor less than it needs (2,000 random lists)', () => {
    const random = seeded(3);
    for (let i = 0; i < 2_000; i++) {
      const name = pick(random, Object.keys(FLOORS) as QuorumName[]);
      const floor = FLOORS[name];
      const list = Array.from({ length: Math.floor(random() * 6) }, () => ({ person: pick(random, ['alice', 'bob', 'carol', 'erin']), role: pick(random, ROLES) }));
      const state = quorumState(floor, list);
      expect(new Set(state.signed.map((s) => s.person)).size).toBe(state.signed.length);
      expect(state.signed.filter((s) => s.role === E).length).toBeLessThanOrEqual(name === 'revokeKey.disable' ? 6 : 1);
      expect(state.signed.every((s) => (floor.roles as readonly string[]).includes(s.role))).toBe(true);
      expect(state.met).toBe(state.signed.length >= floor.needed);
      for (const s of state.signed) expect(list).toContainEqual(s);
    }
  });
});

describe('which signatures and duties a plan takes', () => {
  const revoke = (input: object) => ({ operation: 'revokeKey' as const, input: { key: 'k', reason: 'r', ...input } });
  it.each<[object, boolean]>([[{}, false], [{ mode: 'disable' }, false], [{ afterWindow: 'disabled' }, false], [{ acceptLoss: true }, false], [{ mode: 'quarantine' }, true], [{ afterWindow: 'deletion-scheduled' }, true], [{ afterWindow: 'destroyed' }, true]])('%j widens: %s', (input, wide) => {
    expect(widens(input)).toBe(wide);
    expect(quorumOf(revoke(input))).toBe(wide ? 'revokeKey.widen' : 'revokeKey.disable');
    expect(dutiesOf(revoke(input))).toEqual(wide ? ['emergency', 'recovery'] : ['emergency']);
  });
  it('a recovery takes its own, and the recovery duty alone', () => {
    expect([quorumOf({ operation: 'recoverKey', input: {} }), dutiesOf({ operation: 'recoverKey', input: {} })]).toEqual(['recoverKey', ['recovery']]);
  });
});
