import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SNSClient } from '@aws-sdk/client-sns';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { Client } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { NativeConnection, Runtime, Worker, type NativeConnectionOptions, type WorkerOptions } from '@temporalio/worker';
import { activitiesOf } from '../activities';
import type { Deps } from '../activities/deps';
import { RegionalKms } from '../activities/kms';
import { systemClock, type Clock } from '../domain/clock';
import { isDevelopment, type Config } from '../domain/config';
import { KeywardenError } from '../domain/errors';
import { activityQueue, DUTIES, WORKFLOW_QUEUE, type Duty } from '../domain/names';
import { AuditTrail } from '../stores/auditTrail';
import { Journal } from '../stores/journal';
import { openStore } from '../stores/open';
import type { Store } from '../stores/store';
import { localClock } from './clock';
import { loadConfig } from './config';
import { credentialsFor, type Who } from './credentials';
import { registerSearchAttributes } from './searchAttributes';

/** Workflows kept in memory; a waiting one is rebuilt from its history in milliseconds, so few are enough and memory stays flat. */
export const CACHED_WORKFLOWS = 40;

export interface WorkerRun {
  duty: Duty | 'all';
  /** Called when every queue is polled. */
  ready?(): void;
  /** For tests: parts made by the caller instead of from the environment. */
  parts?: Partial<{ config: Config; store: Store; connection: NativeConnection; namespace: string; clock: Clock; workerOptions: Partial<WorkerOptions>; wrap(deps: Deps): Deps }>;
}

/** Runs the queues of a duty, and workflow tasks; `all` three only in development. */
export async function startWorker(run: WorkerRun): Promise<{ stop(): Promise<void>; failed: Promise<never> }> {
  const env = process.env;
  const kmsEndpoint = env['AWS_ENDPOINT_URL_KMS'];
  const report = (problem: unknown): void => Runtime.instance().logger.warn(problem instanceof Error ? problem.message : String(problem));
  const config = run.parts?.config ?? (await loadConfig(env));
  const development = isDevelopment(config, kmsEndpoint);
  if (run.duty === 'all' && !development) {
    throw new KeywardenError('KW-CONFIG', 'one process may hold all duties only in development on a loopback KMS', { path: '--duty', notDone: 'the worker did not start', next: 'start one worker each with --duty routine, emergency, recovery' });
  }
  const temporal = loadClientConnectConfig();
  const namespace = run.parts?.namespace ?? temporal.namespace ?? 'default';
  const connection = run.parts?.connection ?? (await connect(temporal.connectionOptions));
  const client = new Client({ connection, namespace });
  const searchable = await registerSearchAttributes(connection, namespace);
  const store = run.parts?.store ?? (await openStore(env['KEYWARDEN_DATABASE_URL'] ?? 'file:keywarden.db'));
  const migrating = run.parts?.store === undefined ? await migrateSoon(store, report) : undefined;
  const local = development && kmsEndpoint !== undefined && run.parts?.clock === undefined ? localClock(kmsEndpoint) : undefined;
  await local?.refresh();
  const clock = run.parts?.clock ?? local ?? systemClock;

  const duties = run.duty === 'all' ? [...DUTIES] : [run.duty];
  const workers: Worker[] = [];
  const closers: (() => Promise<void> | void)[] = [];
  for (const duty of duties) {
    const kms = kmsClients(config, duty);
    // without time-outs an SNS that never answers would keep the room of activities, and with it a later DisableKey (rule 2)
    const requestHandler = new NodeHttpHandler({ connectionTimeout: 1_500, requestTimeout: 3_000, throwOnRequestTimeout: true });
    const sns = new SNSClient({ region: config.alerts.topicArn.split(':')[3]!, maxAttempts: 2, credentials: credentialsFor(duty), requestHandler });
    const trail = new AuditTrail(store, config.audit === undefined ? undefined : new Journal(config.audit.journal, `${duty}-${process.pid}`), report);
    const made: Deps = { duty, config, development, clock, kms, store, trail, sns, temporal: client, searchable };
    const deps = run.parts?.wrap?.(made) ?? made;
    const drain = setInterval(() => void deps.trail.drain().catch(() => undefined), 2_000);
    drain.unref();
    workers.push(await Worker.create({ connection, namespace, taskQueue: activityQueue(duty), activities: activitiesOf(deps), shutdownGraceTime: '5 s', maxConcurrentActivityTaskExecutions: 50, maxHeartbeatThrottleInterval: '2 s', ...run.parts?.workerOptions }));
    closers.push(() => clearInterval(drain), () => sns.destroy(), () => [...kms.values()].forEach((k) => k.close()));
  }
  workers.push(await Worker.create({ connection, namespace, taskQueue: WORKFLOW_QUEUE, ...workflowSource(), maxCachedWorkflows: CACHED_WORKFLOWS, shutdownGraceTime: '5 s', ...run.parts?.workerOptions }));

  const running = workers.map((w) => w.run());
  const failed = Promise.race(running.map((r) => r.then(() => new Promise<never>(() => undefined))));
  run.ready?.();
  return {
    failed,
    async stop() {
      clearInterval(migrating);
      for (const w of workers) if (w.getState() === 'RUNNING') w.shutdown();
      await Promise.allSettled(running);
      local?.stop();
      for (const close of closers) await close();
      if (run.parts?.store === undefined) await store.close();
      if (run.parts?.connection === undefined) await connection.close();
    },
  };
}

export function kmsClients(config: Config, who: Who): Map<string, RegionalKms> {
  const credentials = credentialsFor(who);
  const endpoint = process.env['AWS_ENDPOINT_URL_KMS'];
  return new Map(config.regions.map((region) => [region, new RegionalKms(region, { ...(credentials === undefined ? {} : { credentials }), ...(endpoint === undefined ? {} : { endpoint }) })]));
}

async function connect(options: NativeConnectionOptions): Promise<NativeConnection> {
  try {
    return await NativeConnection.connect(options);
  } catch (cause) {
    throw new KeywardenError('KW-TEMPORAL', `Temporal at ${options.address ?? 'its default address'} does not answer`, { notDone: 'the worker did not start', next: 'start Temporal or correct TEMPORAL_ADDRESS, then start the worker again', cause });
  }
}

/** A database that is down does not keep a worker from disabling keys (rule 2): its schema is looked after when it answers. */
async function migrateSoon(store: Store, report: (problem: unknown) => void): Promise<NodeJS.Timeout | undefined> {
  const migrate = async (): Promise<boolean> =>
    store.migrate().then(() => true, (error: unknown) => {
      if (error instanceof KeywardenError && error.code === 'KW-STORE') {
        report(error);
        return false;
      }
      throw error;
    });
  if (await migrate()) return undefined;
  const timer = setInterval(() => void migrate().then((done) => done && clearInterval(timer), report), 5_000);
  timer.unref();
  return timer;
}

/** The bundle made by the build; in tests the sources. */
function workflowSource(): Pick<WorkerOptions, 'workflowBundle' | 'workflowsPath'> {
  const codePath = process.env['KEYWARDEN_WORKFLOW_BUNDLE'] ?? join(__dirname, 'workflow-bundle.js');
  if (existsSync(codePath)) return { workflowBundle: { codePath } };
  return { workflowsPath: join(__dirname, '../workflows/index.ts') };
}
