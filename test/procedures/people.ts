/** What people do to a running procedure, and what there is to see afterwards. */
import { Client } from '@temporalio/client';
import type { ApprovalClaims } from '../../domain/approval';
import type { AuditEntry } from '../../domain/audit';
import type { EraseInput, RecoverInput, RevokeInput } from '../../domain/inputs';
import type { Role } from '../../domain/names';
import type { EraseResult } from '../../workflows/eraseSubject';
import type { RecoverResult } from '../../workflows/recoverKey';
import type { RevokeResult } from '../../workflows/revokeKey';
import type { DecideAnswer } from '../../workflows/messages';
import { REGIONS, type World } from '../harness/world';

export const CONTEXT = { application: 'buzztutor', subject: 'pupil-17' };
export const DISABLED = { 'us-east-1': 'Disabled', 'us-west-2': 'Disabled' };
export const ENABLED = { 'us-east-1': 'Enabled', 'us-west-2': 'Enabled' };

type Operation = 'revokeKey' | 'recoverKey' | 'eraseSubject';
type Input = RevokeInput | RecoverInput | EraseInput;

/** Signs what a procedure waits for and sends it with the Update `decide`. */
export async function decide(world: World, workflowId: string, operation: Operation, input: Input, name: string, role: Role, decision: 'approve' | 'reject' = 'approve', changes: Partial<ApprovalClaims> = {}): Promise<DecideAnswer> {
  const proof = await world.token(workflowId, operation, input, name, role, { decision, ...changes });
  return sendDecision(world, workflowId, proof, decision);
}

export async function sendDecision(world: World, workflowId: string, proof: string, decision: 'approve' | 'reject' = 'approve'): Promise<DecideAnswer> {
  return world.client.workflow.getHandle(workflowId).executeUpdate<DecideAnswer, [object]>('decide', { args: [{ proof, decision }] });
}

/** The result of a procedure that ends by itself, without skipping time (the harness's own client would skip to the run's limit). */
export async function resultOf<T extends RevokeResult | RecoverResult | EraseResult>(world: World, workflowId: string): Promise<T> {
  return plain(world).workflow.getHandle(workflowId).result() as Promise<T>;
}

export async function failureOf(world: World, workflowId: string): Promise<unknown> {
  return plain(world).workflow.getHandle(workflowId).result().then(() => undefined, (error: unknown) => error);
}

/** Temporal's client without the test environment's time skipping. */
export function plain(world: World): Client {
  return new Client({ connection: world.client.connection });
}

/** Lets time pass for the server and for KMS alike. */
export async function pass(world: World, ms: number): Promise<void> {
  await world.env!.sleep(ms);
  await world.kms.admin.setClock(await world.now());
}

export async function audited(world: World, filter: Partial<AuditEntry> = {}): Promise<AuditEntry[]> {
  const found: AuditEntry[] = [];
  for await (const row of world.store.real.readAudit()) {
    if (Object.entries(filter).every(([name, value]) => row.entry[name as keyof AuditEntry] === value)) found.push(row.entry);
  }
  return found;
}

export async function kinds(world: World): Promise<string[]> {
  return (await world.received()).map((m) => m.kind);
}

/** What the application does all day. */
export async function encrypt(world: World, purpose: string, text = 'marks of pupil 17'): Promise<Uint8Array> {
  return world.application.get(REGIONS[0])!.encrypt(await world.keyId(purpose), Buffer.from(text), CONTEXT);
}

/** The text, or the name of the error with which KMS refused. */
export async function decrypt(world: World, keyId: string, ciphertext: Uint8Array, region: string = REGIONS[0]): Promise<string> {
  try {
    return Buffer.from(await world.application.get(region)!.decrypt(keyId, ciphertext, CONTEXT)).toString();
  } catch (error) {
    return (error as { cause?: Error }).cause?.name ?? String(error);
  }
}

export async function policies(world: World, keyId: string): Promise<string[]> {
  return Promise.all(REGIONS.map((r) => world.root.get(r)!.policy(keyId)));
}

/** Operations that change a key, as KMS logged them since `since`. */
export async function writes(world: World, since: Date): Promise<string[]> {
  return (await world.kms.admin.calls({ since: since.toISOString() })).filter((c) => !c.readOnly && c.eventType === 'AwsApiCall').map((c) => c.operation);
}
