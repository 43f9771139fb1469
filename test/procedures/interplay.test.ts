import type { RecoverInput, RevokeInput } from '../../domain/inputs';
import { setSnsFaults } from '../../local/sns';
import type { RecoverResult } from '../../workflows/recoverKey';
import { codeOf } from '../harness/toThrowWithCode';
import { createWorld, type World } from '../harness/world';
import { audited, decide, DISABLED, ENABLED, kinds, resultOf, sendDecision, writes } from './people';

const input: RevokeInput = { key: 'user-data', reason: 'the key may have leaked' };
const back: RecoverInput = { key: 'user-data', reason: 'a false alarm' };

describe('with a server that suggests to continue as new early', () => {
  let world: World;
  let keyId: string;
  beforeAll(async () => {
    world = await createWorld({ temporalArguments: ['--dynamic-config-value', 'limit.historyCount.suggestContinueAsNew=60'] });
    await world.initialize('user-data', 'payment-data');
    keyId = await world.keyId('user-data');
  });
  afterAll(() => world.stop());

  async function flood(workflowId: string, until: () => Promise<boolean>): Promise<void> {
    const handle = world.client.workflow.getHandle(workflowId);
    await world.until('it continued as new', async () => {
      await handle.signal('look').catch(() => undefined);
      return until();
    });
  }
  const runOf = async (workflowId: string): Promise<string> => (await world.client.workflow.getHandle(workflowId).describe()).runId;

  it('a window carries its deadline, its steps and its proof; a recovery ends it as if nothing had happened', async () => {
    const { workflowId, firstExecutionRunId } = await world.revoke(input);
    const before = await world.stepsDone(workflowId, 'alert', 'open-window', 'prove-effect', 'drain', 'census');
    await flood(workflowId, async () => (await runOf(workflowId)) !== firstExecutionRunId);
    const after = await world.until('the new run answers', async () => (await world.status(workflowId)).phase === 'window open' && world.status(workflowId));
    expect(after.deadline).toBe(before.deadline);
    expect(after.steps.map((s) => [s.name, s.state])).toEqual(before.steps.map((s) => [s.name, s.state]));
    expect((await world.store.real.readKey(keyId))?.epoch).toBe(1);

    const recovery = await world.recover(back, 'bob');
    await world.until('one has signed', async () => (await world.status(recovery.workflowId)).pendingApproval?.decided.length === 1);
    await decide(world, recovery.workflowId, 'recoverKey', back, 'alice', 'EmergencyKeyAdmin');
    expect((await resultOf<RecoverResult>(world, recovery.workflowId)).outcome).toBe('recovered');
    expect(await resultOf(world, workflowId)).toMatchObject({ outcome: 'recovered', timeToDisabledMs: expect.any(Number) });
    expect(await world.states(keyId)).toEqual(ENABLED);
    expect((await kinds(world)).filter((k) => k === 'key-revoked')).toHaveLength(1);
  });

  it("a waiting quarantine carries the signatures that it has: the start's own counts in the new run, and the second completes them", async () => {
    const quarantine: RevokeInput = { key: 'payment-data', reason: 'data must move', mode: 'quarantine' };
    const { workflowId, firstExecutionRunId } = await world.revoke(quarantine);
    await world.stepsDone(workflowId, 'alert', 'open-window', 'prove-effect', 'census');
    await flood(workflowId, async () => (await runOf(workflowId)) !== firstExecutionRunId);
    const s = await world.until('the new run waits', async () => (await world.status(workflowId)).pendingApproval !== undefined && world.status(workflowId));
    expect(s.pendingApproval).toMatchObject({ missing: 1, decided: [{ person: 'alice' }], plan: { firstRunId: firstExecutionRunId } });
    expect(await decide(world, workflowId, 'revokeKey', quarantine, 'alice', 'KeyRecoveryAdmin')).toMatchObject({ accepted: false, code: 'KW-APPROVAL-SAME-PERSON' });
    expect(await decide(world, workflowId, 'revokeKey', quarantine, 'bob', 'KeyRecoveryAdmin')).toMatchObject({ accepted: true, missing: 0 });
    await world.stepsDone(workflowId, 'quarantine');
    expect(await world.states(await world.keyId('payment-data'))).toEqual(ENABLED);
  });

  it('a waiting recovery carries its signatures', async () => {
    const { workflowId: revocation } = await world.revoke({ ...input, reason: 'again' });
    await world.stepsDone(revocation, 'open-window', 'prove-effect');
    const { workflowId, firstExecutionRunId } = await world.recover(back, 'bob');
    await world.until('one has signed', async () => (await world.status(workflowId)).pendingApproval?.decided.length === 1);
    await flood(workflowId, async () => (await runOf(workflowId)) !== firstExecutionRunId);
    const s = await world.until('the new run waits', async () => (await world.status(workflowId)).pendingApproval !== undefined && world.status(workflowId));
    expect(s.pendingApproval).toMatchObject({ missing: 1, decided: [{ person: 'bob' }] });
    const old = await world.sign('carol', 'KeyRecoveryAdmin', { ...s.pendingApproval!.plan, firstRunId: await runOf(workflowId) });
    expect(await sendDecision(world, workflowId, old)).toMatchObject({ accepted: false, code: 'KW-APPROVAL-WORKFLOW' });
    expect(await decide(world, workflowId, 'recoverKey', back, 'carol', 'KeyRecoveryAdmin')).toMatchObject({ accepted: true, missing: 0 });
    expect((await resultOf<RecoverResult>(world, workflowId)).outcome).toBe('recovered');
  });
});

describe('races of people', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ config: { recovery: { windowDays: 7, reminderHours: [72], holdSeconds: 0.2 } } });
    await world.initialize();
  });
  afterAll(() => world.stop());

  it('rule 2: a revocation pre-empts a recovery that is at work; the key ends disabled', async () => {
    const keyId = await world.keyId('user-data');
    const first = await world.revoke(input);
    await world.stepsDone(first.workflowId, 'open-window', 'prove-effect');
    await world.kms.admin.addFault({ kind: 'throttle', operation: 'EnableKey' }); // it never gets further than this
    const recovery = await world.recover(back, 'bob');
    await world.until('one has signed', async () => (await world.status(recovery.workflowId)).pendingApproval?.decided.length === 1);
    await decide(world, recovery.workflowId, 'recoverKey', back, 'carol', 'KeyRecoveryAdmin');
    await world.until('it enables', async () => (await world.status(recovery.workflowId)).steps.find((s) => s.name === 'enable')?.state === 'retrying');
    const second = await world.revoke({ ...input, reason: 'it leaked after all' });
    await world.stepsDone(second.workflowId, 'disable', 'open-window');
    await world.kms.admin.clearFaults();
    expect(await codeOf(resultOf(world, recovery.workflowId))).not.toBe('nothing was thrown');
    await world.until('held for as long as an act may last', async () => (await world.status(second.workflowId)).steps.find((s) => s.name === 'hold')?.state === 'done', 60_000);
    expect(await world.states(keyId)).toEqual(DISABLED);
    expect(await audited(world, { workflowId: recovery.workflowId, action: 'EnableKey', phase: 'done' })).toEqual([]);
    expect(await kinds(world)).toContain('recovery-preempted');
    // the window is still there: a new recovery brings the key back
    const again = await world.recover({ ...back, reason: 'now it is true' }, 'bob');
    await world.until('one has signed', async () => (await world.status(again.workflowId)).pendingApproval?.decided.length === 1);
    await decide(world, again.workflowId, 'recoverKey', { ...back, reason: 'now it is true' }, 'carol', 'KeyRecoveryAdmin');
    expect((await resultOf<RecoverResult>(world, again.workflowId)).outcome).toBe('recovered');
    expect(await world.states(keyId)).toEqual(ENABLED);
  });

  it('rule 5: whoever starts an unsigned revocation of a key that is down follows its window; no signature lapses by it', async () => {
    const asked: RecoverInput = { key: 'audit-data', reason: 'a false alarm' };
    const { workflowId: revocation } = await world.revoke({ key: 'audit-data', reason: 'leaked' });
    await world.stepsDone(revocation, 'open-window', 'prove-effect');
    const { workflowId } = await world.recover(asked, 'bob');
    await world.until('one has signed', async () => (await world.status(workflowId)).pendingApproval?.decided.length === 1);
    const follower = await world.revoke({ key: 'audit-data', reason: 'me too' }, { unsigned: true });
    await world.until('it follows', async () => (await world.status(follower.workflowId)).phase === 'joined');
    expect(await decide(world, workflowId, 'recoverKey', asked, 'carol', 'KeyRecoveryAdmin')).toMatchObject({ accepted: true, missing: 0 });
    expect((await resultOf<RecoverResult>(world, workflowId)).outcome).toBe('recovered');
    expect(await resultOf(world, follower.workflowId)).toMatchObject({ outcome: 'recovered', joined: revocation });
  });

  it('a recovery that is rejected at the first or the second signature leaves the key as it is', async () => {
    const asked: RecoverInput = { key: 'payment-data', reason: 'please' };
    const revocation = await world.revoke({ key: 'payment-data', reason: 'leaked' });
    await world.stepsDone(revocation.workflowId, 'open-window', 'prove-effect');
    for (const by of [undefined, 'bob']) {
      const { workflowId } = await world.recover(asked, by);
      await world.until('it waits', async () => (await world.status(workflowId)).pendingApproval?.decided.length === (by === undefined ? 0 : 1));
      expect(await decide(world, workflowId, 'recoverKey', asked, 'carol', 'KeyRecoveryAdmin', 'reject')).toMatchObject({ accepted: true });
      expect(await resultOf<RecoverResult>(world, workflowId)).toMatchObject({ outcome: 'rejected' });
      expect(await audited(world, { workflowId, action: 'BeginRecovery' })).toEqual([]);
    }
    expect(await world.states(await world.keyId('payment-data'))).toEqual(DISABLED);
  });

  it('SNS down holds up neither a signature nor a recovery\'s enabling', async () => {
    const asked: RecoverInput = { key: 'audit-data', reason: 'please' };
    const keyId = await world.keyId('audit-data');
    const revocation = await world.revoke({ key: 'audit-data', reason: 'leaked' });
    await world.stepsDone(revocation.workflowId, 'open-window', 'prove-effect', 'alert');
    await setSnsFaults(world.snsUrl, { mode: 'error', status: 503 });
    const { workflowId } = await world.recover(asked, 'bob');
    await world.until('it waits', async () => (await world.status(workflowId)).pendingApproval?.decided.length === 1);
    await decide(world, workflowId, 'recoverKey', asked, 'carol', 'KeyRecoveryAdmin');
    await world.until('it is up', async () => JSON.stringify(await world.states(keyId)) === JSON.stringify(ENABLED));
    expect((await world.until('it says what is missing', async () => (await world.status(workflowId)).missing !== undefined && world.status(workflowId))).missing!.join()).toContain('KW-SNS');
  });
});

describe('a key that the database stands on', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
    await world.initialize('tde');
  });
  afterAll(() => world.stop());
  const tde: RevokeInput = { key: 'tde', reason: 'the certificate leaked' };

  it.each([['with a proof', false], ['without one', true]])('needs acknowledgeOutage, %s: KW-OUTAGE before anything is disabled', async (_name, unsigned) => {
    const since = new Date();
    expect(await codeOf((await world.revoke(tde, { unsigned })).result())).toBe('KW-OUTAGE');
    expect(await world.states(await world.keyId('tde'))).toEqual(ENABLED);
    expect(await writes(world, since)).toEqual([]);
  });

  it('rule 9: is refused where no journal stands elsewhere, or where the journal is encrypted by it', async () => {
    const { audit } = world.config;
    for (const changed of [undefined, { ...audit!, journalEncryptedBy: ['tde'] }]) {
      world.config.audit = changed;
      const since = new Date();
      expect(await codeOf((await world.revoke({ ...tde, acknowledgeOutage: true })).result())).toBe('KW-BRANCH');
      expect(await writes(world, since)).toEqual([]);
    }
    world.config.audit = audit;
    expect(await world.states(await world.keyId('tde'))).toEqual(ENABLED);
  });

  it('is revoked when the outage is acknowledged and a journal stands elsewhere', async () => {
    const { workflowId } = await world.revoke({ ...tde, acknowledgeOutage: true });
    await world.stepsDone(workflowId, 'disable', 'census', 'open-window');
    expect(await world.states(await world.keyId('tde'))).toEqual(DISABLED);
    expect((await world.status(workflowId)).steps.find((s) => s.name === 'census')?.detail).toContain('1 databases');
  });
});
