import type { Receipt } from '../domain/approval';
import { refused, type VerifiedApproval } from '../domain/approval';
import { canonicalJson } from '../domain/canonical';
import { KeywardenError } from '../domain/errors';
import type { ProcedureRef } from '../domain/keyRow';
import { receiptsKey } from '../domain/names';
import type { Certificate } from '../domain/activities';
import type { Deps } from './deps';
import type { RegionalKms } from './kms';

/** Keeps a verified approval: uses up its `jti` and stores a receipt under a MAC that only this duty can make. Idempotent for one workflow, plan and duty. */
export async function keepReceipt(deps: Deps, approval: VerifiedApproval, at: { procedure: ProcedureRef; epoch: number; arrivedAt: number }): Promise<void> {
  const { procedure } = at;
  const use = { jti: approval.claims.jti, workflowId: procedure.workflowId, firstRunId: procedure.firstRunId, planDigest: approval.planDigest, duty: deps.duty };
  const consumed = await deps.store.consumeProof(use);
  if (consumed === 'used') throw refused('KW-APPROVAL-REUSED', `this proof of ${approval.person} was used before`, 'sign again: each proof is good for one use');
  // the same message again: what lapsed with a newer revocation is not brought back by sending it twice (rule 5)
  const before = consumed === 'same' ? (await receiptsOf(deps, procedure)).filter((r) => r.jti === approval.claims.jti) : [];
  if (before.some((r) => r.epoch === at.epoch)) return;
  if (before.length > 0) throw refused('KW-APPROVAL-LAPSED', `this proof of ${approval.person} lapsed when a newer revocation came`, 'sign again');
  const receipt: Receipt = {
    planDigest: approval.planDigest,
    person: approval.person,
    role: approval.claims.role,
    decision: approval.claims.decision,
    jti: approval.claims.jti,
    workflowId: procedure.workflowId,
    firstRunId: procedure.firstRunId,
    duty: deps.duty,
    keyId: approval.claims.plan.keyId,
    epoch: at.epoch,
    at: new Date(at.arrivedAt).toISOString(),
  };
  await deps.store.savePlan(approval.planDigest, canonicalJson(approval.claims.plan));
  const mac = await anyRegion(deps, (kms) => kms.mac(receiptsKey(deps.duty), bytes(receipt)));
  await deps.store.saveReceipt(receipt, Buffer.from(mac).toString('base64'));
}

/** This duty's receipts of a procedure; one whose MAC does not fit (written by somebody else into the database) counts for nothing. */
export async function receiptsOf(deps: Deps, procedure: ProcedureRef): Promise<Receipt[]> {
  const kept = await deps.store.receiptsFor(procedure.workflowId, procedure.firstRunId, deps.duty);
  const genuine: Receipt[] = [];
  for (const { receipt, mac } of kept) {
    const fits = await anyRegion(deps, (kms) => kms.macFits(receiptsKey(deps.duty), bytes(receipt), Buffer.from(mac, 'base64')));
    if (fits && receipt.duty === deps.duty && receipt.workflowId === procedure.workflowId && receipt.firstRunId === procedure.firstRunId) genuine.push(receipt);
  }
  return genuine;
}

/** Facts under this duty's MAC: whoever carries them, they are what this duty has said. Told apart from a receipt by their `typ`. */
export async function certify<T extends { typ: string }>(deps: Deps, facts: T): Promise<Certificate> {
  const mac = await anyRegion(deps, (kms) => kms.mac(receiptsKey(deps.duty), bytes(facts)));
  return { text: canonicalJson(facts), mac: Buffer.from(mac).toString('base64') };
}

/** The facts, if this duty has certified them. */
export async function certified(deps: Deps, { text, mac }: Certificate): Promise<unknown> {
  const fits = await anyRegion(deps, (kms) => kms.macFits(receiptsKey(deps.duty), Buffer.from(text, 'utf8'), Buffer.from(mac, 'base64')));
  return fits ? (JSON.parse(text) as unknown) : undefined;
}

function bytes(receipt: object): Uint8Array {
  return Buffer.from(canonicalJson(receipt), 'utf8');
}

/** Keywarden's own keys are multi-Region: the next Region serves where one is silent. */
async function anyRegion<T>(deps: Deps, ask: (kms: RegionalKms) => Promise<T>): Promise<T> {
  let last: unknown;
  for (const kms of deps.kms.values()) {
    try {
      return await ask(kms);
    } catch (error) {
      last = error;
    }
  }
  throw last ?? new KeywardenError('KW-BUG', 'no Region is configured');
}
