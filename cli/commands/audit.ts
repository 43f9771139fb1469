import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { KeywardenError } from '../../domain/errors';
import type { AuditFilter } from '../../stores/store';
import { EXIT } from '../output';
import type { Register } from '../register';

export const register: Register = (program, run) => {
  const audit = program.command('audit').description('the audit trail');
  audit
    .command('verify')
    .description('walk the chain; name the first bad row')
    .action(
      run<[object]>(async (ctx) => {
        const { verifyTrail } = await import('../../stores/auditTrail');
        const verdict = await verifyTrail(await ctx.store());
        if (verdict.bad !== undefined) {
          ctx.out.result(verdict);
          throw new KeywardenError('KW-AUDIT-BROKEN', `row ${verdict.bad.seq}: ${verdict.bad.why}; ${verdict.rows} rows before it fit`, { notDone: 'rows from there on prove nothing', next: 'keep a copy of the database, find out who could write to it, and compare with the last export' });
        }
        ctx.out.result(verdict, `${ctx.out.green('the audit chain verifies')}: ${verdict.rows} rows, head ${verdict.head.slice(0, 16)}…`);
        return EXIT.done;
      }),
    );
  audit
    .command('export')
    .description('the trail as JSON lines')
    .option('--out <file>', 'file instead of standard output')
    .option('--key <id>', 'only rows of this key id')
    .option('--workflow <id>', 'only rows of this procedure')
    .option('--incident <id>', 'only rows of this incident')
    .option('--from <time>', 'ISO 8601, inclusive')
    .option('--to <time>', 'ISO 8601, exclusive')
    .action(
      run<[{ out?: string; key?: string; workflow?: string; incident?: string; from?: string; to?: string }]>(async (ctx, o) => {
        const filter: AuditFilter = { ...(o.key === undefined ? {} : { keyId: o.key }), ...(o.workflow === undefined ? {} : { workflowId: o.workflow }), ...(o.incident === undefined ? {} : { incident: o.incident }), ...(o.from === undefined ? {} : { from: o.from }), ...(o.to === undefined ? {} : { to: o.to }) };
        const sink = o.out === undefined ? process.stdout : createWriteStream(o.out, { mode: 0o600 });
        let rows = 0;
        for await (const row of (await ctx.store()).readAudit(filter)) {
          rows++;
          if (!sink.write(`${JSON.stringify(row)}\n`)) await once(sink, 'drain');
        }
        if (o.out !== undefined) {
          sink.end();
          await once(sink, 'finish');
        }
        ctx.out.note(`${rows} rows${o.out === undefined ? '' : ` in ${o.out}`}`);
        return EXIT.done;
      }),
    );
};
