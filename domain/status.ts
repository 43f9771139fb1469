import { duration } from './duration';
import type { Plan } from './plan';
import type { Role } from './names';

/** Answer of the query `status`; the Temporal UI shows the same as a checklist. */
export interface ProcedureStatus {
  phase: string;
  steps: StepStatus[];
  pendingApproval?: PendingApproval;
  /** End of the recovery window, ISO 8601. */
  deadline?: string;
  /** What ends then; the recovery window unless it says otherwise. */
  ends?: string;
  outcome?: string;
  /** What has not happened yet and keeps failing, in words. */
  missing?: string[];
  /** Of a re-wrap. */
  progress?: Progress;
}

export interface Progress {
  done: number;
  total: number;
  /** Wrapped keys that do not open; they wait for a person. */
  setAside: number;
  /** Keys a second, over the last minute or so. */
  perSecond?: number;
  leftMs?: number;
}

/** `120,000 of 1,000,000 keys, 480 a second, 30 min left, 2 set aside` */
export function progressInWords(p: Progress): string {
  const n = (x: number): string => Math.round(x).toString().replace(/\B(?=(\d{3})+$)/g, ',');
  return [
    `${n(p.done)} of ${n(Math.max(p.total, p.done))} keys`,
    ...(p.perSecond === undefined ? [] : [`${n(p.perSecond)} a second`]),
    ...(p.leftMs === undefined ? [] : [`${duration(p.leftMs)} left`]),
    ...(p.setAside === 0 ? [] : [`${n(p.setAside)} set aside`]),
  ].join(', ');
}

export type StepState = 'waiting' | 'running' | 'retrying' | 'done' | 'failed' | 'skipped';

export interface StepStatus {
  name: string;
  title: string;
  state: StepState;
  detail?: string;
  startedAt?: string;
  endedAt?: string;
}

export interface PendingApproval {
  plan: Plan;
  digest: string;
  /** The plan in words, one line each. */
  words: string[];
  needed: number;
  missing: number;
  /** Roles under which the missing people may sign. */
  eligible: Role[];
  decided: Decided[];
  /** How many proofs were refused so far, and the last reason. */
  refused: number;
  lastRefusal?: string;
}

export interface Decided {
  person: string;
  role: Role;
  decision: 'approve' | 'reject';
  at: string;
  comment?: string;
}

const MARK: Record<StepState, string> = { waiting: '⬜', running: '🔄', retrying: '⚠️', done: '✅', failed: '❌', skipped: '➖' };

/** The live checklist, as markdown for the Temporal UI (20 KB at most). */
export function checklist(title: string, s: ProcedureStatus): string {
  const lines = [`## ${title}`, '', `**${s.phase}**${s.outcome === undefined ? '' : ` → ${s.outcome}`}`, ''];
  for (const step of s.steps) lines.push(`- ${MARK[step.state]} ${step.title}${step.detail === undefined ? '' : ` — ${step.detail.slice(0, 300)}`}`);
  if (s.progress !== undefined) lines.push('', progressInWords(s.progress));
  if (s.deadline !== undefined) lines.push('', `${s.ends ?? 'Recovery window'} ends **${s.deadline.replace('T', ' ').replace(/\.\d+Z$/, ' UTC')}**`);
  const p = s.pendingApproval;
  if (p !== undefined) {
    lines.push('', `### Waiting for ${p.missing} ${p.missing === 1 ? 'person' : 'people'} to sign (${p.eligible.join(' or ')})`, '');
    lines.push('```', `keywarden approve ${p.plan.workflowId} --as NAME`, '```', '');
    for (const w of p.words) lines.push(`> ${w}  `);
    lines.push('');
    for (const d of p.decided) lines.push(`- ${d.person} (${d.role}): ${d.decision} at ${d.at}`);
    if (p.refused > 0) lines.push(`- ${p.refused} proof(s) refused; the last: ${p.lastRefusal ?? ''}`);
    lines.push('', '\u00a0', '');
  }
  return lines.join('\n').slice(0, 18_000);
}
