import { isDevelopment, isLoopback, parseConfig, type Config } from '../../domain/config';
import { KeywardenError } from '../../domain/errors';

const loopback = { kmsEndpoint: 'http://127.0.0.1:4599' };
const key = (n: number) => ({ kty: 'OKP', crv: 'Ed25519', x: String(n).repeat(43).slice(0, 43) });
const person = (name: string, n: number, roles = ['KeyRecoveryAdmin']) => ({ name, roles, identities: [{ verifier: 'local', publicKey: key(n) }] });
const good = { application: 'buzztutor', environment: 'development', account: '000000000000', regions: ['us-east-1', 'us-west-2'], people: [person('alice', 1, ['EmergencyKeyAdmin']), person('bob', 2)], alerts: { topicArn: 'arn:aws:sns:us-east-1:000000000000:security' } };
const production = { ...good, environment: 'production', people: [] };

function refusal(raw: unknown, where: { kmsEndpoint: string | undefined } = loopback): string {
  try {
    parseConfig(raw, where);
  } catch (error) {
    expect(error).toBeInstanceOf(KeywardenError);
    expect((error as KeywardenError).code).toBe('KW-CONFIG');
    return (error as KeywardenError).what;
  }
  throw new Error('accepted');
}

describe('what a configuration may leave out', () => {
  it('has the shipped values', () => {
    expect(parseConfig(good, loopback)).toMatchObject({ purposes: ['tde', 'user-data', 'payment-data', 'audit-data'], recovery: { windowDays: 7, reminderHours: [72, 24, 2], holdSeconds: 300 }, erasure: { waitDays: 7 }, quorum: {}, databases: [], backups: { retentionDays: 35 } } satisfies Partial<Record<keyof Config, unknown>>);
  });
  it('is the same in production', () => expect(parseConfig(production, { kmsEndpoint: undefined }).recovery.windowDays).toBe(7));
});

describe('each wrong field is refused by its path', () => {
  const wrong: [string, unknown][] = [
    ['application', { ...good, application: 'Buzz Tutor' }], ['application', { ...good, application: undefined }],
    ['environment', { ...good, environment: '' }], ['account', { ...good, account: '12345' }], ['account', { ...good, account: 12 }],
    ['regions', { ...good, regions: [] }], ['regions.1', { ...good, regions: ['us-east-1', 'moon'] }],
    ['purposes', { ...good, purposes: [] }], ['purposes.0', { ...good, purposes: ['User Data'] }],
    ['recovery.windowDays', { ...good, recovery: { windowDays: 0 } }], ['recovery.windowDays', { ...good, recovery: { windowDays: 31 } }], ['recovery.windowDays', { ...good, recovery: { windowDays: 'a week' } }],
    ['recovery.reminderHours.0', { ...good, recovery: { reminderHours: [-1] } }], ['recovery.holdSeconds', { ...good, recovery: { holdSeconds: 0 } }],
    ['erasure.waitDays', { ...good, erasure: { waitDays: 0 } }], ['rotation.periodDays', { ...good, rotation: { periodDays: 30 } }],
    ['people.0.roles', { ...good, people: [{ ...person('alice', 1), roles: [] }] }], ['people.0.roles.0', { ...good, people: [{ ...person('alice', 1), roles: ['Emperor'] }] }],
    ['people.0.identities', { ...good, people: [{ ...person('alice', 1), identities: [] }] }],
    ['people.0.identities.0.publicKey.x', { ...good, people: [{ ...person('alice', 1), identities: [{ verifier: 'local', publicKey: { ...key(1), x: 'short' } }] }] }],
    ['people.0.identities.0.publicKey', { ...good, people: [{ ...person('alice', 1), identities: [{ verifier: 'local', publicKey: { ...key(1), d: 'a private key' } }] }] }],
    ['alerts', { ...good, alerts: undefined }], ['alerts.topicArn', { ...good, alerts: { topicArn: 'security' } }],
    ['audit.journal', { ...good, audit: { journal: '' } }], ['databases.0.purpose', { ...good, databases: [{ name: 'x', purpose: 'T D E' }] }],
    ['backups.retentionDays', { ...good, backups: { retentionDays: -1 } }],
    ['(root)', { ...good, force: true }], ['(root)', null], ['(root)', []], ['(root)', 'config'],
  ];
  it.each(wrong)('%s', (path, raw) => expect(refusal(raw).startsWith(`${path}:`)).toBe(true));

  it('all of them at once', () => {
    const what = refusal({ ...good, account: 'x', regions: ['moon'], alerts: { topicArn: 'x' } });
    for (const path of ['account:', 'regions.0:', 'alerts.topicArn:']) expect(what).toContain(path);
  });
});

describe('rule 4: the quorum can be raised, never lowered; one person is one person', () => {
  it.each([['revokeKey.disable', 0], ['revokeKey.disable', -1], ['revokeKey.widen', 1], ['revokeKey.widen', 0], ['recoverKey', 1], ['recoverKey', 0], ['recoverKey', 1.5], ['eraseSubject', 1]])('%s: %s is refused', (name, n) => {
    expect(refusal({ ...good, quorum: { [name]: n } })).toContain('quorum.');
  });
  it('an unknown quorum is refused', () => expect(refusal({ ...good, quorum: { everything: 9 } })).toContain('quorum'));
  it('raised is taken', () => expect(parseConfig({ ...good, quorum: { recoverKey: 3, 'revokeKey.disable': 2 } }, loopback).quorum).toEqual({ recoverKey: 3, 'revokeKey.disable': 2 }));
  it('a person listed twice is refused', () => expect(refusal({ ...good, people: [person('bob', 1), person('bob', 2)] })).toBe('people.1.name: bob is listed twice'));
  it('an identity of two people is refused', () => expect(refusal({ ...good, people: [person('alice', 1), person('bob', 1)] })).toBe('people.1.identities.0: the same key is listed for alice'));
  it('an identity listed twice for one person is refused', () => expect(refusal({ ...good, people: [{ ...person('alice', 1), identities: [...person('alice', 1).identities, ...person('alice', 1).identities] }] })).toContain('people.0.identities.1'));
});

describe('development is a name and a loopback KMS', () => {
  const elsewhere: [string, string | undefined][] = [['AWS itself', undefined], ['another host', 'https://kms.us-east-1.amazonaws.com'], ['a name that only looks like loopback', 'http://127.0.0.1.example.org'], ['a user part', 'http://127.0.0.1@example.org'], ['any address', 'http://0.0.0.0:4599'], ['nonsense', 'localhost'], ['a private network', 'http://10.0.0.1']];
  it.each(elsewhere)('refused with %s', (_name, kmsEndpoint) => {
    expect(refusal(good, { kmsEndpoint })).toContain('environment: "development"');
    expect(isDevelopment({ environment: 'development' }, kmsEndpoint)).toBe(false);
  });
  it.each(['http://127.0.0.1:1', 'http://localhost:2', 'http://[::1]:3', 'http://127.8.9.10'])('%s is loopback', (url) => expect(isLoopback(url)).toBe(true));
  it.each<[string, object]>([['recovery.windowDays', { recovery: { windowDays: 6.9 } }], ['recovery.holdSeconds', { recovery: { holdSeconds: 299 } }], ['erasure.waitDays', { erasure: { waitDays: 6.9 } }], ['people.0.identities.0.verifier', { people: [person('alice', 1)] }]])('elsewhere %s is refused, even on loopback', (path, changes) => {
    expect(refusal({ ...production, ...changes })).toContain(`${path}:`);
    expect(parseConfig({ ...good, ...changes }, loopback)).toBeDefined();
  });
});
