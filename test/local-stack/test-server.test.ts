import { chmodSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { bundleWorkflowCode, DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { findTimeSkippingServer } from '../../local/temporal/test-server';
import { newFolder } from './fixture/run-stack';
import { week } from './fixture/week-workflow';

jest.setTimeout(300_000);

describe('the time-skipping server', () => {
  it('lets seven days pass in seconds', async () => {
    Runtime.install({ logger: new DefaultLogger('ERROR') });
    const { path } = await findTimeSkippingServer(() => undefined);
    const env = await TestWorkflowEnvironment.createTimeSkipping({ server: { executable: { type: 'existing-path', path } } });
    try {
      const workflowBundle = await bundleWorkflowCode({ workflowsPath: require.resolve('./fixture/week-workflow'), logger: new DefaultLogger('ERROR') });
      const worker = await Worker.create({ connection: env.nativeConnection, taskQueue: 'q', workflowBundle });
      const began = Date.now();
      const passed = await worker.runUntil(env.client.workflow.execute(week, { taskQueue: 'q', workflowId: 'week' }));
      expect(passed).toBeGreaterThanOrEqual(7 * 24 * 3_600_000);
      expect(Date.now() - began).toBeLessThan(30_000);
    } finally {
      await env.teardown();
    }
  });
});

describe('finding it without network and earlier fetches', () => {
  const before = { ...process.env };
  let folder: string;
  let lines: string[];
  const executable = (name: string, text: string) => {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    chmodSync(path, 0o755);
  };
  beforeEach(() => {
    folder = newFolder();
    lines = [];
    process.env.PATH = join(folder, 'bin');
    process.env.XDG_CACHE_HOME = join(folder, 'cache');
    for (const name of ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy']) process.env[name] = 'http://127.0.0.1:1';
    delete process.env.KEYWARDEN_TEST_SERVER;
  });
  afterEach(() => {
    process.env = { ...before };
    rmSync(folder, { recursive: true, force: true });
  });

  it('says at each place why there is none, and what to install', async () => {
    const error = (await findTimeSkippingServer((l) => lines.push(l)).catch((e: unknown) => e)) as Error & { code: string };
    expect(error.code).toBe('KW-TEST-SERVER');
    expect(lines.map((l) => l.replace(/: exit code 1: .*/, ': …'))).toEqual([
      'Time-skipping server: KEYWARDEN_TEST_SERVER: not set',
      "Time-skipping server: the SDK's earlier download: none in the cache folder",
      "Time-skipping server: Maven's earlier fetch of version 1.38.0: none in the cache folder",
      "Time-skipping server: the SDK's download: …",
      'Time-skipping server: Maven, version 1.38.0: java -version: not found',
    ]);
    for (const line of lines) expect(error.message).toContain(line);
    expect(error.message).toContain('Next: install Java');
  });

  it("passes on Maven's own reason and leaves nothing half-fetched", async () => {
    executable('bin/java', '#!/bin/sh\nexit 0\n');
    executable('bin/mvn', '#!/bin/sh\necho "[ERROR] Could not transfer artifact"\nexit 1\n');
    await expect(findTimeSkippingServer((l) => lines.push(l))).rejects.toMatchObject({ code: 'KW-TEST-SERVER' });
    expect(lines.at(-1)).toBe('Time-skipping server: Maven, version 1.38.0: mvn: Could not transfer artifact');
    expect(readdirSync(join(folder, 'cache/keywarden/temporal-test-server-1.38.0'))).toEqual([]);
  });

  it('does not take a fetch that does not start', async () => {
    executable('bin/java', '#!/bin/sh\n[ "$1" = -version ]\n');
    executable('bin/mvn', '#!/bin/sh\nexit 0\n');
    await expect(findTimeSkippingServer((l) => lines.push(l))).rejects.toMatchObject({ code: 'KW-TEST-SERVER' });
    expect(lines.at(-1)).toContain('the fetched server ended at once');
  });
});
