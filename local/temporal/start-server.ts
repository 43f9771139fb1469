import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { LocalError } from '../supervise/local-error';
import { freePort } from '../supervise/ports';

export interface TemporalServer {
  /** host:port of the frontend. */
  address: string;
  ui: string;
  pid: number;
  stop(): Promise<void>;
  /** Ends when the process does, however that happens. */
  exited: Promise<void>;
}

export interface TemporalServerOptions {
  /** Path of the Temporal CLI. */
  cli: string;
  /** Everything is kept in `temporal.db` here, also over `kill -9`. */
  dataDir: string;
  port?: number;
  uiPort?: number;
  log(line: string): void;
  /** Told the pid at once, before the server is ready: whoever must end it later can. */
  onSpawn?(pid: number): void;
}

const READY_LIMIT_MS = 60_000;

/** The server's inner services open ports of their own choice, and panic when somebody was faster: then it is started once more. */
const STARTS = 3;

export async function startTemporalServer(o: TemporalServerOptions): Promise<TemporalServer> {
  for (let start = 1; ; start++) {
    const tail: string[] = [];
    try {
      return await startOnce(o, tail);
    } catch (e) {
      const text = tail.join('\n');
      const given = [o.port, o.uiPort].some((port) => port !== undefined && port !== 0 && text.includes(`:${port}: bind`));
      if (start === STARTS || given || !text.includes('address already in use')) throw e;
      o.log('a port was taken meanwhile: the Temporal server is started again');
    }
  }
}

async function startOnce(o: TemporalServerOptions, tail: string[]): Promise<TemporalServer> {
  mkdirSync(o.dataDir, { recursive: true });
  const taken = new Set<number>();
  const choose = async (given?: number): Promise<number> => {
    const port = given !== undefined && given !== 0 ? given : await freePort(taken);
    taken.add(port);
    return port;
  };
  const port = await choose(o.port);
  const uiPort = await choose(o.uiPort);
  // two more that it would open at random, on ports that another start may just have been promised
  const args = ['server', 'start-dev', '--db-filename', join(o.dataDir, 'temporal.db'), '--ip', '127.0.0.1', '--port', String(port), '--ui-port', String(uiPort)];
  args.push('--http-port', String(await choose()), '--metrics-port', String(await choose()), '--log-level', 'error');
  // a session of its own: Ctrl-C on the terminal reaches the supervisor, which stops the worker first
  const child = spawn(o.cli, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, env: withoutClientSettings() });
  keepTail(child, o.log, tail);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', (e) => {
      tail.push(e.message);
      resolve();
    });
  });
  // it would outlive this process, whatever the reason that this one exits for
  const endWithUs = () => child.kill('SIGKILL');
  process.once('exit', endWithUs);
  void exited.then(() => process.off('exit', endWithUs));
  if (child.pid !== undefined) o.onSpawn?.(child.pid);
  const address = `127.0.0.1:${port}`;
  try {
    await frontendAnswers(address, exited);
  } catch (e) {
    child.kill('SIGKILL');
    await exited; // the next start needs its database
    throw new LocalError('KW-DEV-PART', `the Temporal server is not ready: ${(e as Error).message}\n${tail.slice(-20).join('\n')}`);
  }
  return { address, ui: `http://127.0.0.1:${uiPort}`, pid: child.pid ?? 0, exited, stop: () => stop(child, exited) };
}

async function stop(child: ChildProcess, exited: Promise<void>): Promise<void> {
  child.kill('SIGTERM');
  const grace = new AbortController();
  await Promise.race([exited, pause(4_000, undefined, { signal: grace.signal }).catch(() => undefined)]);
  grace.abort();
  child.kill('SIGKILL');
  await exited;
}

/** Ready is when the default namespace can be described: the port alone opens earlier. */
async function frontendAnswers(address: string, exited: Promise<void>): Promise<void> {
  const { Connection } = await import('@temporalio/client');
  let ended = false;
  void exited.then(() => (ended = true));
  let last = 'no answer';
  for (const end = Date.now() + READY_LIMIT_MS; Date.now() < end; await pause(100)) {
    if (ended) throw new Error('it ended');
    const connection = Connection.lazy({ address, connectTimeout: 2_000 });
    try {
      await connection.withDeadline(Date.now() + 2_000, () => connection.workflowService.describeNamespace({ namespace: 'default' }));
      return;
    } catch (e) {
      last = (e as Error).message;
    } finally {
      await connection.close();
    }
  }
  throw new Error(`no answer within ${READY_LIMIT_MS / 1000} s: ${last}`);
}

/** The CLI would read an address, keys or a profile meant for clients of another cluster. */
function withoutClientSettings(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TEMPORAL_')));
}

function keepTail(child: ChildProcess, log: (line: string) => void, tail: string[]): void {
  const take = (chunk: Buffer) => {
    for (const line of chunk.toString().split('\n')) {
      if (line.trim() === '') continue;
      log(line);
      tail.push(line);
      if (tail.length > 50) tail.shift();
    }
  };
  child.stdout?.on('data', take);
  child.stderr?.on('data', take);
}
