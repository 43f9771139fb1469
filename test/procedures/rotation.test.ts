import { join } from 'node:path';
import { CancelledFailure } from '@temporalio/common';
import Database from 'libsql';
import { asKeywardenError } from '../../cli/output';
import { subjectContext } from '../../domain/encryptionContext';
import type { RotateInput } from '../../domain/inputs';
import { ROTATION_SCHEDULE, WORKFLOW_QUEUE } from '../../domain/names';
import type { RotateDueResult } from '../../workflows/rotateDueKeys';
import type { RotateResult } from '../../workflows/rotateKey';
import { rowsOf } from '../faults/acts';
import { checkInvariants } from '../harness/invariants';
import { createWorld, days, type World } from '../harness/world';
import { addColumnKey, addSubjects, materialsNow, openColumnKey, openSubject } from './wrapped';

jest.setTimeout(120_000);

describe('rotation in place', () => {
  let world: World;

  beforeAll(async () => {
    world = await createWorld({ config: { purposes: ['user-data', 'payment-data', 'audit-data', 'own'], rewrap: { requestsPerSecond: 20_000, reservePercent: 50, concurrency: 16, pageKeys: 50, stretchKeys: 200, stretches: 3 } } });
    await world.initialize();
  });
  afterAll(() => world?.stop());

  const start = (input: RotateInput, workflowId = world.id('rotateKey')) => world.client.workflow.start('rotateKey', { taskQueue: WORKFLOW_QUEUE, workflowId, args: [input] });
  const rotate = async (input: RotateInput): Promise<RotateResult> => (await start(input)).result() as Promise<RotateResult>;
  const sign = async (workflowId: string, input: RotateInput, by = 'dave'): Promise<void> => {
    await world.until('it waits for a signature', async () => (await world.status(workflowId)).pendingApproval !== undefined);
    await world.client.workflow.getHandle(workflowId).signal('approve', { proof: await world.token(workflowId, 'rotateKey', input, by, 'KeyManagementAdmin') });
  };

  it('makes new material when one person has signed, and leaves nothing on the old', async () => {
    await addSubjects(world, 'user-data', 0, 1_000);
    await addColumnKey(world, 'user-data', 'CEK_names');
    const before = { material: (await materialsNow(world, 'user-data')).current, subject: await openSubject(world, 'user-data', 7), cek: await openColumnKey(world, 'user-data', 'CEK_names') };
    const handle = await start({ key: 'user-data', reason: 'yearly exercise' });
    await sign(handle.workflowId, { key: 'user-data', reason: 'yearly exercise' });
    const result = (await handle.result()) as RotateResult;
    const after = await materialsNow(world, 'user-data');
    expect(after).toEqual({ current: expect.not.stringContaining(before.material), onDemand: 1 });
    expect(result).toMatchObject({ outcome: 'rotated', material: after.current, made: 'made', counts: { subjectKeys: 1_000, columnKeys: 1, changedMeanwhile: 0, setAside: 0 }, signedBy: ['dave'] });
    expect(await world.store.real.countStale(await world.keyId('user-data'), after.current)).toEqual({ stale: 0, setAside: 0 });
    expect(await openSubject(world, 'user-data', 7)).toBe(before.subject);
    expect(await openColumnKey(world, 'user-data', 'CEK_names')).toBe(before.cek);
    expect((await world.store.real.readColumnKey('CEK_names'))!.values.map((v) => v.masterKey)).toEqual(['CMK_user-data_b']);
    const row = (await world.store.real.readKey(result.keyId))!;
    expect(row.rotation).toBeUndefined();
    expect(row.rotated).toMatchObject({ material: after.current, setAside: 0 });
    expect(await checkInvariants(world)).toEqual([]);
  });

  it('without a signature makes no material that is not due, and with a rejection ends without any', async () => {
    const before = await materialsNow(world, 'payment-data');
    const handle = await start({ key: 'payment-data' });
    await world.until('it waits', async () => (await world.status(handle.workflowId)).pendingApproval !== undefined);
    await handle.signal('approve', { proof: await world.token(handle.workflowId, 'rotateKey', { key: 'payment-data' }, 'bob', 'KeyRecoveryAdmin') });
    await world.until('the wrong role is refused', async () => (await world.status(handle.workflowId)).pendingApproval?.lastRefusal?.includes('KW-APPROVAL-ROLE'));
    await handle.signal('approve', { proof: await world.token(handle.workflowId, 'rotateKey', { key: 'payment-data', reason: 'another plan' }, 'dave', 'KeyManagementAdmin') });
    await world.until('another plan is refused', async () => (await world.status(handle.workflowId)).pendingApproval?.lastRefusal?.includes('KW-APPROVAL-PLAN'));
    await handle.signal('reject', { proof: await world.token(handle.workflowId, 'rotateKey', { key: 'payment-data' }, 'carol', 'KeyManagementAdmin', { decision: 'reject' }) });
    expect(await handle.result()).toMatchObject({ outcome: 'rejected', signedBy: [] });
    expect(await materialsNow(world, 'payment-data')).toEqual(before);
    expect((await world.store.real.readKey(await world.keyId('payment-data')))!.rotation).toBeUndefined();
  });

  it('takes the signature with its start', async () => {
    await addSubjects(world, 'payment-data', 0, 60);
    const workflowId = world.id('rotateKey');
    const input = { key: 'payment-data', reason: 'signed at once' };
    const proof = await world.sign('carol', 'KeyManagementAdmin', await world.plan('rotateKey', input, { workflowId }));
    const before = await materialsNow(world, 'payment-data');
    expect(await (await start({ ...input, proof }, workflowId)).result()).toMatchObject({ outcome: 'rotated', made: 'made', signedBy: ['carol'], counts: { subjectKeys: 60 } });
    expect((await materialsNow(world, 'payment-data')).onDemand).toBe(before.onDemand + 1);
    expect(await refusal((await start({ ...input, proof })).result())).toBe('KW-APPROVAL-WORKFLOW');
  });

  it('refuses a key of nobody, and its own, at the door', async () => {
    expect(await refusal(rotate({ key: 'payment-data', strategy: 'elsewhere' as never }))).toBe('KW-INPUT');
    expect(await refusal(rotate({ key: 'no-such-key' }))).toBe('KW-KEY-UNKNOWN');
    expect(await refusal(rotate({ key: 'payment-data', reason: '' }))).toBe('KW-INPUT');
    expect(await refusal(rotate({ key: 'alias/keywarden/receipts-routine' }))).toBe('KW-KEY-OWN');
  });

  it('of two rotations of one key at once one is refused, and one on-demand rotation is spent', async () => {
    await addSubjects(world, 'audit-data', 0, 400);
    await world.kms.admin.addFault({ kind: 'latency', operation: 'ReEncrypt', ms: 60 });
    const first = await start({ key: 'audit-data' });
    await sign(first.workflowId, { key: 'audit-data' });
    await world.until('it re-wraps', async () => (await world.status(first.workflowId)).phase === 're-wrapping');
    expect(await refusal(rotate({ key: 'audit-data' }))).toBe('KW-PROCEDURE-OPEN');
    await world.kms.admin.clearFaults();
    expect(await first.result()).toMatchObject({ outcome: 'rotated', counts: { subjectKeys: 400 } });
    expect((await materialsNow(world, 'audit-data')).onDemand).toBe(1);
  });

  describe('while it re-wraps', () => {
    const signed = async (key: string, then: (workflowId: string) => Promise<void>, o: { slow?: number } = {}): Promise<RotateResult> => {
      if (o.slow !== undefined) await world.kms.admin.addFault({ kind: 'latency', operation: 'ReEncrypt', ms: o.slow });
      const handle = await start({ key });
      await sign(handle.workflowId, { key });
      await world.until('it re-wraps', async () => (await world.status(handle.workflowId)).phase === 're-wrapping');
      await then(handle.workflowId);
      await world.kms.admin.clearFaults();
      return handle.result() as Promise<RotateResult>;
    };
    const db = (): Database.Database => new Database(join(world.dataDir, 'keywarden.db'), { timeout: 2_000 });

    it('a key added, changed or deleted by the application is neither missed nor clobbered', async () => {
      await addSubjects(world, 'own', 100, 500);
      const keyId = await world.keyId('own');
      // an application that had fetched its data keys before the rotation writes them late, before the cursor and behind it
      const late = await Promise.all(['aaa-early', 'zzz-late'].map(async (id) => ({ id, ...(await world.application.get('us-east-1')!.dataKey(keyId, subjectContext(world.config, 'own', id))) })));
      const moved = await world.application.get('us-east-1')!.dataKey(keyId, subjectContext(world.config, 'own', 'user-000499'));
      const result = await signed('own', async () => {
        for (const { id, ciphertext, material } of late) await world.store.real.putSubjectKey({ subjectId: id, purpose: 'own', encryptedKey: Buffer.from(ciphertext).toString('base64'), keyId, keyArn: `arn:aws:kms:us-east-1:000000000000:key/${keyId}`, keyMaterialId: material!, createdAt: new Date().toISOString() });
        const file = db();
        file.prepare("UPDATE subject_key SET encrypted_key = ?, key_material_id = ? WHERE purpose = 'own' AND subject_id = ?").run(Buffer.from(moved.ciphertext).toString('base64'), moved.material, 'user-000499');
        file.prepare("DELETE FROM subject_key WHERE purpose = 'own' AND subject_id = ?").run('user-000498');
        file.close();
      }, { slow: 50 });
      const { current } = await materialsNow(world, 'own');
      expect(result).toMatchObject({ outcome: 'rotated', material: current });
      expect(await world.store.real.countStale(keyId, current)).toEqual({ stale: 0, setAside: 0 });
      expect(await world.store.real.readSubjectKey('user-000498', 'own')).toBeUndefined();
      const kms = world.application.get('us-east-1')!;
      const opened = async (id: string): Promise<string> => Buffer.from(await kms.decrypt(keyId, Buffer.from((await world.store.real.readSubjectKey(id, 'own'))!.encryptedKey, 'base64'), subjectContext(world.config, 'own', id))).toString('hex');
      for (const { id, ciphertext } of late) expect(await opened(id)).toBe(Buffer.from(await kms.decrypt(keyId, ciphertext, subjectContext(world.config, 'own', id))).toString('hex'));
      expect(await opened('user-000499')).toBe(Buffer.from(await kms.decrypt(keyId, moved.ciphertext, subjectContext(world.config, 'own', 'user-000499'))).toString('hex'));
    });

    it('a poisoned row is set aside and reported, the rest goes on, and a mended one is taken up again', async () => {
      const file = db();
      const good = file.prepare("SELECT subject_id AS id, encrypted_key AS k FROM subject_key WHERE purpose = 'audit-data' ORDER BY subject_id LIMIT 3").all([]) as { id: string; k: string }[];
      const poison = [Buffer.from('not a ciphertext').toString('base64'), good[2]!.k, ''];
      good.forEach(({ id }, i) => file.prepare('UPDATE subject_key SET encrypted_key = ? WHERE subject_id = ? AND purpose = ?').run(poison[i]!, id, 'audit-data'));
      file.close();
      const result = await signed('audit-data', async () => undefined);
      expect(result).toMatchObject({ outcome: 'incomplete', counts: { subjectKeys: 397, setAside: 3 } });
      const keyId = await world.keyId('audit-data');
      expect((await world.store.real.readSetAside(keyId, { limit: 10 })).map((a) => [a.id, a.code])).toEqual([[good[0]!.id, 'InvalidCiphertextException'], [good[1]!.id, 'InvalidCiphertextException'], [good[2]!.id, 'ValidationException']]);
      expect((await world.received()).map((m) => m.kind)).toContain('rotation-incomplete');
      const again = db();
      good.forEach(({ id, k }) => again.prepare('UPDATE subject_key SET encrypted_key = ? WHERE subject_id = ? AND purpose = ?').run(k, id, 'audit-data'));
      again.close();
      expect(await rotate({ key: 'audit-data' })).toMatchObject({ outcome: 'rotated', made: 'used', counts: { subjectKeys: 3, setAside: 0 } });
      expect(await world.store.real.readSetAside(keyId, { limit: 10 })).toEqual([]);
    });

    it('KMS may throttle and fail', async () => {
      await addSubjects(world, 'payment-data', 60, 460);
      for (const kind of ['throttle', 'error', 'drop-after', 'drop-before'] as const) await world.kms.admin.addFault({ kind, operation: 'ReEncrypt', probability: 0.05 });
      const result = await signed('payment-data', async () => {
        await new Promise((r) => setTimeout(r, 1_500));
      });
      expect(result).toMatchObject({ outcome: 'rotated', counts: { subjectKeys: 460, setAside: 0 } });
    });

    it('the store may lose a transaction, or the answer of one', async () => {
      for (let i = 0; i < 4; i++) world.store.failOnce('writePage', i % 2 === 0 ? 'failAfterEffect' : 'down', { after: i });
      world.store.failOnce('changeBucket', 'down', { after: 1 }).failOnce('readStale', 'down', { after: 2 }).failOnce('changeColumnKey', 'failAfterEffect');
      await addColumnKey(world, 'payment-data', 'CEK_cards');
      const cek = await openColumnKey(world, 'payment-data', 'CEK_cards');
      const result = await signed('payment-data', async () => undefined);
      world.store.heal();
      // what was written is counted once, though its answer was lost
      expect(result).toMatchObject({ outcome: 'rotated', counts: { subjectKeys: 460, columnKeys: 1, setAside: 0 } });
      expect(await openColumnKey(world, 'payment-data', 'CEK_cards')).toBe(cek);
      expect((await world.store.real.readColumnKey('CEK_cards'))!.values).toHaveLength(1);
    });

    it('a lagging replica is asked again', async () => {
      await world.kms.admin.addFault({ kind: 'stale-state', region: 'us-east-1', operation: 'RotateKeyOnDemand', ms: 1_500 });
      const result = await signed('payment-data', async () => undefined);
      expect(result).toMatchObject({ outcome: 'rotated', material: (await materialsNow(world, 'payment-data')).current });
    });

    it('a revocation takes the key at once, the rotation ends, and after the recovery the next one finishes the work', async () => {
      const keyId = await world.keyId('payment-data');
      await world.kms.admin.addFault({ kind: 'latency', operation: 'ReEncrypt', ms: 300 });
      const handle = await start({ key: 'payment-data' });
      await sign(handle.workflowId, { key: 'payment-data' });
      await world.until('it re-wraps', async () => (await world.status(handle.workflowId)).phase === 're-wrapping');
      const spent = (await materialsNow(world, 'payment-data')).onDemand;
      const revocation = await world.revoke({ key: 'payment-data', reason: 'a leak' });
      await world.stepsDone(revocation.workflowId, 'disable', 'open-window');
      expect(Object.values(await world.states(keyId))).toEqual(['Disabled', 'Disabled']);
      expect(await refusal(handle.result())).toMatch(/^(KW-PREEMPTED|cancelled)$/);
      await world.kms.admin.clearFaults();
      expect(await refusal(rotate({ key: 'payment-data' }))).toBe('KW-PROCEDURE-OPEN');
      await world.stepsDone(revocation.workflowId, 'prove-effect', 'alert', 'census');
      const recovery = await world.recover({ key: 'payment-data', reason: 'a false alarm' }, 'alice');
      await recovery.signal('approve', { proof: await world.token(recovery.workflowId, 'recoverKey', { key: 'payment-data', reason: 'a false alarm' }, 'bob', 'KeyRecoveryAdmin') });
      await recovery.result();
      expect(await rotate({ key: 'payment-data' })).toMatchObject({ outcome: 'rotated', made: 'used' });
      expect((await materialsNow(world, 'payment-data')).onDemand).toBe(spent);
    });
  });

  describe('new material', () => {
    it('whose answer was lost is found, and not made a second time', async () => {
      const before = await materialsNow(world, 'own');
      await world.kms.admin.addFault({ kind: 'drop-after', operation: 'RotateKeyOnDemand', count: 1 });
      const handle = await start({ key: 'own' });
      await sign(handle.workflowId, { key: 'own' });
      expect(await handle.result()).toMatchObject({ outcome: 'rotated', made: 'made' });
      expect((await materialsNow(world, 'own')).onDemand).toBe(before.onDemand + 1);
      expect(await rowsOf(world, handle.workflowId)).toContain('RotateKeyOnDemand unknown');
    });

    it('is not asked for again while a request without an answer may still arrive', async () => {
      const before = await materialsNow(world, 'own');
      await world.kms.admin.addFault({ kind: 'drop-before', operation: 'RotateKeyOnDemand', count: 1 });
      const handle = await start({ key: 'own' });
      await sign(handle.workflowId, { key: 'own' });
      await world.until('it waits for the answer', async () => (await world.status(handle.workflowId)).missing?.some((m) => m.includes('its answer was lost')));
      expect((await world.kms.admin.calls({ operation: 'RotateKeyOnDemand' })).filter((c) => c.answerLost === true || c.errorCode === undefined).length).toBeGreaterThan(0);
      await world.kms.admin.advanceClock(11 * 60_000);
      expect(await handle.result()).toMatchObject({ outcome: 'rotated', made: 'made' });
      expect((await materialsNow(world, 'own')).onDemand).toBe(before.onDemand + 1);
    });
  });

  it('no rule is broken by any of it', async () => {
    expect(await checkInvariants(world)).toEqual([]);
  });

  it('the daily run rotates what is due once KMS has rotated by itself, needs nobody, and leaves the rest alone', async () => {
    const schedule = await world.client.schedule.getHandle(ROTATION_SCHEDULE).describe();
    expect(schedule.policies).toMatchObject({ overlap: 'SKIP', catchupWindow: days(1) });
    expect(await world.client.workflow.execute('initializeKeys', { taskQueue: WORKFLOW_QUEUE, workflowId: world.id('initializeKeys'), args: [{ purposes: ['own'] }] })).toBeDefined();
    const spent = (await materialsNow(world, 'own')).onDemand;
    await world.kms.admin.advanceClock(days(91));
    await new Promise((r) => setTimeout(r, 1_500)); // the workers hear of the clock
    await world.client.schedule.getHandle(ROTATION_SCHEDULE).trigger();
    const run = await world.until('it runs', async () => {
      for await (const w of world.client.workflow.list({ query: "WorkflowType = 'rotateDueKeys'" })) return w;
      return undefined;
    });
    const { keys } = (await world.client.workflow.getHandle(run.workflowId).result()) as RotateDueResult;
    expect(keys.map((k) => [k.purpose, k.outcome])).toEqual([['user-data', 'rotated'], ['payment-data', 'rotated'], ['audit-data', 'rotated'], ['own', 'rotated']]);
    expect((await materialsNow(world, 'own')).onDemand).toBe(spent);
    for (const k of keys) expect(await world.client.workflow.getHandle(k.rotation!).result()).toMatchObject({ made: 'used', signedBy: [] });
    for (const k of keys) expect(await world.store.real.countStale(k.keyId, (await materialsNow(world, k.purpose)).current)).toEqual({ stale: 0, setAside: 0 });
    const next = (await world.client.workflow.execute('rotateDueKeys', { taskQueue: WORKFLOW_QUEUE, workflowId: world.id('rotateDueKeys'), args: [{}] })) as RotateDueResult;
    expect(next.keys.filter((k) => k.due)).toEqual([]);
  });
});

async function refusal(rejected: Promise<unknown>): Promise<string> {
  try {
    await rejected;
  } catch (error) {
    for (let at: unknown = error; at instanceof Error; at = at.cause) if (at instanceof CancelledFailure) return 'cancelled';
    return asKeywardenError(error).code;
  }
  return 'done';
}
