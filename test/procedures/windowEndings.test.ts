import { WORKFLOW_QUEUE } from '../../domain/names';
import type { RecoverResult } from '../../workflows/recoverKey';
import type { RevokeResult } from '../../workflows/revokeKey';
import { codeOf } from '../harness/toThrowWithCode';
import { days, REGIONS, type World } from '../harness/world';
import { back, input, oneKey, recovered, revoked, widened } from './oneWindow';
import { audited, decide, decrypt, DISABLED, ENABLED, encrypt, failureOf, kinds, pass, plain, policies, resultOf } from './people';

let world: World;
let keyId: string;
beforeEach(async () => {
  ({ world, keyId } = await oneKey());
});
afterEach(() => world.stop());

describe('the window ends: disabled', () => {
  it('stays disabled when nobody recovers the key, and security heard of it 72, 24 and 2 hours before', async () => {
    const handle = await world.revoke(input);
    const result = (await handle.result()) as RevokeResult;
    expect(result.outcome).toBe('disabled');
    expect(Date.parse(result.deadline!) - Date.parse(result.revokedAt!)).toBe(days(7));
    const reminders = (await world.received()).filter((m) => m.kind === 'window-reminder');
    expect(reminders.map((m) => m.eventId.split('/').pop())).toEqual(['72h', '24h', '2h']);
    for (const r of reminders) expect(r.text).toContain('keywarden recover user-data');
    expect(await kinds(world)).toContain('window-ended');
    expect(await world.states(keyId)).toEqual(DISABLED);
  });

  it('sends each reminder at its hour, none earlier', async () => {
    await revoked(world);
    const reminders = async (): Promise<number> => (await kinds(world)).filter((k) => k === 'window-reminder').length;
    for (const [until, heard] of [[days(4) - 3_600_000, 0], [2 * 3_600_000, 1], [days(2), 2], [22 * 3_600_000, 3]] as const) {
      await pass(world, until);
      await world.until(`${heard} reminders`, async () => (await reminders()) === heard, 5_000);
    }
  });

  it('rule 4: refuses a recovery after the window; it is audited and security hears of it', async () => {
    const { workflowId } = await revoked(world);
    await pass(world, days(7) + 60_000);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('disabled');
    const late = await world.recover(back);
    expect(await codeOf(plain(world).workflow.getHandle(late.workflowId).result())).toBe('KW-WINDOW-CLOSED');
    expect(await audited(world, { workflowId: late.workflowId, phase: 'refused' })).toMatchObject([{ action: 'RecoverKey', error: 'KW-WINDOW-CLOSED' }]);
    expect((await kinds(world)).filter((k) => k === 'recovery-refused')).toHaveLength(1);
    expect(await world.states(keyId)).toEqual(DISABLED);
  });

  it('rule 4: a recovery that was signed by one only is refused when the window ends, with no message to wake it', async () => {
    await revoked(world);
    const { workflowId } = await world.recover(back, 'bob');
    await world.until('one has signed', async () => (await world.status(workflowId)).pendingApproval?.decided.length === 1);
    await pass(world, days(7) + 60_000);
    expect(await codeOf(plain(world).workflow.getHandle(workflowId).result())).toBe('KW-WINDOW-CLOSED');
    expect(await world.states(keyId)).toEqual(DISABLED);
    expect(await audited(world, { action: 'EnableKey' })).toEqual([]);
  });
});

describe('rule 4: a key whose window has ended is given no other', () => {
  let first: RevokeResult;
  beforeEach(async () => {
    const { workflowId } = await revoked(world);
    await pass(world, days(7) + 60_000);
    first = await resultOf<RevokeResult>(world, workflowId);
    expect(first.outcome).toBe('disabled');
  });

  it.each([['adopted without a signature', true], ['revoked again by a signature', false]])('%s: the procedure ends at once, at the old deadline, and nothing is recovered', async (_how, unsigned) => {
    const { workflowId } = await world.revoke({ ...input, reason: 'once more' }, { unsigned });
    expect(await resultOf<RevokeResult>(world, workflowId)).toMatchObject({ outcome: 'disabled', revokedAt: first.revokedAt, deadline: first.deadline });
    expect(await codeOf(resultOf(world, (await world.recover(back)).workflowId))).toBe('KW-WINDOW-CLOSED');
    expect(await world.states(keyId)).toEqual(DISABLED);
  });

  it('its deletion can still be signed for: seven days for the signatures, none for a recovery', async () => {
    const { workflowId, input: asked } = await revoked(world, { reason: 'retire it', afterWindow: 'deletion-scheduled' });
    expect(Date.parse((await world.status(workflowId)).deadline!)).toBeGreaterThan((await world.now()) + days(6));
    expect(await codeOf(resultOf(world, (await world.recover(back)).workflowId))).toBe('KW-WINDOW-CLOSED');
    expect(await decide(world, workflowId, 'revokeKey', asked, 'bob', 'KeyRecoveryAdmin')).toMatchObject({ accepted: true, missing: 0 });
    await pass(world, days(7) + 60_000);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('deletion-scheduled');
    // KMS's date lies 30 days ahead; the window is over all the same
    const late = await world.revoke({ ...input, reason: 'and now?' }, { unsigned: true });
    await world.stepsDone(late.workflowId, 'open-window');
    expect(await codeOf(resultOf(world, (await world.recover(back)).workflowId))).toBe('KW-WINDOW-CLOSED');
    expect((await world.states(keyId))['us-west-2']).toBe('PendingDeletion');
  });

  it('one that somebody enabled by hand since has a window of its own when it is revoked again', async () => {
    const { kmsClients } = await import('../../worker');
    const duty = kmsClients(world.config, 'recovery');
    for (const k of duty.values()) await k.enable(keyId);
    for (const k of duty.values()) k.close();
    const { workflowId } = await revoked(world, { reason: 'it leaked again' });
    expect(Date.parse((await world.status(workflowId)).deadline!)).toBeGreaterThan((await world.now()) + days(6));
    expect((await recovered(world)).outcome).toBe('recovered');
  });
});

describe('the window ends: recovered', () => {
  it('decrypts the same data again, under the same policy, grants and aliases', async () => {
    const marks = await encrypt(world, 'user-data');
    const before = await policies(world, keyId);
    const { workflowId } = await revoked(world);
    expect(await decrypt(world, keyId, marks)).toBe('DisabledException');
    const result = await recovered(world);
    expect(result).toMatchObject({ outcome: 'recovered', keyId, states: ENABLED, signedBy: ['bob', 'alice'] });
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('recovered');
    for (const region of REGIONS) expect(await decrypt(world, keyId, marks, region)).toBe('marks of pupil 17');
    expect(await policies(world, keyId)).toEqual(before);
    expect((await world.store.real.readKey(keyId))?.window?.outcome).toBe('recovered');
    expect(await kinds(world)).toEqual(expect.arrayContaining(['key-revoked', 'recovery-requested', 'key-recovered']));
    for (const entry of await audited(world, { action: 'EnableKey', phase: 'done' })) expect(entry.approvers).toEqual(['bob', 'alice']);
    expect(await audited(world, { action: 'EnableKey', phase: 'done' })).toHaveLength(2);
  });

  it('can be revoked again afterwards, with a window of its own', async () => {
    await revoked(world);
    await recovered(world);
    const { workflowId } = await revoked(world, { reason: 'it did leak' });
    await pass(world, days(7) + 60_000);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('disabled');
    expect(await world.states(keyId)).toEqual(DISABLED);
  });

  it('rule 4: a second recovery of a recovered key is refused', async () => {
    await revoked(world);
    await recovered(world);
    const again = await world.recover(back);
    expect(await codeOf(resultOf(world, again.workflowId))).toBe('KW-WINDOW-CLOSED');
  });

  it('refuses a grant planted during the window and names it; recovers when the signed plan accepts it', async () => {
    await revoked(world);
    const { CreateGrantCommand, KMSClient } = await import('@aws-sdk/client-kms');
    const { kmsClients } = await import('../../worker');
    const duty = kmsClients(world.config, 'recovery');
    const kms = new KMSClient({ region: REGIONS[0], endpoint: world.kms.url, credentials: { accessKeyId: 'AKIALOCALRECOVERY', secretAccessKey: 'local' } });
    await duty.get(REGIONS[0])!.enable(keyId);
    const { GrantId } = await kms.send(new CreateGrantCommand({ KeyId: keyId, GranteePrincipal: 'arn:aws:iam::000000000000:role/mallory', Operations: ['Decrypt'] }));
    await duty.get(REGIONS[0])!.disable(keyId);
    kms.destroy();
    for (const k of duty.values()) k.close();

    const refused = await world.recover(back);
    const failure = await failureOf(world, refused.workflowId);
    expect(await codeOf(Promise.reject(failure))).toBe('KW-GRANT-UNKNOWN');
    expect(String((failure as Error).cause)).toContain(GrantId);
    expect(await world.states(keyId)).toEqual(DISABLED);

    const accepting = { ...back, acceptGrants: [GrantId!] };
    const { workflowId } = await world.recover(accepting, 'bob');
    await world.until('one has signed', async () => (await world.status(workflowId)).pendingApproval?.decided.length === 1);
    expect((await world.status(workflowId)).pendingApproval!.words.join()).toContain(GrantId);
    await decide(world, workflowId, 'recoverKey', accepting, 'carol', 'KeyRecoveryAdmin');
    expect((await resultOf<RecoverResult>(world, workflowId)).outcome).toBe('recovered');
  });
});

describe('the window ends: deletion-scheduled', () => {
  it('schedules the deletion in 30 days when two have signed and nothing depends on the key (rule 8)', async () => {
    const { workflowId } = await widened(world, { afterWindow: 'deletion-scheduled' });
    await pass(world, days(6));
    expect(await world.states(keyId)).toEqual(DISABLED); // not before the window ends
    await pass(world, days(1) + 60_000);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('deletion-scheduled');
    expect(await world.states(keyId)).toEqual({ 'us-east-1': 'PendingReplicaDeletion', 'us-west-2': 'PendingDeletion' });
    const rows = await audited(world, { action: 'ScheduleKeyDeletion' });
    expect(rows.map((r) => r.phase).sort()).toEqual(['done', 'done', 'intended', 'intended']);
    for (const r of rows) expect(r).toMatchObject({ approvers: ['alice', 'bob'], detail: { days: 30 } });
  });

  it('rule 4: stays disabled when only one has signed', async () => {
    const { workflowId } = await revoked(world, { afterWindow: 'deletion-scheduled' });
    await world.until('one is missing', async () => (await world.status(workflowId)).pendingApproval?.missing === 1);
    expect((await world.status(workflowId)).pendingApproval).toMatchObject({ missing: 1, needed: 2, decided: [{ person: 'alice', role: 'EmergencyKeyAdmin' }] });
    await pass(world, days(7) + 60_000);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('disabled');
    expect(await world.states(keyId)).toEqual(DISABLED);
    expect(await audited(world, { action: 'ScheduleKeyDeletion' })).toEqual([]);
  });

  it('rule 8: stays disabled when something depends on the key, and says so', async () => {
    await world.store.real.putSubjectKey({ subjectId: 'pupil-17', purpose: 'user-data', encryptedKey: 'AAAA', keyId, keyArn: `arn:aws:kms:us-east-1:000000000000:key/${keyId}`, createdAt: new Date().toISOString() });
    const { workflowId } = await widened(world, { afterWindow: 'deletion-scheduled' });
    await pass(world, days(7) + 60_000);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('disabled');
    expect(await world.states(keyId)).toEqual(DISABLED);
    expect(await audited(world, { action: 'ScheduleKeyDeletion' })).toEqual([]);
    const told = (await world.received()).filter((m) => m.kind === 'revocation-incomplete');
    expect(told).toHaveLength(1);
    expect(told[0]!.text).toContain('KW-CENSUS');
  });

  it('rule 8: schedules all the same when the signed plan names the loss (crypto-shred)', async () => {
    await world.store.real.putSubjectKey({ subjectId: 'pupil-17', purpose: 'user-data', encryptedKey: 'AAAA', keyId, keyArn: `arn:aws:kms:us-east-1:000000000000:key/${keyId}`, createdAt: new Date().toISOString() });
    const { workflowId } = await widened(world, { afterWindow: 'deletion-scheduled', acceptLoss: true });
    await pass(world, days(7) + 60_000);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('deletion-scheduled');
    expect((await world.states(keyId))['us-west-2']).toBe('PendingDeletion');
  });

  it('a rejection at the second signature leaves the key disabled to the end', async () => {
    const { workflowId, input: asked } = await revoked(world, { afterWindow: 'deletion-scheduled' });
    expect(await decide(world, workflowId, 'revokeKey', asked, 'carol', 'KeyRecoveryAdmin', 'reject')).toMatchObject({ accepted: true });
    const { pendingApproval, steps } = await world.status(workflowId);
    expect(pendingApproval).toBeUndefined();
    expect(steps.find((s) => s.name === 'sign-widening')).toMatchObject({ state: 'skipped' });
    expect(await decide(world, workflowId, 'revokeKey', asked, 'bob', 'KeyRecoveryAdmin')).toMatchObject({ accepted: false, code: 'KW-APPROVAL-LAPSED' });
    await pass(world, days(7) + 60_000);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('disabled');
    expect(await world.states(keyId)).toEqual(DISABLED);
  });
});

describe('the window ends: destroyed', () => {
  const scheduled = { 'us-east-1': 'PendingReplicaDeletion', 'us-west-2': 'PendingDeletion' };

  it("schedules the deletion at once, takes KMS's own date as the deadline, and says destroyed when every Region answers NotFound", async () => {
    const { workflowId } = await widened(world, { afterWindow: 'destroyed' });
    await world.until('deletion is scheduled', async () => (await world.states(keyId))['us-west-2'] === 'PendingDeletion');
    await world.stepsDone(workflowId, 'delete');
    expect(await world.states(keyId)).toEqual(scheduled);
    const date = (await world.root.get(REGIONS[1])!.describe(keyId))!.DeletionDate!;
    await world.until("the deadline is KMS's", async () => (await world.status(workflowId)).deadline === date.toISOString());

    await pass(world, days(7) + 120_000); // the replica goes; the primary waits seven days more
    await world.until('deletion-scheduled is said', async () => (await world.status(workflowId)).outcome === 'deletion-scheduled');
    expect((await world.client.workflow.getHandle(workflowId).describe()).status.name).toBe('RUNNING');
    await world.kms.admin.setClock((await world.now()) + days(8));
    await world.env!.sleep(days(1));
    const result = await resultOf<RevokeResult>(world, workflowId);
    expect(result.outcome).toBe('destroyed');
    expect(await world.states(keyId)).toEqual({ 'us-east-1': 'absent', 'us-west-2': 'absent' });
    expect((await world.store.real.readKey(keyId))?.destroyedAt).toBeDefined();
    const closes = (await audited(world, { action: 'CloseRecoveryWindow' })).map((r) => r.detail!['outcome']);
    expect(closes).toEqual(['deletion-scheduled', 'destroyed']);
    // refused by its name and by its id, neither of which KMS knows any more
    for (const key of ['user-data', keyId]) {
      const start = (type: string, reason: string) => world.client.workflow.execute(type, { taskQueue: WORKFLOW_QUEUE, workflowId: world.id(type), args: [{ key, reason }] });
      expect(await codeOf(start('revokeKey', 'too late'))).toBe('KW-KEY-DESTROYED');
      expect(await codeOf(start('recoverKey', 'too late'))).toBe('KW-KEY-DESTROYED');
    }
  });

  it('rule 4: is not scheduled while one signature is missing', async () => {
    const { workflowId } = await revoked(world, { afterWindow: 'destroyed' });
    await pass(world, days(7) + 60_000);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('disabled');
    expect(await world.states(keyId)).toEqual(DISABLED);
  });

  it('is recovered out of pending deletion: cancelled first, which leaves it disabled, then restored and enabled', async () => {
    const marks = await encrypt(world, 'user-data');
    const { workflowId } = await widened(world, { afterWindow: 'destroyed' });
    await world.stepsDone(workflowId, 'delete');
    expect(await world.states(keyId)).toEqual(scheduled);
    const since = new Date();
    expect((await recovered(world)).states).toEqual(ENABLED);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('recovered');
    expect(await decrypt(world, keyId, marks)).toBe('marks of pupil 17');
    const changes = (await world.kms.admin.calls({ since: since.toISOString() })).filter((c) => c.region === 'us-east-1' && !c.readOnly && c.errorCode === undefined).map((c) => c.operation);
    expect(changes).toEqual(['CancelKeyDeletion', 'EnableKey']);
  });
});
