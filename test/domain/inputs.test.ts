import { checkLife, CLOCK_SKEW_MS, MAX_APPROVAL_MS, peekClaims } from '../../domain/approval';
import { duration, moment } from '../../domain/duration';
import { ERROR_CODES, KeywardenError } from '../../domain/errors';
import { decision, initializeInput, parseInput, plannedInput, recoverInput, revokeInput } from '../../domain/inputs';
import { aliasOf, workflowIdFor } from '../../domain/names';
import { planInWords, type Plan } from '../../domain/plan';

function refusal(act: () => unknown): { code: string; path: string | undefined; notDone: string | undefined; next: string | undefined } {
  try {
    act();
  } catch (error) {
    return error as KeywardenError;
  }
  throw new Error('accepted');
}

const good = { key: 'user-data', reason: 'it may have leaked' };

describe('inputs: the first wrong field, by its path', () => {
  const wrong: [string, unknown][] = [
    ['input', undefined], ['input', null], ['input', 'user-data'], ['input', [good]], ['input', 7], ['input.key', {}], ['input.key', { reason: 'x' }], ['input.key', { ...good, key: 7 }], ['input.key', { ...good, key: '' }],
    ['input.key', { ...good, key: 'User Data' }], ['input.key', { ...good, key: '../../etc/passwd' }], ['input.key', { ...good, key: 'user-data\n' }], ['input.key', { ...good, key: `alias/${'a'.repeat(500)}` }], ['input.key', { ...good, key: "user-data' OR '1'='1" }],
    ['input.key', { ...good, key: 'arn:aws:s3:::bucket' }], ['input.key', { ...good, key: { toString: () => 'user-data' } }],
    ['input.reason', { key: 'user-data' }], ['input.reason', { ...good, reason: '' }], ['input.reason', { ...good, reason: ' \n\t ' }], ['input.reason', { ...good, reason: 'x'.repeat(2_001) }], ['input.reason', { ...good, reason: 'x'.repeat(1_000_000) }], ['input.reason', { ...good, reason: ['x'] }],
    ['input.mode', { ...good, mode: 'obliterate' }], ['input.mode', { ...good, mode: null }], ['input.afterWindow', { ...good, afterWindow: 'never' }], ['input.acknowledgeOutage', { ...good, acknowledgeOutage: 'yes' }], ['input.incident', { ...good, incident: '' }],
    ['input.proof', { ...good, proof: 'A'.repeat(16_385) }], ['input.requestedBy', { ...good, requestedBy: 'x'.repeat(201) }], ['input.force', { ...good, force: true }], ['input.Reason', { ...good, Reason: 'x' }],
    ['input.__proto__', JSON.parse('{"key":"user-data","reason":"x","__proto__":{"mode":"quarantine"}}')],
  ];
  it.each(wrong)('%s of %.80j', (path, raw) => {
    const e = refusal(() => parseInput(revokeInput, raw));
    expect([e.code, e.path]).toEqual(['KW-INPUT', path]);
    expect([e.notDone, e.next].every((s) => (s ?? '') !== '')).toBe(true);
  });

  it.each(['user-data', 'alias/buzztutor/development/user-data', `mrk-${'0'.repeat(32)}`, '12345678-1234-1234-1234-123456789012', `arn:aws:kms:us-east-1:000000000000:key/mrk-${'a'.repeat(32)}`, 'arn:aws:kms:us-east-1:000000000000:alias/a/b'])('takes the key %s', (key) => {
    expect(parseInput(revokeInput, { ...good, key }).key).toBe(key);
  });

  it('trims a reason, and takes every letter', () => expect(parseInput(revokeInput, { ...good, reason: '  Schlüssel 🔑 „weg“ ' }).reason).toBe('Schlüssel 🔑 „weg“'));
  it('recoverKey: acceptGrants', () => {
    expect(refusal(() => parseInput(recoverInput, { ...good, acceptGrants: ['x'] })).path).toBe('input.acceptGrants.0');
    expect(refusal(() => parseInput(recoverInput, { ...good, acceptGrants: Array.from({ length: 51 }, () => 'a'.repeat(64)) })).path).toBe('input.acceptGrants');
    expect(refusal(() => parseInput(recoverInput, { ...good, mode: 'disable' })).path).toBe('input.mode');
  });
  it('initializeKeys: purposes', () => {
    expect(parseInput(initializeInput, {})).toEqual({});
    for (const purposes of [[], ['A'], 'user-data', Array.from({ length: 101 }, (_, i) => `p${i}`)]) expect(refusal(() => parseInput(initializeInput, { purposes })).path).toContain('input.purposes');
  });
  it('a decision is a proof and perhaps a comment, nothing else', () => {
    expect(decision.safeParse({ proof: 'a.b.c', comment: 'seen' }).success).toBe(true);
    for (const raw of [undefined, null, 'x', {}, { proof: 1 }, { proof: 'x', extra: 1 }, { proof: 'x', comment: 'x'.repeat(2_001) }]) expect(decision.safeParse(raw).success).toBe(false);
  });
  it('a plan holds the whole input but the signature, the claim of who asked, and the record of a direct revocation', () => {
    expect(plannedInput({ ...good, mode: 'quarantine', proof: 'p', requestedBy: 'r', directRecord: 'd' })).toEqual({ ...good, mode: 'quarantine' });
  });
});

describe('the life of a proof (rule 5)', () => {
  const now = 1_000_000_000_000;
  const code = (iat: number, exp: number): string => {
    try {
      checkLife({ iat, exp }, now);
    } catch (error) {
      return (error as KeywardenError).code;
    }
    return 'lives';
  };
  it.each<[string, number, number, string]>([
    ['signed now', now, now + 1, 'lives'], ['at its last moment', now - 1_000, now, 'lives'], ['a millisecond late', now - 1_000, now - 1, 'KW-APPROVAL-EXPIRED'], ['15 minutes', now, now + MAX_APPROVAL_MS, 'lives'], ['15 minutes and a bit', now, now + MAX_APPROVAL_MS + 1, 'KW-APPROVAL-FUTURE'],
    ['a clock ahead by a minute', now + CLOCK_SKEW_MS, now + MAX_APPROVAL_MS, 'lives'], ['a clock ahead by more', now + CLOCK_SKEW_MS + 1, now + MAX_APPROVAL_MS, 'KW-APPROVAL-FUTURE'], ['never valid', now, now - 1, 'KW-APPROVAL-EXPIRED'],
  ])('%s', (_name, iat, exp, expected) => expect(code(iat, exp)).toBe(expected));
});

describe('peeking at a token without verifying it', () => {
  const b64 = (v: unknown): string => Buffer.from(JSON.stringify(v)).toString('base64url');
  const claims = { typ: 'keywarden-approval', v: 1, decision: 'approve', role: 'KeyRecoveryAdmin', plan: { v: 1, operation: 'recoverKey', input: { reason: 'größer 🔑' }, keyId: 'k', workflowId: 'w' }, iat: 1, exp: 2, jti: '0123456789abcdef' };
  it('reads what is there, whatever the letters', () => expect(peekClaims(`h.${b64(claims)}.s`)).toEqual({ planWorkflowId: 'w', jti: claims.jti }));
  it.each(['', '.', '..', '...', 'a.b', 'a.b.c.d', `h.${b64(claims).slice(0, -3)}.s`, `h.${b64({ ...claims, typ: 'x' })}.s`, `h.${b64([claims])}.s`, 'h.%%%.s', 'h.AA AA.s', `h.${b64(null)}.s`])('%j is nothing', (token) => expect(peekClaims(token)).toBeUndefined());
});

describe('lengths of time for people', () => {
  it.each<[number, string]>([[0, '0 ms'], [340, '340 ms'], [999.6, '1000 ms'], [12_000, '12 s'], [240_000, '4 min'], [241_000, '4 min 1 s'], [12_000_000, '3 h 20 min'], [3_600_000, '1 h'], [7 * 86_400_000, '7 d'], [532_800_000, '6 d 4 h'], [-240_000, '4 min']])('%s ms: %s', (ms, text) => expect(duration(ms)).toBe(text));
  it('says how long until and how long ago', () => {
    expect(moment('2026-11-30T21:03:11.000Z', Date.parse('2026-11-24T17:03:11.000Z'))).toBe('2026-11-30 21:03:11 UTC (in 6 d 4 h)');
    expect(moment(0, 240_000)).toBe('1970-01-01 00:00:00 UTC (4 min ago)');
  });
});

describe('names', () => {
  it('an alias is application, environment, purpose', () => expect(aliasOf({ application: 'a', environment: 'e' }, 'p')).toBe('alias/a/e/p'));
  it.each([['user-data', 'revokeKey-user-data-20261123T120000000Z'], ['alias/a/b/c', 'revokeKey-a-b-c-20261123T120000000Z'], ['arn:aws:kms:us-east-1:000000000000:key/mrk-1', 'revokeKey-mrk-1-20261123T120000000Z'], ['💥 "; rm', 'revokeKey--rm-20261123T120000000Z']])('a workflow id for %s', (key, id) => expect(workflowIdFor('revokeKey', key, new Date('2026-11-23T12:00:00Z'))).toBe(id));
  it('errors say what, what not and what next, and carry their code in front', () => {
    const e = new KeywardenError('KW-INPUT', 'must not be empty', { path: 'input.reason', key: 'user-data', notDone: 'nothing was started.', next: 'say why' });
    expect(e.message).toBe('KW-INPUT: input.reason: must not be empty. Key: user-data. Not done: nothing was started. Next: say why.');
    expect(e.final).toBe(true);
    for (const name of ['KW-STORE', 'KW-KMS-SILENT', 'KW-AUDIT', 'KW-SNS', 'KW-TEMPORAL', 'KW-NOT-YET'] as const) expect(ERROR_CODES[name].final).toBe(false);
  });
  it('a plan in words names everything that it will do', () => {
    const plan: Plan = { v: 1, operation: 'revokeKey', input: { ...good, afterWindow: 'destroyed', acceptLoss: true, incident: 'INC-7' }, application: 'a', environment: 'e', account: '0', keyId: 'mrk-1', regions: ['us-east-1'], workflowId: 'w' };
    const words = planInWords(plan, 7 * 86_400_000).join('\n');
    for (const said of ['REVOKE', 'mrk-1', 'us-east-1', '7 d', 'AT ONCE', 'CRYPTO-SHRED', 'it may have leaked', 'INC-7', 'w (not started yet)']) expect(words).toContain(said);
  });
});
