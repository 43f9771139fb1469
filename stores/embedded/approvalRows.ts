import type { Receipt } from '../../domain/approval';
import type { ProofUse } from '../store';
import type { Connection } from './connection';

/**
 * Rule 5: a proof fits one plan, one workflow and first run. Each duty that the plan names uses it up for itself, so another duty's
 * use for the same three is a use of its own; anything else is a proof that was used before.
 */
export function consumeProof(connection: Connection, use: ProofUse): Promise<'consumed' | 'same' | 'used'> {
  return connection.transaction('using up the proof', async (tx) => {
    const [before = []] = await tx.run(['SELECT duty, workflow_id, first_run_id, plan_digest FROM proof_use WHERE jti = ?', [use.jti]]);
    const fits = before.every((u) => u['workflow_id'] === use.workflowId && u['first_run_id'] === use.firstRunId && u['plan_digest'] === use.planDigest);
    if (!fits) return 'used';
    if (before.some((u) => u['duty'] === use.duty)) return 'same';
    await tx.run([
      'INSERT INTO proof_use (jti, duty, workflow_id, first_run_id, plan_digest) VALUES (?, ?, ?, ?, ?)',
      [use.jti, use.duty, use.workflowId, use.firstRunId, use.planDigest],
    ]);
    return 'consumed';
  });
}

export async function saveReceipt(connection: Connection, receipt: Receipt, mac: string): Promise<void> {
  await connection.transaction('saving the receipt', (tx) =>
    tx.run([
      'INSERT INTO receipt (workflow_id, first_run_id, duty, jti, mac, document) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
      [receipt.workflowId, receipt.firstRunId, receipt.duty, receipt.jti, mac, JSON.stringify(receipt)],
    ]),
  );
}

/** In the order in which they were saved. Nothing here is believed before its MAC is verified. */
export async function receiptsFor(connection: Connection, workflowId: string, firstRunId: string, duty: string): Promise<{ receipt: Receipt; mac: string }[]> {
  const rows = await connection.read(
    'reading the receipts',
    'SELECT document, mac FROM receipt WHERE workflow_id = ? AND first_run_id = ? AND duty = ? ORDER BY id',
    [workflowId, firstRunId, duty],
  );
  return rows.map((r) => ({ receipt: JSON.parse(r['document'] as string) as Receipt, mac: r['mac'] as string }));
}

export async function savePlan(connection: Connection, digest: string, plan: string): Promise<void> {
  await connection.transaction('saving the plan', (tx) => tx.run(['INSERT INTO plan (digest, document) VALUES (?, ?) ON CONFLICT DO NOTHING', [digest, plan]]));
}

export async function readPlan(connection: Connection, digest: string): Promise<string | undefined> {
  const rows = await connection.read('reading the plan', 'SELECT document FROM plan WHERE digest = ?', [digest]);
  return rows[0]?.['document'] as string | undefined;
}
