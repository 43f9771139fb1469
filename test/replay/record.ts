/**
 * Records the golden histories: `KEYWARDEN_RECORD=1 npx jest test/replay`; those of erasures alone with `KEYWARDEN_RECORD=erasures`. Do so only for a procedure that is new, or when a change of a
 * workflow is meant to break running ones (then say in the commit how those that run are brought over).
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { subjectContext } from '../../domain/encryptionContext';
import type { EraseInput } from '../../domain/inputs';
import { historyToJSON } from '@temporalio/common/lib/proto-utils';
import { erasing, PERSON, request, seconds, start } from '../procedures/erasing';
import { pass, resultOf } from '../procedures/people';
import { addColumnKey, addSubjects } from '../procedures/wrapped';
import { createWorld, days, type World } from '../harness/world';

export const HISTORIES = join(__dirname, 'histories');

async function save(name: string, handle: Pick<WorkflowHandle, 'workflowId' | 'fetchHistory'>): Promise<void> {
  mkdirSync(HISTORIES, { recursive: true });
  writeFileSync(join(HISTORIES, `${name}.json`), `${JSON.stringify({ workflowId: handle.workflowId, history: JSON.parse(historyToJSON(await handle.fetchHistory())) })}\n`);
}

const reason = 'a golden history';

export async function record(): Promise<void> {
  const now = await createWorld({ config: { recovery: { windowDays: 7, reminderHours: [72, 24, 2], holdSeconds: 0.2 }, backups: { retentionDays: 0 } } });
  try {
    await recordRecovery(now);
    await recordRejections(now);
    await recordQuarantine(now);
    await recordPreemption(now);
    await recordReplacement(now);
    await recordRotation(now); // moves the clock of KMS
  } finally {
    await now.stop();
  }
  for (const [name, input] of [
    ['revokeKey-disabled', {}],
    ['revokeKey-quarantine-unsigned', { mode: 'quarantine' as const }],
    ['revokeKey-deletion-scheduled', { afterWindow: 'deletion-scheduled' as const }],
  ] as const) {
    const later = await createWorld({ timeSkipping: true });
    try {
      await later.initialize('payment-data');
      const handle = await later.revoke({ key: 'payment-data', reason, ...input }, { workflowId: `golden-${name}` });
      if (name === 'revokeKey-deletion-scheduled') {
        await later.stepsDone(handle.workflowId, 'open-window');
        await handle.signal('approve', { proof: await later.token(handle.workflowId, 'revokeKey', { key: 'payment-data', reason, ...input }, 'bob', 'KeyRecoveryAdmin') });
      }
      await later.stepsDone(handle.workflowId, 'open-window', 'prove-effect', 'census');
      await later.kms.admin.advanceClock(days(7) + 1_000);
      await handle.result();
      await save(name, handle);
    } finally {
      await later.stop();
    }
  }
  await recordErasures();
  const last = await createWorld({ timeSkipping: true });
  try {
    await last.initialize('payment-data');
    await recordDestruction(last);
  } finally {
    await last.stop();
  }
}

/** Proven after seconds; rejected before the second signature; restored in the waiting time. */
export async function recordErasures(): Promise<void> {
  for (const [name, config] of [
    ['proven', { erasure: { waitDays: seconds(2) }, backups: { retentionDays: seconds(3) } }],
    ['rejected', {}],
    ['restored', {}],
  ] as const) {
    const world = await createWorld({ config: { purposes: ['user-data'], ...config } });
    try {
      await world.initialize();
      const { ciphertext, material } = await world.application.get('us-east-1')!.dataKey(await world.keyId('user-data'), subjectContext(world.config, 'user-data', PERSON));
      await world.store.real.putSubjectKey({ subjectId: PERSON, purpose: 'user-data', encryptedKey: Buffer.from(ciphertext).toString('base64'), keyId: await world.keyId('user-data'), keyArn: 'arn', keyMaterialId: material!, createdAt: new Date().toISOString() });
      const { handle, input } = name === 'rejected' ? await asked(world, `golden-eraseSubject-${name}`) : await erasing(world, PERSON, `golden-eraseSubject-${name}`);
      if (name !== 'proven') await handle.signal('reject', { proof: await world.token(handle.workflowId, 'eraseSubject', input, 'alice', 'KeyRecoveryAdmin', { decision: 'reject' }) });
      await handle.result();
      await save(`eraseSubject-${name}`, handle);
    } finally {
      await world.stop();
    }
  }
}

async function asked(world: World, workflowId: string): Promise<{ handle: WorkflowHandle; input: EraseInput }> {
  const input = await request(world);
  const handle = await start(world, input, 'bob', workflowId);
  await world.until('one has signed', async () => (await world.status(handle.workflowId)).pendingApproval?.decided.length === 1);
  return { handle, input };
}

/** Signed by two at once; KMS destroys the replica first, the primary seven days later. */
async function recordDestruction(world: World): Promise<void> {
  const input = { key: 'payment-data', reason, afterWindow: 'destroyed' as const };
  const handle = await world.revoke(input, { workflowId: 'golden-revokeKey-destroyed' });
  await world.stepsDone(handle.workflowId, 'open-window', 'prove-effect', 'census', 'drain');
  await handle.signal('approve', { proof: await world.token(handle.workflowId, 'revokeKey', input, 'bob', 'KeyRecoveryAdmin') });
  await world.stepsDone(handle.workflowId, 'delete');
  await pass(world, days(7) + 120_000);
  await world.until('deletion-scheduled is said', async () => (await world.status(handle.workflowId)).outcome === 'deletion-scheduled');
  await world.kms.admin.setClock((await world.now()) + days(8));
  await world.env!.sleep(days(1));
  await resultOf(world, handle.workflowId);
  await save('revokeKey-destroyed', handle);
}

/** Quarantined by two, joined by a second revocation of the same mode, recovered. */
async function recordQuarantine(world: World): Promise<void> {
  const input = { key: 'audit-data', reason, mode: 'quarantine' as const };
  const first = await world.revoke(input);
  await world.stepsDone(first.workflowId, 'open-window', 'prove-effect', 'alert', 'census', 'drain');
  await first.signal('approve', { proof: await world.token(first.workflowId, 'revokeKey', input, 'bob', 'KeyRecoveryAdmin') });
  await world.stepsDone(first.workflowId, 'quarantine');
  const second = await world.revoke(input);
  await world.until('it has joined', async () => (await world.status(second.workflowId)).phase === 'joined');
  await world.until('nothing is pending to be disabled', async () => (await world.store.real.readKey(await world.keyId('audit-data')))!.window!.disabling.length === 0);
  const recovery = await recoverySigned(world, 'audit-data');
  await recovery.result();
  await Promise.all([first.result(), second.result()]);
  await save('revokeKey-quarantined', first);
  await save('revokeKey-joined', second);
}

/** A revocation takes the key from a recovery that is at work; after that recovery has ended, one that finds no window is refused. */
async function recordPreemption(world: World): Promise<void> {
  await world.kms.admin.addFault({ kind: 'throttle', operation: 'EnableKey' });
  const recovery = await recoverySigned(world, 'payment-data');
  await world.until('it enables', async () => (await world.status(recovery.workflowId)).steps.find((s) => s.name === 'enable')?.state === 'retrying');
  const second = await world.revoke({ key: 'payment-data', reason });
  await recovery.result().catch(() => undefined);
  await save('recoverKey-preempted', recovery);
  await world.kms.admin.clearFaults();
  await world.stepsDone(second.workflowId, 'open-window');
  const refused = await world.recover({ key: 'user-data', reason });
  await refused.result().catch(() => undefined);
  await save('recoverKey-refused', refused);
}

async function recoverySigned(world: World, key: string): Promise<WorkflowHandle> {
  const input = { key, reason };
  const recovery = await world.recover(input, 'alice');
  await world.until('one has signed', async () => (await world.status(recovery.workflowId)).pendingApproval?.decided.length === 1);
  await recovery.signal('approve', { proof: await world.token(recovery.workflowId, 'recoverKey', input, 'bob', 'KeyRecoveryAdmin') });
  return recovery;
}

async function recordRecovery(world: World): Promise<void> {
  const made = await world.client.workflow.start('initializeKeys', { taskQueue: 'keywarden', workflowId: 'golden-initializeKeys', args: [{ purposes: ['user-data', 'payment-data', 'audit-data'] }] });
  await made.result();
  await save('initializeKeys', made);
  const revocation = await world.revoke({ key: 'user-data', reason });
  await world.stepsDone(revocation.workflowId, 'open-window', 'prove-effect', 'alert', 'census');
  const recovery = await recoverySigned(world, 'user-data');
  await recovery.result();
  await revocation.result();
  await save('recoverKey-recovered', recovery);
  await save('revokeKey-recovered', revocation);
}

async function recordRotation(world: World): Promise<void> {
  await addSubjects(world, 'user-data', 0, 30);
  await addColumnKey(world, 'user-data', 'CEK_golden');
  const input = { key: 'user-data', reason };
  const signed = await world.client.workflow.start('rotateKey', { taskQueue: 'keywarden', workflowId: 'golden-rotateKey-rotated', args: [input] });
  await world.until('it waits', async () => (await world.status(signed.workflowId)).pendingApproval !== undefined);
  await signed.signal('approve', { proof: await world.token(signed.workflowId, 'rotateKey', input, 'dave', 'KeyManagementAdmin') });
  await signed.result();
  await save('rotateKey-rotated', signed);
  const rejected = await world.client.workflow.start('rotateKey', { taskQueue: 'keywarden', workflowId: 'golden-rotateKey-rejected', args: [input] });
  await world.until('it waits', async () => (await world.status(rejected.workflowId)).pendingApproval !== undefined);
  await rejected.signal('reject', { proof: await world.token(rejected.workflowId, 'rotateKey', input, 'dave', 'KeyManagementAdmin', { decision: 'reject' }) });
  await rejected.result();
  await save('rotateKey-rejected', rejected);
  await world.kms.admin.advanceClock(days(91));
  await new Promise((r) => setTimeout(r, 1_500)); // the workers hear of the clock
  const one = await world.client.workflow.start('rotateColumnEncryptionKey', { taskQueue: 'keywarden', workflowId: 'golden-rotateColumnEncryptionKey', args: [{ cek: 'CEK_golden' }] });
  await one.result();
  await save('rotateColumnEncryptionKey', one);
  const daily = await world.client.workflow.start('rotateDueKeys', { taskQueue: 'keywarden', workflowId: 'golden-rotateDueKeys', args: [{}] });
  await daily.result();
  await save('rotateDueKeys', daily);
}

/** Rejected before its cutover; then signed. Nothing waits for backups in this world. */
async function recordReplacement(world: World): Promise<void> {
  await addSubjects(world, 'audit-data', 0, 30);
  await addColumnKey(world, 'audit-data', 'CEK_replaced');
  const input = { key: 'audit-data', strategy: 'replace' as const, reason };
  for (const [name, decision] of [['rolled-back', 'reject'], ['replaced', 'approve']] as const) {
    const workflowId = `golden-rotateKey-${name}`;
    const proof = await world.sign('dave', 'KeyManagementAdmin', await world.plan('rotateKey', input, { workflowId }));
    const handle = await world.client.workflow.start('rotateKey', { taskQueue: 'keywarden', workflowId, args: [{ ...input, proof }] });
    await world.until('it waits for the sign-off', async () => (await world.status(workflowId)).phase === 'waiting for the sign-off', 60_000);
    await handle.signal(decision, { proof: await world.token(workflowId, 'rotateKey', input, 'carol', 'KeyManagementAdmin', { decision }) });
    await handle.result();
    await save(`rotateKey-${name}`, handle);
  }
}

async function recordRejections(world: World): Promise<void> {
  const unsigned = await world.revoke({ key: 'audit-data', reason }, { unsigned: true });
  await world.until('it waits', async () => (await world.status(unsigned.workflowId)).pendingApproval !== undefined);
  await unsigned.signal('reject', { proof: await world.token(unsigned.workflowId, 'revokeKey', { key: 'audit-data', reason }, 'alice', 'EmergencyKeyAdmin', { decision: 'reject' }) });
  await unsigned.result();
  await save('revokeKey-rejected', unsigned);
  const revocation = await world.revoke({ key: 'payment-data', reason });
  await world.stepsDone(revocation.workflowId, 'open-window', 'prove-effect', 'alert', 'census');
  const recovery = await world.recover({ key: 'payment-data', reason }, 'alice');
  await world.until('one has signed', async () => (await world.status(recovery.workflowId)).pendingApproval?.decided.length === 1);
  await recovery.signal('reject', { proof: await world.token(recovery.workflowId, 'recoverKey', { key: 'payment-data', reason }, 'bob', 'KeyRecoveryAdmin', { decision: 'reject' }) });
  await recovery.result();
  await save('recoverKey-rejected', recovery);
}
