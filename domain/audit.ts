/**
 * The audit row. `entry` is what the writer says; `seq`, `prev` and `hash` are what the store adds under its lock.
 * Hash: SHA-256 over prev (32 bytes) ‖ seq (8 bytes, big endian) ‖ canonical JSON of the entry (UTF-8). The first row's prev is 32 zero bytes.
 */
export const AUDIT_PHASES = ['intended', 'done', 'failed', 'unknown', 'refused', 'noted'] as const;
export type AuditPhase = (typeof AUDIT_PHASES)[number];

export interface AuditEntry {
  /** Idempotency key: a second row with the same id is not written. */
  eventId: string;
  /** When it happened (not when it was stored): ISO 8601, UTC, milliseconds. */
  at: string;
  /** Who did it: `duty:emergency`, or `person:alice` for what a person did with their own session. */
  actor: string;
  /** Shown, never believed. */
  requestedBy?: string;
  approvers?: string[];
  operation: string;
  action: string;
  phase: AuditPhase;
  workflowId?: string;
  firstRunId?: string;
  runId?: string;
  activityId?: string;
  keyId?: string;
  keyArn?: string;
  region?: string;
  incident?: string;
  reason?: string;
  planDigest?: string;
  /** KMS's request id: joins the row to CloudTrail. */
  requestId?: string;
  /** Error code, for `failed`, `unknown` and `refused`. */
  error?: string;
  /** Further facts; strings, integers, booleans and nestings of them. */
  detail?: Record<string, unknown>;
  /** Set when the row waited in the journal while the store was unreachable. */
  journaled?: true;
}

export interface AuditRow {
  /** 1, 2, 3 … without gaps. */
  seq: number;
  /** 64 hex digits. */
  prev: string;
  hash: string;
  entry: AuditEntry;
}

export const GENESIS = '0'.repeat(64);
