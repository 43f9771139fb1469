/**
 * The rules of DESIGN.md that are built so far, judged from outside after whatever a test did: from KMS (states, policies, the record of
 * calls), the store (key rows, receipts, audit chain), the Temporal histories, SNS and the log. A violation names its rule.
 *
 * `gather` reads a world; `judge` is pure, so that a test can show for each rule that its breach is found.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from '@temporalio/client';
import type { temporal } from '@temporalio/proto';
import { historyToJSON } from '@temporalio/common/lib/proto-utils';
import type { RegionalKms } from '../../activities/kms';
import { rolesForPolicies } from '../../activities/planning';
import type { Receipt } from '../../domain/approval';
import type { AuditEntry, AuditRow } from '../../domain/audit';
import { canonicalJson } from '../../domain/canonical';
import type { Config } from '../../domain/config';
import { digest, policyDigest } from '../../domain/digest';
import type { RevokeInput } from '../../domain/inputs';
import { openWindowOf, type KeyRow } from '../../domain/keyRow';
import { DUTIES, CHECKPOINT_KEY, receiptsKey, type Duty } from '../../domain/names';
import { firstHalf, quorumOf, type Plan } from '../../domain/plan';
import { quarantinePolicy } from '../../domain/policies';
import { floorOf, quorumState } from '../../domain/quorum';
import { demoFiles } from '../../local/demo/files';
import type { CallRecord } from '../../local/kms/admin';
import { verifyTrail } from '../../stores/auditTrail';
import { Journal } from '../../stores/journal';
import { kmsClients } from '../../worker';
import { logged, REGIONS, type World } from './world';

type Event = temporal.api.history.v1.IHistoryEvent;

export interface Evidence {
  config: Config;
  /** Every call that changes something, oldest first, whoever made it. */
  changes: CallRecord[];
  /** In the order of the chain. */
  rows: AuditRow[];
  chain: { bad?: { seq: number; why: string } };
  brokenJournals: string[];
  keys: KeyRow[];
  /** By key id and Region. */
  kms: Record<string, Record<string, { state: string; policy?: string }>>;
  ownKeys: Record<string, string>;
  receipts: { receipt: Receipt; genuine: boolean }[];
  plans: Map<string, Plan>;
  wrapped: Record<string, number>;
  histories: { workflowId: string; runId: string; type: string; events: Event[] }[];
  alerts: { kind: string; eventId: string; text: string }[];
  /** All that must hold no secret, by where it stands. */
  texts: Record<string, string>;
  secrets: string[];
  /** Temporal's clock is not KMS's: times of the two are not compared. */
  timeSkipping: boolean;
  forged: string[];
}

export interface Checked {
  /** Workflow ids, where the server cannot list them (time skipping). */
  workflows?: string[];
  /** Workflow ids whose tasks or results an attacker answered: of their order nothing can be said (rule 2); all else holds for them too. */
  forged?: string[];
  /** Plaintexts that must stand nowhere, besides the canary's and the private keys of the identities. */
  secrets?: (string | Uint8Array)[];
}

/** Violations of the rules; [] where all hold. */
export async function checkInvariants(world: World, o: Checked = {}): Promise<string[]> {
  return judge(await gather(world, o));
}

/** What widens or destroys (rule 3), as KMS calls it. Disabling and reading do neither. */
const WIDENING = new Set(['EnableKey', 'CancelKeyDeletion', 'ScheduleKeyDeletion', 'PutKeyPolicy', 'CreateKey', 'ReplicateKey', 'CreateAlias', 'UpdateAlias', 'DeleteAlias', 'CreateGrant', 'UpdatePrimaryRegion', 'RotateKeyOnDemand', 'ImportKeyMaterial']);
/** Those that DESIGN.md's table asks signatures for, in the procedures built so far. */
const SIGNED = new Set(['EnableKey', 'CancelKeyDeletion', 'ScheduleKeyDeletion', 'PutKeyPolicy', 'UpdateAlias']);
/** An attempt that was under way when a newer revocation came may act for so long; the revocation holds the disabled state meanwhile. */
const ACT_MS = 31_000;

export function judge(e: Evidence): string[] {
  return [...rule1(e), ...rule2(e), ...rule3(e), ...rules4and5(e), ...rule6(e), ...rule7(e), ...rule9(e), ...rule10(e), ...windows(e), ...erasures(e)];
}

/** No wrapped key without a CMK that exists and stays, unless two people signed the loss. */
function* rule1(e: Evidence): Iterable<string> {
  for (const [keyId, n] of Object.entries(e.wrapped)) {
    const gone = Object.entries(e.kms[keyId] ?? {}).filter(([, k]) => k.state === 'absent' || k.state.startsWith('Pending'));
    if (n === 0 || gone.length === 0) continue;
    const signed = e.rows.some(({ entry }) => entry.keyId === keyId && entry.action === 'ScheduleKeyDeletion' && (e.plans.get(entry.planDigest ?? '')?.input as RevokeInput | undefined)?.acceptLoss === true);
    if (!signed) yield `rule 1: ${n} subject keys stand under ${keyId}, which is ${gone.map(([r, k]) => `${k.state} in ${r}`).join(', ')}, and nobody signed the loss`;
  }
}

/** Disabling comes first. */
function* rule2(e: Evidence): Iterable<string> {
  for (const h of e.histories.filter((x) => x.type === 'revokeKey')) {
    const started = h.events[0]?.workflowExecutionStartedEventAttributes;
    if (started?.continuedExecutionRunId || e.forged.includes(h.workflowId)) continue; // goes on with an open window, or is not ours
    const first = h.events.findIndex((x) => x.workflowTaskCompletedEventAttributes);
    if (first < 0) continue;
    // a task's commands follow its completion at once
    const rest = h.events.slice(first + 1);
    const end = rest.findIndex((x) => !isCommand(x));
    const commands = end < 0 ? rest : rest.slice(0, end);
    const kinds = commands.map((c) => c.activityTaskScheduledEventAttributes?.activityType?.name ?? (c.workflowExecutionFailedEventAttributes ? 'failed' : `event type ${String(c.eventType)}`));
    if (kinds.join() !== 'disableKey' && kinds.join() !== 'failed') yield `rule 2: the first workflow task of ${h.workflowId} scheduled ${kinds.join(', ') || 'nothing'}`;
  }
  for (const [workflowId, rows] of groups(e.rows.map((r) => r.entry).filter((r) => r.operation === 'revokeKey' && r.workflowId !== undefined), (r) => r.workflowId!)) {
    if (e.forged.includes(workflowId)) continue;
    const disabled = rows.filter((r) => (r.action === 'DisableKey' || r.action === 'AdoptDisabled') && r.phase === 'done');
    // a disabling whose row was not taken at once is done again to get one: KMS knows the first
    const start = e.histories.find((h) => h.workflowId === workflowId && !h.events[0]?.workflowExecutionStartedEventAttributes?.continuedExecutionRunId)?.events[0]?.eventTime;
    const from = new Date(Number(start?.seconds ?? 0) * 1000).toISOString();
    const inKms = e.timeSkipping || start === undefined ? [] : e.changes.filter((c) => c.operation === 'DisableKey' && c.errorCode === undefined && c.time >= from && disabled.some((r) => fits(c, r))).map((c) => c.time);
    const first = [...disabled.map((r) => r.at), ...inKms].sort()[0];
    for (const r of rows) {
      if (r.phase === 'refused' || r.action === 'approve' || r.action === 'reject') continue;
      if (first === undefined || r.at < first) yield `rule 2: ${workflowId} did ${r.action} at ${r.at}, before its first disabling (${first ?? 'none'})`;
    }
  }
}

/** Intended before, done or failed after, joined by KMS's request id. */
function* rule3(e: Evidence): Iterable<string> {
  const entries = e.rows.map((r) => r.entry);
  for (const c of workerChanges(e)) {
    const what = `${c.operation} ${c.keyArn ?? ''} in ${c.region} (${c.requestId}, ${roleOf(e, c)})`;
    const about = entries.filter((r) => r.action === c.operation && (r.region ?? r.detail?.['region']) === regionOf(e, c, r) && fits(c, r));
    const intended = about.filter((r) => r.phase === 'intended' && (e.timeSkipping || r.at <= c.time));
    if (intended.length === 0) yield `rule 3: no intended row before ${what}`;
    if (c.answerLost === true) {
      if (c.errorCode === undefined && !about.some((r) => ended(r) && (e.timeSkipping || r.at >= earlier(c.time)))) yield `rule 3: the answer of ${what} was lost and no row says so`;
      continue;
    }
    if (c.errorCode !== undefined) {
      if (!about.some((r) => r.phase === 'failed' || r.phase === 'unknown')) yield `rule 3: ${what} failed (${c.errorCode}) without a row`;
      continue;
    }
    const done = about.filter((r) => r.phase === 'done' && r.requestId === c.requestId);
    // a worker that was killed between the effect and its row leaves `unknown`, written by whoever went on
    if (done.length === 0 && !about.some((r) => r.phase === 'unknown' && (e.timeSkipping || r.at >= earlier(c.time)))) yield `rule 3: no done row with the request id of ${what}`;
  }
  for (const r of entries.filter((x) => x.phase === 'done' && WIDENING.has(x.action) && x.actor.startsWith('duty:'))) {
    if (r.requestId === undefined) yield `rule 3: the done row ${r.eventId} has no request id`;
    else if (!e.changes.some((c) => c.requestId === r.requestId)) yield `rule 3: the done row ${r.eventId} names a request that KMS never saw`;
  }
  for (const r of entries.filter((x) => x.phase === 'failed' && WIDENING.has(x.action))) {
    const later = e.changes.find((c) => c.requestId === r.requestId && c.errorCode === undefined && r.requestId !== undefined);
    if (later !== undefined) yield `rule 3: the row ${r.eventId} says failed, KMS says done`;
  }
}

/** Enough different people, of the right roles, in receipts that only the duty can make; inside the window; under the epoch of then. */
function* rules4and5(e: Evidence): Iterable<string> {
  for (const c of workerChanges(e).filter((x) => SIGNED.has(x.operation) && x.errorCode === undefined)) {
    const what = `${c.operation} ${c.keyArn ?? ''} in ${c.region} (${c.requestId})`;
    const row = rowOf(e, c);
    if (row === undefined) continue; // said by rule 3
    const plan = e.plans.get(row.planDigest ?? '');
    if (plan === undefined || digest(plan) !== row.planDigest) {
      yield `rule 4: no plan stands behind ${what}`;
      continue;
    }
    const digests = [digest(plan), digest({ ...plan, firstRunId: undefined }), ...(row.firstRunId === undefined ? [] : [digest({ ...plan, firstRunId: row.firstRunId })])];
    const first = firstHalf(plan);
    if (first !== undefined) digests.push(digest(first), digest({ ...first, firstRunId: undefined }));
    const moved = first !== undefined && c.operation === 'UpdateAlias';
    const mine = e.receipts.filter(({ receipt: r, genuine }) => genuine && r.duty === 'recovery' && r.keyId === plan.keyId && r.workflowId === row.workflowId && r.firstRunId === row.firstRunId && digests.includes(r.planDigest));
    const people = mine.map(({ receipt }) => receipt).filter((r) => r.decision === 'approve');
    const byEpoch = [...groups(people, (r) => String(r.epoch)).entries()].filter(([, rs]) => quorumState(floorOf(quorumOf(plan), e.config.quorum), rs).met);
    if (byEpoch.length === 0) yield `rule 4: ${what} was signed by ${new Set(people.map((p) => p.person)).size} person(s): ${people.map((p) => `${p.person} as ${p.role}`).join(', ')}`;
    if (mine.some(({ receipt }) => receipt.decision === 'reject')) yield `rule 4: ${what} was done although somebody rejected it`;
    if ((moved ? plan.replacement : plan.keyId) !== row.keyId || !(plan.regions.includes(c.region))) yield `rule 5: ${what} is not what the plan says`;
    if (c.operation === 'PutKeyPolicy' && plan.expects?.[c.region]?.newPolicy === undefined) yield `rule 4: ${what}: the plan names no policy`;
    if (first === undefined) yield* insideWindow(e, c, row, what, byEpoch.map(([epoch]) => Number(epoch)));
  }
}

function* insideWindow(e: Evidence, c: CallRecord, row: AuditEntry, what: string, epochs: number[]): Iterable<string> {
  const life = byTime(e.rows.map((r) => r.entry).filter((r) => r.keyId === row.keyId));
  const marks = life.filter((r) => ['OpenRecoveryWindow', 'JoinRevocation', 'CloseRecoveryWindow'].includes(r.action) && r.phase === 'done');
  const before = marks.filter((r) => r.at <= row.at);
  const last = before.filter((r) => r.action !== 'JoinRevocation').at(-1);
  const atItsEnd = c.operation === 'ScheduleKeyDeletion';
  if (last === undefined || last.action === 'CloseRecoveryWindow') yield `rule 4: ${what} at ${row.at}, when no window was open`;
  if (c.operation === 'EnableKey' && last?.action === 'OpenRecoveryWindow') {
    const deadline = String(last.detail?.['deadline']);
    if (row.at >= deadline && !atItsEnd) yield `rule 4: ${what} at ${row.at}, after the window's end ${deadline}`;
  }
  const raised = marks.filter((r) => typeof r.detail?.['epoch'] === 'number');
  const epoch = Math.max(0, ...raised.filter((r) => r.at <= row.at).map((r) => Number(r.detail?.['epoch'])));
  if (epochs.length === 0 || epochs.some((x) => x >= epoch)) return;
  const raisedAt = raised.find((r) => Number(r.detail?.['epoch']) === epoch)!.at;
  // what was under way when the newer revocation came may still land, and is put down again
  const again = e.changes.some((d) => d.operation === 'DisableKey' && d.keyArn === c.keyArn && d.errorCode === undefined && d.time >= c.time);
  if (Date.parse(row.at) - Date.parse(raisedAt) > ACT_MS || (c.operation === 'EnableKey' && !again)) yield `rule 5: ${what} under epoch ${epochs.join()}, when the key's was ${epoch}`;
}

/** Once. */
function* rule6(e: Evidence): Iterable<string> {
  for (const [id, rows] of groups(e.rows, (r) => r.entry.eventId)) if (rows.length > 1) yield `rule 6: ${rows.length} rows of the event ${id}`;
  const done = e.rows.map((r) => r.entry).filter((r) => r.phase === 'done' && r.requestId !== undefined);
  for (const [id, rows] of groups(done, (r) => r.requestId!)) if (rows.length > 1) yield `rule 6: ${rows.length} done rows of the request ${id}`;
  const genuine = e.receipts.filter((r) => r.genuine).map((r) => r.receipt);
  for (const [id, rs] of groups(genuine, (r) => `${r.duty}/${r.jti}`)) if (rs.length > 1) yield `rule 5: the proof ${id} was counted ${rs.length} times`;
  for (const [jti, rs] of groups(genuine, (r) => r.jti)) if (new Set(rs.map((r) => `${r.workflowId}/${r.firstRunId}`)).size > 1) yield `rule 5: the proof ${jti} was used for two procedures`;
}

/** No plaintext, no private key. */
function* rule7(e: Evidence): Iterable<string> {
  for (const [where, text] of Object.entries(e.texts)) {
    for (const [i, secret] of e.secrets.entries()) if (secret.length > 0 && text.includes(secret)) yield `rule 7: ${where} holds secret ${i} (${secret.slice(0, 4)}…)`;
  }
}

/** What Keywarden stands on is up. */
function* rule9(e: Evidence): Iterable<string> {
  for (const [name, state] of Object.entries(e.ownKeys)) if (state !== 'Enabled') yield `rule 9: Keywarden's own key ${name} is ${state}`;
}

function* rule10(e: Evidence): Iterable<string> {
  if (e.chain.bad !== undefined) yield `rule 10: row ${e.chain.bad.seq}: ${e.chain.bad.why}`;
  for (const file of e.brokenJournals) yield `rule 10: the journal ${file} does not verify`;
}

/** At most one window open for a key; while it is, the key is down, quarantined, or being recovered; when it has closed, it is as its outcome says. */
function* windows(e: Evidence): Iterable<string> {
  for (const [keyId, rows] of groups(e.rows.map((r) => r.entry).filter((r) => r.keyId !== undefined && r.phase === 'done'), (r) => r.keyId!)) {
    let open: string | undefined;
    for (const r of byTime(rows)) {
      if (r.action === 'OpenRecoveryWindow') {
        if (open !== undefined && open !== r.workflowId) yield `window: ${r.workflowId} opened a second window of ${keyId} beside that of ${open}`;
        open = r.workflowId;
      }
      if (r.action === 'CloseRecoveryWindow') open = undefined;
    }
  }
  const quarantine = digest(JSON.parse(quarantinePolicy(rolesForPolicies(e.config))));
  for (const row of e.keys) {
    const window = openWindowOf(row);
    for (const [region, k] of Object.entries(e.kms[row.keyId] ?? {})) {
      const here = `${row.keyId} is ${k.state} in ${region}`;
      const quarantined = window?.mode === 'quarantine' && k.policy !== undefined && policyDigest(k.policy) === quarantine;
      if (window !== undefined && k.state === 'Enabled' && !quarantined && row.recovery === undefined && window.disabledIn.includes(region)) yield `window: ${here} although its window is open`;
      const outcome = row.window?.outcome;
      if (outcome === 'recovered' && window === undefined && k.policy !== undefined && policyDigest(k.policy) === quarantine) yield `window: ${here} under the quarantine policy, its window ended as recovered`;
      if (outcome === 'disabled' && k.state !== 'Disabled') yield `window: ${here}, its window ended as disabled`;
      if (outcome === 'destroyed' && k.state !== 'absent') yield `window: ${here}, its window ended as destroyed`;
    }
  }
}

/** Nobody's keys are deleted but with two signatures, no rejection, and after the whole wait; of every `done` there is an `intended` before it. */
function* erasures(e: Evidence): Iterable<string> {
  const entries = e.rows.map((r) => r.entry);
  for (const done of entries.filter((r) => r.action === 'DeleteSubjectKeys' && (r.phase === 'done' || r.phase === 'unknown'))) {
    const what = `the deletion of ${done.keyId ?? ''} at ${done.at}`;
    const mine = entries.filter((r) => r.keyId === done.keyId && r.firstRunId === done.firstRunId && entries.indexOf(r) < entries.indexOf(done));
    if (!mine.some((r) => r.action === done.action && r.phase === 'intended')) yield `rule 3: no intended row before ${what}`;
    if (done.detail?.['again'] === true) continue; // what stood there of it may be gone: the database was restored
    const signed = e.receipts.filter(({ receipt: r, genuine }) => genuine && r.duty === 'recovery' && r.keyId === done.keyId && r.firstRunId === done.firstRunId).map((r) => r.receipt);
    const approved = signed.filter((r) => r.decision === 'approve' && r.role === 'KeyRecoveryAdmin');
    if (new Set(approved.map((r) => r.person)).size < 2) yield `rule 4: ${what} was signed by ${new Set(approved.map((r) => r.person)).size} person(s)`;
    if (signed.some((r) => r.decision === 'reject')) yield `rule 4: ${what} was done although somebody rejected it`;
    const withheld = mine.find((r) => r.action === 'WithholdSubjectKeys' && r.phase === 'intended');
    if (withheld === undefined || done.at < String(withheld.detail?.['deadline'])) yield `erasure: ${what} came before its waiting time had passed`;
  }
}

// --- what belongs to what

function workerChanges(e: Evidence): CallRecord[] {
  // a ReplicateKey is recorded a second time, as the CreateKey of the Region that gets the key
  const twin = (c: CallRecord): boolean => c.operation === 'CreateKey' && c.keyArn !== undefined && !c.keyArn.includes(`:${c.region}:`);
  return e.changes.filter((c) => c.eventType === 'AwsApiCall' && WIDENING.has(c.operation) && roleOf(e, c) !== undefined && !twin(c));
}

function roleOf(e: Evidence, c: CallRecord): Duty | undefined {
  return DUTIES.find((d) => c.principalArn !== undefined && c.principalArn === e.config.roles[d]);
}

/** ReplicateKey and CreateKey are asked of the primary Region; their rows name the Region that gets a key. */
function regionOf(e: Evidence, c: CallRecord, r: AuditEntry): string | undefined {
  return c.operation === 'ReplicateKey' ? r.region : c.region;
}

function fits(c: CallRecord, r: AuditEntry): boolean {
  return r.keyId === undefined || c.keyArn === undefined || c.keyArn.endsWith(r.keyId);
}

const ended = (r: AuditEntry): boolean => r.phase === 'done' || r.phase === 'failed' || r.phase === 'unknown';
/** KMS notes a call when it has answered; a millisecond or two lie between. */
const earlier = (iso: string): string => new Date(Date.parse(iso) - 5_000).toISOString();
const byTime = <T extends { at: string }>(rows: T[]): T[] => [...rows].sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));

/** The row under which a call was made: its own done row, else the last intended one before it. */
function rowOf(e: Evidence, c: CallRecord): AuditEntry | undefined {
  const entries = e.rows.map((r) => r.entry).filter((r) => r.action === c.operation && r.region === c.region && fits(c, r));
  const done = entries.find((r) => r.phase === 'done' && r.requestId === c.requestId);
  const intended = (of: (r: AuditEntry) => boolean): AuditEntry | undefined => byTime(entries.filter((r) => r.phase === 'intended' && of(r))).at(-1);
  if (done !== undefined) return intended((r) => r.runId === done.runId && r.activityId === done.activityId) ?? done;
  return intended((r) => e.timeSkipping || r.at <= c.time);
}

function isCommand(x: Event): boolean {
  return Object.values(x).some((value) => typeof value === 'object' && value !== null && 'workflowTaskCompletedEventId' in value);
}

function groups<T>(all: Iterable<T>, by: (t: T) => string): Map<string, T[]> {
  const found = new Map<string, T[]>();
  for (const t of all) {
    const k = by(t);
    const list = found.get(k);
    if (list === undefined) found.set(k, [t]);
    else list.push(t);
  }
  return found;
}

// --- reading a world

export async function gather(world: World, o: Checked = {}): Promise<Evidence> {
  const store = world.store.real;
  if (world.config.audit !== undefined) await new Journal(world.config.audit.journal, 'invariants').drainInto(store);
  const rows: AuditRow[] = [];
  for await (const row of store.readAudit()) rows.push(row);
  const keys = await store.listKeys();
  const histories = await historiesOf(world, o.workflows);
  const receipts = await receiptsOf(world, histories);
  const plans = new Map<string, Plan>();
  for (const d of new Set(rows.flatMap((r) => r.entry.planDigest ?? []))) {
    const text = await store.readPlan(d);
    if (text !== undefined) plans.set(d, JSON.parse(text) as Plan);
  }
  const alerts = await world.received();
  return {
    config: world.config,
    changes: changesOf(world),
    rows,
    chain: await verifyTrail(store),
    brokenJournals: filesOf(demoFiles(world.dataDir).journal).filter((f) => f.endsWith('.broken')),
    keys,
    kms: Object.fromEntries(await Promise.all(keys.map(async (k) => [k.keyId, await seenBy(world.root, k.keyId)] as const))),
    ownKeys: Object.fromEntries(await Promise.all([...DUTIES.map(receiptsKey), CHECKPOINT_KEY].map(async (name) => [name, (await world.root.get(REGIONS[0])!.describe(name))?.KeyState ?? 'absent'] as const))),
    receipts,
    plans,
    wrapped: Object.fromEntries(await Promise.all(keys.map(async (k) => [k.keyId, (await store.countWrapped(k.keyId)).subjectKeys] as const))),
    histories,
    alerts,
    texts: {
      ...Object.fromEntries(histories.map((h) => [`the history of ${h.workflowId}`, withPayloads(h.events)])),
      'the audit trail': JSON.stringify(rows),
      'the rows of the keys': JSON.stringify(keys),
      'the receipts': JSON.stringify(receipts),
      'the alerts': JSON.stringify(alerts),
      'the log': logged.join('\n'),
      ...Object.fromEntries(filesOf(demoFiles(world.dataDir).journal).map((f) => [`the journal ${f}`, readFileSync(join(demoFiles(world.dataDir).journal, f), 'utf8')])),
    },
    secrets: secretsOf(world, o.secrets ?? []),
    timeSkipping: world.env !== undefined,
    forged: o.forged ?? [],
  };
}

/** All changes that KMS has ever seen, from its durable record. */
function changesOf(world: World): CallRecord[] {
  const path = join(world.dataDir, 'kms', 'events.ndjson');
  if (!existsSync(path)) throw new Error('the local KMS keeps no record of changes: nothing can be judged');
  return readFileSync(path, 'utf8').split('\n').filter((l) => l !== '').map((l) => JSON.parse(l) as CallRecord);
}

async function seenBy(kms: Map<string, RegionalKms>, keyId: string): Promise<Record<string, { state: string; policy?: string }>> {
  const seen: Record<string, { state: string; policy?: string }> = {};
  for (const [region, k] of kms) {
    const metadata = await k.describe(keyId);
    const policy = metadata === undefined ? undefined : await k.policy(keyId).catch(() => undefined);
    seen[region] = { state: metadata?.KeyState ?? 'absent', ...(policy === undefined ? {} : { policy }) };
  }
  return seen;
}

async function historiesOf(world: World, ids: string[] | undefined): Promise<Evidence['histories']> {
  const found: { workflowId: string; runId: string; type: string }[] = [];
  if (ids !== undefined) {
    for (const workflowId of ids) {
      const d = await world.client.workflow.getHandle(workflowId).describe();
      found.push({ workflowId, runId: d.runId, type: d.type });
    }
  } else {
    for await (const w of world.client.workflow.list()) found.push({ workflowId: w.workflowId, runId: w.runId, type: w.type });
  }
  // over the worker's connection: the client's takes no page above 4 MB
  const reader = new Client({ connection: world.native });
  const histories: Evidence['histories'] = [];
  for (const w of found) {
    const history = await reader.workflow.getHandle(w.workflowId, w.runId).fetchHistory();
    histories.push({ ...w, events: history.events ?? [] });
  }
  return histories;
}

/** Each receipt with whether its MAC is the duty's: asked of KMS with the duty's own credentials. */
async function receiptsOf(world: World, histories: Evidence['histories']): Promise<Evidence['receipts']> {
  const found: Evidence['receipts'] = [];
  const chains = new Set(histories.map((h) => `${h.workflowId}\n${h.events[0]?.workflowExecutionStartedEventAttributes?.firstExecutionRunId || h.runId}`));
  for (const duty of DUTIES) {
    const clients = kmsClients(world.config, duty);
    const kms = clients.get(REGIONS[0])!;
    for (const chain of chains) {
      const [workflowId = '', firstRunId = ''] = chain.split('\n');
      for (const { receipt, mac } of await world.store.real.receiptsFor(workflowId, firstRunId, duty)) {
        const genuine = await kms.macFits(receiptsKey(duty), Buffer.from(canonicalJson(receipt), 'utf8'), Buffer.from(mac, 'base64')).catch(() => false);
        found.push({ receipt, genuine: genuine && receipt.duty === duty });
      }
    }
    for (const k of clients.values()) k.close();
  }
  return found;
}

/** A history as text, its payloads read: base64 would hide what they hold. */
function withPayloads(events: Event[]): string {
  const payloads: string[] = [];
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    if (value instanceof Uint8Array) {
      payloads.push(Buffer.from(value).toString('utf8'));
      return;
    }
    for (const inner of Object.values(value)) visit(inner);
  };
  visit(events);
  return `${historyToJSON({ events })}\n${payloads.join('\n')}`;
}

function secretsOf(world: World, given: (string | Uint8Array)[]): string[] {
  const identities = demoFiles(world.dataDir).identities;
  const keys = filesOf(identities).map((f) => (JSON.parse(readFileSync(join(identities, f), 'utf8')) as { d: string }).d);
  const forms = (s: string | Uint8Array): string[] => {
    const bytes = typeof s === 'string' ? Buffer.from(s, 'utf8') : Buffer.from(s);
    // base64 without its ends, so that it is found inside a longer text too
    return [...(typeof s === 'string' ? [s] : []), bytes.toString('base64').replace(/=+$/, ''), bytes.toString('base64url'), bytes.toString('hex')];
  };
  return [...keys, ...['keywarden canary', ...given].flatMap(forms)];
}

function filesOf(dir: string): string[] {
  return existsSync(dir) ? readdirSync(dir) : [];
}

