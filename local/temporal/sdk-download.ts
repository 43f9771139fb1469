import { accessSync, constants, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from './cache-folder';
import { runCommand } from './run-command';

export type DownloadedServer = 'dev-server' | 'time-skipping';

/** Offline must be noticed soon; a slow line that still delivers may take longer. */
const SILENCE_LIMIT_S = 20;
const DOWNLOAD_LIMIT_MS = 5 * 60_000;

/** The SDK downloads only as part of starting a server: start it in a process of its own, stop it, keep the file. */
const STARTER = `
const { TestWorkflowEnvironment: T } = require(process.argv[1]);
const server = { executable: { type: 'cached-download', downloadDir: process.argv[3], ttl: '10 years' } };
(process.argv[2] === 'dev-server' ? T.createLocal({ server }) : T.createTimeSkipping({ server }))
  .then((e) => e.teardown())
  .catch((e) => { console.error(String(e.message).split(': ').slice(-1)[0]); process.exit(1); });
`;

function folderOf(server: DownloadedServer): string {
  const { version } = require('@temporalio/testing/package.json') as { version: string };
  return cacheFolder(`temporal-sdk-${version}-${server}`);
}

/** What an earlier download left; a file still being written is named `….downloading`. */
export function cachedDownload(server: DownloadedServer): string | undefined {
  let names: string[];
  try {
    names = readdirSync(folderOf(server));
  } catch {
    return undefined;
  }
  return names.filter((n) => !n.endsWith('.downloading')).map((n) => join(folderOf(server), n)).find(isExecutable);
}

export async function download(server: DownloadedServer, report: (line: string) => void): Promise<string | { why: string }> {
  const folder = folderOf(server);
  mkdirSync(folder, { recursive: true });
  let bytes = 0;
  let lastGrowth = 0;
  const { failure } = await runCommand(process.execPath, ['-e', STARTER, require.resolve('@temporalio/testing'), server, folder], {
    timeoutMs: DOWNLOAD_LIMIT_MS,
    onTick: (s) => {
      const now = sizeOf(folder);
      if (now > bytes) {
        report(`downloading the ${server}: ${(now / 1e6).toFixed(0)} MB, ${s} s`);
        [bytes, lastGrowth] = [now, s];
      }
      return s - lastGrowth >= SILENCE_LIMIT_S ? `nothing arrived for ${SILENCE_LIMIT_S} s` : undefined;
    },
  });
  // the file counts, whether or not the server that it is could also be started here
  return cachedDownload(server) ?? { why: failure ?? 'left no executable' };
}

function sizeOf(folder: string): number {
  return readdirSync(folder).reduce((sum, n) => sum + statSync(join(folder, n)).size, 0);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
