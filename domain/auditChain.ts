import { createHash } from 'node:crypto';
import { GENESIS, type AuditEntry, type AuditRow } from './audit';
import { canonicalJson } from './canonical';

/** Hash of a row, 64 hex digits; the definition stands in ./audit. `canonicalEntry` is the entry's canonical JSON. */
export function rowHash(prev: string, seq: number, canonicalEntry: string): string {
  const number = Buffer.alloc(8);
  number.writeBigUInt64BE(BigInt(seq));
  return createHash('sha256').update(Buffer.from(prev, 'hex')).update(number).update(canonicalEntry, 'utf8').digest('hex');
}

/** Links an entry to the row before it. */
export function link(previous: Pick<AuditRow, 'seq' | 'hash'> | undefined, entry: AuditEntry): AuditRow {
  const seq = (previous?.seq ?? 0) + 1;
  const prev = previous?.hash ?? GENESIS;
  return { seq, prev, hash: rowHash(prev, seq, canonicalJson(entry)), entry };
}

export interface ChainVerdict {
  rows: number;
  head: string;
  /** The first row that does not fit, and why. */
  bad?: { seq: number; why: string };
}

/** Walks a chain row by row in constant memory; stops at the first bad row (rule 10). */
export async function verifyChain(rows: AsyncIterable<AuditRow>): Promise<ChainVerdict> {
  let last: AuditRow | undefined;
  for await (const row of rows) {
    const expectedSeq = (last?.seq ?? 0) + 1;
    const why =
      row.seq !== expectedSeq
        ? `expected row ${expectedSeq}: rows are missing, added or out of order`
        : row.prev !== (last?.hash ?? GENESIS)
          ? 'its link does not fit the row before it'
          : row.hash !== rowHash(row.prev, row.seq, canonicalJson(row.entry))
            ? 'its content was changed'
            : undefined;
    if (why !== undefined) return { rows: last?.seq ?? 0, head: last?.hash ?? GENESIS, bad: { seq: row.seq, why } };
    last = row;
  }
  return { rows: last?.seq ?? 0, head: last?.hash ?? GENESIS };
}
