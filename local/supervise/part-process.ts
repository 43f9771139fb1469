import { fork, type ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { LocalError } from './local-error';
import { PART_TITLES, type FromPart, type PartInfo, type PartName } from './part-messages';
import { identityOf, killExactly, type ProcessIdentity } from './process-identity';

export interface PartProcessOptions {
  name: PartName;
  /** Node program that takes `_part NAME JSON`. */
  entry: string;
  options: object;
  env: NodeJS.ProcessEnv;
  execArgv?: string[];
  logFile: string;
  log(line: string): void;
  /** Told of each process that begins (and, with undefined, ends), so that the next start can end what is left. */
  note(key: string, identity: ProcessIdentity | undefined): void;
  /** Called once, when it has given up starting the part again. */
  onGivingUp(why: string): void;
}

/** Waits before each start in a row; a part that has been up for a while begins again at the first. */
const BACKOFF_MS = [0, 250, 500, 1_000, 2_000, 5_000, 10_000, 10_000];
const STEADY_AFTER_MS = 30_000;
const START_LIMIT_MS = 90_000;
const LOG_LIMIT_BYTES = 20e6;

/** One part of the stack: a child process that is started again, on the same port, whenever it ends unasked. */
export class PartProcess {
  private child: ChildProcess | undefined;
  private server: ProcessIdentity | undefined;
  private stopping = false;
  private failures = 0;

  constructor(private readonly o: PartProcessOptions) {}

  get title(): string {
    return PART_TITLES[this.o.name];
  }

  /** The first start: a failure is the caller's to tell. From then on it is kept up. */
  async start(): Promise<PartInfo> {
    const { info, ended } = await this.startOnce();
    void this.keepUp(ended, Date.now());
    return info;
  }

  async stop(graceMs: number): Promise<void> {
    this.stopping = true;
    const child = this.child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      if (child.connected) child.send({ type: 'stop' }, () => undefined);
      const limit = setTimeout(() => child.kill('SIGKILL'), graceMs);
      await ended;
      clearTimeout(limit);
    }
    await this.endServer();
  }

  /** At once and without asking. */
  async kill(): Promise<void> {
    this.stopping = true;
    this.child?.kill('SIGKILL');
    await this.endServer();
  }

  private async keepUp(ended: Promise<string>, since: number): Promise<void> {
    let why = await ended;
    let began = since;
    while (!this.stopping) {
      if (Date.now() - began > STEADY_AFTER_MS) this.failures = 0;
      const wait = BACKOFF_MS[this.failures++];
      if (wait === undefined) return this.o.onGivingUp(`${this.title} ended ${this.failures} times in a row: ${why}`);
      this.o.log(`${this.title} ended (${why}); starting it again${wait > 0 ? ` in ${wait / 1000} s` : ''}`);
      // a stop meanwhile waits for nothing
      await pause(wait, undefined, { ref: false });
      if (this.stopping) return;
      const from = Date.now();
      try {
        const again = await this.startOnce();
        this.o.log(`${this.title} is back after ${((Date.now() - from) / 1000).toFixed(1)} s`);
        began = Date.now();
        why = await again.ended;
      } catch (e) {
        began = Date.now();
        why = (e as Error).message;
      }
    }
  }

  private async startOnce(): Promise<{ info: PartInfo; ended: Promise<string> }> {
    // a Temporal server whose guard was killed still holds port and database
    await this.endServer();
    if (this.stopping) throw new LocalError('KW-DEV-PART', `${this.title} was not started: the stack is stopping`);
    const { name, entry, logFile } = this.o;
    const out = openLog(logFile);
    const child = fork(entry, ['_part', name, JSON.stringify(this.o.options)], {
      env: this.o.env,
      execArgv: this.o.execArgv ?? [],
      stdio: ['ignore', out, out, 'ipc'],
    });
    closeSync(out);
    this.child = child;
    if (child.pid !== undefined) this.o.note(name, identityOf(child.pid));
    const ended = new Promise<string>((resolve) => {
      child.once('error', (e) => resolve(e.message));
      child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
    void ended.then(() => this.child === child && this.o.note(name, undefined));
    const info = await new Promise<PartInfo>((resolve, reject) => {
      let said: string | undefined;
      const limit = setTimeout(() => {
        said = `not ready within ${START_LIMIT_MS / 1000} s`;
        child.kill('SIGKILL');
      }, START_LIMIT_MS);
      child.on('message', (m: FromPart) => {
        if (m.type === 'child') this.noteServer(m.pid);
        if (m.type === 'failed') said = m.message;
        if (m.type !== 'ready') return;
        clearTimeout(limit);
        resolve(m.info);
      });
      // a failure is told when its process is gone, so that the next start finds the port free
      void ended.then((why) => {
        clearTimeout(limit);
        reject(new LocalError('KW-DEV-PART', `${this.title} did not start: ${said ?? `${why}\n${tailOf(logFile)}`}`, `see ${logFile}`));
      });
    });
    return { info, ended };
  }

  private noteServer(pid: number): void {
    this.server = identityOf(pid);
    this.o.note(`${this.o.name}-server`, this.server);
  }

  private async endServer(): Promise<void> {
    if (this.server === undefined) return;
    await killExactly(this.server, 0);
    this.server = undefined;
    this.o.note(`${this.o.name}-server`, undefined);
  }
}

function openLog(path: string): number {
  mkdirSync(dirname(path), { recursive: true });
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  return openSync(path, size > LOG_LIMIT_BYTES ? 'w' : 'a', 0o600);
}

function tailOf(path: string): string {
  return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-15).join('\n');
}
