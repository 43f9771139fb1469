import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Real processes for the tests: ./child.ts, bundled once for each test file by the build's own bundler. */
const root = join(__dirname, '..', '..');
const bundle = join(root, '.cache', 'test-stores', `child-${process.pid}.js`);

/** Call once at the top of a test file that starts children. */
export function childProcesses(): void {
  beforeAll(() => {
    mkdirSync(join(bundle, '..'), { recursive: true });
    execFileSync(join(root, 'node_modules', '.bin', 'esbuild'), [join(__dirname, 'child.ts'), '--bundle', '--platform=node', '--external:libsql', `--outfile=${bundle}`, '--log-level=warning']);
  });
  afterAll(() => rmSync(bundle, { force: true }));
}

export interface Child {
  process: ChildProcess;
  /** Lines that it has said, without `ready`. */
  said: string[];
  /** Resolves when it has said that many lines. */
  saying(lines: number): Promise<void>;
  /** Resolves when it has ended; rejects when it failed by itself. */
  ended: Promise<void>;
  /** SIGKILL, and waits for its end. */
  kill(): Promise<void>;
}

export function start(command: string, job: Record<string, unknown>): Child {
  const child = spawn(process.execPath, [bundle, command, JSON.stringify(job)], { stdio: ['ignore', 'pipe', 'pipe'] });
  const said: string[] = [];
  const waiting: { lines: number; go: () => void }[] = [];
  let rest = '';
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    said.push(...lines.filter((l) => l !== 'ready'));
    for (const w of waiting) if (said.length >= w.lines) w.go();
  });
  child.stderr.on('data', (chunk: Buffer) => (errors += String(chunk)));
  const closed = new Promise<number | null>((resolve) => child.on('close', resolve));
  const ended = closed.then((code) => {
    if (code !== 0 && code !== null) throw new Error(`child ${command} ended with ${code}: ${errors}`);
  });
  ended.catch(() => undefined);
  return {
    process: child,
    said,
    ended,
    saying: (lines) =>
      new Promise((resolve, reject) => {
        if (said.length >= lines) return resolve();
        waiting.push({ lines, go: resolve });
        void closed.then(() => (said.length >= lines ? resolve() : reject(new Error(`child ${command} ended early: ${errors}`))));
      }),
    kill: async () => {
      child.kill('SIGKILL');
      await closed;
    },
  };
}
