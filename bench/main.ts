import { inspect } from 'node:util';
import { BENCHMARKS } from './benchmarks';
import { line, table } from './report';
import { Session } from './session';
import { isMet, type Figure } from './timing';

/** `npm run bench [-- NAME…] [-- --json] [-- --full]`. Exit code: 0 where every goal is met, 1 where one is not, 2 for a wrong name. */
async function main(args: readonly string[]): Promise<number> {
  const json = args.includes('--json');
  const names = args.filter((a) => !a.startsWith('--'));
  const unknown = [...names.filter((n) => !BENCHMARKS.some((b) => b.figures.includes(n))), ...args.filter((a) => a.startsWith('--') && a !== '--json' && a !== '--full')];
  if (unknown.length > 0) {
    process.stderr.write(`there is no ${unknown.join(', ')}; there are ${BENCHMARKS.flatMap((b) => b.figures).join(', ')}, --json, --full\n`);
    return 2;
  }
  const wanted = BENCHMARKS.filter((b) => names.length === 0 || b.figures.some((f) => names.includes(f)));
  const session = new Session({ full: args.includes('--full') });
  const figures: Figure[] = [];
  let stopping = false;
  const stop = (): void => {
    if (!stopping) void session.stop().finally(() => process.exit(1));
    stopping = true; // a second signal must not cut the cleaning up short
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  try {
    for (const benchmark of wanted) {
      session.note(`${benchmark.figures.join(', ')}: ${benchmark.measures}`);
      const made = (await benchmark.run(session)).filter((f) => names.length === 0 || names.includes(f.name));
      for (const figure of made) if (json) process.stdout.write(`${line(figure)}\n`);
      figures.push(...made);
    }
  } finally {
    await session.stop();
  }
  if (!json) process.stdout.write(table(figures));
  return figures.every(isMet) ? 0 : 1;
}

const [, , first, ...rest] = process.argv;
if (first === '_part') {
  const { runPart } = require('../local/supervise') as typeof import('../local/supervise');
  const [name, ...args] = rest;
  void runPart(name!, args, {
    startLocalKms: async (o) => (await import('../local/kms')).startLocalKms(o),
    startWorker: async (o) => (await import('./part')).startBenchWorker(o),
  });
} else {
  // its stack would come with a line of the bundle, which is a megabyte long
  process.on('uncaughtException', (error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  });
  void main(process.argv.slice(2)).then(
    (code) => process.exit(code),
    (error: unknown) => {
      process.stderr.write(`${inspect(error, { depth: 6 })}\n`); // with its causes: a workflow's failure says nothing by itself
      process.exit(1);
    },
  );
}
