/** The service without its socket: from a signed request to an answer. One instance holds every Region. */
import { randomUUID } from 'node:crypto';
import { Call, LaggingView, type Settings, type View } from './call';
import { CallLog, isCryptographic, isReadOnly, type CallRecord } from './call-log';
import type { CallerClaim } from './credential-scope';
import { Agenda } from './due-events';
import { accessDenied, KmsError, serialization, serverFault, throttled } from './errors';
import { Faults, type Fault, type Occasion } from './faults';
import { namedKeys } from './named-keys';
import { OPERATIONS } from './operations';
import { keyArn, type StoredPrincipal } from './model';
import { parseIdentityPolicy } from './policy-document';
import { readPrincipal, type Principal } from './principals';
import type { Quotas } from './quotas';
import { costsOf } from './request-costs';
import type { Change, Store } from './store';
import { readInput } from './validate';

/** `answer`: what to send. `drop`: cut the connection. `silent`: keep it open and say nothing. */
export type Outcome = { kind: 'answer'; status: number; body: string; requestId: string } | { kind: 'drop' | 'silent' };

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class KmsService {
  readonly faults = new Faults();
  private readonly agenda: Agenda;
  private readonly principals = new Map<string, Principal>();

  constructor(readonly store: Store, readonly settings: Settings, readonly quotas: Quotas, readonly calls: CallLog) {
    this.agenda = new Agenda(store);
  }

  /** Emulated time: real time plus a durable offset, milliseconds. */
  now(): number {
    return Date.now() + (this.store.get('clock', 'clock')?.offset ?? 0);
  }

  async setClock(time: number): Promise<void> {
    this.commit([['clock', 'clock', { offset: time - Date.now() }]]);
    this.runDueEvents();
    await this.store.durable();
  }

  /** Throws on an ARN or an identity policy that cannot be evaluated. */
  async addPrincipal(accessKeyId: string, stored: StoredPrincipal): Promise<void> {
    readPrincipal(accessKeyId, stored.arn);
    if (stored.identityPolicy !== undefined) parseIdentityPolicy(stored.identityPolicy);
    this.principals.delete(accessKeyId);
    this.commit([['principal', accessKeyId, stored]]);
    await this.store.durable();
  }

  async handle(claim: CallerClaim, operationName: string, body: string): Promise<Outcome> {
    const requestId = randomUUID();
    const record: CallRecord = {
      time: '', region: claim.region, accessKeyId: claim.accessKeyId, operation: operationName, requestId, readOnly: isReadOnly(operationName), eventType: 'AwsApiCall',
    };
    let outcome: Outcome;
    try {
      const principal = this.principalOf(claim.accessKeyId);
      record.principalArn = principal.arn;
      outcome = await this.answer(claim.region, principal, operationName, body, requestId, record);
    } catch (error) {
      outcome = failure(error, requestId, record);
    }
    record.time = new Date(this.now()).toISOString();
    if (outcome.kind !== 'answer') record.answerLost = true;
    this.calls.add(record);
    return outcome;
  }

  private async answer(region: string, principal: Principal, name: string, body: string, requestId: string, record: CallRecord): Promise<Outcome> {
    const operation = OPERATIONS.get(name);
    if (operation === undefined) throw new KmsError('UnknownOperationException');
    const request = parseBody(body);
    const occasion: Occasion = {
      region, operation: name, accessKeyId: principal.accessKeyId, principalArn: principal.arn,
      keyNames: () => namedKeys(this.store, this.settings.account, region, request),
    };
    const faults = this.faults.strike(occasion);
    for (const fault of faults) if (fault.kind === 'latency') await wait(fault.ms ?? 1000);
    for (const { kind } of faults) if (kind === 'silent' || kind === 'drop-before') return { kind: kind === 'silent' ? 'silent' : 'drop' };
    for (const fault of faults) raise(fault, name, principal);

    this.quotas.spend(principal.account, costsOf(name, region, request));
    for (const keyId of isReadOnly(name) ? [] : namedKeys(this.store, this.settings.account, region, request, 'ids')) this.quotas.heat(name, keyId, region);
    const input = readInput(operation.shape, request);
    this.runDueEvents();
    const call = new Call(name, region, principal, requestId, this.now(), this.settings, this.viewFor(name, region), this.store);
    let output: object;
    try {
      output = (await operation.run(call, input)) ?? {};
    } finally {
      record.keyArn = call.trace.keyArn;
      record.encryptionContextKeys = call.trace.encryptionContextKeys;
    }
    this.finish(call, occasion, request, record);
    // also an answer that rests on another's change, as a repeated DisableKey does, waits until that is on disk
    if (!isCryptographic(name)) await this.store.durable();
    if (faults.some(({ kind }) => kind === 'drop-after')) return { kind: 'drop' };
    return { kind: 'answer', status: 200, body: JSON.stringify(output), requestId };
  }

  /** Writes the changes, begins the lags that faults ask for, and notes what other Regions' records need. */
  private finish(call: Call, occasion: Occasion, request: Record<string, unknown>, record: CallRecord): void {
    if (call.changes.length > 0) {
      this.beginLags(occasion, call.changes);
      this.commit(call.changes);
    }
    if (isCryptographic(call.operation) && call.trace.keyArn !== undefined) this.settings.usage.note(call.trace.keyArn, { operation: call.operation, at: call.now, requestId: call.requestId });
    const elsewhere = { ...record, time: new Date(call.now).toISOString(), requestId: randomUUID() };
    if (call.operation === 'ReplicateKey') this.calls.add({ ...elsewhere, operation: 'CreateKey', region: String(request.ReplicaRegion) });
    if (call.operation === 'UpdatePrimaryRegion') this.calls.add({ ...elsewhere, region: String(request.PrimaryRegion) });
  }

  private beginLags(occasion: Occasion, changes: readonly Change[]): void {
    for (const { ms, region } of this.faults.strikeChange(occasion)) this.store.rememberPrevious(changes, Date.now() + (ms ?? 1000), region);
  }

  private commit(changes: readonly Change[]): void {
    this.store.commit(changes);
    this.agenda.noteChanges(changes);
  }

  private runDueEvents(): void {
    this.agenda.run(this.now(), (event, changes) => {
      const { account } = this.settings;
      this.beginLags({ region: event.region, operation: event.name, accessKeyId: '', principalArn: '', keyNames: () => [event.keyId, keyArn(account, event.region, event.keyId)] }, changes);
      this.commit(changes);
      this.calls.add({
        time: new Date(event.at).toISOString(), region: event.region, operation: event.name === 'RotateKeyOnDemand' ? 'RotateKey' : event.name,
        keyArn: keyArn(account, event.region, event.keyId), requestId: randomUUID(), readOnly: false, eventType: 'AwsServiceEvent',
      });
    });
  }

  /** Changes always see the truth; reads and cryptography may lag. */
  private viewFor(operation: string, region: string): View {
    return isReadOnly(operation) && this.store.hasLag() ? new LaggingView(this.store, region) : this.store;
  }

  private principalOf(accessKeyId: string): Principal {
    let principal = this.principals.get(accessKeyId);
    if (principal === undefined) {
      const stored = this.store.get('principal', accessKeyId);
      if (stored === undefined) throw new KmsError('UnrecognizedClientException', 'The security token included in the request is invalid.');
      this.principals.set(accessKeyId, (principal = readPrincipal(accessKeyId, stored.arn, stored.identityPolicy)));
    }
    return principal;
  }
}

function raise(fault: Fault, operation: string, principal: Principal): void {
  if (fault.kind === 'throttle') throw throttled();
  if (fault.kind === 'deny') throw accessDenied(`User: ${principal.arn} is not authorized to perform: kms:${operation} because no resource-based policy allows the kms:${operation} action`);
  if (fault.kind === 'error') throw serverFault(fault.errorCode ?? 'KMSInternalException', 'An injected fault.', fault.status ?? 500);
}

function parseBody(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body === '' ? '{}' : body);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // falls through to the service's own word for it
  }
  throw serialization('The request body is not a JSON object');
}

function failure(error: unknown, requestId: string, record: CallRecord): Outcome {
  const known = error instanceof KmsError ? error : new KmsError('KMSInternalException', 'The local KMS failed; its log says why.', 500);
  if (known !== error) console.error(`local KMS: ${record.operation} ${requestId} failed`, error);
  record.errorCode = known.code;
  record.errorMessage = known.message;
  return { kind: 'answer', status: known.status, body: JSON.stringify({ __type: known.code, ...(known.message === '' ? {} : { message: known.message }) }), requestId };
}
