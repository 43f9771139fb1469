/** One person's keys: withheld, given back or deleted, deleted again after a database restore, proven gone. */
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import Database from 'libsql';
import type { AuditRow } from '../../domain/audit';
import { rowHash } from '../../domain/auditChain';
import { canonicalJson } from '../../domain/canonical';
import { openStore } from '../../stores/open';
import type { EraseResult } from '../../workflows/eraseSubject';
import { attacker } from '../attacks/attacker';
import { application } from '../client/application';
import { checkInvariants } from '../harness/invariants';
import { codeOf } from '../harness/toThrowWithCode';
import { createWorld, days, type World } from '../harness/world';
import { FaultyStore } from '../stores/faultyStore';
import { erasing, PERSON, request, seconds, start } from './erasing';
import { audited, decide, kinds, pass, resultOf } from './people';

jest.setTimeout(120_000);

const field = { subjectId: PERSON, field: 'phone' };

describe('when two have signed and nobody rejects it', () => {
  let world: World;
  afterAll(() => world?.stop());

  it('the keys of every purpose are withheld for seven days, deleted, and proven gone when the last backup has expired', async () => {
    world = await createWorld({ timeSkipping: true, config: { purposes: ['user-data', 'payment-data'] } });
    await world.initialize();
    const app = application(world);
    for (const purpose of ['user-data', 'payment-data']) await app.initializeUserEncryption(PERSON, { purpose });
    await app.initializeUserEncryption('somebody-else');
    await app.close();
    const began = await world.now();
    const { handle, input } = await erasing(world);
    const { deadline, phase, ends } = await world.status(handle.workflowId);
    expect({ phase, ends }).toEqual({ phase: 'erasing', ends: 'Waiting time' });
    expect(Date.parse(deadline!) - began).toBeGreaterThan(days(7) - 60_000);
    await pass(world, days(6));
    expect((await world.store.real.readSubjectKey(PERSON, 'user-data'))?.state).toBe('erasing');
    await pass(world, days(1) + 60_000);
    await world.stepsDone(handle.workflowId, 'delete');
    for (const purpose of ['user-data', 'payment-data']) expect(await world.store.real.readSubjectKey(PERSON, purpose)).toBeUndefined();
    expect((await world.store.real.readErasure(input.subjectId))).toMatchObject({ state: 'deleted' });
    expect((await world.store.real.readErasure(input.subjectId))?.subjectId).toBeUndefined();
    await world.until('destruction is pending', async () => (await world.status(handle.workflowId)).phase === 'destruction-pending');
    await pass(world, days(34));
    expect((await world.status(handle.workflowId)).outcome).toBeUndefined();
    expect(await codeOf(world.store.real.putSubjectKey({ subjectId: PERSON, purpose: 'user-data', encryptedKey: 'AQID', keyId: 'mrk-1', keyArn: 'arn', createdAt: '2026-01-05T09:00:00.000Z' }))).toBe('KW-SUBJECT-ERASED');
    await pass(world, days(1) + 60_000);
    const result = await resultOf<EraseResult>(world, handle.workflowId);
    const keys = await Promise.all(['payment-data', 'user-data'].map(async (purpose) => ({ purpose, keyId: await world.keyId(purpose) })));
    expect(result).toMatchObject({ outcome: 'proven', subjectId: input.subjectId, signedBy: ['bob', 'carol'], proof: { subject: input.subjectId, keys, approvers: ['bob', 'carol'] } });
    const { proof } = result;
    expect(Date.parse(proof!.deletedAt) - Date.parse(proof!.erasingAt)).toBeGreaterThanOrEqual(days(7));
    expect(Date.parse(proof!.backupsUntil) - Date.parse(proof!.deletedAt)).toBe(days(35));
    expect(proof!.provenAt >= proof!.backupsUntil).toBe(true);
    // the head that it names is the trail's, and its rows are those that tell of it
    const rows: AuditRow[] = [];
    for await (const row of world.store.real.readAudit()) rows.push(row);
    const head = rows[proof!.audit.head.seq - 1]!;
    expect(rowHash(head.prev, head.seq, canonicalJson(head.entry))).toBe(proof!.audit.head.hash);
    expect(proof!.audit.rows.map((seq) => `${rows[seq - 1]!.entry.action} ${rows[seq - 1]!.entry.phase}`)).toEqual(['approve done', 'approve done', 'WithholdSubjectKeys intended', 'WithholdSubjectKeys done', 'DeleteSubjectKeys intended', 'DeleteSubjectKeys done']);
    expect((await audited(world, { action: 'ProveErasure' })).map((r) => r.detail)).toEqual([{ proof }]);
    expect(await kinds(world)).toEqual(expect.arrayContaining(['erasure-requested', 'erasure-begun', 'subject-deleted', 'erasure-proven']));
    // rule 7-like: nobody stands in the clear in a history, an audit row, an alert, the log
    expect(await checkInvariants(world, { workflows: [handle.workflowId], secrets: [PERSON] })).toEqual([]);
    // after the proof they may come back, and only a new request erases them again
    const back = application(world);
    expect(await back.initializeUserEncryption(PERSON)).toEqual({ created: true });
    await back.close();
    expect(await world.store.real.readSubjectKey('somebody-else', 'user-data')).toBeDefined();
  });
});

describe('while the waiting time runs', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ config: { purposes: ['user-data'] } });
    await world.initialize();
  });
  afterAll(() => world?.stop());
  afterEach(async () => expect(await checkInvariants(world, { secrets: [PERSON] })).toEqual([]));

  it('rule 4: one signature, the same person twice, or a KeyManagementAdmin is not enough', async () => {
    const app = application(world);
    await app.initializeUserEncryption(PERSON);
    const input = await request(world);
    const handle = await start(world, input, 'bob');
    await world.until('bob has signed', async () => (await world.status(handle.workflowId)).pendingApproval?.decided.length === 1);
    expect(await decide(world, handle.workflowId, 'eraseSubject', input, 'bob', 'KeyRecoveryAdmin')).toMatchObject({ accepted: false, code: 'KW-APPROVAL-SAME-PERSON' });
    expect(await decide(world, handle.workflowId, 'eraseSubject', input, 'dave', 'KeyManagementAdmin')).toMatchObject({ accepted: false, code: 'KW-APPROVAL-ROLE' });
    expect(await decide(world, handle.workflowId, 'eraseSubject', input, 'alice', 'EmergencyKeyAdmin')).toMatchObject({ accepted: false, code: 'KW-APPROVAL-ROLE' });
    expect((await world.store.real.readSubjectKey(PERSON, 'user-data'))?.state).toBeUndefined();
    expect(await decide(world, handle.workflowId, 'eraseSubject', input, 'carol', 'KeyRecoveryAdmin', 'reject')).toMatchObject({ accepted: true });
    expect(await handle.result()).toMatchObject({ outcome: 'rejected' });
    await app.encrypt(field, 'still here');
    await app.close();
  });

  it('a running application drops the key within 5 s and refuses; a rejection gives it back, and the same data is read again', async () => {
    const app = application(world);
    await app.initializeUserEncryption(PERSON);
    const message = await app.encrypt(field, '555-0142');
    const { handle, input } = await erasing(world);
    const since = Date.now();
    await world.until('it refuses', async () => (await codeOf(app.decrypt(field, message))) === 'KW-SUBJECT-ERASED', 5_500);
    expect(Date.now() - since).toBeLessThan(5_500);
    expect((app as unknown as { made: { cached: number } }).made.cached).toBe(0);
    expect(await codeOf(app.initializeUserEncryption(PERSON))).toBe('KW-SUBJECT-ERASED');
    const other = await start(world, await request(world));
    expect(await codeOf(other.result())).toBe('KW-PROCEDURE-OPEN');
    expect(await decide(world, handle.workflowId, 'eraseSubject', input, 'dave', 'KeyManagementAdmin', 'reject')).toMatchObject({ accepted: false, code: 'KW-APPROVAL-ROLE' });
    expect(await decide(world, handle.workflowId, 'eraseSubject', input, 'alice', 'KeyRecoveryAdmin', 'reject')).toMatchObject({ accepted: true });
    expect(await handle.result()).toMatchObject({ outcome: 'restored' });
    expect((await app.decrypt(field, message)).toString()).toBe('555-0142');
    expect((await world.store.real.readErasure(input.subjectId))?.subjectId).toBeUndefined();
    await app.close();
  });

  it('one that was ended from outside leaves the keys withheld; the next one takes over, and its rejection gives them back', async () => {
    const { handle } = await erasing(world);
    await handle.terminate('by somebody with namespace access');
    expect((await world.store.real.readSubjectKey(PERSON, 'user-data'))?.state).toBe('erasing');
    const input = await request(world);
    const next = await start(world, input, 'bob');
    await world.until('it waits', async () => (await world.status(next.workflowId)).pendingApproval?.decided.length === 1);
    await decide(world, next.workflowId, 'eraseSubject', input, 'carol', 'KeyRecoveryAdmin', 'reject');
    expect(await next.result()).toMatchObject({ outcome: 'restored' });
    expect((await world.store.real.readSubjectKey(PERSON, 'user-data'))?.state).toBeUndefined();
  });

  it.each<[string, unknown, string, string]>([
    ['a person in the clear', { subjectId: 'a-person', reason: 'x' }, 'KW-INPUT', 'input.subjectId'],
    ['no reason', { subjectId: `subject-${'0'.repeat(32)}` }, 'KW-INPUT', 'input.reason'],
    ['a hash that nobody asked for', { subjectId: `subject-${'0'.repeat(32)}`, reason: 'x' }, 'KW-SUBJECT-UNKNOWN', 'input.subjectId'],
  ])('%s is refused at the door', async (_what, input, code, path) => {
    const handle = await start(world, input as never);
    const error = (await handle.result().catch((e: unknown) => e)) as { cause?: { type?: string; details?: { path?: string; next?: string }[] } };
    expect(error.cause).toMatchObject({ type: code, details: [{ path }] });
    if (path === 'input.subjectId') expect(error.cause!.details![0]!.next).toContain('keywarden erase');
    expect(JSON.stringify(error)).not.toContain('a-person');
  });

  it('rule 3: a workflow of an attacker\'s deletes nothing: without receipts, and with two genuine signatures but before the waiting time has passed', async () => {
    const evil = await attacker(world, 'evil', `
      const { condition, defineSignal, setHandler, workflowInfo } = require('@temporalio/workflow');
      exports.hasty = async ({ proof }, input) => {
        let second;
        setHandler(defineSignal('approve'), (m) => void (second = m.proof));
        await condition(() => second !== undefined);
        const act = proxyActivities({ taskQueue: 'keywarden-recovery', startToCloseTimeout: '20 s', retry: { maximumAttempts: 1 } });
        const said = [];
        const call = async (name, argument) => {
          try { const result = await act[name](argument); said.push(name + ' done'); return result; }
          catch (e) { said.push(name + ' ' + (e.cause?.type ?? String(e))); }
        };
        const { runId } = workflowInfo();
        const { digest } = await call('considerErasure', { input, decisions: [], malformed: 0 });
        for (const name of ['withholdSubject', 'deleteSubject', 'restoreSubject']) await call(name, { digest });
        await call('considerErasure', { input, decisions: [{ token: proof, runId }, { token: second, runId }], malformed: 0 });
        await call('deleteSubject', { digest });
        await call('withholdSubject', { digest });
        await call('deleteSubject', { digest });
        await call('restoreSubject', { digest });
        for (const name of ['keepErased', 'proveErasure']) await call(name, { certificate: { text: JSON.stringify({ typ: 'keywarden-erasure', subjectHash: input.subjectId, ...workflowInfo() }), mac: 'bm90IGEgbWFj' } });
        return said;
      };`);
    const input = await request(world);
    const workflowId = world.id('hasty');
    const proof = await world.sign('bob', 'KeyRecoveryAdmin', await world.plan('eraseSubject', input, { workflowId }));
    const handle = await world.client.workflow.start('hasty', { taskQueue: 'evil', workflowId, args: [{ proof }, input] });
    await handle.signal('approve', { proof: await world.token(workflowId, 'eraseSubject', input, 'carol', 'KeyRecoveryAdmin') });
    expect(await handle.result()).toEqual([
      'considerErasure done', 'withholdSubject KW-APPROVAL-MISSING', 'deleteSubject KW-APPROVAL-MISSING', 'restoreSubject KW-APPROVAL-MISSING',
      'considerErasure done', 'deleteSubject KW-PREEMPTED', 'withholdSubject done', 'deleteSubject KW-NOT-YET', 'restoreSubject KW-APPROVAL-MISSING',
      'keepErased KW-APPROVAL-MISSING', 'proveErasure KW-APPROVAL-MISSING',
    ]);
    expect((await world.store.real.readSubjectKey(PERSON, 'user-data'))?.state).toBe('erasing');
    await evil.stop();
  });
});

describe('when the answer of the store is lost at each change', () => {
  let world: World;
  afterAll(() => world?.stop());

  it('rule 6: all is done once, and the trail says where nobody knows', async () => {
    world = await createWorld({ config: { purposes: ['user-data'], erasure: { waitDays: seconds(2) }, backups: { retentionDays: seconds(2) } } });
    await world.initialize();
    const app = application(world);
    await app.initializeUserEncryption(PERSON);
    await app.close();
    for (const after of [0, 1, 2, 4]) world.store.failOnce('changeErasure', 'failAfterEffect', { after });
    const { handle } = await erasing(world);
    const { outcome, proof } = (await handle.result()) as EraseResult;
    expect(outcome).toBe('proven');
    expect(world.store.calls('changeErasure')).toBe(7); // withheld, deleted; the proof kept three times, proven twice
    expect((await audited(world, { operation: 'eraseSubject' })).filter((r) => r.action.endsWith('Keys')).map((r) => `${r.action} ${r.phase}`)).toEqual(['WithholdSubjectKeys intended', 'WithholdSubjectKeys unknown', 'DeleteSubjectKeys intended', 'DeleteSubjectKeys unknown']);
    expect((await audited(world, { action: 'ProveErasure' })).map((r) => r.detail)).toEqual([{ proof }]);
    expect(await checkInvariants(world, { secrets: [PERSON] })).toEqual([]);
  });
});

describe('when the server wants the long waits to continue as new', () => {
  let world: World;
  afterAll(() => world?.stop());

  it('what was signed, withheld and certified is carried over, in the waiting time and in the retention', async () => {
    world = await createWorld({ config: { purposes: ['user-data'], erasure: { waitDays: seconds(8) }, backups: { retentionDays: seconds(14) } }, temporalArguments: ['--dynamic-config-value', 'limit.historyCount.suggestContinueAsNew=60'] });
    await world.initialize();
    const app = application(world);
    await app.initializeUserEncryption(PERSON);
    await app.close();
    const { handle } = await erasing(world);
    const runs = new Set<string>();
    const ended = handle.result();
    // whatever wakes it makes its history longer
    const wake = setInterval(() => void world.client.workflow.getHandle(handle.workflowId).signal('look').then(async () => runs.add((await world.client.workflow.getHandle(handle.workflowId).describe()).runId), () => undefined), 400);
    const { outcome, signedBy } = (await ended.finally(() => clearInterval(wake))) as EraseResult;
    expect([outcome, signedBy]).toEqual(['proven', ['bob', 'carol']]);
    expect(runs.size).toBeGreaterThan(2);
    expect(await checkInvariants(world, { secrets: [PERSON] })).toEqual([]);
  });
});

describe('after the deletion', () => {
  let world: World;
  beforeEach(async () => {
    world = await createWorld({ config: { purposes: ['user-data'], erasure: { waitDays: seconds(2) } } });
    await world.initialize();
    const app = application(world);
    for (const id of [PERSON, 'other-1', 'other-2']) await app.initializeUserEncryption(id);
    await app.close();
  });
  afterEach(() => world?.stop());

  const database = (): string => join(world.dataDir, 'keywarden.db');
  const backup = (): void => {
    const db = new Database(database());
    db.exec(`VACUUM INTO '${database()}.backup'`);
    db.close();
  };
  /** Yesterday's database in the place of today's, whole. */
  const restore = async (): Promise<void> => {
    await world.stopWorker();
    await world.store.close();
    for (const end of ['-wal', '-shm', '']) rmSync(database() + end, { force: true });
    copyFileSync(`${database()}.backup`, database());
    world.store = new FaultyStore(await openStore(`file:${database()}`));
    await world.startWorker();
  };
  /** How often it has looked for the person. */
  const looked = async (handle: WorkflowHandle, times: number): Promise<void> => {
    await world.until(`it has looked ${times} times`, async () => {
      const events = (await handle.fetchHistory()).events!;
      const asked = events.filter((e) => e.activityTaskScheduledEventAttributes?.activityType?.name === 'keepErased').map((e) => String(e.eventId));
      return events.filter((e) => asked.includes(String(e.activityTaskCompletedEventAttributes?.scheduledEventId))).length >= times;
    }, 60_000);
  };
  const there = async (id: string): Promise<boolean> => (await world.store.real.readSubjectKey(id, 'user-data')) !== undefined;

  it.each([['from before the request: no pair, no receipt, no tombstone', 'before'], ['from the waiting time', 'during']] as const)('a database restore (%s) brings the person back, and the next look deletes them again', async (_what, when) => {
    if (when === 'before') backup();
    const { handle, input } = await erasing(world);
    if (when === 'during') backup();
    await looked(handle, 1);
    expect(await there(PERSON)).toBe(false);
    await restore();
    expect(await there(PERSON)).toBe(true);
    await handle.signal('look');
    await world.until('the person is gone again', async () => !(await there(PERSON)), 60_000);
    expect(await Promise.all(['other-1', 'other-2'].map(there))).toEqual([true, true]);
    expect(await world.store.real.readErasure(input.subjectId)).toMatchObject({ state: 'deleted' });
    await world.until('security is told', async () => (await kinds(world)).includes('erasure-reapplied'));
    expect((await audited(world, { action: 'DeleteSubjectKeys' })).map((r) => [r.phase, r.detail?.['again']])).toEqual([['intended', true], ['done', true]]);
    await handle.signal('look');
    await looked(handle, 3);
    expect((await kinds(world)).filter((k) => k === 'erasure-reapplied').length).toBe(1);
    const histories = JSON.stringify((await handle.fetchHistory()).events!.map((e) => JSON.stringify(e, (_k, v: unknown) => (v instanceof Uint8Array ? Buffer.from(v).toString() : v))));
    expect(histories).not.toContain(PERSON);
  });

  it('rows put back under a tombstone that stands are found too; a key made since the deletion is left alone', async () => {
    const row = (await world.store.real.readSubjectKey(PERSON, 'user-data'))!;
    const { handle } = await erasing(world);
    await looked(handle, 1);
    expect(await there(PERSON)).toBe(false);
    const db = new Database(database());
    db.prepare('INSERT INTO subject_key (subject_id, purpose, encrypted_key, key_id, key_arn, created_at) VALUES (?, ?, ?, ?, ?, ?)').run(PERSON, 'user-data', row.encryptedKey, row.keyId, row.keyArn, row.createdAt);
    db.prepare('INSERT INTO subject_key (subject_id, purpose, encrypted_key, key_id, key_arn, created_at) VALUES (?, ?, ?, ?, ?, ?)').run(PERSON, 'newer', row.encryptedKey, row.keyId, row.keyArn, '2999-01-01T00:00:00.000Z');
    db.close();
    await handle.signal('look');
    await world.until('it is gone again', async () => !(await there(PERSON)));
    expect(await world.store.real.readSubjectKey(PERSON, 'newer')).toBeDefined();
    expect(await decide(world, handle.workflowId, 'eraseSubject', await request(world), 'alice', 'KeyRecoveryAdmin', 'reject')).toMatchObject({ accepted: false });
    expect(await checkInvariants(world, { secrets: [PERSON] })).toEqual([]);
  });
});
