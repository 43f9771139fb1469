/** Every name that leaves the process, in one place: queues, aliases, tags, workflow ids, search attributes. */

export const WORKFLOW_QUEUE = 'keywarden';

export const DUTIES = ['routine', 'emergency', 'recovery'] as const;
export type Duty = (typeof DUTIES)[number];
export const activityQueue = (duty: Duty): string => `keywarden-${duty}`;

export const PURPOSES = ['tde', 'user-data', 'payment-data', 'audit-data'] as const;

export const ROLES = ['KeyManagementAdmin', 'EmergencyKeyAdmin', 'KeyRecoveryAdmin'] as const;
export type Role = (typeof ROLES)[number];

export const SEARCH_ATTRIBUTES = {
  KeywardenKey: 'KEYWORD',
  KeywardenPhase: 'KEYWORD',
  KeywardenDeadline: 'DATETIME',
} as const;

/** `alias/<application>/<environment>/<purpose>` */
export function aliasOf(where: { application: string; environment: string }, purpose: string): string {
  return `alias/${where.application}/${where.environment}/${purpose}`;
}

/** Keywarden's own keys; never a target of `revokeKey`. */
export const ownAlias = (name: string): string => `alias/keywarden/${name}`;
export const receiptsKey = (duty: Duty): string => ownAlias(`receipts-${duty}`);
export const CHECKPOINT_KEY = ownAlias('checkpoint');

/** The one Schedule: daily, visible and pausable in the Temporal UI. */
export const ROTATION_SCHEDULE = 'keywarden-rotate-due-keys';

/** Tags that say whose a CMK is; an alias can be moved, these are written at creation. */
export const TAG = {
  application: 'keywarden:application',
  environment: 'keywarden:environment',
  purpose: 'keywarden:purpose',
  /** On a CMK that takes the place of another: the key id of the old one, and the first run of the rotation that made it. */
  replaces: 'keywarden:replaces',
  rotation: 'keywarden:rotation',
} as const;

/** The purpose tag of Keywarden's own keys. */
export const OWN_PURPOSE = 'keywarden';

/** The one encryption context under which the worker's duties may decrypt. */
export const CANARY_CONTEXT = { purpose: 'canary' } as const;

/** A workflow id of our making: readable, sortable, and never used twice. */
export function workflowIdFor(operation: string, key: string, at: Date): string {
  const subject = key.replace(/^arn:.*?[:/]key\//, '').replace(/^alias\//, '').replace(/[^A-Za-z0-9-]+/g, '-');
  const stamp = at.toISOString().replace(/[-:]/g, '').replace(/\.(\d{3})Z$/, '$1Z');
  return `${operation}-${subject}-${stamp}`.slice(0, 200);
}
