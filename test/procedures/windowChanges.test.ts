import type { RevokeResult } from '../../workflows/revokeKey';
import { days, REGIONS, type World } from '../harness/world';
import { input, oneKey, recovered, revoked, widened } from './oneWindow';
import { audited, CONTEXT, decide, decrypt, DISABLED, ENABLED, encrypt, pass, policies, resultOf } from './people';

let world: World;
let keyId: string;
beforeEach(async () => {
  ({ world, keyId } = await oneKey());
});
afterEach(() => world.stop());

describe('quarantine', () => {
  /** Who may do what with the key now, by KMS's own enforcement. */
  async function may(marks: Uint8Array): Promise<Record<string, string>> {
    const { KMSClient, ReEncryptCommand } = await import('@aws-sdk/client-kms');
    const other = await world.keyId('payment-data');
    const routine = new KMSClient({ region: REGIONS[0], endpoint: world.kms.url, credentials: { accessKeyId: 'AKIALOCALROUTINE', secretAccessKey: 'local' } });
    const rewrap = await routine.send(new ReEncryptCommand({ CiphertextBlob: marks, SourceKeyId: keyId, SourceEncryptionContext: CONTEXT, DestinationKeyId: other, DestinationEncryptionContext: CONTEXT })).then(() => 'done', (e: Error) => e.name);
    routine.destroy();
    return { application: await decrypt(world, keyId, marks), rewrap };
  }

  it('disables first; with two signatures only the re-wrap role may read; at the end it is down', async () => {
    await world.initialize('payment-data');
    const marks = await encrypt(world, 'user-data');
    const open = await revoked(world, { mode: 'quarantine' });
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
    const open = await widened(world, { mode: 'quarantine' });
    await world.stepsDone(open.workflowId, 'quarantine');
    expect(await policies(world, keyId)).not.toEqual(before);
    expect((await recovered(world)).states).toEqual(ENABLED);
    expect(await policies(world, keyId)).toEqual(before);
    expect(await decrypt(world, keyId, marks)).toBe('marks of pupil 17');
    expect((await resultOf<RevokeResult>(world, open.workflowId)).outcome).toBe('recovered');
  });

  it('rule 6: a later plain revocation takes the quarantined key down again, and what was signed before it has lapsed (rule 5)', async () => {
    const open = await widened(world, { mode: 'quarantine', afterWindow: 'deletion-scheduled' });
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
    const open = await revoked(world, { mode: 'quarantine' });
    expect(await decide(world, open.workflowId, 'revokeKey', open.input, 'alice', 'KeyRecoveryAdmin')).toMatchObject({ accepted: false, code: 'KW-APPROVAL-SAME-PERSON' });
    expect(await world.states(keyId)).toEqual(DISABLED);
  });
});

describe('two revocations of one key', () => {
  it('rule 6: the second joins the first, which keeps its window; both end as the window ends', async () => {
    const first = await revoked(world);
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
    const first = await revoked(world);
    const second = await world.revoke({ ...input, reason: 'once more, to be sure' });
    await world.stepsDone(second.workflowId, 'open-window', 'prove-effect');
    await recovered(world);
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
  const { workflowId } = await revoked(world);
  await world.client.workflow.getHandle(workflowId).cancel();
  await pass(world, days(1));
  expect((await world.status(workflowId)).phase).toBe('window open');
  expect((await recovered(world)).outcome).toBe('recovered');
});
