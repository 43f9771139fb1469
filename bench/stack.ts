import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { RegionalKms } from '../activities/kms';
import { disablePlan } from '../activities/planning';
import { MAX_APPROVAL_MS, type ApprovalClaims } from '../domain/approval';
import { parseConfig, type Config } from '../domain/config';
import { PURPOSES, WORKFLOW_QUEUE, type Role } from '../domain/names';
import type { Plan } from '../domain/plan';
import type { ProcedureStatus } from '../domain/status';
import { demoFiles } from '../local/demo/files';
import { signAs } from '../local/demo/identities';
import { prepareDemo } from '../local/demo/prepare';
import { LocalKmsAdmin } from '../local/kms/admin';
import { devEnvironment, devFiles, startDevStack, type DevStack } from '../local/supervise';
import type { LocalCredentials } from '../worker/credentials';
import { makeKeys, type MadeKey } from './keys';

/** A purpose of the configuration for each key: keys are named as people name them. */
const purposeOf = (n: number): string => `bench-${String(n).padStart(5, '0')}`;

/** A whole development stack of the benchmarks' own, in a folder that goes with it. */
export class BenchStack {
  private made = 0;
  readonly revoked: string[] = [];

  private constructor(
    readonly dataDir: string,
    private readonly stack: DevStack,
    readonly config: Config,
    readonly client: Client,
    readonly admin: LocalKmsAdmin,
    /** With the rights of a duty or a person, by name. */
    readonly kms: (who: string) => ReadonlyMap<string, RegionalKms>,
  ) {}

  /** With room for so many keys, quotas off, and nothing in it. */
  static async start(keys: number, log: (line: string) => void, changes: Partial<Config> = {}): Promise<BenchStack> {
    const dataDir = mkdtempSync(join(tmpdir(), 'keywarden-bench-'));
    const files = demoFiles(dataDir);
    const stack = await startDevStack({
      dataDir,
      account: '000000000000',
      regions: ['us-east-1', 'us-west-2'],
      topics: ['keywarden-security'],
      environment: { KEYWARDEN_DEV_CREDENTIALS: files.credentials, AWS_ACCESS_KEY_ID: 'AKIALOCALSNS', AWS_SECRET_ACCESS_KEY: 'local', KEYWARDEN_WORKFLOW_BUNDLE: join(__dirname, 'workflow-bundle.js') },
      log,
      signals: false,
      prepare: (dir, facts) => prepareDemo(dir, facts, { ...changes, purposes: [...PURPOSES, ...Array.from({ length: keys }, (_, i) => purposeOf(i))] }),
    });
    const { kms: endpoint, temporal } = stack.ready;
    const admin = new LocalKmsAdmin(endpoint);
    await admin.setQuotas('off');
    const config = parseConfig(JSON.parse(readFileSync(files.config, 'utf8')), { kmsEndpoint: endpoint });
    const credentials = JSON.parse(readFileSync(files.credentials, 'utf8')) as LocalCredentials;
    const clients = new Map<string, ReadonlyMap<string, RegionalKms>>();
    const kms = (who: string): ReadonlyMap<string, RegionalKms> => {
      const found = clients.get(who) ?? new Map(config.regions.map((region) => [region, new RegionalKms(region, { endpoint, credentials: credentials[who]! })]));
      clients.set(who, found);
      return found;
    };
    return new BenchStack(dataDir, stack, config, new Client({ connection: await Connection.connect({ address: temporal }) }), admin, kms);
  }

  /** What a command needs to find the stack. */
  get environment(): Record<string, string> {
    const files = demoFiles(this.dataDir);
    return { ...devEnvironment(this.stack.facts, this.dataDir), KEYWARDEN_DEV_CREDENTIALS: files.credentials, KEYWARDEN_IDENTITIES: files.identities };
  }

  get workerPid(): number {
    return (JSON.parse(readFileSync(devFiles(this.dataDir).pids, 'utf8')) as { worker: { pid: number } }).worker.pid;
  }

  /** New keys, as `initializeKeys` makes them, enabled or already down. */
  async keys(count: number, o: { disabled?: boolean } = {}): Promise<MadeKey[]> {
    const purposes = Array.from({ length: count }, () => purposeOf(this.made++));
    return makeKeys(this, purposes, o.disabled === true);
  }

  /** Signs as a person of the demo. */
  async sign(name: string, role: Role, plan: Plan): Promise<string> {
    const iat = Date.now();
    const claims: ApprovalClaims = { typ: 'keywarden-approval', v: 1, decision: 'approve', role, plan, iat, exp: iat + MAX_APPROVAL_MS, jti: randomUUID() };
    return signAs(demoFiles(this.dataDir).identities, name, 'keywarden-approval+jws', claims);
  }

  /** A revocation ready to be started: signed, if it needs a signature. */
  async revocation(key: MadeKey, signed = true): Promise<() => Promise<WorkflowHandle>> {
    const input = { key: key.purpose, reason: 'benchmark' };
    const workflowId = `revokeKey-${key.purpose}-${randomUUID()}`;
    const proof = signed ? await this.sign('alice', 'EmergencyKeyAdmin', disablePlan(this.config, input, key, { workflowId })) : undefined;
    return async () => this.client.workflow.start('revokeKey', { taskQueue: WORKFLOW_QUEUE, workflowId, args: [{ ...input, ...(proof === undefined ? {} : { proof }) }] });
  }

  /** Waits until the revocation has done all that it does at once: what it still did would slow the next measurement. */
  async atRest(handle: WorkflowHandle): Promise<void> {
    for (;;) {
      const status = await handle.query<ProcedureStatus>('status');
      if (['alert', 'open-window', 'prove-effect', 'census'].every((name) => status.steps.find((s) => s.name === name)?.state === 'done')) return;
      await pause(50);
    }
  }

  async stop(): Promise<void> {
    await this.client.connection.close();
    await this.stack.stop();
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}
