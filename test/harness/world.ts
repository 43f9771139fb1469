/**
 * One whole Keywarden on this machine for a test file: a real Temporal server, the local KMS over HTTP, SNS in a process of its own,
 * an embedded store that can fail on command, and a worker with all duties.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection, defaultGrpcRetryOptions, makeGrpcRetryInterceptor } from '@temporalio/client';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, NativeConnection, Runtime } from '@temporalio/worker';
import type { RegionalKms } from '../../activities/kms';
import { cutoverPlan, disablePlan, erasurePlan, recoveryPlan, revocationPlan, rotationPlan } from '../../activities/planning';
import { resolveTarget } from '../../activities/targets';
import type { ApprovalClaims } from '../../domain/approval';
import { parseConfig, type Config } from '../../domain/config';
import type { EraseInput, RecoverInput, RevokeInput, RotateInput } from '../../domain/inputs';
import { aliasOf, WORKFLOW_QUEUE, type Role } from '../../domain/names';
import { widens, type Plan } from '../../domain/plan';
import type { ProcedureStatus } from '../../domain/status';
import { signAs } from '../../local/demo/identities';
import { demoFiles } from '../../local/demo/files';
import { prepareDemo } from '../../local/demo/prepare';
import { startLocalKms, type LocalKms } from '../../local/kms';
import { readReceived } from '../../local/sns';
import { findTemporalCli, startTemporalServer, type TemporalServer } from '../../local/temporal/server';
import { openStore } from '../../stores/open';
import { kmsClients, startWorker, type WorkerRun } from '../../worker';
import { bundleFixture } from '../local-stack/fixture/run-stack';
import { FaultyStore } from '../stores/faultyStore';

export const ACCOUNT = '000000000000';
export const REGIONS = ['us-east-1', 'us-west-2'] as const;
const DAY = 86_400_000;
/** The longest that the client waits until it tries a call again. */
const RETRY_MS = 300;
/** The workflows as they were when this test file began, like the activities: another run may build them anew meanwhile. */
const BUNDLE = readFileSync(join(__dirname, '../../dist/workflow-bundle.js'));

export interface WorldOptions {
  /** The time-skipping server: seven days pass in a second. One workflow tree a world. */
  timeSkipping?: boolean;
  /** Changes to the demo configuration. */
  config?: Partial<Config>;
  /** Start without a worker. */
  noWorker?: boolean;
  /** More arguments for the dev server. */
  temporalArguments?: string[];
}

export class World {
  readonly dataDir = mkdtempSync(join(tmpdir(), 'keywarden-world-'));
  kms!: LocalKms;
  snsUrl!: string;
  config!: Config;
  store!: FaultyStore;
  client!: Client;
  native!: NativeConnection;
  temporal: TemporalServer | undefined;
  env: TestWorkflowEnvironment | undefined;
  /** What an operator may read of KMS. */
  operator!: Map<string, RegionalKms>;
  /** The application, which encrypts and decrypts. */
  application!: Map<string, RegionalKms>;
  /** Account root. */
  root!: Map<string, RegionalKms>;
  private worker: Awaited<ReturnType<typeof startWorker>> | undefined;
  private sns: ChildProcess | undefined;
  private started = 0;
  private stopping = false;

  /** Milliseconds since the epoch, as the Temporal server tells them. */
  now = async (): Promise<number> => (this.env === undefined ? Date.now() : this.env.currentTimeMs());

  async start(o: WorldOptions): Promise<this> {
    quiet();
    writeFileSync(join(this.dataDir, 'workflow-bundle.js'), BUNDLE);
    this.kms = await startLocalKms({ dataDir: join(this.dataDir, 'kms'), account: ACCOUNT, regions: [...REGIONS], quotas: 'off', eventsFile: true });
    const sns = await this.startSns();
    const stack = { kms: this.kms.url, account: ACCOUNT, regions: [...REGIONS], topicArns: sns.topicArns };
    await prepareDemo(this.dataDir, stack, o.config);
    const files = demoFiles(this.dataDir);
    Object.assign(process.env, { AWS_ENDPOINT_URL_KMS: this.kms.url, AWS_ENDPOINT_URL_SNS: this.snsUrl, KEYWARDEN_DEV_CREDENTIALS: files.credentials, KEYWARDEN_CONFIG: files.config, KEYWARDEN_IDENTITIES: files.identities, KEYWARDEN_WORKFLOW_BUNDLE: join(this.dataDir, 'workflow-bundle.js'), AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' });
    this.config = parseConfig(JSON.parse(readFileSync(files.config, 'utf8')), { kmsEndpoint: this.kms.url });
    const database = `file:${join(this.dataDir, 'keywarden.db')}`;
    process.env['KEYWARDEN_DATABASE_URL'] = database;
    this.store = new FaultyStore(await openStore(database));
    await this.store.migrate();
    this.operator = kmsClients(this.config, 'operator');
    this.application = kmsClients(this.config, 'application');
    this.root = kmsClients(this.config, 'root' as never);
    if (o.timeSkipping === true) {
      this.env = await TestWorkflowEnvironment.createTimeSkipping({ server: { executable: { type: 'existing-path', path: process.env['KEYWARDEN_TEST_SERVER'] ?? (await testServer()) } } });
      this.client = this.env.client;
      this.native = this.env.nativeConnection;
    } else {
      await this.startTemporal(o.temporalArguments);
    }
    if (o.noWorker !== true) await this.startWorker();
    return this;
  }

  /** Starts the dev server on the world's folder; a second time on the same ports, with everything it knew. */
  async startTemporal(more: readonly string[] = []): Promise<void> {
    const before = this.temporal;
    let cli = process.env['KEYWARDEN_TEMPORAL_CLI'] ?? (await findTemporalCli(() => undefined)).path;
    if (more.length > 0) {
      const wrapper = join(this.dataDir, 'temporal');
      writeFileSync(wrapper, `#!/bin/sh\nexec '${cli}' "$@" ${more.map((m) => `'${m}'`).join(' ')}\n`, { mode: 0o700 });
      cli = wrapper;
    }
    this.temporal = await startTemporalServer({ cli, dataDir: this.dataDir, log: () => undefined, ...(before === undefined ? {} : { port: Number(before.address.split(':')[1]) }) });
    process.env['TEMPORAL_ADDRESS'] = this.temporal.address;
    if (before !== undefined) return; // the old connections find it again
    const { delayFunction, retryableDecider } = defaultGrpcRetryOptions();
    const retry = makeGrpcRetryInterceptor({ retryableDecider: (attempt, status) => !this.stopping && retryableDecider(Math.ceil(attempt / 4), status), delayFunction: (attempt, status) => Math.min(RETRY_MS, delayFunction(attempt, status)) });
    this.client = new Client({ connection: await Connection.connect({ address: this.temporal.address, interceptors: [retry] }) });
    this.native = await NativeConnection.connect({ address: this.temporal.address });
  }

  async killTemporal(): Promise<void> {
    process.kill(this.temporal!.pid, 'SIGKILL');
    await this.temporal!.exited;
  }

  async startWorker(parts: WorkerRun['parts'] = {}): Promise<void> {
    this.worker = await startWorker({ duty: 'all', parts: { config: this.config, store: this.store, connection: this.native, ...parts } });
    this.worker.failed.catch(() => undefined);
  }

  async stopWorker(): Promise<void> {
    await this.worker?.stop();
    this.worker = undefined;
  }

  private async startSns(): Promise<{ topicArns: Record<string, string> }> {
    const entry = bundleFixture('sns-entry');
    this.sns = spawn(process.execPath, [entry, JSON.stringify({ dataDir: this.dataDir, topics: ['keywarden-security'], account: ACCOUNT, region: REGIONS[0] })], { stdio: ['ignore', 'pipe', 'inherit'] });
    const line = await new Promise<string>((resolve) => this.sns!.stdout!.once('data', (d: Buffer) => resolve(d.toString())));
    rmSync(entry, { force: true });
    const ready = JSON.parse(line) as { url: string; topicArns: Record<string, string> };
    this.snsUrl = ready.url;
    return ready;
  }

  async stop(): Promise<void> {
    this.stopping = true;
    this.store?.heal();
    await this.stopWorker();
    // a call that is tried again on a closed channel throws where nobody catches it, and fails the whole file
    await new Promise((r) => setTimeout(r, RETRY_MS + 100));
    for (const clients of [this.operator, this.application, this.root]) for (const k of clients?.values() ?? []) k.close();
    if (this.env !== undefined) await this.env.teardown();
    else {
      await this.native?.close();
      await this.client?.connection.close();
      await this.temporal?.stop();
    }
    await this.store?.close();
    this.sns?.kill('SIGKILL');
    await this.kms?.stop();
    rmSync(this.dataDir, { recursive: true, force: true });
  }

  // --- what people and programs do

  id(type: string): string {
    return `${type}-test-${process.pid}-${++this.started}`;
  }

  async initialize(...purposes: string[]): Promise<void> {
    await this.client.workflow.execute('initializeKeys', { taskQueue: WORKFLOW_QUEUE, workflowId: this.id('initializeKeys'), args: [purposes.length === 0 ? {} : { purposes }] });
  }

  /** A plan as its signer's machine makes it. */
  async plan(operation: Plan['operation'], input: RevokeInput | RecoverInput | RotateInput | EraseInput, where: { workflowId: string; firstRunId?: string }): Promise<Plan> {
    if (operation === 'eraseSubject') return erasurePlan(this.config, input as EraseInput, where);
    const target = await resolveTarget(this.config, this.operator, (input as RevokeInput).key);
    if (operation === 'rotateKey') {
      const next = (await this.store.real.listKeys()).find((r) => r.replaces?.workflowId === where.workflowId && r.replaces.phase !== 'overlap');
      if (next !== undefined && where.firstRunId !== undefined) return cutoverPlan({ config: this.config, kms: this.operator }, input as RotateInput, next.replaces!.keyId, next.keyId, { workflowId: where.workflowId, firstRunId: where.firstRunId });
      return rotationPlan(this.config, input as RotateInput, target, where);
    }
    if (operation === 'revokeKey' && !widens(input as RevokeInput)) return disablePlan(this.config, input as RevokeInput, target, where);
    const sources = { config: this.config, kms: this.operator, row: await this.store.real.readKey(target.keyId), now: await this.now() };
    return operation === 'revokeKey' ? revocationPlan(sources, input as RevokeInput, target, where) : recoveryPlan(sources, input as RecoverInput, target, where);
  }

  /** A signature. `changes` override claims (hostile or stale ones). */
  async sign(name: string, role: Role, plan: Plan, changes: Partial<ApprovalClaims> = {}): Promise<string> {
    const now = await this.now();
    const claims: ApprovalClaims = { typ: 'keywarden-approval', v: 1, decision: 'approve', role, plan, iat: now, exp: now + 10 * 60_000, jti: crypto.randomUUID(), ...changes };
    return signAs(demoFiles(this.dataDir).identities, name, 'keywarden-approval+jws', claims);
  }

  /** Starts a revocation signed by alice; resolves when it is started. */
  async revoke(input: RevokeInput, o: { workflowId?: string; by?: string; unsigned?: boolean } = {}) {
    const workflowId = o.workflowId ?? this.id('revokeKey');
    const proof = o.unsigned === true ? {} : { proof: await this.sign(o.by ?? 'alice', 'EmergencyKeyAdmin', await this.plan('revokeKey', input, { workflowId })) };
    return this.client.workflow.start('revokeKey', { taskQueue: WORKFLOW_QUEUE, workflowId, args: [{ ...input, ...proof }] });
  }

  /** Starts a recovery; whoever is named signs with the start. */
  async recover(input: RecoverInput, by?: string, role: Role = 'KeyRecoveryAdmin') {
    const workflowId = this.id('recoverKey');
    const proof = by === undefined ? {} : { proof: await this.sign(by, role, await this.plan('recoverKey', input, { workflowId })) };
    return this.client.workflow.start('recoverKey', { taskQueue: WORKFLOW_QUEUE, workflowId, args: [{ ...input, ...proof }] });
  }

  /** A person's decision on a running procedure, by the signal or the Update. */
  async token(workflowId: string, operation: Plan['operation'], input: RevokeInput | RecoverInput | RotateInput | EraseInput, name: string, role: Role, changes: Partial<ApprovalClaims> = {}): Promise<string> {
    const { raw } = await this.client.workflow.getHandle(workflowId).describe();
    const firstRunId = raw.workflowExecutionInfo?.firstRunId || raw.workflowExecutionInfo?.execution?.runId || '';
    return this.sign(name, role, await this.plan(operation, input, { workflowId, firstRunId }), changes);
  }

  async status(workflowId: string): Promise<ProcedureStatus> {
    return this.client.workflow.getHandle(workflowId).query<ProcedureStatus>('status');
  }

  // --- what there is to see

  async keyId(purpose: string): Promise<string> {
    return (await this.operator.get(REGIONS[0])!.describe(aliasOf(this.config, purpose)))!.KeyId!;
  }

  /** KMS's state of a key by Region. */
  async states(keyId: string): Promise<Record<string, string>> {
    return Object.fromEntries(await Promise.all(REGIONS.map(async (r) => [r, (await this.root.get(r)!.describe(keyId))?.KeyState ?? 'absent'] as const)));
  }

  async received(): Promise<{ kind: string; eventId: string; text: string }[]> {
    return readReceived(this.dataDir).map((m) => {
      const a = (m.attributes ?? {}) as Record<string, { Value?: string } | string>;
      const value = (name: string): string => (typeof a[name] === 'string' ? (a[name] as string) : ((a[name] as { Value?: string } | undefined)?.Value ?? ''));
      return { kind: value('kind'), eventId: value('eventId'), text: value('text') };
    });
  }

  async until<T>(what: string, look: () => Promise<T | undefined | false>, ms = 30_000): Promise<T> {
    for (const end = Date.now() + ms; ; await new Promise((r) => setTimeout(r, 50))) {
      const found = await look().catch(() => undefined);
      if (found !== undefined && found !== false) return found;
      if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    }
  }

  /** Waits until the named steps of a procedure are over. */
  async stepsDone(workflowId: string, ...steps: string[]): Promise<ProcedureStatus> {
    let last: ProcedureStatus | undefined;
    return this.until(`${workflowId}: ${steps.join(', ')} done`, async () => {
      const s = (last = await this.status(workflowId));
      return steps.every((n) => ['done', 'skipped', 'failed'].includes(s.steps.find((x) => x.name === n)?.state ?? '')) ? s : undefined;
    }, 60_000).catch((error: Error) => {
      throw new Error(`${error.message}; it says: ${last === undefined ? 'nothing' : `${last.phase}; ${last.steps.map((x) => `${x.name} ${x.state}`).join(', ')}`}`);
    });
  }
}

export async function createWorld(o: WorldOptions = {}): Promise<World> {
  const world = new World();
  try {
    return await world.start(o);
  } catch (error) {
    await world.stop().catch(() => undefined);
    throw error;
  }
}

export const days = (n: number): number => n * DAY;

async function testServer(): Promise<string> {
  const { findTimeSkippingServer } = await import('../../local/temporal/test-server');
  return (await findTimeSkippingServer(() => undefined)).path;
}

let installed = false;
/** What workers of this process logged. */
export const logged: string[] = [];
/** The runtime logs every failed activity; tests make many fail on purpose. */
function quiet(): void {
  if (installed) return;
  installed = true;
  Runtime.install({ logger: new DefaultLogger((process.env['KEYWARDEN_TEST_LOG'] as 'ERROR' | undefined) ?? 'ERROR', (entry) => logged.push(`${entry.message} ${JSON.stringify(entry.meta ?? {}, (_k, v: unknown) => (typeof v === 'bigint' ? String(v) : v))}`)), shutdownSignals: [] });
}
