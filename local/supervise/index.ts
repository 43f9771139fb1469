import { mkdirSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { devEnvironment, devFiles, partEnvironment, runningStack, WORKER_ALLOCATOR, type DevReady, type DevStackFacts } from './dev-environment';
import { takeLock } from './folder-lock';
import { endLeftovers, ProcessRecord } from './leftovers';
import { LocalError } from './local-error';
import type { Duty, PartName, PartOptions } from './part-messages';
import { PartProcess } from './part-process';
import { choosePorts, type Ports } from './ports';
import { stopOnSignals } from './signals';
import { writeJson } from './state-file';

export { devEnvironment, devFiles, runningStack, type DevReady, type DevStackFacts } from './dev-environment';
export { LocalError } from './local-error';
export { runPart, type InjectedParts } from './parts';

export interface DevStackOptions {
  /** Holds all state; made where missing. */
  dataDir: string;
  ports?: Partial<Ports>;
  log(line: string): void;
  /** The Node program that takes `_part NAME JSON`: by default this very bundle. */
  entry?: string;
  /** Path of the Temporal CLI; found where left out. */
  temporalCli?: string;
  account?: string;
  /** The first is the primary Region. */
  regions?: string[];
  topics?: string[];
  /** Added to the environment of the parts, as the worker's credentials. */
  environment?: Record<string, string>;
  workerArgs?: { duty?: Duty; execArgv?: string[] };
  /** Called at each start when Temporal, KMS and SNS are up and no worker runs: people, configuration, own keys. */
  prepare?(dataDir: string, stack: DevStackFacts): Promise<void>;
  /** SIGINT, SIGTERM and SIGHUP stop the stack; true where left out. */
  signals?: boolean;
}

export interface DevStack {
  ready: DevReady;
  facts: DevStackFacts;
  stop(): Promise<void>;
  /** Called once when the stack has stopped: `failed` when a part could not be kept up. */
  onExit(listener: (end: { why: string; failed: boolean }) => void): void;
}

/** Together at most 15 seconds: the worker ends its tasks, then what it stands on goes. */
const GRACE_MS: Record<PartName, number> = { worker: 7_000, temporal: 5_000, kms: 2_000, sns: 2_000 };

/** Temporal, local KMS, SNS, and then a worker: each a process of its own, kept up until `stop`. */
export async function startDevStack(o: DevStackOptions): Promise<DevStack> {
  const dataDir = resolve(o.dataDir);
  const files = devFiles(dataDir);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const lock = takeLock(files.lock);
  if ('heldBy' in lock) throw alreadyRunning(dataDir, lock.heldBy.pid);

  const parts = new Map<PartName, PartProcess>();
  const listeners: ((end: { why: string; failed: boolean }) => void)[] = [];
  let isReady = false;
  let stopped: Promise<void> | undefined;
  let interrupted: (why: Error) => void = () => undefined;
  const interruption = new Promise<never>((_, reject) => (interrupted = reject));
  interruption.catch(() => undefined);

  const stop = (why = 'stopped', failed = false): Promise<void> => {
    stopped ??= (async () => {
      interrupted(new LocalError('KW-DEV-PART', `${why} before the stack was ready`));
      const end = (name: PartName) => parts.get(name)?.stop(GRACE_MS[name]);
      await end('worker');
      await end('temporal');
      await Promise.all([end('kms'), end('sns')]);
      unhook();
      for (const file of [files.stack, files.pids]) rmSync(file, { force: true });
      lock.release();
      for (const listener of listeners) listener({ why, failed });
    })();
    return stopped;
  };
  const unhook = o.signals === false ? () => undefined : stopOnSignals({
    first: async (signal) => {
      o.log(`${signal}: stopping`);
      await stop(signal);
      // before that, the caller learns it from the rejected start
      if (isReady && listeners.length === 0) process.exit(0);
    },
    again: async () => {
      await Promise.all([...parts.values()].map((p) => p.kill()));
    },
  });

  const record = new ProcessRecord(files.pids);
  const start = async <N extends PartName>(name: N, options: PartOptions[N], env: Record<string, string> = {}) => {
    if (stopped !== undefined) throw new LocalError('KW-DEV-PART', 'stopped before the stack was ready');
    const part = new PartProcess({
      name,
      entry: o.entry ?? __filename,
      options,
      env: { ...partEnvironment(process.env), ...o.environment, ...env },
      ...(name === 'worker' && o.workerArgs?.execArgv ? { execArgv: o.workerArgs.execArgv } : {}),
      logFile: files.log(name),
      log: o.log,
      note: (key, identity) => record.note(key, identity),
      onGivingUp: (why) => {
        o.log(why);
        void stop(why, true);
      },
    });
    parts.set(name, part);
    return part.start();
  };

  const bringUp = async (): Promise<DevStackFacts> => {
    await endLeftovers(files.pids, o.log);
    const ports = await choosePorts(files.ports, o.ports ?? {}, o.log);
    const account = o.account ?? '111122223333';
    const regions = o.regions ?? ['eu-central-1', 'eu-west-1'];
    const region = regions[0] as string;
    const startTemporal = async () => {
      const cli = o.temporalCli ?? (await findCli(o.log));
      await start('temporal', { cli, dataDir, port: ports.temporal, uiPort: ports.ui });
      return cli;
    };
    const [temporalCli, kms, sns] = await Promise.all([
      startTemporal(),
      start('kms', { dataDir, host: '127.0.0.1', port: ports.kms, account, regions }),
      start('sns', { dataDir, port: ports.sns, topics: o.topics ?? ['keywarden-security'], account, region }),
    ]);
    const facts: DevStackFacts = {
      temporal: `127.0.0.1:${ports.temporal}`,
      ui: `http://127.0.0.1:${ports.ui}`,
      kms: kms.url ?? `http://127.0.0.1:${ports.kms}`,
      sns: sns.url ?? `http://127.0.0.1:${ports.sns}`,
      database: files.database,
      temporalCli,
      account,
      regions,
      topicArns: sns.topicArns ?? {},
    };
    await o.prepare?.(dataDir, facts);
    await start('worker', { duty: o.workerArgs?.duty ?? 'all' }, { ...WORKER_ALLOCATOR, ...devEnvironment(facts, dataDir), ...o.environment });
    return facts;
  };

  let facts: DevStackFacts;
  try {
    facts = await Promise.race([bringUp(), interruption]);
  } catch (e) {
    await stop((e as Error).message, true);
    throw e;
  }
  writeJson(files.stack, facts);
  isReady = true;
  const { temporal, ui, kms, sns, database, temporalCli } = facts;
  return { ready: { temporal, ui, kms, sns, database, temporalCli }, facts, stop: () => stop(), onExit: (listener) => void listeners.push(listener) };
}

async function findCli(log: (line: string) => void): Promise<string> {
  const { findTemporalCli } = await import('../temporal/find-cli');
  return (await findTemporalCli(log)).path;
}

function alreadyRunning(dataDir: string, pid: number): LocalError {
  const ui = runningStack(dataDir)?.ui;
  return new LocalError('KW-DEV-RUNNING', `process ${pid} already runs a stack on ${dataDir}${ui === undefined ? '' : ` (${ui})`}`, 'use that one, stop it, or give another folder with --data');
}
