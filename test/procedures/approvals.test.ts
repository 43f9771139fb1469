import type { ApprovalClaims } from '../../domain/approval';
import type { RecoverInput, RevokeInput } from '../../domain/inputs';
import type { Plan } from '../../domain/plan';
import { WORKFLOW_QUEUE, type Role } from '../../domain/names';
import { demoFiles } from '../../local/demo/files';
import { makeIdentity } from '../../local/demo/identities';
import type { RecoverResult } from '../../workflows/recoverKey';
import { codeOf } from '../harness/toThrowWithCode';
import { createWorld, REGIONS, type World } from '../harness/world';
import { audited, decide, DISABLED, ENABLED, resultOf, sendDecision } from './people';
import { jws, keyOf, kidOf, jwkOf, stranger, tampered, TYP } from './forging';

const MINUTE = 60_000;
const back: RecoverInput = { key: 'user-data', reason: 'the leak was a false alarm' };

let world: World;
let keyId: string;
let started: Date;
let handles: string[] = [];

beforeAll(async () => {
  world = await createWorld({ noWorker: true, config: { recovery: { windowDays: 7, reminderHours: [72], holdSeconds: 0.2 } } });
  // a second person who may revoke, and one more who may recover
  for (const [name, roles] of [['erin', ['EmergencyKeyAdmin']], ['frank', ['KeyRecoveryAdmin']]] as const) {
    const { publicKey } = await makeIdentity(demoFiles(world.dataDir).identities, name);
    world.config.people.push({ name, roles: [...roles], identities: [{ verifier: 'local', publicKey }] });
  }
  await world.startWorker();
  await world.initialize('user-data', 'payment-data', 'audit-data');
  keyId = await world.keyId('user-data');
  const { workflowId } = await world.revoke({ key: 'user-data', reason: 'the key may have leaked' });
  await world.stepsDone(workflowId, 'open-window', 'prove-effect');
  started = new Date();
});
afterAll(() => world.stop());

/** Rules 3 and 4: whatever was refused, nothing was widened. */
afterEach(async () => {
  for (const id of handles.splice(0)) await world.client.workflow.getHandle(id).terminate('the test is over').catch(() => undefined);
  expect(await world.states(keyId)).toEqual(DISABLED);
  const widening = (await world.kms.admin.calls({ since: started.toISOString() })).filter((c) => c.keyArn?.endsWith(keyId) && ['EnableKey', 'CancelKeyDeletion', 'CreateGrant'].includes(c.operation) && c.errorCode === undefined);
  expect(widening).toEqual([]);
});

/** A recovery that waits for its second signature (bob's came with the start), or for both. */
async function waiting(by: string | null = 'bob', input: RecoverInput = back): Promise<{ workflowId: string; plan: Plan }> {
  const { workflowId } = await world.recover(input, by ?? undefined);
  handles.push(workflowId);
  const { pendingApproval } = await world.until('it waits for signatures', async () => {
    const s = await world.status(workflowId);
    return s.pendingApproval?.decided.length === (by === null ? 0 : 1) && s.phase === 'waiting for signatures' && s;
  });
  return { workflowId, plan: pendingApproval!.plan };
}

async function expectRefused(workflowId: string, proof: string, code: string, decision: 'approve' | 'reject' = 'approve'): Promise<void> {
  const before = (await world.status(workflowId)).pendingApproval!;
  expect(await sendDecision(world, workflowId, proof, decision)).toMatchObject({ accepted: false, code });
  const after = (await world.status(workflowId)).pendingApproval!;
  expect([after.missing, after.decided, after.refused]).toEqual([before.missing, before.decided, before.refused + 1]);
  expect(after.lastRefusal).toContain(code);
  const rows = await audited(world, { workflowId, phase: 'refused', error: code });
  expect(rows).toHaveLength(1);
  expect(rows[0]!.keyId).toBe(keyId);
  expect(String(rows[0]!.detail?.['reason'])).not.toBe('undefined');
  await world.until('security hears of it', async () => (await world.received()).some((m) => m.kind === 'approval-refused' && m.eventId.startsWith(`${workflowId}/`)));
}

function claimsOf(plan: Plan, changes: Partial<ApprovalClaims> = {}): ApprovalClaims {
  const now = Date.now();
  return { typ: 'keywarden-approval', v: 1, decision: 'approve', role: 'KeyRecoveryAdmin', plan, iat: now, exp: now + 10 * MINUTE, jti: crypto.randomUUID(), ...changes };
}

describe('a proof for something else is refused, audited with its reason, and security hears of it (rules 4 and 5)', () => {
  const now = (): number => Date.now();
  type Make = (o: { workflowId: string; plan: Plan }) => Promise<string>;
  const by = (name: string, role: Role, changes: (plan: Plan) => Partial<ApprovalClaims> = () => ({})): Make => ({ plan }) => world.sign(name, role, plan, changes(plan));
  const cases: [string, string, Make][] = [
    ['another reason', 'KW-APPROVAL-PLAN', by('carol', 'KeyRecoveryAdmin', (plan) => ({ plan: { ...plan, input: { ...plan.input, reason: 'I said so' } } }))],
    ['another operation', 'KW-APPROVAL-PLAN', by('carol', 'KeyRecoveryAdmin', (plan) => ({ plan: { ...plan, operation: 'revokeKey' } }))],
    ['another key', 'KW-APPROVAL-PLAN', by('carol', 'KeyRecoveryAdmin', (plan) => ({ plan: { ...plan, keyId: `mrk-${'0'.repeat(32)}` } }))],
    ['another environment', 'KW-APPROVAL-PLAN', by('carol', 'KeyRecoveryAdmin', (plan) => ({ plan: { ...plan, environment: 'production' } }))],
    ['another account', 'KW-APPROVAL-PLAN', by('carol', 'KeyRecoveryAdmin', (plan) => ({ plan: { ...plan, account: '111111111111' } }))],
    ['one Region only', 'KW-APPROVAL-PLAN', by('carol', 'KeyRecoveryAdmin', (plan) => ({ plan: { ...plan, regions: [REGIONS[0]], expects: { [REGIONS[0]]: plan.expects![REGIONS[0]]! } } }))],
    ['another policy', 'KW-APPROVAL-PLAN', by('carol', 'KeyRecoveryAdmin', (plan) => ({ plan: { ...plan, expects: { ...plan.expects, [REGIONS[0]]: { ...plan.expects![REGIONS[0]]!, newPolicy: `sha256:${'0'.repeat(64)}` } } } }))],
    ['a plan with a field of its own', 'KW-APPROVAL-PLAN', by('carol', 'KeyRecoveryAdmin', (plan) => ({ plan: { ...plan, force: true } as never }))],
    ['a plan nested 2,000 deep', 'KW-APPROVAL-PLAN', by('carol', 'KeyRecoveryAdmin', (plan) => ({ plan: { ...plan, input: { ...plan.input, reason: deep(2_000) } } }))],
    ['a number that is not canonical', 'KW-APPROVAL-FORM', by('carol', 'KeyRecoveryAdmin', (plan) => ({ plan: { ...plan, input: { ...plan.input, reason: 1.5 } } }))],
    ['a person without any role that may sign', 'KW-APPROVAL-ROLE', by('dave', 'KeyManagementAdmin')],
    ['a role that the person does not hold', 'KW-APPROVAL-ROLE', by('dave', 'KeyRecoveryAdmin')],
    ['a role of the person that may not sign this', 'KW-APPROVAL-ROLE', by('carol', 'KeyManagementAdmin')],
    ['the same person twice', 'KW-APPROVAL-SAME-PERSON', by('bob', 'KeyRecoveryAdmin')],
    ['a proof that had expired', 'KW-APPROVAL-EXPIRED', by('carol', 'KeyRecoveryAdmin', () => ({ iat: now() - 12 * MINUTE, exp: now() - 2 * MINUTE }))],
    ['a proof that ended before it began', 'KW-APPROVAL-EXPIRED', by('carol', 'KeyRecoveryAdmin', () => ({ iat: now(), exp: now() - MINUTE }))],
    ['a proof of tomorrow', 'KW-APPROVAL-FUTURE', by('carol', 'KeyRecoveryAdmin', () => ({ iat: now() + 5 * MINUTE, exp: now() + 10 * MINUTE }))],
    ['a proof that lives 16 minutes', 'KW-APPROVAL-FUTURE', by('carol', 'KeyRecoveryAdmin', () => ({ iat: now(), exp: now() + 16 * MINUTE }))],
    ['a proof that lives for ever', 'KW-APPROVAL-FUTURE', by('carol', 'KeyRecoveryAdmin', () => ({ exp: Number.MAX_SAFE_INTEGER }))],
    ['another workflow', 'KW-APPROVAL-WORKFLOW', by('carol', 'KeyRecoveryAdmin', (plan) => ({ plan: { ...plan, workflowId: 'recoverKey-of-yesterday' } }))],
    ['another run of the same workflow id', 'KW-APPROVAL-WORKFLOW', by('carol', 'KeyRecoveryAdmin', (plan) => ({ plan: { ...plan, firstRunId: crypto.randomUUID() } }))],
    ["a start's proof sent as a decision", 'KW-APPROVAL-WORKFLOW', by('carol', 'KeyRecoveryAdmin', ({ firstRunId: _, ...plan }) => ({ plan }))],
    ['a forged signature under a name that counts', 'KW-APPROVAL-SIGNATURE', async ({ plan }) => jws({ alg: 'EdDSA', typ: TYP, kid: await kidOf(world, 'carol') }, claimsOf(plan), { key: (await stranger()).key })],
    ["a person's signature under another person's name", 'KW-APPROVAL-SIGNATURE', async ({ plan }) => jws({ alg: 'EdDSA', typ: TYP, kid: await kidOf(world, 'carol') }, claimsOf(plan), { key: keyOf(world, 'bob') })],
    ['claims changed after signing', 'KW-APPROVAL-SIGNATURE', async ({ plan }) => tampered(await world.sign('carol', 'KeyRecoveryAdmin', plan, { iat: now() - 20 * MINUTE, exp: now() - 10 * MINUTE }), (c) => Object.assign(c, claimsOf(plan)))],
    ['an identity that nobody listed', 'KW-APPROVAL-NOBODY', async ({ plan }) => { const m = await stranger(); return jws({ alg: 'EdDSA', typ: TYP, kid: m.kid }, claimsOf(plan), { key: m.key }); }],
    ['an embedded key instead of a listed one', 'KW-APPROVAL-NOBODY', async ({ plan }) => { const m = await stranger(); return jws({ alg: 'EdDSA', typ: TYP, kid: m.kid, jwk: { kty: 'OKP', crv: 'Ed25519', x: jwkOf(world, 'carol').x } }, claimsOf(plan), { key: m.key }); }],
    ['alg none', 'KW-APPROVAL-FORM', async ({ plan }) => jws({ alg: 'none', typ: TYP, kid: await kidOf(world, 'carol') }, claimsOf(plan), 'unsigned')],
    ['alg none with a signature of sorts', 'KW-APPROVAL-FORM', async ({ plan }) => `${jws({ alg: 'none', typ: TYP, kid: await kidOf(world, 'carol') }, claimsOf(plan), 'unsigned')}AAAA`],
    ['HMAC under the public key', 'KW-APPROVAL-FORM', async ({ plan }) => jws({ alg: 'HS256', typ: TYP, kid: await kidOf(world, 'carol') }, claimsOf(plan), { secret: Buffer.from(jwkOf(world, 'carol').x!, 'base64url') })],
    ['another kind of document (typ)', 'KW-APPROVAL-FORM', async ({ plan }) => jws({ alg: 'EdDSA', typ: 'keywarden-direct+jws', kid: await kidOf(world, 'carol') }, claimsOf(plan), { key: keyOf(world, 'carol') })],
    ['a header without kid', 'KW-APPROVAL-FORM', async ({ plan }) => jws({ alg: 'EdDSA', typ: TYP }, claimsOf(plan), { key: keyOf(world, 'carol') })],
    ['a critical header extension', 'KW-APPROVAL-SIGNATURE', async ({ plan }) => jws({ alg: 'EdDSA', typ: TYP, kid: await kidOf(world, 'carol'), crit: ['exp'], exp: 1 }, claimsOf(plan), { key: keyOf(world, 'carol') })],
  ];
  it.each(cases)('%s: %s', async (_name, code, make) => {
    const open = await waiting();
    await expectRefused(open.workflowId, await make(open), code);
  });

  const nonsense: [string, (plan: Plan) => unknown][] = [
    ['claims that are not an approval', (plan) => ({ ...claimsOf(plan), role: 'Emperor' })],
    ['claims with more than an approval has', (plan) => ({ ...claimsOf(plan), person: 'frank' })],
    ['a plan of another version', (plan) => ({ ...claimsOf(plan), plan: { ...plan, v: 2 } })],
    ['claims without a jti', (plan) => ({ ...claimsOf(plan), jti: undefined })],
    ['a time that is no number', (plan) => ({ ...claimsOf(plan), exp: 'tomorrow' })],
    ['not JSON at all', () => '{"typ":'],
  ];
  it.each(nonsense)('signed nonsense is only counted: %s', async (_name, payload) => {
    const { workflowId, plan } = await waiting();
    const token = jws({ alg: 'EdDSA', typ: TYP, kid: await kidOf(world, 'carol') }, payload(plan), { key: keyOf(world, 'carol') });
    expect(await sendDecision(world, workflowId, token)).toMatchObject({ accepted: false, code: 'KW-APPROVAL-FORM' });
    const { pendingApproval } = await world.until('it is counted', async () => {
      const s = await world.status(workflowId);
      return s.pendingApproval?.refused === 1 && s;
    });
    expect(pendingApproval).toMatchObject({ missing: 1, decided: [{ person: 'bob' }] });
    expect(await audited(world, { workflowId, phase: 'refused', error: 'KW-APPROVAL-FORM' })).toMatchObject([{ detail: { malformed: 1 } }]);
  });

  it('what was signed as a rejection, sent as an approval, and the other way round: KW-APPROVAL-FORM', async () => {
    const { workflowId, plan } = await waiting();
    await expectRefused(workflowId, await world.sign('carol', 'KeyRecoveryAdmin', plan, { decision: 'reject' }), 'KW-APPROVAL-FORM', 'approve');
    expect(await sendDecision(world, workflowId, await world.sign('frank', 'KeyRecoveryAdmin', plan), 'reject')).toMatchObject({ accepted: false, code: 'KW-APPROVAL-FORM' });
  });
});

describe('one person is one person (rule 4)', () => {
  it('the same person under two roles counts once', async () => {
    const { workflowId, plan } = await waiting('alice');
    await expectRefused(workflowId, await world.sign('alice', 'EmergencyKeyAdmin', plan), 'KW-APPROVAL-SAME-PERSON');
  });

  it('EmergencyKeyAdmin fills one of the two seats, never both', async () => {
    const { workflowId, plan } = await waiting(null);
    expect(await sendDecision(world, workflowId, await world.sign('erin', 'EmergencyKeyAdmin', plan))).toMatchObject({ accepted: true, missing: 1 });
    await expectRefused(workflowId, await world.sign('alice', 'EmergencyKeyAdmin', plan), 'KW-APPROVAL-ROLE');
    expect((await world.status(workflowId)).pendingApproval?.eligible).toEqual(['KeyRecoveryAdmin']);
  });

  it('the same token counts once, whether signalled again or sent as an Update', async () => {
    const { workflowId, plan } = await waiting(null);
    const token = await world.sign('bob', 'KeyRecoveryAdmin', plan);
    expect(await sendDecision(world, workflowId, token)).toMatchObject({ accepted: true, missing: 1 });
    await world.client.workflow.getHandle(workflowId).signal('approve', { proof: token });
    expect(await sendDecision(world, workflowId, token)).toMatchObject({ missing: 1 });
    expect((await world.status(workflowId)).pendingApproval?.decided).toHaveLength(1);
    expect(await audited(world, { workflowId, action: 'approve', phase: 'done' })).toHaveLength(1);
  });

  it('rule 5: a jti that was used for one workflow is used up for every other', async () => {
    const jti = crypto.randomUUID();
    const first = await waiting(null);
    await sendDecision(world, first.workflowId, await world.sign('carol', 'KeyRecoveryAdmin', first.plan, { jti }));
    const second = await waiting(null);
    await expectRefused(second.workflowId, await world.sign('carol', 'KeyRecoveryAdmin', second.plan, { jti }), 'KW-APPROVAL-REUSED');
  });

  it('requestedBy naming somebody else counts for nothing and is only shown', async () => {
    const { workflowId } = await waiting('bob', { ...back, requestedBy: 'carol' });
    expect((await world.status(workflowId)).pendingApproval).toMatchObject({ missing: 1, decided: [{ person: 'bob' }] });
    expect((await audited(world, { workflowId, action: 'approve', phase: 'done' })).map((r) => r.approvers)).toEqual([['bob']]);
  });

  it('a quorum that configuration raises to three takes three people', async () => {
    world.config.quorum.recoverKey = 3;
    try {
      const { workflowId, plan } = await waiting('bob');
      expect(await sendDecision(world, workflowId, await world.sign('carol', 'KeyRecoveryAdmin', plan))).toMatchObject({ accepted: true, missing: 1 });
      expect((await world.status(workflowId)).pendingApproval).toMatchObject({ needed: 3, missing: 1 });
      expect(await audited(world, { workflowId, action: 'BeginRecovery' })).toEqual([]);
    } finally {
      world.config.quorum = {};
    }
  });
});

describe('the plan changed after it was signed', () => {
  it('a policy planted during the window voids what was signed before; both must sign again', async () => {
    const { workflowId, plan } = await waiting('bob');
    const root = world.root.get(REGIONS[0])!;
    const original = await root.policy(keyId);
    const planted = JSON.parse(original) as { Statement: object[] };
    planted.Statement.push({ Sid: 'Planted', Effect: 'Allow', Principal: { AWS: 'arn:aws:iam::000000000000:role/mallory' }, Action: ['kms:Decrypt'], Resource: '*' });
    await root.putPolicy(keyId, JSON.stringify(planted));
    try {
      expect(await sendDecision(world, workflowId, await world.sign('carol', 'KeyRecoveryAdmin', plan))).toMatchObject({ accepted: false, code: 'KW-APPROVAL-PLAN' });
      const now = (await world.status(workflowId)).pendingApproval!;
      expect(now).toMatchObject({ missing: 2, decided: [] });
      expect(now.plan.expects![REGIONS[0]]!.newPolicy).toBe(plan.expects![REGIONS[0]]!.newPolicy); // what will be put is what was recorded
    } finally {
      await root.putPolicy(keyId, original);
    }
    // as it was again: bob's signature fits again
    expect(await sendDecision(world, workflowId, await world.sign('frank', 'KeyRecoveryAdmin', { ...plan, input: { ...plan.input, reason: 'x' } }))).toMatchObject({ accepted: false, missing: 1 });
  });

  it('by another input: an approval of the first start does not fit the second', async () => {
    const first = await waiting('bob');
    const token = await world.sign('carol', 'KeyRecoveryAdmin', first.plan);
    const second = await waiting('bob', { ...back, reason: 'another reason' });
    await expectRefused(second.workflowId, token, 'KW-APPROVAL-WORKFLOW');
  });
});

describe('a wrong proof given with the start is refused at the door', () => {
  const wrong: [string, string, Role, Partial<ApprovalClaims>][] = [
    ['KW-APPROVAL-ROLE', 'dave', 'KeyManagementAdmin', {}],
    ['KW-APPROVAL-ROLE', 'bob', 'KeyRecoveryAdmin', {}],
    ['KW-APPROVAL-EXPIRED', 'alice', 'EmergencyKeyAdmin', { iat: Date.now() - 20 * MINUTE, exp: Date.now() - 10 * MINUTE }],
    ['KW-APPROVAL-FUTURE', 'alice', 'EmergencyKeyAdmin', { iat: Date.now() + 30 * MINUTE, exp: Date.now() + 40 * MINUTE }],
    ['KW-APPROVAL-FORM', 'alice', 'EmergencyKeyAdmin', { decision: 'reject' }],
  ];
  it.each(wrong)('revokeKey: %s (%s as %s)', async (code, name, role, changes) => {
    const input: RevokeInput = { key: 'payment-data', reason: 'not with this proof' };
    const workflowId = world.id('revokeKey');
    const proof = await world.sign(name, role, await world.plan('revokeKey', input, { workflowId }), changes);
    const handle = await world.client.workflow.start('revokeKey', { taskQueue: WORKFLOW_QUEUE, workflowId, args: [{ ...input, proof }] });
    expect(await codeOf(handle.result())).toBe(code);
    expect(await world.states(await world.keyId('payment-data'))).toEqual(ENABLED);
    expect(await audited(world, { workflowId, phase: 'refused', error: code })).toHaveLength(1);
    expect((await world.received()).some((m) => m.kind === 'approval-refused' && m.eventId.startsWith(`${workflowId}/`))).toBe(true);
  });

  it('revokeKey: signed nonsense', async () => {
    const token = jws({ alg: 'EdDSA', typ: TYP, kid: await kidOf(world, 'alice') }, '{"typ":', { key: keyOf(world, 'alice') });
    const handle = await world.client.workflow.start('revokeKey', { taskQueue: WORKFLOW_QUEUE, workflowId: world.id('revokeKey'), args: [{ key: 'payment-data', reason: 'x', proof: token }] });
    expect(await codeOf(handle.result())).toBe('KW-APPROVAL-FORM');
    expect(await world.states(await world.keyId('payment-data'))).toEqual(ENABLED);
  });

  it('revokeKey: the proof of another start (rule 5)', async () => {
    const input: RevokeInput = { key: 'payment-data', reason: 'not with this proof' };
    const proof = await world.sign('alice', 'EmergencyKeyAdmin', await world.plan('revokeKey', input, { workflowId: 'revokeKey-of-another' }));
    const handle = await world.client.workflow.start('revokeKey', { taskQueue: WORKFLOW_QUEUE, workflowId: world.id('revokeKey'), args: [{ ...input, proof }] });
    expect(await codeOf(handle.result())).toBe('KW-APPROVAL-WORKFLOW');
    expect(await world.states(await world.keyId('payment-data'))).toEqual(ENABLED);
  });

  it('revokeKey: a proof for another key, purpose given', async () => {
    const input: RevokeInput = { key: 'payment-data', reason: 'not with this proof' };
    const workflowId = world.id('revokeKey');
    const plan = await world.plan('revokeKey', input, { workflowId });
    const proof = await world.sign('alice', 'EmergencyKeyAdmin', { ...plan, keyId: await world.keyId('audit-data') });
    const handle = await world.client.workflow.start('revokeKey', { taskQueue: WORKFLOW_QUEUE, workflowId, args: [{ ...input, proof }] });
    expect(await codeOf(handle.result())).toBe('KW-APPROVAL-PLAN');
    for (const purpose of ['payment-data', 'audit-data']) expect(await world.states(await world.keyId(purpose))).toEqual(ENABLED);
  });

  it('recoverKey: the failure names input.proof', async () => {
    const workflowId = world.id('recoverKey');
    const proof = await world.sign('dave', 'KeyManagementAdmin', await world.plan('recoverKey', back, { workflowId }));
    const handle = await world.client.workflow.start('recoverKey', { taskQueue: WORKFLOW_QUEUE, workflowId, args: [{ ...back, proof }] });
    const failure = await handle.result().then(() => undefined, (e: Error) => e);
    expect(await codeOf(Promise.reject(failure))).toBe('KW-APPROVAL-ROLE');
    expect(String(failure?.cause)).toContain('input.proof');
    expect(await audited(world, { workflowId, phase: 'refused', error: 'KW-APPROVAL-ROLE' })).toHaveLength(1);
  });
});

describe('the gate of a revocation without a proof', () => {
  const input: RevokeInput = { key: 'payment-data', reason: 'an operator without a signature' };
  async function unsigned(): Promise<string> {
    const { workflowId } = await world.revoke(input, { unsigned: true });
    handles.push(workflowId);
    await world.until('it waits', async () => (await world.status(workflowId)).pendingApproval !== undefined);
    return workflowId;
  }

  it('takes no KeyRecoveryAdmin and no KeyManagementAdmin; the key stays up', async () => {
    const workflowId = await unsigned();
    for (const [name, role] of [['bob', 'KeyRecoveryAdmin'], ['dave', 'KeyManagementAdmin'], ['alice', 'KeyRecoveryAdmin']] as const) {
      expect(await decide(world, workflowId, 'revokeKey', input, name, role)).toMatchObject({ accepted: false, code: 'KW-APPROVAL-ROLE' });
    }
    expect(await world.states(await world.keyId('payment-data'))).toEqual(ENABLED);
    expect((await world.status(workflowId)).pendingApproval).toMatchObject({ missing: 1, eligible: ['EmergencyKeyAdmin'], refused: 3 });
  });

  it('ends when an EmergencyKeyAdmin rejects; nothing was disabled', async () => {
    const workflowId = await unsigned();
    expect(await decide(world, workflowId, 'revokeKey', input, 'erin', 'EmergencyKeyAdmin', 'reject')).toMatchObject({ accepted: true });
    expect(await resultOf(world, workflowId)).toMatchObject({ outcome: 'rejected' });
    expect(await world.states(await world.keyId('payment-data'))).toEqual(ENABLED);
    expect((await audited(world, { workflowId, action: 'reject', phase: 'done' })).map((r) => r.approvers)).toEqual([['erin']]);
  });

  it('a rejection by somebody who could not approve ends nothing', async () => {
    const workflowId = await unsigned();
    expect(await decide(world, workflowId, 'revokeKey', input, 'bob', 'KeyRecoveryAdmin', 'reject')).toMatchObject({ accepted: false, code: 'KW-APPROVAL-ROLE' });
    expect((await world.status(workflowId)).pendingApproval).toBeDefined();
  });

  it('disables when one has signed, by the signal as by the Update', async () => {
    const workflowId = await unsigned();
    const token = await world.token(workflowId, 'revokeKey', input, 'erin', 'EmergencyKeyAdmin');
    await world.client.workflow.getHandle(workflowId).signal('approve', { proof: token, comment: 'seen it myself' });
    await world.stepsDone(workflowId, 'disable', 'open-window');
    expect(await world.states(await world.keyId('payment-data'))).toEqual(DISABLED);
    expect((await audited(world, { workflowId, action: 'DisableKey' })).every((r) => r.approvers?.[0] === 'erin')).toBe(true);
  });
});

describe('malformed messages do not wedge or fail a procedure', () => {
  const junk: [string, unknown[]][] = [
    ['nothing', []], ['null', [null]], ['a number', [42]], ['a string', ['approve please']], ['an array', [[1, 2]]], ['an empty object', [{}]], ['an empty proof', [{ proof: '' }]],
    ['a proof that is an object', [{ proof: { a: 1 } }]], ['an unknown field', [{ proof: 'a.b.c', force: true }]], ['a huge proof', [{ proof: 'A'.repeat(300_000) }]],
    ['a huge comment', [{ proof: 'a.b.c', comment: 'x'.repeat(100_000) }]], ['deep nesting', [JSON.parse(`${'['.repeat(3_000)}${']'.repeat(3_000)}`)]], ['dots', [{ proof: '..' }]],
    ['not base64', [{ proof: '%%%.%%%.%%%' }]], ['base64 of nonsense', [{ proof: 'AAAA.AAAA.AAAA' }]], ['a prototype', [JSON.parse('{"__proto__":{"proof":"x"},"proof":1}')]],
    ['control characters', [{ proof: '\u0000\u202e😀.\ud800.x' }]], ['two arguments', [{ proof: 'a.b.c' }, { proof: 'd.e.f' }]],
  ];
  it('as signals: each is counted, none is decided, and the next genuine signature counts', async () => {
    const { workflowId, plan } = await waiting('bob');
    const handle = world.client.workflow.getHandle(workflowId);
    for (const name of ['approve', 'reject']) for (const [, args] of junk) await handle.signal<unknown[]>(name, ...args);
    await handle.signal('no-such-signal', { proof: 'x' });
    const random = seeded(7);
    for (let i = 0; i < 60; i++) await handle.signal('approve', { proof: Array.from({ length: 1 + Math.floor(random() * 80) }, () => String.fromCharCode(32 + Math.floor(random() * 0x2000))).join('') + '.'.repeat(Math.floor(random() * 4)) });
    await world.until('all are counted', async () => ((await world.status(workflowId)).pendingApproval?.refused ?? 0) === 2 * junk.length + 60);
    expect((await world.status(workflowId)).pendingApproval).toMatchObject({ missing: 1, decided: [{ person: 'bob' }] });
    const rows = await audited(world, { workflowId, phase: 'refused' });
    expect(rows.reduce((n, r) => n + Number(r.detail!['malformed'] ?? 0), 0)).toBe(2 * junk.length + 60);
    expect(await sendDecision(world, workflowId, await world.sign('carol', 'KeyRecoveryAdmin', plan, { decision: 'reject' }), 'reject')).toMatchObject({ accepted: true });
    expect((await resultOf<RecoverResult>(world, workflowId)).outcome).toBe('rejected');
  });

  it.each(junk)('as an Update: %s is refused to the caller', async (_name, args) => {
    const { workflowId } = await openForUpdates();
    const answer = await world.client.workflow.getHandle(workflowId).executeUpdate<{ accepted: boolean }, [unknown]>('decide', { args: [args[0] === null || typeof args[0] !== 'object' || Array.isArray(args[0]) ? args[0] : { decision: 'approve', ...args[0] }] }).catch(() => ({ accepted: false }));
    expect(answer.accepted).toBe(false);
    expect((await world.status(workflowId)).pendingApproval).toMatchObject({ missing: 1 });
  });

  let shared: { workflowId: string; plan: Plan } | undefined;
  async function openForUpdates(): Promise<{ workflowId: string; plan: Plan }> {
    shared ??= await waiting('bob');
    handles = handles.filter((id) => id !== shared!.workflowId);
    return shared;
  }
});

describe('when a decision arrives is what the server says', () => {
  it('an approval sent before the wait begins counts when it begins', async () => {
    await world.stopWorker();
    const { workflowId, firstExecutionRunId } = await world.recover(back);
    handles.push(workflowId);
    const plan = await world.plan('recoverKey', back, { workflowId, firstRunId: firstExecutionRunId });
    await world.client.workflow.getHandle(workflowId).signal('approve', { proof: await world.sign('bob', 'KeyRecoveryAdmin', plan) });
    await world.startWorker();
    await world.until('it counts', async () => (await world.status(workflowId)).pendingApproval?.decided.length === 1);
  });

  it('one that expired while the worker was down counts: it lived when it reached the server; one that arrived dead does not (rule 5)', async () => {
    const { workflowId, plan } = await waiting(null);
    await world.stopWorker();
    const handle = world.client.workflow.getHandle(workflowId);
    const now = Date.now();
    await handle.signal('approve', { proof: await world.sign('bob', 'KeyRecoveryAdmin', plan, { iat: now, exp: now + 1_500 }) });
    const dead = await world.sign('carol', 'KeyRecoveryAdmin', plan, { iat: now, exp: now + 1_500 });
    await new Promise((r) => setTimeout(r, 2_000));
    await handle.signal('approve', { proof: dead });
    await world.startWorker();
    const s = await world.until('both are judged', async () => {
      const st = await world.status(workflowId);
      return st.pendingApproval?.refused === 1 && st.pendingApproval.decided.length === 1 && st;
    });
    expect(s.pendingApproval).toMatchObject({ missing: 1, decided: [{ person: 'bob' }] });
    expect(s.pendingApproval!.lastRefusal).toContain('KW-APPROVAL-EXPIRED');
  });
});

function deep(levels: number): unknown {
  let value: unknown = 'x';
  for (let i = 0; i < levels; i++) value = [value];
  return value;
}

/** Mulberry32: the same "random" strings on each run. */
function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
