/** The local KMS as a process of its own: options as one JSON argument; prints `{"url": …}` when it listens. */
import { startLocalKms, type LocalKmsOptions } from './index';

async function serve(argument: string | undefined): Promise<void> {
  if (argument === undefined) throw new Error('usage: serve \'{"dataDir": "…", "principals": {…}}\'');
  const kms = await startLocalKms(JSON.parse(argument) as LocalKmsOptions);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void kms.stop().then(() => process.exit(0)));
  process.stdout.write(`${JSON.stringify({ url: kms.url, port: kms.port })}\n`);
}

serve(process.argv[2]).catch((error: unknown) => {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exit(1);
});
