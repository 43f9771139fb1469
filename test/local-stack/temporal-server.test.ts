import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { findTemporalCli, startTemporalServer } from '../../local/temporal/server';
import { freePort } from '../../local/supervise/ports';
import { identityOf } from '../../local/supervise/process-identity';
import { newFolder } from './fixture/run-stack';

jest.setTimeout(120_000);

let dataDir: string;
beforeEach(() => {
  dataDir = newFolder();
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

const log = () => undefined;

async function describeOpen(address: string, start: boolean): Promise<string> {
  const connection = await Connection.connect({ address });
  const client = new Client({ connection });
  if (start) await client.workflow.start('waiting', { workflowId: 'open', taskQueue: 'nobody' });
  const { status } = await client.workflow.getHandle('open').describe();
  await connection.close();
  return status.name;
}

it('keeps its data over kill -9, on the same ports', async () => {
  const { path: cli } = await findTemporalCli(log);
  const [port, uiPort] = [await freePort(), await freePort()];
  const first = await startTemporalServer({ cli, dataDir, port, uiPort, log });
  expect(first).toMatchObject({ address: `127.0.0.1:${port}`, ui: `http://127.0.0.1:${uiPort}` });
  await describeOpen(first.address, true);
  process.kill(first.pid, 'SIGKILL');
  await first.exited;
  const second = await startTemporalServer({ cli, dataDir, port, uiPort, log });
  expect(await describeOpen(second.address, false)).toBe('RUNNING');
  await second.stop();
  expect(identityOf(second.pid)).toBeUndefined();
});

it('starts again when somebody took a port that one of its inner services had chosen', async () => {
  const { path } = await findTemporalCli(log);
  mkdirSync(join(dataDir, 'bin'));
  const cli = join(dataDir, 'bin/temporal');
  writeFileSync(cli, `#!/bin/sh\nif [ ! -e '${dataDir}/tried' ]; then touch '${dataDir}/tried'; echo 'listen tcp 127.0.0.1:42835: bind: address already in use' >&2; exit 2; fi\nexec '${path}' "$@"\n`, { mode: 0o755 });
  const said: string[] = [];
  const server = await startTemporalServer({ cli, dataDir, log: (line) => said.push(line) });
  expect(said.join()).toContain('started again');
  await server.stop();
});

it('shows the end of the log when the server does not come up', async () => {
  mkdirSync(join(dataDir, 'bin'));
  const cli = join(dataDir, 'bin/temporal');
  writeFileSync(cli, '#!/bin/sh\necho database is of a newer version >&2\nexit 1\n', { mode: 0o755 });
  await expect(startTemporalServer({ cli, dataDir, log })).rejects.toMatchObject({
    code: 'KW-DEV-PART',
    message: expect.stringMatching(/it ended\ndatabase is of a newer version/),
  });
});
