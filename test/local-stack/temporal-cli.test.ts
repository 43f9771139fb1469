import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { findTemporalCli } from '../../local/temporal/server';
import { newFolder } from './fixture/run-stack';

jest.setTimeout(60_000);

const works = '#!/bin/sh\necho temporal version 0\n';
const broken = '#!/bin/sh\necho cannot execute >&2; exit 3\n';
/** `go install` that takes half a second, counts itself, and puts a working CLI into GOBIN. */
const fakeGo = (counter: string) => `#!/bin/sh
[ "$1" = version ] && exit 0
echo x >> '${counter}'
/bin/sleep 0.5
echo '#!/bin/sh' > "$GOBIN/temporal"; /bin/chmod +x "$GOBIN/temporal"
`;

let folder: string;
let lines: string[];
const before = { ...process.env };

function executable(path: string, text: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, 0o755);
  return path;
}
const find = () => findTemporalCli((line) => lines.push(line));
const builtInCache = () => join(folder, 'cache/keywarden/temporal-cli-1.5.1/temporal');

beforeEach(() => {
  folder = newFolder();
  lines = [];
  process.env.PATH = join(folder, 'bin');
  process.env.XDG_CACHE_HOME = join(folder, 'cache');
  // no download works, on a machine with a network either
  for (const name of ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy']) process.env[name] = 'http://127.0.0.1:1';
  delete process.env.KEYWARDEN_TEMPORAL_CLI;
});
afterEach(() => {
  process.env = { ...before };
  rmSync(folder, { recursive: true, force: true });
});

describe('the order of places', () => {
  it('takes KEYWARDEN_TEMPORAL_CLI first', async () => {
    process.env.KEYWARDEN_TEMPORAL_CLI = executable(join(folder, 'given'), works);
    executable(join(folder, 'bin/temporal'), works);
    expect(await find()).toEqual({ path: join(folder, 'given'), source: 'KEYWARDEN_TEMPORAL_CLI' });
    expect(lines).toEqual([]);
  });

  it('says why that one fails, then takes the one on PATH', async () => {
    process.env.KEYWARDEN_TEMPORAL_CLI = executable(join(folder, 'given'), broken);
    executable(join(folder, 'bin/temporal'), works);
    expect(await find()).toEqual({ path: join(folder, 'bin/temporal'), source: '`temporal` on PATH' });
    expect(lines).toEqual([`Temporal CLI: KEYWARDEN_TEMPORAL_CLI: ${join(folder, 'given')} --version: exit code 3: cannot execute`]);
  });

  it('says that a given file is missing', async () => {
    process.env.KEYWARDEN_TEMPORAL_CLI = join(folder, 'nowhere');
    executable(join(folder, 'bin/temporal'), works);
    await find();
    expect(lines).toEqual([expect.stringContaining('nowhere --version: not found')]);
  });

  it('takes what was built earlier without trying the network', async () => {
    executable(builtInCache(), works);
    expect((await find()).path).toBe(builtInCache());
    expect(lines).toEqual([
      'Temporal CLI: KEYWARDEN_TEMPORAL_CLI: not set',
      'Temporal CLI: `temporal` on PATH: not there',
      "Temporal CLI: the SDK's earlier download: none in the cache folder",
    ]);
  });

  it('builds with Go when the download fails, and soon', async () => {
    executable(join(folder, 'bin/go'), fakeGo(join(folder, 'builds')));
    const began = Date.now();
    expect(await find()).toEqual({ path: builtInCache(), source: 'go install, version 1.5.1' });
    expect(Date.now() - began).toBeLessThan(25_000);
    expect(lines).toEqual(expect.arrayContaining([expect.stringMatching(/^Temporal CLI: the SDK's download: exit code 1: ./)]));
    // nothing half-built, no lock
    expect(readdirSync(dirname(builtInCache()))).toEqual(['temporal']);
  });
});

describe('the build with Go', () => {
  it('happens once when two ask at once', async () => {
    executable(join(folder, 'bin/go'), fakeGo(join(folder, 'builds')));
    const found = await Promise.all([find(), find()]);
    expect(found.map((f) => f.path)).toEqual([builtInCache(), builtInCache()]);
    expect(readFileSync(join(folder, 'builds'), 'utf8')).toBe('x\n');
    expect(lines).toEqual(expect.arrayContaining([expect.stringMatching(/process \d+ is building it; waiting/)]));
  });

  it('leaves nothing behind when it fails', async () => {
    executable(join(folder, 'bin/go'), '#!/bin/sh\n[ "$1" = version ] && exit 0\necho module not found >&2; exit 1\n');
    await expect(find()).rejects.toMatchObject({ code: 'KW-TEMPORAL-CLI' });
    expect(lines.at(-1)).toBe('Temporal CLI: go install, version 1.5.1: go install: exit code 1: module not found');
    expect(existsSync(builtInCache())).toBe(false);
    expect(readdirSync(dirname(builtInCache()))).toEqual([]);
  });
});

describe('when nothing works', () => {
  it('fails with KW-TEMPORAL-CLI, what was tried, and what to install', async () => {
    const error = (await find().catch((e: unknown) => e)) as Error & { code: string };
    expect(error.code).toBe('KW-TEMPORAL-CLI');
    expect(lines.map((l) => l.replace(/: exit code 1: .*/, ': …'))).toEqual([
      'Temporal CLI: KEYWARDEN_TEMPORAL_CLI: not set',
      'Temporal CLI: `temporal` on PATH: not there',
      "Temporal CLI: the SDK's earlier download: none in the cache folder",
      'Temporal CLI: the earlier build of version 1.5.1: none in the cache folder',
      "Temporal CLI: the SDK's download: …",
      'Temporal CLI: go install, version 1.5.1: go version: not found',
    ]);
    for (const line of lines) expect(error.message).toContain(line);
    expect(error.message).toContain('Next: install the Temporal CLI');
  });
});
