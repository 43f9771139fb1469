import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KMSClient } from '@aws-sdk/client-kms';
import type { Context } from '../../cli/context';
import { planForStart, planOfWorkflow, showAndSign } from '../../cli/signing';
import { start } from '../../cli/procedures';
import { workflowIdFor, type Role } from '../../domain/names';
import { moment } from '../../domain/duration';
import { openWindowOf } from '../../domain/keyRow';
import { verifyTrail } from '../../stores/auditTrail';
import { credentialsFor } from '../../worker/credentials';
import type { DecideAnswer } from '../../workflows/messages';
import type { InitializeResult } from '../../workflows/initializeKeys';
import { readReceived } from '../sns';
import { DemoApplication, type EncryptedField } from './application';

const PHONE = "Ada's telephone number is 555-0142";

/** The main job, before your eyes: revoke a key, see it refused, get it back with two signatures, prove it. Any failure throws. */
export async function tellStory(ctx: Context, ui: string): Promise<void> {
  const { out } = ctx;
  let n = 0;
  const step = (title: string) => out.line(`\n${out.bold(`${++n}. ${title}`)}`);
  const as = (name: string) => Object.assign(Object.create(ctx) as Context, { options: { ...ctx.options, as: name } });
  const config = await ctx.config();
  const client = await ctx.temporal();
  const store = await ctx.store();
  const kms = new KMSClient({ region: config.regions[0]!, endpoint: process.env['AWS_ENDPOINT_URL_KMS']!, maxAttempts: 1, credentials: credentialsFor('application')! });
  const application = new DemoApplication(kms, store, config);

  step('initializeKeys: one CMK for each purpose, in two Regions');
  const made = (await (await start(ctx, 'initializeKeys', workflowIdFor('initializeKeys', 'all', new Date()), {})).result()) as InitializeResult;
  for (const k of made.keys) out.line(`   ${k.purpose.padEnd(13)} ${k.keyId}  ${k.made ? 'made' : 'found'}`);
  const keyId = made.keys.find((k) => k.purpose === 'user-data')!.keyId;

  let window = openWindowOf(await store.readKey(keyId));
  const file = join(ctx.dataDir, 'demo-data.json');
  let data: EncryptedField;
  if (existsSync(file)) {
    data = JSON.parse(readFileSync(file, 'utf8')) as EncryptedField;
    step("Yesterday's data is still here, encrypted under user-data");
  } else {
    step('The application encrypts a field under user-data');
    data = await application.encrypt('ada', PHONE);
    writeFileSync(file, JSON.stringify(data), { mode: 0o600 });
  }
  out.line(`   stored: ${data.field.slice(0, 48)}…`);
  if (window === undefined) out.line(`   reads:  ${await application.decrypt(data)}`);

  let revocation = window?.procedure.workflowId;
  if (revocation === undefined) {
    step('EMERGENCY: alice revokes user-data (revokeKey, signed)');
    revocation = workflowIdFor('revokeKey', 'user-data', new Date());
    const input = { key: 'user-data', reason: 'demonstration: the key may have leaked', incident: 'INC-DEMO' };
    const plan = await planForStart(ctx, 'revokeKey', input, { workflowId: revocation });
    const proof = await showAndSign(as('alice'), plan, { decision: 'approve', role: 'EmergencyKeyAdmin', yes: true });
    const since = Date.now();
    const handle = await start(ctx, 'revokeKey', revocation, { ...input, proof, requestedBy: 'alice' });
    const status = await until('the window is open', async () => {
      const s = await handle.query<import('../../domain/status').ProcedureStatus>('status');
      return s.steps.filter((x) => ['disable', 'alert', 'open-window', 'prove-effect', 'census'].includes(x.name)).every((x) => x.state === 'done') ? s : undefined;
    });
    out.line(`   ${status.steps[0]!.detail ?? ''}; all first steps done ${Date.now() - since} ms after the command`);
    out.line(`   recovery window ends ${moment(status.deadline!, Date.now())}`);
  } else {
    step(`Yesterday's revocation is still open: ${revocation}`);
    out.line(`   recovery window ends ${moment(window!.deadline, Date.now())}`);
  }

  step('The next decrypt is refused');
  const refusal = await application.decrypt(data).then(() => undefined, (e: Error) => e);
  if (refusal === undefined) throw new Error('the application could still decrypt after the revocation');
  out.line(`   ${out.red(refusal.name)}: ${refusal.message}`);

  step('Security was told; this is what SNS delivered');
  const told = await until('the alert arrives', async () => (await readReceived(ctx.dataDir)).reverse().find((m) => JSON.stringify(m).includes(revocation!)));
  for (const line of String(told.subject === undefined ? '' : `${told.subject}\n`).concat(textOf(told)).trim().split('\n')) out.line(`   | ${line}`);

  step('recoverKey: alice asks for recovery and signs once');
  const workflowId = workflowIdFor('recoverKey', 'user-data', new Date());
  const input = { key: 'user-data', reason: 'demonstration: false alarm', incident: 'INC-DEMO' };
  const proof = await showAndSign(as('alice'), await planForStart(ctx, 'recoverKey', input, { workflowId }), { decision: 'approve', role: 'KeyRecoveryAdmin', yes: true });
  const recovery = await start(ctx, 'recoverKey', workflowId, { ...input, proof, requestedBy: 'alice' });

  const decide = async (name: string, role: Role): Promise<DecideAnswer> => {
    const token = await showAndSign(as(name), await planOfWorkflow(ctx, workflowId), { decision: 'approve', role, yes: true });
    return client.workflow.getHandle(workflowId).executeUpdate<DecideAnswer, [object]>('decide', { args: [{ proof: token, decision: 'approve' }] });
  };
  step("Alice's second signature, under her other role, is refused");
  const second = await decide('alice', 'EmergencyKeyAdmin');
  if (second.accepted) throw new Error('one person was counted twice');
  out.line(`   ${out.red(second.code ?? '')}: ${second.reason ?? ''}`);

  step('Bob signs; two different people have signed now');
  const bob = await decide('bob', 'KeyRecoveryAdmin');
  if (!bob.accepted) throw new Error(`bob's signature was refused: ${bob.reason ?? ''}`);
  const result = (await recovery.result()) as { outcome: string; states: Record<string, string>; signedBy: string[] };
  out.line(`   ${out.green(result.outcome)}, signed by ${result.signedBy.join(' and ')}: ${Object.entries(result.states).map(([r, s]) => `${r} ${s}`).join(', ')}`);

  step('The same data reads again');
  const text = await application.decrypt(data);
  if (text !== PHONE) throw new Error('the data differs');
  out.line(`   ${text}`);
  await client.workflow.getHandle(revocation).result(); // the revocation ends as recovered

  step('audit verify');
  const verdict = await verifyTrail(store);
  if (verdict.bad !== undefined) throw new Error(`audit row ${verdict.bad.seq}: ${verdict.bad.why}`);
  out.line(`   ${verdict.rows} rows, each linked to the one before it; head ${verdict.head.slice(0, 16)}…`);

  kms.destroy();
  out.line(`\n${out.bold('Look')} at the checklists in the Temporal UI (Summary, "Current details"):`);
  out.line(`   ${ui}/namespaces/default/workflows/${revocation}`);
  out.line(`   ${ui}/namespaces/default/workflows/${workflowId}`);
  out.line(`\n${out.bold('Try')} in another terminal (in this folder):`);
  for (const c of ['bin/keywarden status user-data', 'bin/keywarden revoke payment-data --reason "a drill" --as alice', 'bin/keywarden status', 'bin/keywarden recover payment-data --reason "drill over" --as carol', 'bin/keywarden audit export --incident INC-DEMO']) out.line(`   ${c}`);
}

function textOf(message: { message: string; attributes?: unknown }): string {
  const attributes = (message.attributes ?? {}) as Record<string, { Value?: string } | string | undefined>;
  const text = attributes['text'];
  return typeof text === 'string' ? text : (text?.Value ?? message.message);
}

async function until<T>(what: string, look: () => Promise<T | undefined>, ms = 30_000): Promise<T> {
  for (const end = Date.now() + ms; ; await new Promise((r) => setTimeout(r, 40))) {
    const found = await look().catch(() => undefined);
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(`not within ${ms / 1000} s: ${what}`);
  }
}
