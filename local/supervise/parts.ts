import { PART_NAMES, type FromPart, type PartInfo, type PartName, type PartOptions, type ToPart } from './part-messages';

/** Parts that stand outside this folder; given lazily, so that each process loads only its own. */
export interface InjectedParts {
  startLocalKms(o: PartOptions['kms']): Promise<{ url: string; stop(): Promise<void> }>;
  /** Calls `ready` when it polls. */
  startWorker(o: PartOptions['worker'] & { ready(): void }): Promise<{ stop(): Promise<void> }>;
}

interface Running {
  stop(): Promise<void>;
  /** Ends when the part cannot go on. */
  exited?: Promise<void>;
}

/** How long a part may take to end when no supervisor is left to lose patience with it. */
const ORPHAN_GRACE_MS = 5_000;

/** The body of the hidden `_part NAME JSON` command: one part in a process of its own, tied to its supervisor. */
export async function runPart(name: string, args: string[], injected: InjectedParts): Promise<void> {
  if (!isPartName(name) || process.send === undefined) {
    process.stderr.write('_part is for `keywarden dev` alone\n');
    process.exit(2);
  }
  let running: Running | undefined;
  let stopping = false;
  const stop = () => {
    if (stopping) return;
    stopping = true;
    // not started yet: its start ends below
    if (running !== undefined) void running.stop().finally(() => process.exit(0));
  };
  process.on('message', (m: ToPart) => m.type === 'stop' && stop());
  // the supervisor died, however that happened
  const orphaned = () => {
    setTimeout(() => process.exit(1), ORPHAN_GRACE_MS);
    stop();
  };
  process.on('disconnect', orphaned);
  process.on('SIGTERM', stop);
  // Ctrl-C and a closed terminal reach every process of the group: the supervisor alone decides, in its order
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined);
  if (!process.connected) orphaned();
  try {
    running = await start(name, JSON.parse(args[0] ?? '{}'), injected);
  } catch (e) {
    say({ type: 'failed', message: (e as Error).message });
    process.stderr.write(`${(e as Error).stack}\n`);
    process.exit(1);
  }
  void running.exited?.then(() => stopping || process.exit(1));
  if (stopping) void running.stop().finally(() => process.exit(0));
}

async function start<N extends PartName>(name: N, options: PartOptions[N], injected: InjectedParts): Promise<Running> {
  const ready = (info: PartInfo = {}) => say({ type: 'ready', info });
  switch (name) {
    case 'temporal': {
      const { startTemporalServer } = await import('../temporal/start-server');
      const log = (line: string) => void process.stdout.write(`${line}\n`);
      const server = await startTemporalServer({ ...(options as PartOptions['temporal']), log, onSpawn: (pid) => say({ type: 'child', pid }) });
      ready();
      return server;
    }
    case 'sns': {
      const { startLocalSns } = await import('../sns');
      const sns = await startLocalSns(options as PartOptions['sns']);
      ready({ url: sns.url, topicArns: sns.topicArns });
      return sns;
    }
    case 'kms': {
      const kms = await injected.startLocalKms(options as PartOptions['kms']);
      ready({ url: kms.url });
      return kms;
    }
    default:
      return injected.startWorker({ ...(options as PartOptions['worker']), ready: () => ready() });
  }
}

function isPartName(name: string): name is PartName {
  return (PART_NAMES as readonly string[]).includes(name);
}

function say(message: FromPart): void {
  // the supervisor may be gone; `disconnect` tells
  process.send?.(message, undefined, undefined, () => undefined);
}
