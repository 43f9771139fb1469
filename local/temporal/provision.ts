/**
 * What `npm test` runs before jest (its own small bundle): finds or makes both servers. Progress goes to standard
 * error; standard output is one JSON line, `{"cli": path|null, "testServer": path|null}`.
 */
import { findTemporalCli } from './find-cli';
import { findTimeSkippingServer } from './test-server';

const report = (line: string) => void process.stderr.write(`${line}\n`);

async function main(): Promise<void> {
  const [cli, testServer] = await Promise.allSettled([findTemporalCli(report), findTimeSkippingServer(report)]);
  for (const found of [cli, testServer]) if (found.status === 'rejected') report((found.reason as Error).message);
  const path = (found: typeof cli) => (found.status === 'fulfilled' ? found.value.path : null);
  process.stdout.write(`${JSON.stringify({ cli: path(cli), testServer: path(testServer) })}\n`);
}

void main();
