/**
 * An attacker who can write everything to the Temporal namespace, and one who can write to the database. Nothing widens, nothing is destroyed.
 * What such a one can still do is said in the name of the test: hold up, end, make noise; `keywarden watch` and CloudTrail notice it later.
 */
import { createHmac } from 'node:crypto';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { canonicalJson } from '../../domain/canonical';
import type { Receipt } from '../../domain/approval';
import { digest, policyDigest } from '../../domain/digest';
import { WORKFLOW_QUEUE } from '../../domain/names';
import { DOWN, reason, recovery, revoked, signWidening, UP } from '../faults/acts';
import { checkInvariants } from '../harness/invariants';
import { codeOf } from '../harness/toThrowWithCode';
import { createWorld, REGIONS, type World } from '../harness/world';
import { attacker, refusal } from './attacker';

const KEYS = ['forged', 'reset', 'ended', 'flood', 'victim', 'replay', 'database', 'epoch', 'policy', 'removed', 'role', 'widen', 'first'];

describe('an attacker in the Temporal namespace', () => {
  let world: World;
  let evil: { stop(): Promise<void> };
  const forgeries: string[] = [];
  beforeAll(async () => {
    world = await createWorld({ config: { purposes: KEYS } });
    await world.initialize();
    evil = await attacker(world, 'evil');
  }, 90_000);
  afterAll(async () => {
    await evil?.stop();
    await world.stop();
  });

  const awaits = (id: string, missing: number) => world.until(`${id} waits for ${missing}`, async () => (await world.status(id)).pendingApproval?.missing === missing);
  const enabled = async (keyId: string): Promise<unknown[]> => (await world.kms.admin.calls({ operation: 'EnableKey' })).filter((c) => c.keyArn?.endsWith(keyId));

  /** Answers the activities of a procedure instead of the workers, which are stopped meanwhile. */
  async function forge(workflowId: string, results: Record<string, unknown>, until: () => Promise<boolean>): Promise<string[]> {
    const forged: string[] = [];
    for (const end = Date.now() + 20_000; Date.now() < end && !(await until()); await pause(50)) {
      const { raw } = await world.client.workflow.getHandle(workflowId).describe();
      for (const a of raw.pendingActivities ?? []) {
        const name = a.activityType?.name ?? '';
        if (!(name in results)) continue;
        const payload = { metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from(JSON.stringify(results[name])) };
        await world.client.workflowService
          .respondActivityTaskCompletedById({ namespace: 'default', workflowId, runId: raw.workflowExecutionInfo!.execution!.runId!, activityId: a.activityId!, result: { payloads: [payload] } })
          .then(() => forged.push(name), () => undefined);
      }
    }
    return forged;
  }

  it('forges "quorum met" for a recovery that one person signed: the activity that would enable finds the receipts missing', async () => {
    const keyId = await world.keyId('forged');
    await revoked(world, { key: 'forged' });
    const handle = await world.recover({ key: 'forged', reason }, 'bob');
    await awaits(handle.workflowId, 1);
    const real = (await world.status(handle.workflowId)).pendingApproval!;
    const forged = { plan: real.plan, digest: real.digest, words: [], decided: [], answers: [{ accepted: true, person: 'carol' }], quorum: { met: true, signed: [{ person: 'bob', role: 'KeyRecoveryAdmin' }, { person: 'carol', role: 'KeyRecoveryAdmin' }], missing: 0, eligible: [] } };
    // the recovery duty does not poll; another process runs the workflows
    await world.stopWorker();
    const flows = await workflowsOnly();
    await handle.signal('approve', { proof: await world.sign('dave', 'KeyManagementAdmin', real.plan) });
    const done = await forge(handle.workflowId, { considerRecovery: forged, alert: { eventId: '', messageId: '' }, beginRecovery: { revocation: { workflowId: 'x', firstRunId: 'y' }, pending: [] }, cancelDeletion: { cancelled: false }, restorePolicy: null }, async () => (await world.status(handle.workflowId)).steps.find((s) => s.name === 'enable')?.state === 'running');
    expect(done).toEqual(expect.arrayContaining(['considerRecovery', 'beginRecovery', 'restorePolicy']));
    await flows.stop();
    await world.startWorker();
    expect(await codeOf(handle.result())).toBe('KW-APPROVAL-MISSING');
    expect(await world.states(keyId)).toEqual(DOWN);
    expect(await enabled(keyId)).toEqual([]);
  }, 90_000);

  it('forges the disabling itself (a revocation believes it and the key stays up): noticed by no rule of the procedure, so only `watch` and the application see it; nothing widens', async () => {
    const keyId = await world.keyId('first');
    await world.stopWorker();
    const flows = await workflowsOnly();
    const handle = await world.revoke({ key: 'first', reason });
    forgeries.push(handle.workflowId);
    const now = new Date().toISOString();
    const lie = { outcome: 'disabled', keyId, keyArn: 'arn', purpose: 'first', regions: REGIONS.map((region) => ({ region, state: 'disabled', at: now })), adopted: false, revokedAt: now, deadline: now, unaudited: false, searchable: false, reminderHours: [] };
    await forge(handle.workflowId, { disableKey: lie }, async () => (await world.status(handle.workflowId)).steps.find((s) => s.name === 'disable')?.state === 'done');
    await flows.stop();
    await world.startWorker();
    // no window opens for a key that is disabled nowhere, and status keeps saying so
    await world.until('status says that the window is not open', async () => (await world.status(handle.workflowId)).missing?.some((m) => m.includes('disabled in no Region')), 30_000);
    expect(await world.states(keyId)).toEqual(UP);
    expect((await world.store.real.readKey(keyId))!.window).toBeUndefined();
    await handle.terminate('the test is over');
    // a second revocation does it
    const again = await revoked(world, { key: 'first' });
    expect(await world.states(keyId)).toEqual(DOWN);
    expect(again).not.toBe(handle.workflowId);
  }, 90_000);

  it.each(['evil', 'recoverKey', 'revokeKey'] as const)('runs a workflow of its own of the type %s, under the id of a recovery that two signed: another run, another proof', async (type) => {
    const keyId = await world.keyId('victim');
    if ((await world.states(keyId))['us-east-1'] === 'Enabled') await revoked(world, { key: 'victim' });
    // signed by two, and ended before it acted: everything that it had was captured
    const handle = await world.recover({ key: 'victim', reason }, 'bob');
    await awaits(handle.workflowId, 1);
    const { plan, digest: planDigest } = (await world.status(handle.workflowId)).pendingApproval!;
    const proof = await world.token(handle.workflowId, 'recoverKey', { key: 'victim', reason }, 'carol', 'KeyRecoveryAdmin');
    await handle.terminate('by the attacker');
    forgeries.push(handle.workflowId);
    const { runId } = await handle.describe();
    const how = { workflowId: handle.workflowId, type };
    for (const activity of ['beginRecovery', 'cancelDeletion', 'restorePolicy', 'enableKey', 'proveRecovery', 'finishRecovery', 'quarantineRegion', 'scheduleDeletion', 'disableQuarantined']) {
      const argument = { digest: planDigest, ...(['beginRecovery', 'finishRecovery'].includes(activity) ? {} : { region: 'us-east-1' }) };
      expect(`${activity}: ${await refusal(world, { duty: 'recovery', activity, argument }, how)}`).toMatch(/: KW-APPROVAL-(MISSING|WORKFLOW)$/);
    }
    // captured proofs of the first run
    const judged = await refusal(world, { duty: 'recovery', activity: 'considerRecovery', argument: { input: { key: 'victim', reason }, decisions: [{ token: proof, runId }], malformed: 0 } }, how);
    expect(judged).toBe('done'); // judged, and refused: it acts on nothing afterwards
    expect(await refusal(world, { duty: 'recovery', activity: 'beginRecovery', argument: { digest: digest(plan) } }, how)).toMatch(/^KW-APPROVAL-/);
    expect(await world.states(keyId)).toEqual(DOWN);
  }, 60_000);

  it('schedules what an open revocation may do, from a workflow of its own: its window is not closed, its deletion not scheduled', async () => {
    const keyId = await world.keyId('widen');
    const input = { key: 'widen', afterWindow: 'destroyed' as const };
    const id = await revoked(world, input);
    const before = await world.until('no disable is pending', async () => {
      const row = await world.store.real.readKey(keyId);
      return row!.window!.disabling.length === 0 ? row : undefined;
    });
    expect(await refusal(world, { duty: 'emergency', activity: 'closeWindow', argument: { keyId, reason } })).toBe('KW-PROCEDURE-OPEN');
    expect(await refusal(world, { duty: 'emergency', activity: 'endDisables', argument: { keyId } })).toBe('done'); // its own, of which there are none
    expect(await refusal(world, { duty: 'recovery', activity: 'endRecovery', argument: { key: 'widen', why: 'x' } })).toBe('done');
    expect(await refusal(world, { duty: 'emergency', activity: 'holdDisabled', argument: { input: { key: 'widen', reason }, holdMs: 1e12 } }, { options: { startToCloseTimeout: '3 s' } })).toBe('not within its time');
    const plan = (await world.status(id)).pendingApproval!.digest;
    expect(await refusal(world, { duty: 'recovery', activity: 'scheduleDeletion', argument: { digest: plan, region: 'us-east-1' } })).toMatch(/^KW-APPROVAL-(MISSING|WORKFLOW)$/);
    expect(await world.store.real.readKey(keyId)).toEqual(before);
    expect(await world.states(keyId)).toEqual(DOWN);
    await signWidening(world, id, input, 'carol');
    await world.stepsDone(id, 'delete');
    expect(Object.values(await world.states(keyId))).toEqual([expect.stringMatching(/^Pending/), expect.stringMatching(/^Pending/)]);
  }, 60_000);

  it('resets a finished recovery to its start: nothing is enabled a second time (that the key is up already cannot be undone by it)', async () => {
    const keyId = await world.keyId('reset');
    await revoked(world, { key: 'reset' });
    const handle = await recovery(world, 'reset');
    expect(await handle.result()).toMatchObject({ outcome: 'recovered' });
    await revoked(world, { key: 'reset' });
    const calls = (await enabled(keyId)).length;
    const { runId } = await handle.describe();
    const { events } = await handle.fetchHistory();
    const at = events!.filter((e) => e.workflowTaskCompletedEventAttributes).at(-2)!.eventId!;
    await world.client.workflowService.resetWorkflowExecution({ namespace: 'default', workflowExecution: { workflowId: handle.workflowId, runId }, workflowTaskFinishEventId: at, requestId: crypto.randomUUID(), reason: 'attack' });
    await pause(4_000);
    const first = events!.find((e) => e.workflowTaskCompletedEventAttributes)!.eventId!;
    await world.client.workflowService.resetWorkflowExecution({ namespace: 'default', workflowExecution: { workflowId: handle.workflowId, runId }, workflowTaskFinishEventId: first, requestId: crypto.randomUUID(), reason: 'attack' });
    await pause(4_000);
    expect(await enabled(keyId)).toHaveLength(calls);
    expect(await world.states(keyId)).toEqual(DOWN);
    await world.client.workflow.getHandle(handle.workflowId).terminate('the test is over').catch(() => undefined);
  }, 60_000);

  it('terminates a revocation: the key stays down (that nobody watches the window any more is seen by `watch`), and it can be recovered inside it', async () => {
    const keyId = await world.keyId('ended');
    const id = await revoked(world, { key: 'ended' });
    const cancelled = world.client.workflow.getHandle(id);
    await cancelled.cancel();
    await pause(1_000);
    expect((await cancelled.describe()).status.name).toBe('RUNNING');
    await cancelled.terminate('by the attacker');
    expect(await world.states(keyId)).toEqual(DOWN);
    const handle = await recovery(world, 'ended');
    expect(await handle.result()).toMatchObject({ outcome: 'recovered' });
  }, 60_000);

  it('floods a recovery with 3,000 signals: forged, malformed and huge; the real second signature counts, the trail and the topic stay readable', async () => {
    const keyId = await world.keyId('flood');
    await revoked(world, { key: 'flood' });
    const handle = await world.recover({ key: 'flood', reason }, 'bob');
    await awaits(handle.workflowId, 1);
    const good = await world.token(handle.workflowId, 'recoverKey', { key: 'flood', reason }, 'carol', 'KeyRecoveryAdmin');
    const [header, payload] = good.split('.') as [string, string];
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
    const forgery = (i: number): unknown => {
      if (i % 10 === 0) return { proof: 'x'.repeat(i % 50 === 0 ? 60_000 : 200) };
      if (i % 10 === 1) return { nonsense: i };
      return { proof: `${header}.${Buffer.from(JSON.stringify({ ...claims, jti: `forged-jti-${String(i).padStart(8, '0')}` })).toString('base64url')}.${Buffer.from(`forged ${i}`).toString('base64url')}` };
    };
    const rowsBefore = (await world.store.real.auditHead())!.seq;
    for (let i = 0; i < 3_000; i += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, n) => handle.signal('approve', forgery(i + n) as never)));
      if (i === 1_500) await handle.signal('approve', { proof: good });
    }
    expect(await world.until('carol is counted', async () => ((await handle.describe()).status.name === 'COMPLETED' ? handle.result() : undefined), 180_000)).toMatchObject({ outcome: 'recovered', signedBy: ['bob', 'carol'] });
    expect(await world.states(keyId)).toEqual(UP);
    expect((await world.store.real.auditHead())!.seq - rowsBefore).toBeLessThan(600);
    const told = (await world.received()).filter((m) => m.kind === 'approval-refused' && m.eventId.startsWith(handle.workflowId));
    expect(told.length).toBeLessThanOrEqual(6);
    expect(told.length).toBeGreaterThan(0);
  }, 240_000);

  it('replays a proof that was used: in the same procedure it is the same signature, in another it is refused', async () => {
    await revoked(world, { key: 'replay' });
    const input = { key: 'replay', reason };
    const first = await world.recover(input, 'bob');
    await awaits(first.workflowId, 1);
    const proof = await world.token(first.workflowId, 'recoverKey', input, 'carol', 'KeyRecoveryAdmin');
    const second = await world.recover(input, 'bob');
    await awaits(second.workflowId, 1);
    await second.signal('approve', { proof });
    await world.until('it is refused', async () => (await world.status(second.workflowId)).pendingApproval?.lastRefusal?.includes('KW-APPROVAL-WORKFLOW'));
    expect((await world.status(second.workflowId)).pendingApproval!.missing).toBe(1);
    for (let i = 0; i < 5; i++) await first.signal('approve', { proof });
    expect(await first.result()).toMatchObject({ outcome: 'recovered', signedBy: ['bob', 'carol'] });
    await second.terminate('the test is over');
  }, 60_000);

  it.each([['removed', 'removed from the configuration'], ['role', 'without the role']] as const)('%s: a person who is %s between signing and acting does not count', async (key, how) => {
    const keyId = await world.keyId(key);
    await revoked(world, { key });
    const handle = await world.recover({ key, reason }, 'bob');
    await awaits(handle.workflowId, 1);
    const proof = await world.token(handle.workflowId, 'recoverKey', { key, reason }, 'carol', 'KeyRecoveryAdmin');
    await world.stopWorker();
    const before = world.config;
    const people = how === 'without the role' ? before.people.map((p) => (p.name === 'bob' ? { ...p, roles: ['KeyManagementAdmin' as const] } : p)) : before.people.filter((p) => p.name !== 'bob');
    await world.startWorker({ config: { ...before, people } });
    await handle.signal('approve', { proof });
    await pause(2_500);
    expect(await world.states(keyId)).toEqual(DOWN);
    expect(await enabled(keyId)).toEqual([]);
    await handle.terminate('the test is over').catch(() => undefined);
    await world.stopWorker();
    await world.startWorker();
  }, 60_000);

  describe('who can also write to the database', () => {
    const sql = (statement: string, ...args: unknown[]): void => {
      // the driver itself, past the store
      const Database = createRequire(join(__dirname, '../../package.json'))('libsql') as new (file: string) => { prepare(s: string): { run(a: unknown[]): void }; exec(s: string): void; close(): void };
      const db = new Database(join(world.dataDir, 'keywarden.db'));
      db.exec('PRAGMA busy_timeout = 5000');
      db.prepare(statement).run(args);
      db.close();
    };

    it('forges a receipt, with the right plan and a MAC of its own: it counts for nothing', async () => {
      const keyId = await world.keyId('database');
      await revoked(world, { key: 'database' });
      const handle = await world.recover({ key: 'database', reason }, 'bob');
      await awaits(handle.workflowId, 1);
      const { plan, digest: planDigest } = (await world.status(handle.workflowId)).pendingApproval!;
      const row = (await world.store.real.readKey(keyId))!;
      const receipt: Receipt = { planDigest, person: 'carol', role: 'KeyRecoveryAdmin', decision: 'approve', jti: crypto.randomUUID(), workflowId: plan.workflowId, firstRunId: plan.firstRunId!, duty: 'recovery', keyId, epoch: row.epoch, at: new Date().toISOString() };
      const mac = createHmac('sha256', 'a guess').update(canonicalJson(receipt)).digest('base64');
      await world.store.real.savePlan(planDigest, canonicalJson(plan));
      sql('INSERT INTO receipt (workflow_id, first_run_id, duty, jti, mac, document) VALUES (?, ?, ?, ?, ?, ?)', receipt.workflowId, receipt.firstRunId, 'recovery', receipt.jti, mac, JSON.stringify(receipt));
      // bob's own receipt, under carol's name
      const [bobs] = await world.store.real.receiptsFor(plan.workflowId, plan.firstRunId!, 'recovery');
      sql('INSERT INTO receipt (workflow_id, first_run_id, duty, jti, mac, document) VALUES (?, ?, ?, ?, ?, ?)', receipt.workflowId, receipt.firstRunId, 'recovery', 'another', bobs!.mac, JSON.stringify({ ...bobs!.receipt, person: 'carol' }));
      // a workflow of the attacker's with that id would be another run: it can only be asked within this one
      await handle.signal('approve', { proof: await world.sign('dave', 'KeyManagementAdmin', plan) });
      await world.until('dave is refused', async () => ((await world.status(handle.workflowId)).pendingApproval?.refused ?? 0) > 0);
      expect((await world.status(handle.workflowId)).pendingApproval!.missing).toBe(1);
      expect(await world.states(keyId)).toEqual(DOWN);
      await handle.terminate('the test is over');
    }, 60_000);

    it('changes the plan behind a digest: it is no longer the plan of that digest, and nothing is done', async () => {
      const keyId = await world.keyId('epoch');
      await revoked(world, { key: 'epoch' });
      await world.kms.admin.addFault({ keyId, operation: 'ListGrants', kind: 'latency', ms: 2_000, principal: 'AKIALOCALRECOVERY', count: 2 });
      const handle = await world.recover({ key: 'epoch', reason }, 'bob');
      await awaits(handle.workflowId, 1);
      const { digest: planDigest, plan } = (await world.status(handle.workflowId)).pendingApproval!;
      sql('DROP TRIGGER plan_is_not_replaced');
      sql('DROP TRIGGER plan_is_not_changed');
      const other = await world.keyId('policy');
      sql('INSERT OR REPLACE INTO plan (digest, document) VALUES (?, ?)', planDigest, canonicalJson({ ...plan, keyId: other }));
      await handle.signal('approve', { proof: await world.token(handle.workflowId, 'recoverKey', { key: 'epoch', reason }, 'carol', 'KeyRecoveryAdmin') });
      expect(await codeOf(handle.result())).toBe('KW-APPROVAL-MISSING');
      expect(await world.states(keyId)).toEqual(DOWN);
      sql('INSERT OR REPLACE INTO plan (digest, document) VALUES (?, ?)', planDigest, canonicalJson(plan));
    }, 60_000);

    it('changes the recorded policy before anybody signs: the plan shows its digest, the audit trail another; people must look (the design cannot stop this), and no third person\'s signature is spared', async () => {
      const keyId = await world.keyId('policy');
      await revoked(world, { key: 'policy' });
      const row = (await world.store.real.readKey(keyId))!;
      const evilPolicy = JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: '*', Action: 'kms:*', Resource: '*' }] });
      const snapshot = Object.fromEntries(Object.entries(row.window!.snapshot).map(([region, s]) => [region, { ...s, policy: evilPolicy }]));
      sql('UPDATE cmk SET document = ? WHERE key_id = ?', JSON.stringify({ ...row, window: { ...row.window, snapshot } }), keyId);
      // the digest beside it was left: what would be put is not what was signed
      const handle = await recovery(world, 'policy');
      expect(await codeOf(handle.result())).toBe('KW-PLAN-DRIFT');
      for (const region of REGIONS) expect(policyDigest(await world.root.get(region)!.policy(keyId))).not.toBe(policyDigest(evilPolicy));
      expect(await world.states(keyId)).toEqual(DOWN);
      sql('UPDATE cmk SET document = ? WHERE key_id = ?', JSON.stringify(row), keyId);
    }, 60_000);
  });

  it('breaks no rule', async () => {
    expect(await checkInvariants(world, { forged: forgeries })).toEqual([]);
  }, 60_000);

  /** Another worker that runs our workflows and none of our activities. */
  async function workflowsOnly(): Promise<{ stop(): Promise<void> }> {
    const { Worker } = await import('@temporalio/worker');
    const worker = await Worker.create({ connection: world.native, taskQueue: WORKFLOW_QUEUE, workflowBundle: { codePath: process.env['KEYWARDEN_WORKFLOW_BUNDLE']! } });
    const running = worker.run();
    return { stop: async () => (worker.shutdown(), running) };
  }
});
