import type { AuditEntry } from '../domain/audit';
import { canonicalJson } from '../domain/canonical';
import { KeywardenError } from '../domain/errors';

/** The text of an entry that its hash covers; refuses, before anything is written, what could not be hashed. */
export function canonicalEntry(entry: AuditEntry): string {
  try {
    return canonicalJson(entry);
  } catch (cause) {
    throw new KeywardenError('KW-BUG', `the audit entry ${entry.eventId} holds a value that has no canonical form`, { notDone: 'no row was stored', next: 'use strings, integers, booleans and nestings of them', cause });
  }
}
