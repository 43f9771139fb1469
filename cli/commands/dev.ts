import { join } from 'node:path';
import type { DevStack } from '../../local/supervise';
import type { Context } from '../context';
import type { Register } from '../register';

interface DevOptions {
  temporalPort?: string;
  uiPort?: string;
  kmsPort?: string;
  snsPort?: string;
}

export const register: Register = (program, run) => {
  program
    .command('dev')
    .description('the whole stack on this machine: Temporal with its UI, local KMS, SNS, database, worker')
    .option('--temporal-port <port>', 'default: free, kept for the next start')
    .option('--ui-port <port>')
    .option('--kms-port <port>')
    .option('--sns-port <port>')
    .action(
      run<[DevOptions]>(async (ctx, o) => {
        const stack = await startStack(ctx, o);
        ctx.out.result(stack.ready, `ready.  Temporal ${stack.ready.temporal}   UI ${stack.ready.ui}   KMS ${stack.ready.kms}   SNS ${stack.ready.sns}`, `Next: keywarden --data ${ctx.dataDir} init`, 'Ctrl-C stops everything; the folder keeps all state.');
        return untilStopped(stack);
      }),
    );
};

export async function startStack(ctx: Context, o: DevOptions = {}): Promise<DevStack> {
  const [{ startDevStack }, { prepareDemo }, { demoFiles }] = await Promise.all([import('../../local/supervise'), import('../../local/demo/prepare'), import('../../local/demo/files')]);
  const ports = Object.fromEntries(Object.entries({ temporal: o.temporalPort, ui: o.uiPort, kms: o.kmsPort, sns: o.snsPort }).flatMap(([k, v]) => (v === undefined ? [] : [[k, Number(v)]])));
  const files = demoFiles(ctx.dataDir);
  return startDevStack({
    dataDir: ctx.dataDir,
    ports,
    account: '000000000000',
    regions: ['us-east-1', 'us-west-2'],
    topics: ['keywarden-security'],
    environment: { KEYWARDEN_DEV_CREDENTIALS: files.credentials, AWS_ACCESS_KEY_ID: 'AKIALOCALSNS', AWS_SECRET_ACCESS_KEY: 'local', KEYWARDEN_WORKFLOW_BUNDLE: join(__dirname, 'workflow-bundle.js') },
    log: (line) => ctx.out.note(line),
    prepare: (dataDir, stack) => prepareDemo(dataDir, stack),
  });
}

/** Until a signal or a part that cannot be kept up ends it. */
export function untilStopped(stack: DevStack): Promise<number> {
  return new Promise((resolve) => stack.onExit(({ failed }) => resolve(failed ? 1 : 0)));
}
