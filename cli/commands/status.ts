import { KeywardenError } from '../../domain/errors';
import { moment } from '../../domain/duration';
import { progressInWords, type ProcedureStatus, type StepState } from '../../domain/status';
import type { Context } from '../context';
import { EXIT } from '../output';
import { statusOf } from '../procedures';
import type { Register } from '../register';

const TYPES = ['initializeKeys', 'revokeKey', 'recoverKey', 'rotateKey', 'rotateDueKeys', 'rotateColumnEncryptionKey', 'eraseSubject'];
const MARK: Record<StepState, string> = { waiting: ' ', running: '…', retrying: '!', done: '✓', failed: '✗', skipped: '-' };

export const register: Register = (program, run) => {
  program
    .command('status [what]')
    .description('open procedures; with a workflow id its steps, with a key its state and what depends on it')
    .action(
      run<[string | undefined]>(async (ctx, what) => {
        if (what === undefined) return listOpen(ctx);
        return /^(revokeKey|recoverKey|initializeKeys|rotateKey|rotateDueKeys|rotateColumnEncryptionKey|eraseSubject)-/.test(what) || !(await isKey(ctx, what)) ? one(ctx, what) : keyStatus(ctx, what);
      }),
    );
};

async function listOpen(ctx: Context): Promise<number> {
  const client = await ctx.temporal();
  const open: { workflowId: string; type: string; key: string; status?: ProcedureStatus | undefined }[] = [];
  for await (const w of client.workflow.list({ query: `ExecutionStatus="Running" AND WorkflowType IN (${TYPES.map((t) => `"${t}"`).join(',')})` })) {
    open.push({ workflowId: w.workflowId, type: w.type, key: keyOf(w), status: await statusOf(client.workflow.getHandle(w.workflowId, w.runId), client) });
  }
  if (ctx.out.json) {
    for (const o of open) ctx.out.result(o);
    return EXIT.done;
  }
  if (open.length === 0) ctx.out.line('No open procedures. Next: keywarden init, or keywarden revoke KEY --reason "…" --as NAME');
  for (const o of open) {
    ctx.out.line(ctx.out.bold(o.workflowId));
    if (o.status === undefined) {
      ctx.out.line(`  ${ctx.out.red('no worker answers')}: start one with keywarden worker`);
      continue;
    }
    ctx.out.line(`  ${o.status.phase}${o.status.deadline === undefined ? '' : `; ${endsOf(o.status)} ends ${moment(o.status.deadline, Date.now())}`}`);
    if (o.status.progress !== undefined) ctx.out.line(`  ${progressInWords(o.status.progress)}`);
    for (const m of o.status.missing ?? []) ctx.out.line(`  ${ctx.out.yellow('!')} ${m}`);
    for (const l of whoIsMissing(o.workflowId, o.key, o.status)) ctx.out.line(`  ${l}`);
  }
  return EXIT.done;
}

const endsOf = (s: ProcedureStatus): string => (s.ends ?? 'window').toLowerCase();

/** The purpose of the key, as the procedure itself has made it searchable. */
function keyOf(w: { searchAttributes?: Record<string, unknown> }): string {
  const value = w.searchAttributes?.['KeywardenKey'];
  return String((Array.isArray(value) ? value[0] : value) ?? 'KEY');
}

function whoIsMissing(workflowId: string, key: string, s: ProcedureStatus): string[] {
  const p = s.pendingApproval;
  if (p !== undefined) return [`waits for ${p.missing} more to sign (${p.eligible.join(' or ')})${p.decided.length === 0 ? '' : `; signed: ${p.decided.map((d) => d.person).join(', ')}`}`, `type: keywarden approve ${workflowId} --as NAME`];
  if (s.phase === 'erasing') return [`to undo: keywarden reject ${workflowId} --as NAME`];
  if (s.phase === 'window open') return [`to undo: keywarden recover ${key} --reason "…" --as NAME`];
  return [];
}

async function one(ctx: Context, workflowId: string): Promise<number> {
  const client = await ctx.temporal();
  const handle = client.workflow.getHandle(workflowId);
  const description = await handle.describe().catch((cause: unknown) => {
    throw new KeywardenError('KW-USAGE', `neither a procedure nor a key: ${workflowId}`, { path: 'WHAT', notDone: 'nothing', next: 'keywarden status lists the open procedures', cause });
  });
  const s = await statusOf(handle, client);
  if (s === undefined) throw new KeywardenError('KW-TEMPORAL', 'no worker answers', { notDone: 'the status could not be read', next: 'start one with keywarden worker' });
  ctx.out.result(
    { workflowId, type: description.type, execution: description.status.name, ...s },
    ctx.out.bold(workflowId),
    `  ${s.phase}${s.outcome === undefined || s.outcome === s.phase ? '' : ` (${s.outcome})`}${s.deadline === undefined ? '' : `; ${endsOf(s)} ends ${moment(s.deadline, Date.now())}`}`,
    ...s.steps.map((x) => `  [${MARK[x.state]}] ${x.title}${x.detail === undefined ? '' : `: ${x.detail}`}`),
    ...(s.progress === undefined ? [] : [`  ${progressInWords(s.progress)}`]),
    ...(s.pendingApproval === undefined ? [] : ['', ...s.pendingApproval.words.map((w) => `  | ${w}`)]),
    ...whoIsMissing(workflowId, keyOf(description), s).map((l) => `  ${l}`),
    ...(s.pendingApproval !== undefined && s.pendingApproval.refused > 0 ? [`  ${s.pendingApproval.refused} proof(s) refused; the last: ${s.pendingApproval.lastRefusal ?? ''}`] : []),
  );
  return EXIT.done;
}

async function isKey(ctx: Context, what: string): Promise<boolean> {
  const config = await ctx.config();
  return config.purposes.includes(what) || /^(alias\/|arn:|mrk-|[0-9a-f]{8}-)/.test(what);
}

/** A key: its state in each Region, its window, and what depends on it. */
async function keyStatus(ctx: Context, key: string): Promise<number> {
  const [config, kms, { resolveTarget }, store, { dependents, takeCensus }] = await Promise.all([ctx.config(), ctx.kms('operator'), import('../../activities/targets'), ctx.store(), import('../../activities/census')]);
  const target = await resolveTarget(config, kms, key);
  const [row, census, setAside, consumers] = await Promise.all([store.readKey(target.keyId), takeCensus({ config, store }, target.keyId, Date.now()), store.readSetAside(target.keyId, { limit: 20 }), store.consumersOf(target.purpose, target.keyId)]);
  const regions = Object.fromEntries([...[...target.seen].map(([r, m]) => [r, m.KeyState]), ...target.absent.map((r) => [r, 'absent']), ...target.silent.map((s) => [s.region, 'no answer'])]);
  const window = row?.window;
  const quarantined = window !== undefined && window.outcome === undefined && window.mode === 'quarantine';
  ctx.out.result(
    { keyId: target.keyId, purpose: target.purpose, regions, window: window === undefined ? undefined : { deadline: window.deadline, mode: window.mode, outcome: window.outcome, procedure: window.procedure.workflowId }, rotation: row?.rotation?.workflowId, rotated: row?.rotated, replaces: row?.replaces, replacedBy: row?.replacedBy, census, consumers: consumers.length, setAside },
    ctx.out.bold(`${target.purpose}  ${target.keyId}`),
    ...Object.entries(regions).map(([r, s]) => `  ${r.padEnd(16)} ${s !== 'Enabled' ? ctx.out.red(String(s)) : quarantined ? ctx.out.yellow('Enabled, quarantined: only re-wrap may read') : ctx.out.green('Enabled')}`),
    ...(window === undefined ? [] : [`  window: ${window.outcome ?? `open until ${moment(window.deadline, Date.now())}`} (${window.procedure.workflowId})`]),
    ...(row?.rotation === undefined ? [] : [`  rotation: under way (${row.rotation.workflowId})`]),
    ...(row?.replaces === undefined ? [] : [`  takes the place of ${row.replaces.keyId}: ${row.replaces.phase} (${row.replaces.workflowId})`]),
    ...(row?.replacedBy === undefined ? [] : [`  replaced by ${row.replacedBy.keyId}, ${moment(row.replacedBy.at, Date.now())} (${row.replacedBy.workflowId})`]),
    ...(row?.rotated === undefined ? [] : [`  rotated: ${moment(row.rotated.at, Date.now())}, material ${row.rotated.material.slice(0, 12)}…`]),
    `  depends on it: ${census.subjectKeys} subject keys, ${census.columnKeyValues} CEK values${census.databases.length === 0 ? '' : `, the database ${census.databases.join(', ')}`}`,
    `  used by: ${consumers.length === 0 ? 'no application that is registered' : `${consumers.length} processes of applications`}`,
    `  may be retired: ${census.empty ? 'yes, nothing depends on it' : `no: ${dependents(census).join('; ')}`}${census.backupsUntil === undefined ? '' : ` (retention ${config.backups.retentionDays} days)`}`,
    ...setAside.map((a) => `  ${ctx.out.red('does not open')}: ${a.kind === 'cek' ? 'CEK' : 'subject key'} ${a.id} (${a.code}, found ${a.at})`),
  );
  return EXIT.done;
}
