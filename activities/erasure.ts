import { heartbeat } from '@temporalio/activity';
import type { Certificate, RecoveryActivities } from '../domain/activities';
import { refused } from '../domain/approval';
import { canonicalJson } from '../domain/canonical';
import { rolesOf } from '../domain/config';
import { digest } from '../domain/digest';
import { beginErasing, deleteErased, held, holderOf, rejectErasing, restoreErased, unasked, type ErasureFacts, type ErasureProof, type ErasureRow } from '../domain/erasure';
import { KeywardenError } from '../domain/errors';
import { eraseInput, parseInput } from '../domain/inputs';
import { same, type ProcedureRef } from '../domain/keyRow';
import { matter, planInWords, type Plan } from '../domain/plan';
import { signedPlan, signers } from './authority';
import { considerDecisions, digestsOf } from './considering';
import type { Deps } from './deps';
import { effect, found } from './effect';
import { entry, execution, isRunning, now, type Execution } from './execution';
import { erasurePlan } from './planning';
import { certify, certified, keepReceipt, receiptsOf } from './receipts';

type Erasure = Pick<RecoveryActivities, 'considerErasure' | 'withholdSubject' | 'restoreSubject' | 'deleteSubject' | 'keepErased' | 'proveErasure'>;

const DAY_MS = 86_400_000;
/** Hashed to see whether the key of the hashes is still the same; no subject id begins so. */
const CHECK = ':check';
/** Subject ids that are hashed at once in search of one. */
const PAGE = 5_000;

/** The acts of an erasure, for the recovery duty. Each verifies for itself that it may; none says in the clear whom it is about. */
export function erasureActivities(deps: Deps): Erasure {
  const iso = (): string => new Date(now(deps)).toISOString();
  return {
    async considerErasure(a) {
      const input = parseInput(eraseInput, a.input);
      const e = await execution(deps);
      const row = await deps.store.readErasure(input.subjectId);
      const holder = holderOf(row);
      if (row === undefined || (!isOf(row, e) && row.state !== 'requested' && holder === undefined)) throw unasked(input.subjectId);
      if (holder !== undefined && !same(holder, e) && (await isRunning(deps, holder))) throw held(input.subjectId, holder);
      const plan = erasurePlan(deps.config, input, e);
      const digests = digestsOf(plan);
      const considered = await considerDecisions(deps, e, {
        prepared: { plan, digest: digest(plan), words: planInWords(plan, 0) },
        quorum: 'eraseSubject',
        keep: async (approval, arrival) => {
          if (approval.claims.decision === 'reject') await deps.store.changeErasure(input.subjectId, (r) => ({ row: rejectErasing(r!, e, approval.person), result: undefined }));
          const { state } = (await deps.store.readErasure(input.subjectId))!;
          if (state === 'deleted' || state === 'proven') throw refused('KW-APPROVAL-LAPSED', 'the keys are deleted', 'nothing brings them back', input.subjectId);
          await keepReceipt(deps, approval, { procedure: e, epoch: row.round, arrivedAt: arrival.at });
        },
        kept: async () => (await receiptsOf(deps, e)).filter((r) => r.epoch === row.round && digests.includes(r.planDigest)),
      }, a.decisions, a.malformed);
      return { ...considered, searchable: deps.searchable };
    },

    async withholdSubject(a) {
      const { e, plan, row: before, approvers } = await erasureAuthority(deps, a.digest);
      const facts = { action: 'WithholdSubjectKeys', keyId: plan.keyId, planDigest: a.digest, approvers, ...matter(plan) };
      if (before.state === 'erasing' && isOf(before, e)) {
        await found(deps, e, facts);
        return { deadline: before.deadline! };
      }
      const holder = holderOf(before);
      const abandoned = holder !== undefined && !same(holder, e) && !(await isRunning(deps, holder)) ? holder : undefined; // terminated from outside
      const at = iso();
      const deadline = new Date(Date.parse(at) + deps.config.erasure.waitDays * DAY_MS).toISOString();
      return effect(deps, e, { ...facts, detail: { deadline } }, () =>
        deps.store.changeErasure(plan.keyId, (row, keys) => {
          if (row?.round !== before.round) throw unasked(plan.keyId);
          if (keys.length === 0 && row.state === 'requested') throw new KeywardenError('KW-SUBJECT-UNKNOWN', 'the subject has no key', { key: plan.keyId, notDone: 'nothing was erased', next: 'check the id: `keywarden erase ID --hash` prints its hash' });
          const begun = beginErasing(row, { procedure: ref(e), at, deadline, keys, abandoned });
          return { row: begun, result: { deadline: begun.deadline! } };
        }), 'KW-STORE');
    },

    async restoreSubject(a) {
      const { e, plan } = await signedPlan(deps, a.digest);
      const digests = digestsOf(plan);
      const row = await deps.store.readErasure(plan.keyId);
      const by = (await receiptsOf(deps, e)).find((r) => r.decision === 'reject' && r.epoch === row?.round && digests.includes(r.planDigest) && rolesOf(deps.config, r.person).includes(r.role));
      if (plan.operation !== 'eraseSubject' || by === undefined) throw new KeywardenError('KW-APPROVAL-MISSING', 'nobody has rejected this erasure', { key: plan.keyId, notDone: 'nothing was given back', next: 'keywarden reject WORKFLOW --as NAME' });
      const facts = { action: 'RestoreSubjectKeys', keyId: plan.keyId, planDigest: a.digest, approvers: [by.person], ...matter(plan) };
      const mine = row?.procedure !== undefined && (same(row.procedure, e) || !(await isRunning(deps, row.procedure)));
      if (row?.state !== 'erasing' || !mine) {
        await found(deps, e, facts);
        return { restored: row?.state === 'restored' && isOf(row, e) };
      }
      return effect(deps, e, facts, () =>
        deps.store.changeErasure(plan.keyId, (r) => {
          if (r?.state !== 'erasing' || !same(r.procedure!, row.procedure!)) throw new KeywardenError('KW-PREEMPTED', 'the subject is not held by this erasure', { key: plan.keyId, notDone: 'nothing was given back', next: 'look at `keywarden status`' });
          return { row: restoreErased(r, ref(e)), result: { restored: true } };
        }), 'KW-STORE');
    },

    async deleteSubject(a) {
      const { e, plan, row: standing, approvers } = await erasureAuthority(deps, a.digest);
      const facts = { action: 'DeleteSubjectKeys', keyId: plan.keyId, planDigest: a.digest, approvers, ...matter(plan) };
      const at = iso();
      // judged before the intended row too: a call that comes early leaves nothing but its error
      const before = deleteErased(standing, e, at);
      let row = before;
      if (before.deletedAt === at) {
        row = await effect(deps, e, { ...facts, detail: { keys: before.keys ?? [] } }, async () =>
          deps.store.changeErasure(plan.keyId, (r) => {
            const gone = deleteErased(r, e, at);
            return { row: gone, result: gone };
          }), 'KW-STORE');
      } else await found(deps, e, facts);
      const { workflowId, firstRunId } = e;
      const certificate = await certify(deps, { typ: 'keywarden-erasure', v: 1, subjectHash: plan.keyId, round: row.round, approvers, planDigest: a.digest, workflowId, firstRunId, erasingAt: row.erasingAt!, deletedAt: row.deletedAt!, keys: row.keys ?? [], reason: String(plan.input['reason']), check: await deps.store.hashSubject(CHECK) } satisfies ErasureFacts);
      return { certificate, deletedAt: row.deletedAt!, keys: row.keys?.length ?? 0, backupsUntil: backupsUntil(deps, row.deletedAt!) };
    },

    async keepErased(a) {
      const { e, facts } = await certifiedErasure(deps, a.certificate);
      return { reapplied: await keepGone(deps, e, facts), backupsUntil: backupsUntil(deps, facts.deletedAt) };
    },

    async proveErasure(a) {
      const { e, facts } = await certifiedErasure(deps, a.certificate);
      const until = backupsUntil(deps, facts.deletedAt);
      const provenAt = iso();
      if (provenAt < until) throw new KeywardenError('KW-NOT-YET', `a backup may hold the keys until ${until}`, { key: facts.subjectHash, notDone: 'the proof was not issued', next: 'it is tried again then' });
      await keepGone(deps, e, facts);
      const kept = (await deps.store.readErasure(facts.subjectHash))?.proof;
      const proof = kept ?? (await proofOf(deps, facts, until, provenAt));
      await keep(deps, facts, { proof });
      // one proof, one row, however often this is tried
      await deps.trail.record([{ ...entry(deps, e, { action: 'ProveErasure', phase: 'done', keyId: facts.subjectHash, planDigest: facts.planDigest, approvers: facts.approvers, reason: facts.reason, detail: { proof } }), eventId: `${e.firstRunId}/ProveErasure` }]);
      await keep(deps, facts, { proof, state: 'proven' });
      return { proof };
    },
  };
}

/** A signed erasure that nobody has rejected. */
async function erasureAuthority(deps: Deps, planDigest: string): Promise<{ e: Execution; plan: Plan; row: ErasureRow; approvers: string[] }> {
  const { e, plan } = await signedPlan(deps, planDigest);
  if (plan.operation !== 'eraseSubject') throw new KeywardenError('KW-APPROVAL-PLAN', 'the plan is not an erasure', { key: plan.keyId, notDone: 'nothing was done', next: 'have an erasure signed' });
  const row = await deps.store.readErasure(plan.keyId);
  if (row === undefined) throw unasked(plan.keyId);
  return { e, plan, row, approvers: await signers(deps, e, plan, row.round) };
}

/** What this duty certified when it deleted. The database may have forgotten it since: it was restored. */
async function certifiedErasure(deps: Deps, certificate: Certificate): Promise<{ e: Execution; facts: ErasureFacts }> {
  const e = await execution(deps);
  const facts = (await certified(deps, certificate)) as ErasureFacts | undefined;
  if (facts?.typ !== 'keywarden-erasure' || !same(facts, e)) throw new KeywardenError('KW-APPROVAL-MISSING', 'the certificate is not of this erasure', { notDone: 'nothing was done', next: 'start the erasure again' });
  if ((await deps.store.hashSubject(CHECK)) !== facts.check) {
    throw new KeywardenError('KW-NOT-YET', 'the key of the hashes in the database is another one', { key: facts.subjectHash, notDone: 'nobody was looked for', next: 'the database was restored to a day before it had one: put the row of subject_pepper back from a newer backup' });
  }
  return { e, facts };
}

/** A database restore may bring a tombstone's person back, with the tombstone or without. Whoever stands again is deleted again. */
async function keepGone(deps: Deps, e: Execution, f: ErasureFacts): Promise<boolean> {
  const row = await deps.store.readErasure(f.subjectHash);
  if (row !== undefined && row.round > f.round) throw new KeywardenError('KW-PREEMPTED', 'the subject came back after this erasure, and a newer one was asked for', { key: f.subjectHash, notDone: 'nothing was deleted', next: 'look at `keywarden status`' });
  const stands = row !== undefined && isOf(row, f) && (row.state === 'deleted' || row.state === 'proven');
  const subjectId = (stands ? undefined : row?.subjectId) ?? (await findSubject(deps, f));
  if (stands && subjectId === undefined) return false;
  await effect(deps, e, { action: 'DeleteSubjectKeys', keyId: f.subjectHash, planDigest: f.planDigest, approvers: f.approvers, reason: f.reason, detail: { again: true, tombstone: stands ? 'stood' : 'was missing', keys: subjectId === undefined ? 'none stood' : 'stood' } }, async () => {
    await keep(deps, f, subjectId === undefined ? {} : { subjectId });
    return {};
  }, 'KW-STORE');
  return true;
}

/** Writes the tombstone as it was certified; the keys of a subject that it names go in the same transaction. */
function keep(deps: Deps, f: ErasureFacts, more: Partial<ErasureRow>): Promise<void> {
  const row: ErasureRow = { subjectHash: f.subjectHash, round: f.round, state: 'deleted', procedure: ref(f), erasingAt: f.erasingAt, deletedAt: f.deletedAt, keys: f.keys, ...more };
  return deps.store.changeErasure(f.subjectHash, () => ({ row, result: undefined }));
}

/** Page by page, in constant memory; heartbeats say no id. */
async function findSubject(deps: Deps, f: ErasureFacts): Promise<string | undefined> {
  for (let after: string | undefined, seen = 0; ; ) {
    const page = await deps.store.listSubjects({ after, createdUntil: f.deletedAt, limit: PAGE });
    const match = page.find((s) => s.subjectHash === f.subjectHash);
    if (match !== undefined || page.length < PAGE) return match?.subjectId;
    after = page.at(-1)!.subjectId;
    heartbeat((seen += page.length));
  }
}

async function proofOf(deps: Deps, f: ErasureFacts, until: string, provenAt: string): Promise<ErasureProof> {
  const { application, environment, account } = deps.config;
  const { subjectHash, approvers, planDigest, workflowId, firstRunId, erasingAt, deletedAt, keys } = f;
  await deps.trail.drain(); // what waits in the journal belongs to it
  const rows: number[] = [];
  for await (const { seq, entry: r } of deps.store.readAudit({ workflowId })) if (r.firstRunId === firstRunId && r.phase !== 'refused') rows.push(seq);
  const head = (await deps.store.auditHead())!;
  return { v: 1, subject: subjectHash, application, environment, account, keys, approvers, planDigest, workflowId, firstRunId, erasingAt, deletedAt, backupsUntil: until, provenAt, audit: { rows, head } };
}

function backupsUntil(deps: Deps, deletedAt: string): string {
  return new Date(Date.parse(deletedAt) + deps.config.backups.retentionDays * DAY_MS).toISOString();
}

const isOf = (row: ErasureRow, procedure: ProcedureRef): boolean => row.procedure !== undefined && same(row.procedure, procedure);
const ref = (p: ProcedureRef): ProcedureRef => ({ workflowId: p.workflowId, firstRunId: p.firstRunId });
