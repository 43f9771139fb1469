/** A message to security that a person can act on from a phone, and its structured twin. */
export const ALERT_KINDS = [
  'key-revoked', 'revocation-incomplete', 'window-reminder', 'window-ended', 'recovery-requested', 'key-recovered', 'recovery-refused', 'recovery-preempted',
  'approval-refused', 'quarantined', 'deletion-scheduled', 'revocation-rejected',
  'rotation-requested', 'key-rotated', 'rotation-incomplete', 'rotation-failed', 'cutover-requested', 'key-replaced', 'rotation-rolled-back', 'retirement-proposed', 'rotation-overdue', 'rotation-quota',
  'erasure-requested', 'erasure-begun', 'erasure-refused', 'subject-deleted', 'erasure-reapplied', 'erasure-proven', 'test',
] as const;
export type AlertKind = (typeof ALERT_KINDS)[number];

export interface AlertFacts {
  kind: AlertKind;
  /** Distinguishes alerts of one kind within a procedure (a reminder's hours, a refusal's minute). */
  occasion?: string;
  key: string;
  keyId?: string;
  who?: string[];
  reason?: string;
  incident?: string;
  /** ISO 8601. */
  deadline?: string;
  detail?: string;
  /** The command to type next. */
  command?: string;
}

const HEADLINE: Record<AlertKind, string> = {
  'key-revoked': 'KEY REVOKED',
  'revocation-incomplete': 'REVOCATION INCOMPLETE',
  'window-reminder': 'Recovery window is ending',
  'window-ended': 'Recovery window has ended',
  'recovery-requested': 'Recovery waits for signatures',
  'key-recovered': 'Key recovered',
  'recovery-refused': 'RECOVERY REFUSED',
  'recovery-preempted': 'RECOVERY PRE-EMPTED by a revocation',
  'approval-refused': 'APPROVAL REFUSED',
  quarantined: 'Key quarantined: only re-wrap may read',
  'deletion-scheduled': 'KEY DELETION SCHEDULED',
  'revocation-rejected': 'Revocation rejected: nothing was done',
  'rotation-requested': 'Rotation waits for a signature',
  'key-rotated': 'Key rotated',
  'rotation-incomplete': 'ROTATION INCOMPLETE',
  'rotation-failed': 'ROTATION FAILED',
  'cutover-requested': 'Cutover to the new CMK waits for a signature',
  'key-replaced': 'Key replaced by a new CMK',
  'rotation-rolled-back': 'ROTATION ROLLED BACK',
  'retirement-proposed': 'Old CMK may be retired: it waits for signatures',
  'rotation-overdue': 'ROTATION OVERDUE',
  'rotation-quota': 'On-demand rotations are running out',
  'erasure-requested': 'Erasure waits for signatures',
  'erasure-begun': 'ERASURE BEGUN: keys withheld',
  'erasure-refused': 'Erasure ended without deleting',
  'subject-deleted': 'SUBJECT DELETED',
  'erasure-reapplied': 'ERASURE APPLIED AGAIN after a database restore',
  'erasure-proven': 'Proof of destruction issued',
  test: 'Test message',
};

/** SNS subjects: 100 characters of ASCII at most (SNS API, Publish). */
export function subjectOf(a: AlertFacts, where: { application: string; environment: string }): string {
  return `[${where.application}/${where.environment}] ${HEADLINE[a.kind]}: ${a.key}`.replace(/[^\x20-\x7e]/g, '?').slice(0, 100);
}

export function textOf(a: AlertFacts, where: { application: string; environment: string; eventId: string; workflowId: string }): string {
  const lines = [`${HEADLINE[a.kind]}: ${a.key} (${where.application}/${where.environment})`];
  if (a.detail !== undefined) lines.push(a.detail);
  if (a.keyId !== undefined) lines.push(`Key id: ${a.keyId}`);
  if (a.who !== undefined && a.who.length > 0) lines.push(`Signed by: ${a.who.join(', ')}`);
  if (a.reason !== undefined) lines.push(`Reason: ${a.reason}`);
  if (a.incident !== undefined) lines.push(`Incident: ${a.incident}`);
  if (a.deadline !== undefined) lines.push(`Recovery possible until: ${a.deadline.replace('T', ' ').replace(/\.\d+Z$/, ' UTC')}`);
  if (a.command !== undefined) lines.push(`Type: ${a.command}`);
  lines.push(`Procedure: ${where.workflowId}`, `Event: ${where.eventId}`);
  return lines.join('\n');
}

/**
 * Input of SNS Publish for an alert: people's protocols get the text, machines' the structured twin (SNS API, Publish, MessageStructure).
 * A repeat of the same occasion carries the same `eventId`.
 */
export function publishInput(a: AlertFacts, where: { topicArn: string; application: string; environment: string; workflowId: string; runId: string }) {
  const eventId = [where.workflowId, where.runId, a.kind, a.occasion ?? ''].join('/');
  const text = textOf(a, { ...where, eventId });
  const twin = JSON.stringify({ keywarden: 1, eventId, application: where.application, environment: where.environment, workflowId: where.workflowId, ...a });
  const attribute = (StringValue: string) => ({ DataType: 'String', StringValue });
  return {
    eventId,
    input: {
      TopicArn: where.topicArn,
      Subject: subjectOf(a, where),
      MessageStructure: 'json',
      Message: JSON.stringify({ default: text, email: text, sms: text.slice(0, 1_000), sqs: twin, lambda: twin, http: twin, https: twin, 'email-json': twin }),
      MessageAttributes: { eventId: attribute(eventId), kind: attribute(a.kind), text: attribute(text) },
    },
  };
}
