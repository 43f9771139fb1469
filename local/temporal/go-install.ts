import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { takeLock } from '../supervise/folder-lock';
import { cacheFolder } from './cache-folder';
import { runCommand } from './run-command';

/** Server 1.29.1, UI 2.42.1. Later versions have replace directives, which `go install` refuses. */
export const CLI_VERSION = '1.5.1';

const MODULE = `github.com/temporalio/cli/cmd/temporal@v${CLI_VERSION}`;
/** A cold build with all modules to fetch, on a slow machine. */
const BUILD_LIMIT_MS = 20 * 60_000;

function builtPath(): string {
  return join(cacheFolder(`temporal-cli-${CLI_VERSION}`), 'temporal');
}

export function cachedGoBuild(): string | undefined {
  return existsSync(builtPath()) ? builtPath() : undefined;
}

/** Builds the CLI into the cache folder; two at once build it once. */
export async function goInstall(report: (line: string) => void): Promise<string | { why: string }> {
  const go = await runCommand('go', ['version'], { timeoutMs: 15_000 });
  if (go.failure !== undefined) return { why: `go version: ${go.failure}` };
  const folder = dirname(builtPath());
  for (let waited = false; ; await pause(1_000)) {
    const lock = takeLock(join(folder, 'build.lock'));
    if ('release' in lock) {
      try {
        return cachedGoBuild() ?? (await build(folder, report));
      } finally {
        lock.release();
      }
    }
    if (!waited) report(`Temporal CLI: process ${lock.heldBy.pid} is building it; waiting`);
    waited = true;
  }
}

async function build(folder: string, report: (line: string) => void): Promise<string | { why: string }> {
  mkdirSync(folder, { recursive: true });
  // beside its final place: the same file system, so that the rename below is atomic
  const aside = mkdtempSync(join(folder, 'build-'));
  report(`Temporal CLI: go install ${MODULE} (once; 2 to 3 minutes)`);
  try {
    const { failure } = await runCommand('go', ['install', MODULE], {
      timeoutMs: BUILD_LIMIT_MS,
      env: { ...process.env, GOBIN: aside },
      onTick: (s) => report(`Temporal CLI: building, ${s} s`),
    });
    if (failure !== undefined) return { why: `go install: ${failure}` };
    renameSync(join(aside, 'temporal'), builtPath());
    return builtPath();
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}
