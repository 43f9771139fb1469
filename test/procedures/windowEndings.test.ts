import type { RecoverInput, RevokeInput } from '../../domain/inputs';
import type { RecoverResult } from '../../workflows/recoverKey';
import type { RevokeResult } from '../../workflows/revokeKey';
import { codeOf } from '../harness/toThrowWithCode';
import { createWorld, days, REGIONS, type World } from '../harness/world';
import { audited, decide, decrypt, DISABLED, ENABLED, encrypt, failureOf, kinds, pass, plain, policies, resultOf } from './people';

const input: RevokeInput = { key: 'user-data', reason: 'the key may have leaked' };
const back: RecoverInput = { key: 'user-data', reason: 'the leak was a false alarm' };

let world: World;
let keyId: string;
beforeEach(async () => {
  world = await createWorld({ timeSkipping: true });
  await world.initialize('user-data');
  keyId = await world.keyId('user-data');
});
afterEach(() => world.stop());

/** A revocation whose window is open and which has nothing else to do. */
async function revoked(changes: Partial<RevokeInput> = {}): Promise<{ workflowId: string; input: RevokeInput }> {
  const all = { ...input, ...changes };
  const { workflowId } = await world.revoke(all);
  await world.stepsDone(workflowId, 'alert', 'open-window', 'prove-effect', 'census');
  await world.until('nothing is pending to be disabled', async () => (await world.store.real.readKey(keyId))?.window?.disabling.length === 0);
  return { workflowId, input: all };
}

/** Both signatures under a widening: the start's own counts as one. */
async function widened(changes: Partial<RevokeInput>): Promise<{ workflowId: string; input: RevokeInput }> {
  const open = await revoked(changes);
  await world.until('the gate is open', async () => (await world.status(open.workflowId)).pendingApproval !== undefined);
  expect(await decide(world, open.workflowId, 'revokeKey', open.input, 'bob', 'KeyRecoveryAdmin')).toMatchObject({ accepted: true, missing: 0 });
  return open;
}

async function recovered(): Promise<RecoverResult> {
  const { workflowId } = await world.recover(back, 'bob');
  await world.until('one has signed', async () => (await world.status(workflowId)).pendingApproval?.decided.length === 1);
  expect(await decide(world, workflowId, 'recoverKey', back, 'alice', 'EmergencyKeyAdmin')).toMatchObject({ accepted: true, missing: 0 });
  return resultOf<RecoverResult>(world, workflowId);
}

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
    await revoked();
    const reminders = async (): Promise<number> => (await kinds(world)).filter((k) => k === 'window-reminder').length;
    for (const [until, heard] of [[days(4) - 3_600_000, 0], [2 * 3_600_000, 1], [days(2), 2], [22 * 3_600_000, 3]] as const) {
      await pass(world, until);
      await world.until(`${heard} reminders`, async () => (await reminders()) === heard, 5_000);
    }
  });

  it('rule 4: refuses a recovery after the window; it is audited and security hears of it', async () => {
    const { workflowId } = await revoked();
    await pass(world, days(7) + 60_000);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('disabled');
    const late = await world.recover(back);
    expect(await codeOf(plain(world).workflow.getHandle(late.workflowId).result())).toBe('KW-WINDOW-CLOSED');
    expect(await audited(world, { workflowId: late.workflowId, phase: 'refused' })).toMatchObject([{ action: 'RecoverKey', error: 'KW-WINDOW-CLOSED' }]);
    expect((await kinds(world)).filter((k) => k === 'recovery-refused')).toHaveLength(1);
    expect(await world.states(keyId)).toEqual(DISABLED);
  });

  it('rule 4: a recovery that was signed by one when the window ends is refused when the second signs', async () => {
    await revoked();
    const { workflowId } = await world.recover(back, 'bob');
    await world.until('one has signed', async () => (await world.status(workflowId)).pendingApproval?.decided.length === 1);
    const plan = (await world.status(workflowId)).pendingApproval!.plan;
    await pass(world, days(7) + 60_000);
    const token = await world.sign('alice', 'EmergencyKeyAdmin', plan);
    await world.client.workflow.getHandle(workflowId).signal('approve', { proof: token });
    expect(await codeOf(plain(world).workflow.getHandle(workflowId).result())).toBe('KW-WINDOW-CLOSED');
    expect(await world.states(keyId)).toEqual(DISABLED);
    expect(await audited(world, { action: 'EnableKey' })).toEqual([]);
  });
});

describe('the window ends: recovered', () => {
  it('decrypts the same data again, under the same policy, grants and aliases', async () => {
    const marks = await encrypt(world, 'user-data');
    const before = await policies(world, keyId);
    const { workflowId } = await revoked();
    expect(await decrypt(world, keyId, marks)).toBe('DisabledException');
    const result = await recovered();
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
    await revoked();
    await recovered();
    const { workflowId } = await revoked({ reason: 'it did leak' });
    await pass(world, days(7) + 60_000);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('disabled');
    expect(await world.states(keyId)).toEqual(DISABLED);
  });

  it('rule 4: a second recovery of a recovered key is refused', async () => {
    await revoked();
    await recovered();
    const again = await world.recover(back);
    expect(await codeOf(resultOf(world, again.workflowId))).toBe('KW-WINDOW-CLOSED');
  });

  it('refuses a grant planted during the window and names it; recovers when the signed plan accepts it', async () => {
    await revoked();
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
    const { workflowId } = await widened({ afterWindow: 'deletion-scheduled' });
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
    const { workflowId } = await revoked({ afterWindow: 'deletion-scheduled' });
    await world.until('one is missing', async () => (await world.status(workflowId)).pendingApproval?.missing === 1);
    expect((await world.status(workflowId)).pendingApproval).toMatchObject({ missing: 1, needed: 2, decided: [{ person: 'alice', role: 'EmergencyKeyAdmin' }] });
    await pass(world, days(7) + 60_000);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('disabled');
    expect(await world.states(keyId)).toEqual(DISABLED);
    expect(await audited(world, { action: 'ScheduleKeyDeletion' })).toEqual([]);
  });

  it('rule 8: stays disabled when something depends on the key, and says so', async () => {
    await world.store.real.putSubjectKey({ subjectId: 'pupil-17', purpose: 'user-data', encryptedKey: 'AAAA', keyId, keyArn: `arn:aws:kms:us-east-1:000000000000:key/${keyId}`, createdAt: new Date().toISOString() });
    const { workflowId } = await widened({ afterWindow: 'deletion-scheduled' });
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
    const { workflowId } = await widened({ afterWindow: 'deletion-scheduled', acceptLoss: true });
    await pass(world, days(7) + 60_000);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('deletion-scheduled');
    expect((await world.states(keyId))['us-west-2']).toBe('PendingDeletion');
  });

  it('a rejection at the second signature leaves the key disabled to the end', async () => {
    const { workflowId, input: asked } = await revoked({ afterWindow: 'deletion-scheduled' });
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
    const { workflowId } = await widened({ afterWindow: 'destroyed' });
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
  });

  it('rule 4: is not scheduled while one signature is missing', async () => {
    const { workflowId } = await revoked({ afterWindow: 'destroyed' });
    await pass(world, days(7) + 60_000);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('disabled');
    expect(await world.states(keyId)).toEqual(DISABLED);
  });

  it('is recovered out of pending deletion: cancelled first, which leaves it disabled, then restored and enabled', async () => {
    const marks = await encrypt(world, 'user-data');
    const { workflowId } = await widened({ afterWindow: 'destroyed' });
    await world.stepsDone(workflowId, 'delete');
    expect(await world.states(keyId)).toEqual(scheduled);
    const since = new Date();
    expect((await recovered()).states).toEqual(ENABLED);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('recovered');
    expect(await decrypt(world, keyId, marks)).toBe('marks of pupil 17');
    const changes = (await world.kms.admin.calls({ since: since.toISOString() })).filter((c) => c.region === 'us-east-1' && !c.readOnly && c.errorCode === undefined).map((c) => c.operation);
    expect(changes).toEqual(['CancelKeyDeletion', 'EnableKey']);
  });
});

describe('quarantine', () => {
  /** Who may do what with the key now, by KMS's own enforcement. */
  async function may(marks: Uint8Array): Promise<Record<string, string>> {
    const { KMSClient, ReEncryptCommand } = await import('@aws-sdk/client-kms');
    await world.initialize('payment-data').catch(() => undefined);
    const other = await world.keyId('payment-data');
    const routine = new KMSClient({ region: REGIONS[0], endpoint: world.kms.url, credentials: { accessKeyId: 'AKIALOCALROUTINE', secretAccessKey: 'local' } });
    const context = { application: 'buzztutor', subject: 'pupil-17' };
    const rewrap = await routine.send(new ReEncryptCommand({ CiphertextBlob: marks, SourceKeyId: keyId, SourceEncryptionContext: context, DestinationKeyId: other, DestinationEncryptionContext: context })).then(() => 'done', (e: Error) => e.name);
    routine.destroy();
    return { application: await decrypt(world, keyId, marks), rewrap };
  }

  it('disables first; with two signatures only the re-wrap role may read; at the end it is down', async () => {
    await world.initialize('payment-data');
    const marks = await encrypt(world, 'user-data');
    const open = await revoked({ mode: 'quarantine' });
    expect(await world.states(keyId)).toEqual(DISABLED);
    expect(await audited(world, { action: 'PutKeyPolicy' })).toEqual([]);
    await decide(world, open.workflowId, 'revokeKey', open.input, 'bob', 'KeyRecoveryAdmin');
    await world.stepsDone(open.workflowId, 'quarantine');
    expect(await world.states(keyId)).toEqual(ENABLED);
    expect(await may(marks)).toEqual({ application: 'AccessDeniedException', rewrap: 'done' });
    await pass(world, days(7) + 60_000);
    expect((await resultOf<RevokeResult>(world, open.workflowId)).outcome).toBe('disabled');
    expect(await world.states(keyId)).toEqual(DISABLED);
    // rule 3: every widening has its intended row before its done row
    for (const action of ['PutKeyPolicy', 'EnableKey']) {
      expect((await audited(world, { action })).filter((r) => r.region === 'us-east-1').map((r) => r.phase)).toEqual(['intended', 'done']);
    }
  });

  it('is recovered to exactly the policy that the key had before', async () => {
    const marks = await encrypt(world, 'user-data');
    const before = await policies(world, keyId);
    const open = await widened({ mode: 'quarantine' });
    await world.stepsDone(open.workflowId, 'quarantine');
    expect(await policies(world, keyId)).not.toEqual(before);
    expect((await recovered()).states).toEqual(ENABLED);
    expect(await policies(world, keyId)).toEqual(before);
    expect(await decrypt(world, keyId, marks)).toBe('marks of pupil 17');
    expect((await resultOf<RevokeResult>(world, open.workflowId)).outcome).toBe('recovered');
  });

  it('rule 6: a later plain revocation takes the quarantined key down again, and what was signed before it has lapsed (rule 5)', async () => {
    const open = await widened({ mode: 'quarantine', afterWindow: 'deletion-scheduled' });
    await world.stepsDone(open.workflowId, 'quarantine');
    expect(await world.states(keyId)).toEqual(ENABLED);
    const second = await world.revoke({ ...input, reason: 'somebody reads with the re-wrap role' });
    await world.stepsDone(second.workflowId, 'open-window');
    expect(await world.states(keyId)).toEqual(DISABLED);
    // the quarantine policy denies the canary to the emergency duty: that must not keep a disable pending for ever
    await world.stepsDone(second.workflowId, 'prove-effect');
    await world.until('nothing is pending to be disabled', async () => (await world.store.real.readKey(keyId))?.window?.disabling.length === 0);
    await world.until('the first asks again', async () => (await world.status(open.workflowId)).pendingApproval?.missing === 2);
    expect((await world.store.real.readKey(keyId))?.window).toMatchObject({ mode: 'disable' });
    await pass(world, days(7) + 60_000);
    expect((await resultOf<RevokeResult>(world, open.workflowId)).outcome).toBe('disabled');
    expect(await resultOf<RevokeResult>(world, second.workflowId)).toMatchObject({ outcome: 'disabled', joined: open.workflowId });
    expect(await world.states(keyId)).toEqual(DISABLED);
  });

  it('rule 4: one person under two roles does not open it', async () => {
    const open = await revoked({ mode: 'quarantine' });
    expect(await decide(world, open.workflowId, 'revokeKey', open.input, 'alice', 'KeyRecoveryAdmin')).toMatchObject({ accepted: false, code: 'KW-APPROVAL-SAME-PERSON' });
    expect(await world.states(keyId)).toEqual(DISABLED);
  });
});

describe('two revocations of one key', () => {
  it('rule 6: the second joins the first, which keeps its window; both end as the window ends', async () => {
    const first = await revoked();
    const deadline = (await world.status(first.workflowId)).deadline;
    await pass(world, days(2));
    const second = await world.revoke({ ...input, reason: 'once more, to be sure' });
    await world.stepsDone(second.workflowId, 'open-window');
    expect((await world.status(second.workflowId)).phase).toBe('joined');
    expect((await world.status(second.workflowId)).deadline).toBe(deadline);
    await pass(world, days(5) + 60_000);
    expect(await resultOf<RevokeResult>(world, first.workflowId)).toMatchObject({ outcome: 'disabled', deadline });
    await world.env!.sleep(3_700_000);
    expect(await resultOf<RevokeResult>(world, second.workflowId)).toMatchObject({ outcome: 'disabled', joined: first.workflowId });
    expect((await audited(world, { action: 'CloseRecoveryWindow' })).map((r) => r.workflowId)).toEqual([first.workflowId]);
  });

  it('a recovery that closes the window ends both', async () => {
    const first = await revoked();
    const second = await world.revoke({ ...input, reason: 'once more, to be sure' });
    await world.stepsDone(second.workflowId, 'open-window', 'prove-effect');
    await recovered();
    expect((await resultOf<RevokeResult>(world, first.workflowId)).outcome).toBe('recovered');
    await world.env!.sleep(3_700_000);
    expect((await resultOf<RevokeResult>(world, second.workflowId)).outcome).toBe('recovered');
  });
});

describe('adoption', () => {
  it('takes over a key that is disabled in every Region, without a proof; the window counts from the adoption when nothing is on record', async () => {
    for (const r of REGIONS) await disableAsEmergencyAdmin(r);
    const { workflowId } = await world.revoke(input, { unsigned: true });
    await world.stepsDone(workflowId, 'open-window');
    const row = await world.store.real.readKey(keyId);
    expect(Date.parse(row!.window!.deadline) - Date.parse(row!.window!.revokedAt)).toBe(days(7));
    expect((await audited(world, { action: 'AdoptDisabled' })).map((r) => r.region).sort()).toEqual([...REGIONS]);
    await pass(world, days(7) + 60_000);
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('disabled');
  });

  it('counts the window from the first audit row of the disabling', async () => {
    for (const r of REGIONS) await disableAsEmergencyAdmin(r);
    const at = new Date(Date.now() - days(2)).toISOString();
    await world.store.real.appendAudit([{ eventId: 'yesterday', at, actor: 'person:alice', operation: 'revokeKey', action: 'DisableKey', phase: 'done', keyId, region: REGIONS[0] }]);
    const { workflowId } = await world.revoke(input, { unsigned: true });
    await world.stepsDone(workflowId, 'open-window');
    const window = (await world.store.real.readKey(keyId))!.window!;
    expect(window.revokedAt).toBe(at);
    expect(Date.parse(window.deadline)).toBe(Date.parse(at) + days(7));
    expect((await world.status(workflowId)).deadline).toBe(window.deadline);
  });

  it('a key that is up in one Region is not adopted: it needs a signature', async () => {
    await disableAsEmergencyAdmin(REGIONS[0]);
    const { workflowId } = await world.revoke(input, { unsigned: true });
    await world.until('it waits', async () => (await world.status(workflowId)).pendingApproval !== undefined);
    expect((await world.states(keyId))['us-west-2']).toBe('Enabled');
  });

  async function disableAsEmergencyAdmin(region: string): Promise<void> {
    const { kmsClients } = await import('../../worker');
    const clients = kmsClients(world.config, 'person:alice');
    await clients.get(region)!.disable(keyId);
    for (const c of clients.values()) c.close();
  }
});

it('a revocation cannot be cancelled: the key stays down and the window open', async () => {
  const { workflowId } = await revoked();
  await world.client.workflow.getHandle(workflowId).cancel();
  await pass(world, days(1));
  expect((await world.status(workflowId)).phase).toBe('window open');
  expect((await recovered()).outcome).toBe('recovered');
});
