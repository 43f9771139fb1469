/** `strategy: replace`: everything moves to a new CMK when two people have signed; until then whatever happens takes it back. */
import { join } from 'node:path';
import { CancelledFailure } from '@temporalio/common';
import Database from 'libsql';
import { attacker, refusal } from '../attacks/attacker';
import { codeOf } from '../harness/toThrowWithCode';
import { rolesForPolicies } from '../../activities/planning';
import { policyDigest } from '../../domain/digest';
import type { RotateInput } from '../../domain/inputs';
import { aliasOf, WORKFLOW_QUEUE, type Duty } from '../../domain/names';
import { decryptOnlyPolicy, shippedPolicy } from '../../domain/policies';
import type { RotateResult } from '../../workflows/rotateKey';
import { application } from '../client/application';
import { DOWN, reason, recovered, rowsOf, UP } from '../faults/acts';
import { checkInvariants } from '../harness/invariants';
import { createWorld, REGIONS, type World } from '../harness/world';
import { addColumnKey, addSubjects, openColumnKey, openSubject, subjectId } from './wrapped';

jest.setTimeout(120_000);

const PURPOSES = ['moves', 'rejected', 'early', 'revoked', 'poisoned', 'late', 'forged', 'taken-over', 'lost-answer', 'attacked'];

describe('replacing a CMK', () => {
  let world: World;

  beforeAll(async () => {
    world = await createWorld({ config: { purposes: PURPOSES, backups: { retentionDays: 0 }, rewrap: { requestsPerSecond: 20_000, reservePercent: 50, concurrency: 16, pageKeys: 50, stretchKeys: 100, stretches: 2 } } });
    await world.initialize();
  });
  afterAll(() => world?.stop());
  afterEach(() => world.kms.admin.clearFaults());

  const input = (key: string): RotateInput => ({ key, strategy: 'replace', reason });
  const start = (key: string, workflowId = world.id('rotateKey')) => world.client.workflow.start('rotateKey', { taskQueue: WORKFLOW_QUEUE, workflowId, args: [input(key)] });
  const phase = async (workflowId: string, wanted: string): Promise<void> => void (await world.until(`${workflowId}: ${wanted}`, async () => (await world.status(workflowId)).phase === wanted, 60_000));
  const approve = async (workflowId: string, key: string, by: string): Promise<void> => world.client.workflow.getHandle(workflowId).signal('approve', { proof: await world.token(workflowId, 'rotateKey', input(key), by, 'KeyManagementAdmin') });
  const reject = async (workflowId: string, key: string, by: string): Promise<void> => world.client.workflow.getHandle(workflowId).signal('reject', { proof: await world.token(workflowId, 'rotateKey', input(key), by, 'KeyManagementAdmin', { decision: 'reject' }) });
  /** Signed by dave; `phase` says how far. */
  async function begun(key: string, wanted: string): Promise<{ workflowId: string; old: string; result(): Promise<RotateResult> }> {
    const old = await world.keyId(key);
    const handle = await start(key);
    await phase(handle.workflowId, 'waiting for a signature');
    await approve(handle.workflowId, key, 'dave');
    await phase(handle.workflowId, wanted);
    return { workflowId: handle.workflowId, old, result: () => handle.result() as Promise<RotateResult> };
  }
  const replacementOf = async (old: string): Promise<string> => (await world.store.real.readKey(old))!.rotation!.to!;
  const policies = (keyId: string): Promise<string[]> => Promise.all(REGIONS.map(async (r) => policyDigest(await world.root.get(r)!.policy(keyId))));
  const aliases = (purpose: string): Promise<string[]> => Promise.all(REGIONS.map(async (r) => (await world.root.get(r)!.describe(aliasOf(world.config, purpose)))!.KeyId!));
  const wrapped = (keyId: string) => world.store.real.countWrapped(keyId);

  it('moves everything, with a person at the beginning and another before the cutover, and lets applications read all the time', async () => {
    await addSubjects(world, 'moves', 0, 300);
    await addColumnKey(world, 'moves', 'CEK_moves');
    const before = { subject: await openSubject(world, 'moves', 7), cek: await openColumnKey(world, 'moves', 'CEK_moves') };
    const app = application(world, { learnWithinMs: 300, cache: { maxAgeMs: 1 } });
    const of = { subjectId: 'somebody', field: 'name', purpose: 'moves' };
    await app.initializeUserEncryption('somebody', { purpose: 'moves' });
    const field = await app.encrypt(of, 'Anna');
    const reading = new AbortController();
    const read = (async () => {
      for (let n = 0; ; n++) {
        expect((await app.decrypt(of, field)).toString()).toBe('Anna');
        if (reading.signal.aborted) return n;
        await new Promise((r) => setTimeout(r, 20));
      }
    })();
    const { workflowId, old, result } = await begun('moves', 'waiting for the sign-off');
    const next = await replacementOf(old);
    // overlap: both values, both ciphertexts, the alias where it was
    expect((await world.store.real.readColumnKey('CEK_moves'))!.values.map((v) => v.keyId).sort()).toEqual([next, old].sort());
    expect(await world.store.real.readSubjectKey(subjectId(7), 'moves')).toMatchObject({ keyId: next, previous: { keyId: old } });
    expect(await aliases('moves')).toEqual([old, old]);
    expect(await policies(next)).toEqual(Array(2).fill(policyDigest(shippedPolicy(rolesForPolicies(world.config)))));
    const s = await world.status(workflowId);
    expect(s.steps.find((x) => x.name === 'consumers')).toMatchObject({ state: 'done', detail: '1 of 1' });
    expect(s.pendingApproval!.words.join('\n')).toContain(`CUT OVER key ${old}`);
    // rule 4: one person counts once; the beginning's plan is not the cutover's
    await approve(workflowId, 'moves', 'dave');
    await world.until('the same person is refused', async () => (await world.status(workflowId)).pendingApproval?.lastRefusal?.includes('KW-APPROVAL-SAME-PERSON'));
    await addSubjects(world, 'moves', 300, 310); // the application goes on
    await approve(workflowId, 'moves', 'carol');
    const end = await result();
    reading.abort();
    expect(await read).toBeGreaterThan(5);
    expect(end).toMatchObject({ outcome: 'replaced', keyId: old, replacement: next, signedBy: ['dave', 'carol'], counts: { subjectKeys: 311, columnKeys: 1, setAside: 0 } });
    expect(await aliases('moves')).toEqual([next, next]);
    expect([await wrapped(old), await wrapped(next)]).toEqual([{ subjectKeys: 0, columnKeyValues: 0 }, { subjectKeys: 311, columnKeyValues: 1 }]);
    expect(await policies(old)).toEqual(Array(2).fill(policyDigest(decryptOnlyPolicy(rolesForPolicies(world.config)))));
    expect([await openSubject(world, 'moves', 7), await openColumnKey(world, 'moves', 'CEK_moves')]).toEqual([before.subject, before.cek]);
    expect(await openSubject(world, 'moves', 305)).toHaveLength(64);
    expect((await app.decrypt(of, field)).toString()).toBe('Anna');
    await app.close();
    const row = (await world.store.real.readKey(old))!;
    expect([row.rotation, row.replacedBy?.keyId]).toEqual([undefined, next]);
    // no backup needs the old CMK: its end is proposed, and waits for people
    const retirement = await world.status(end.retirement!);
    expect(retirement.steps[0]!.state).not.toBe('done');
    expect(await world.states(old)).toEqual(UP);
    // the new one rotates as any other
    const again = await world.client.workflow.start('rotateKey', { taskQueue: WORKFLOW_QUEUE, workflowId: world.id('rotateKey'), args: [{ key: 'moves' }] });
    await world.until('it waits', async () => (await world.status(again.workflowId)).pendingApproval?.plan.keyId === next);
    await again.terminate();
    expect(await checkInvariants(world)).toEqual([]);
  });

  it('takes everything back when the cutover is rejected', async () => {
    await addSubjects(world, 'rejected', 0, 120);
    await addColumnKey(world, 'rejected', 'CEK_rejected');
    const before = { row: await world.store.real.readSubjectKey(subjectId(3), 'rejected'), cek: await world.store.real.readColumnKey('CEK_rejected') };
    const { workflowId, old, result } = await begun('rejected', 'waiting for the sign-off');
    const next = await replacementOf(old);
    await reject(workflowId, 'rejected', 'carol');
    expect(await result()).toMatchObject({ outcome: 'rolled-back', replacement: next, why: 'rejected by carol' });
    expect([await world.store.real.readSubjectKey(subjectId(3), 'rejected'), await world.store.real.readColumnKey('CEK_rejected')]).toEqual([before.row, before.cek]);
    expect([await wrapped(next), await aliases('rejected'), await world.states(next), await world.states(old)]).toEqual([{ subjectKeys: 0, columnKeyValues: 0 }, [old, old], DOWN, UP]);
    expect((await world.store.real.readKey(old))!.rotation).toBeUndefined();
    expect((await world.received()).find((m) => m.kind === 'rotation-rolled-back' && m.text.includes(next))!.text).toContain(`keywarden revoke ${next} --after-window deletion-scheduled`);
    // and a new one may be begun, with a CMK of its own
    const second = await begun('rejected', 'waiting for the sign-off');
    expect(await replacementOf(old)).not.toBe(next);
    await reject(second.workflowId, 'rejected', 'carol');
    await second.result();
  });

  it('takes everything back when it is rejected while it re-wraps; a signature for the cutover counts only then', async () => {
    await addSubjects(world, 'early', 0, 400);
    await world.kms.admin.addFault({ kind: 'latency', operation: 'ReEncrypt', ms: 80, keyId: await world.keyId('early') });
    const { workflowId, old, result } = await begun('early', 're-wrapping');
    await approve(workflowId, 'early', 'carol'); // for the beginning, which has been signed
    await world.until('some are moved', async () => (await wrapped(await replacementOf(old))).subjectKeys > 0);
    await reject(workflowId, 'early', 'carol');
    expect(await result()).toMatchObject({ outcome: 'rolled-back', why: 'rejected by carol' });
    expect(await wrapped(old)).toEqual({ subjectKeys: 400, columnKeyValues: 0 });
    expect(await aliases('early')).toEqual([old, old]);
  });

  it('rule 2: a revocation takes the key, and the new CMK with what has been moved already; recovered, everything is as before', async () => {
    await addSubjects(world, 'revoked', 0, 400);
    const before = await openSubject(world, 'revoked', 1);
    await world.kms.admin.addFault({ kind: 'latency', operation: 'ReEncrypt', ms: 60, keyId: await world.keyId('revoked') });
    const { old, result } = await begun('revoked', 're-wrapping');
    const next = await world.until('some are moved', async () => {
      const to = (await world.store.real.readKey(old))!.rotation?.to;
      return to !== undefined && (await wrapped(to)).subjectKeys > 0 ? to : undefined;
    });
    const { workflowId } = await world.revoke({ key: 'revoked', reason });
    await world.stepsDone(workflowId, 'open-window');
    expect([await world.states(old), await world.states(next)]).toEqual([DOWN, DOWN]);
    await expect(result()).rejects.toMatchObject({ cause: expect.any(CancelledFailure) });
    expect([await wrapped(old), await wrapped(next)]).toEqual([{ subjectKeys: 400, columnKeyValues: 0 }, { subjectKeys: 0, columnKeyValues: 0 }]);
    await world.kms.admin.clearFaults();
    expect(await recovered(world, 'revoked')).toMatchObject({ outcome: 'recovered' });
    expect(await openSubject(world, 'revoked', 1)).toBe(before);
  });

  it('what does not open blocks the cutover until it is mended', async () => {
    await addSubjects(world, 'poisoned', 0, 40);
    await addSubjects(world, 'poisoned', 40, 41, { encryptedKey: Buffer.from('no ciphertext').toString('base64') });
    const { workflowId, old, result } = await begun('poisoned', 're-wrapping');
    await world.until('it is said', async () => (await world.status(workflowId)).missing?.join().includes('do not open and block the cutover'));
    expect((await world.store.real.readKey(await replacementOf(old)))!.replaces!.phase).toBe('overlap');
    const db = new Database(join(world.dataDir, 'keywarden.db'), { timeout: 2_000 });
    db.prepare('DELETE FROM subject_key WHERE purpose = ? AND subject_id = ?').run('poisoned', subjectId(40));
    db.close();
    await world.client.workflow.getHandle(workflowId).signal('look');
    await phase(workflowId, 'waiting for the sign-off');
    await approve(workflowId, 'poisoned', 'carol');
    expect(await result()).toMatchObject({ outcome: 'replaced', counts: { subjectKeys: 40, setAside: 0 } });
  });

  it('rule 1: waits for an application that cannot use the new CMK, which reads under the old one meanwhile; and for none that is gone', async () => {
    await addSubjects(world, 'late', 0, 20);
    await world.store.real.saveConsumer({ consumerId: 'gone', purposes: ['late'], drainsWithinMs: 1 }, []);
    const app = application(world, { learnWithinMs: 300, cache: { maxAgeMs: 1 }, name: 'cannot', purposes: ['late'] });
    const of = { subjectId: 'somebody', field: 'name', purpose: 'late' };
    await app.initializeUserEncryption('somebody', { purpose: 'late' });
    const field = await app.encrypt(of, 'Anna');
    const { old, workflowId, result } = await (async () => {
      const deny = await denyTheNew('late');
      const b = await begun('late', 'waiting for the sign-off');
      await deny();
      return b;
    })();
    await approve(workflowId, 'late', 'carol');
    await phase(workflowId, 'waiting for applications');
    expect((await world.status(workflowId)).steps.find((x) => x.name === 'consumers')).toMatchObject({ state: 'running', detail: expect.stringMatching(/^0 of 1; not yet: cannot\//) });
    expect(await world.store.real.readSubjectKey('somebody', 'late')).toMatchObject({ keyId: await replacementOf(old) });
    for (let i = 0; i < 5; i++) {
      expect((await app.decrypt(of, field)).toString()).toBe('Anna');
      await new Promise((r) => setTimeout(r, 20));
    }
    expect(await aliases('late')).toEqual([old, old]);
    await world.kms.admin.clearFaults();
    expect(await result()).toMatchObject({ outcome: 'replaced', signedBy: ['dave', 'carol'] });
    expect((await app.decrypt(of, field)).toString()).toBe('Anna');
    await app.close();
  });

  /** The application may not decrypt under whatever CMK comes next; resolves to what settles the denial on that one. */
  async function denyTheNew(key: string): Promise<() => Promise<void>> {
    const old = await world.keyId(key);
    await world.kms.admin.addFault({ kind: 'deny', operation: 'Decrypt', principal: 'AKIALOCALAPPLICATION' });
    return async () => {
      const next = await replacementOf(old);
      await world.kms.admin.clearFaults();
      await world.kms.admin.addFault({ kind: 'deny', operation: 'Decrypt', principal: 'AKIALOCALAPPLICATION', keyId: next });
    };
  }

  it('rule 6: a new CMK whose answer was lost is found again, and made once', async () => {
    await addSubjects(world, 'lost-answer', 0, 20);
    const keys = async (): Promise<number> => {
      let n = 0;
      for await (const _ of world.root.get(REGIONS[0])!.keys()) n++;
      return n;
    };
    const before = await keys();
    await world.kms.admin.addFault({ kind: 'drop-after', operation: 'CreateKey', count: 1 });
    await world.kms.admin.addFault({ kind: 'drop-after', operation: ['ReplicateKey', 'UpdateAlias', 'PutKeyPolicy'], count: 3 });
    const { workflowId, result } = await begun('lost-answer', 'waiting for the sign-off');
    await approve(workflowId, 'lost-answer', 'carol');
    expect(await result()).toMatchObject({ outcome: 'replaced' });
    expect(await keys()).toBe(before + 1);
  });

  it('rule 6: one that was ended from outside is gone on with by the next, under the same new CMK', async () => {
    await addSubjects(world, 'taken-over', 0, 60);
    const first = await begun('taken-over', 'waiting for the sign-off');
    const next = await replacementOf(first.old);
    await world.client.workflow.getHandle(first.workflowId).terminate('a test');
    const inPlace = await world.client.workflow.start('rotateKey', { taskQueue: WORKFLOW_QUEUE, workflowId: world.id('rotateKey'), args: [{ key: 'taken-over' }] });
    await world.until('it waits', async () => (await world.status(inPlace.workflowId)).pendingApproval !== undefined);
    await inPlace.signal('approve', { proof: await world.token(inPlace.workflowId, 'rotateKey', { key: 'taken-over' }, 'dave', 'KeyManagementAdmin') });
    expect(await codeOf(inPlace.result())).toBe('KW-PROCEDURE-OPEN');
    const second = await begun('taken-over', 'waiting for the sign-off');
    expect(await replacementOf(first.old)).toBe(next);
    await approve(second.workflowId, 'taken-over', 'carol');
    expect(await second.result()).toMatchObject({ outcome: 'replaced', replacement: next, counts: { subjectKeys: 60 } });
  });

  it('is refused at the door for a key on which a database rests, and for a forged plan', async () => {
    expect(await codeOf((await world.client.workflow.start('rotateKey', { taskQueue: WORKFLOW_QUEUE, workflowId: world.id('rotateKey'), args: [{ key: 'no-such-key', strategy: 'replace' }] })).result())).toBe('KW-KEY-UNKNOWN');
    await addSubjects(world, 'forged', 0, 20);
    const { workflowId, old, result } = await begun('forged', 'waiting for the sign-off');
    const forged = await world.plan('rotateKey', input('forged'), { workflowId, firstRunId: (await world.client.workflow.getHandle(workflowId).describe()).runId });
    const elsewhere = { ...forged, replacement: await world.keyId('moves') };
    await world.client.workflow.getHandle(workflowId).signal('approve', { proof: await world.sign('carol', 'KeyManagementAdmin', elsewhere) });
    await world.until('another plan is refused', async () => (await world.status(workflowId)).pendingApproval?.lastRefusal?.includes('KW-APPROVAL-PLAN'));
    await world.client.workflow.getHandle(workflowId).signal('approve', { proof: await world.sign('bob', 'KeyRecoveryAdmin', forged) });
    await world.until('another role is refused', async () => (await world.status(workflowId)).pendingApproval?.lastRefusal?.includes('KW-APPROVAL-ROLE'));
    // drift voids what is signed: a policy changed by hand
    await world.root.get(REGIONS[0])!.putPolicy(old, (await world.root.get(REGIONS[0])!.policy(old)).replace('"ReadByOperators"', '"ChangedByHand"'));
    await world.client.workflow.getHandle(workflowId).signal('approve', { proof: await world.sign('carol', 'KeyManagementAdmin', forged) });
    await world.until('it is refused', async () => (await world.status(workflowId)).pendingApproval?.refused === 3);
    expect(await aliases('forged')).toEqual([old, old]);
    await approve(workflowId, 'forged', 'carol');
    expect(await result()).toMatchObject({ outcome: 'replaced' });
    expect(await rowsOf(world, workflowId)).toEqual(expect.arrayContaining(['CreateKey intended', 'CreateKey done', 'CommitReplacement done', 'UpdateAlias intended', 'UpdateAlias done', 'PutKeyPolicy intended', 'PutKeyPolicy done', 'DropPreviousKeys done']));
  });

  it('rules 3 and 5: an attacker who owns the namespace moves no alias, drops no ciphertext, takes nothing back and disables nothing', async () => {
    await addSubjects(world, 'attacked', 0, 30);
    const { workflowId, old, result } = await begun('attacked', 'waiting for the sign-off');
    const next = await replacementOf(old);
    const { digest } = (await world.status(workflowId)).pendingApproval!;
    const before = { row: await world.store.real.readKey(old), next: await world.store.real.readKey(next), subject: await world.store.real.readSubjectKey(subjectId(3), 'attacked') };
    const evil = await attacker(world, 'evil');
    try {
      const orders: [Duty, string, object][] = [
        ['recovery', 'cutover', { digest, region: REGIONS[0] }],
        ['recovery', 'deactivate', { digest, region: REGIONS[0] }],
        ['recovery', 'beginReplacement', { digest }],
        ['recovery', 'makeReplacement', { digest, region: REGIONS[0] }],
        ['recovery', 'rollBack', { keyId: old }],
        ['recovery', 'withdrawReplacement', { keyId: old, region: REGIONS[0] }],
        ['recovery', 'endReplacement', { keyId: old }],
        ['routine', 'settleReplacement', { keyId: old }],
        ['routine', 'settleReplacement', { keyId: next }],
        ['routine', 'verifyReplacement', { keyId: old }],
      ];
      const codes: Record<string, string> = {};
      for (const [duty, activity, argument] of orders) codes[activity] = await refusal(world, { duty, activity, argument });
      expect(codes).toEqual({
        cutover: 'KW-APPROVAL-MISSING', deactivate: 'KW-APPROVAL-MISSING', beginReplacement: 'KW-APPROVAL-MISSING', makeReplacement: 'KW-APPROVAL-MISSING',
        // about a replacement of its own, which it has not
        rollBack: 'done', endReplacement: 'done', withdrawReplacement: 'KW-PREEMPTED', settleReplacement: 'KW-NOT-YET', verifyReplacement: 'KW-PREEMPTED',
      });
    } finally {
      await evil.stop();
    }
    expect({ row: await world.store.real.readKey(old), next: await world.store.real.readKey(next), subject: await world.store.real.readSubjectKey(subjectId(3), 'attacked') }).toEqual(before);
    expect([await aliases('attacked'), await world.states(next), await policies(old)]).toEqual([[old, old], UP, await policies(next)]);
    await approve(workflowId, 'attacked', 'carol');
    expect(await result()).toMatchObject({ outcome: 'replaced' });
  });

  it('breaks no rule', async () => {
    expect(await checkInvariants(world)).toEqual([]);
  });
});
