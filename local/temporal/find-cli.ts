import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { LocalError } from '../supervise/local-error';
import { CLI_VERSION, cachedGoBuild, goInstall } from './go-install';
import { runCommand } from './run-command';
import { cachedDownload, download } from './sdk-download';

export interface FoundCli {
  path: string;
  /** Where it came from, in words. */
  source: string;
}

/** A place to look: answers a path to try, or why there is none; never throws. */
interface Place {
  name: string;
  look(report: (line: string) => void): Promise<string | { why: string }> | string | { why: string };
}

/** Quick places first: what is there already before anything is downloaded or built. */
const PLACES: Place[] = [
  { name: 'KEYWARDEN_TEMPORAL_CLI', look: () => process.env.KEYWARDEN_TEMPORAL_CLI || { why: 'not set' } },
  { name: '`temporal` on PATH', look: onPath },
  { name: "the SDK's earlier download", look: () => cachedDownload('dev-server') ?? { why: 'none in the cache folder' } },
  { name: `the earlier build of version ${CLI_VERSION}`, look: () => cachedGoBuild() ?? { why: 'none in the cache folder' } },
  { name: "the SDK's download", look: (report) => download('dev-server', report) },
  { name: `go install, version ${CLI_VERSION}`, look: goInstall },
];

/** The first Temporal CLI that works; each place that has none says why, in one line, before the next is tried. */
export async function findTemporalCli(report: (line: string) => void): Promise<FoundCli> {
  const tried: string[] = [];
  for (const place of PLACES) {
    const got = await place.look(report);
    const path = typeof got === 'string' ? got : undefined;
    const why = path === undefined ? (got as { why: string }).why : await whyUnusable(path);
    if (path !== undefined && why === undefined) return { path, source: place.name };
    const line = `Temporal CLI: ${place.name}: ${oneLine(why ?? '')}`;
    tried.push(line);
    report(line);
  }
  throw new LocalError(
    'KW-TEMPORAL-CLI',
    `no Temporal CLI works here. Tried:\n  ${tried.join('\n  ')}`,
    'install the Temporal CLI (docs.temporal.io/cli) so that `temporal` is on PATH, or point KEYWARDEN_TEMPORAL_CLI at it, or install Go 1.24 or later and start again',
  );
}

/** A CLI works when it can say its version. */
async function whyUnusable(path: string): Promise<string | undefined> {
  const { failure } = await runCommand(path, ['--version'], { timeoutMs: 15_000 });
  return failure === undefined ? undefined : `${path} --version: ${failure}`;
}

function onPath(): string | { why: string } {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((f) => f !== '');
  return folders.map((f) => join(f, 'temporal')).find(existsSync) ?? { why: 'not there' };
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').slice(0, 400);
}
