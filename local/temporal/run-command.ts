import { spawn } from 'node:child_process';

export interface CommandResult {
  /** Exit code; undefined when it could not be started, was killed, or took too long. */
  code: number | undefined;
  /** Both streams as they came, at most the last 64 KiB. */
  output: string;
  /** Why it failed, in one line; undefined when it did not. */
  failure: string | undefined;
}

/** Runs a command to its end, never longer than `timeoutMs`; `onTick` is called every 5 seconds with the seconds so far. */
export function runCommand(
  command: string,
  args: string[],
  o: { timeoutMs: number; env?: NodeJS.ProcessEnv; cwd?: string; onTick?: (seconds: number) => string | void },
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const began = Date.now();
    let output = '';
    let stopped: string | undefined;
    // a group of its own: what the command itself started (compilers, a JVM) goes with it
    const child = spawn(command, args, { env: o.env ?? process.env, cwd: o.cwd, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const stop = (why: string) => {
      stopped = why;
      if (child.pid !== undefined) killGroup(child.pid);
    };
    const limit = setTimeout(() => stop(`took longer than ${Math.round(o.timeoutMs / 1000)} s`), o.timeoutMs);
    const tick = setInterval(() => {
      const why = o.onTick?.(Math.round((Date.now() - began) / 1000));
      if (typeof why === 'string') stop(why);
    }, 5_000);
    const endWithUs = () => stop('stopped');
    process.once('exit', endWithUs);
    const take = (chunk: Buffer) => (output = (output + chunk.toString()).slice(-65_536));
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    const finish = (code: number | undefined, failure: string | undefined) => {
      clearTimeout(limit);
      clearInterval(tick);
      process.off('exit', endWithUs);
      resolve({ code, output, failure });
    };
    child.once('error', (e: NodeJS.ErrnoException) => finish(undefined, e.code === 'ENOENT' ? 'not found' : e.message));
    child.once('close', (code, signal) => {
      if (stopped !== undefined) finish(undefined, stopped);
      else if (code === 0) finish(0, undefined);
      else finish(code ?? undefined, `${code === null ? `ended by ${signal}` : `exit code ${code}`}${lastLine(output)}`);
    });
  });
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // gone already
  }
}

function lastLine(output: string): string {
  const line = output.trim().split('\n').at(-1)?.trim() ?? '';
  return line === '' ? '' : `: ${line.slice(0, 300)}`;
}
