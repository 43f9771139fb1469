import { KeywardenError } from '../../domain/errors';
import { DUTIES, receiptsKey } from '../../domain/names';
import { EXIT } from '../output';
import type { Register } from '../register';

interface Check {
  name: string;
  ok: boolean;
  detail: string;
  /** What its lack costs. */
  costs?: string;
}

export const register: Register = (program, run) => {
  program
    .command('doctor')
    .description('check what Keywarden stands on, and say what each lack costs')
    .action(
      run<[object]>(async (ctx) => {
        const checks: Check[] = [];
        const check = async (name: string, costs: string, look: () => Promise<string>): Promise<void> => {
          try {
            checks.push({ name, ok: true, detail: await look() });
          } catch (error) {
            checks.push({ name, ok: false, detail: error instanceof KeywardenError ? error.what : String(error), costs });
          }
        };
        await check('configuration', 'nothing can start', async () => `${(await ctx.config()).application}/${(await ctx.config()).environment}`);
        await check('temporal', 'no procedure can run; keys can still be disabled with --direct', async () => {
          const client = await ctx.temporal();
          const { pollers } = await client.workflowService.describeTaskQueue({ namespace: client.options.namespace, taskQueue: { name: 'keywarden' }, taskQueueType: 1 });
          if ((pollers ?? []).length === 0) throw new Error('no worker polls the queue "keywarden"');
          return `${process.env['TEMPORAL_ADDRESS'] ?? '127.0.0.1:7233'}, ${pollers!.length} worker(s)`;
        });
        await check('database', 'rows go to the journal; nothing that widens access happens while neither takes them', async () => {
          await (await ctx.store()).ping();
          return process.env['KEYWARDEN_DATABASE_URL'] ?? 'file:keywarden.db';
        });
        for (const [region, kms] of await ctx.kms('operator').catch(() => new Map<string, never>())) {
          await check(`kms ${region}`, 'keys cannot be disabled in this Region until it answers', async () => {
            const own = await Promise.all(DUTIES.map((d) => (kms as import('../../activities/kms').RegionalKms).describe(receiptsKey(d))));
            if (own.some((k) => k === undefined)) throw new Error('a receipts key is missing: approvals cannot be kept');
            return "answers, Keywarden's own keys are there";
          });
        }
        await check('approvers', 'dangerous procedures cannot be signed', async () => {
          const { people } = await ctx.config();
          const emergency = people.filter((p) => p.roles.includes('EmergencyKeyAdmin')).length;
          const recovery = people.filter((p) => p.roles.includes('KeyRecoveryAdmin')).length;
          if (emergency < 1 || recovery < 2) throw new Error(`${emergency} EmergencyKeyAdmin, ${recovery} KeyRecoveryAdmin`);
          return `${emergency} EmergencyKeyAdmin, ${recovery} KeyRecoveryAdmin`;
        });
        const bad = checks.filter((c) => !c.ok);
        ctx.out.result({ ok: bad.length === 0, checks }, ...checks.map((c) => `${c.ok ? ctx.out.green('ok  ') : ctx.out.red('LACK')} ${c.name.padEnd(18)} ${c.detail}${c.costs === undefined ? '' : `\n     costs: ${c.costs}`}`));
        return bad.length === 0 ? EXIT.done : EXIT.failed;
      }),
    );
};
