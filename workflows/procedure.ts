import { ActivityFailure, ApplicationFailure, CancelledFailure, condition, isCancellation, log, setCurrentDetails, setHandler, sleep, upsertSearchAttributes, workflowInfo } from '@temporalio/workflow';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { KeywardenError } from '../domain/errors';
import { SEARCH_ATTRIBUTES } from '../domain/names';
import type { Considered } from '../domain/activities';
import { checklist, type ProcedureStatus, type StepStatus } from '../domain/status';
import type { StepDefinition } from '../domain/steps';
import { Decisions } from './decisions';
import { look, status } from './messages';

const PHASE = defineSearchAttributeKey('KeywardenPhase', SearchAttributeType[SEARCH_ATTRIBUTES.KeywardenPhase]);
const KEY = defineSearchAttributeKey('KeywardenKey', SearchAttributeType[SEARCH_ATTRIBUTES.KeywardenKey]);
const DEADLINE = defineSearchAttributeKey('KeywardenDeadline', SearchAttributeType[SEARCH_ATTRIBUTES.KeywardenDeadline]);

/** What a procedure carries over a continue-as-new, besides its own facts. */
export interface CarriedProcedure {
  steps: StepStatus[];
  refused: number;
  searchable: boolean;
}

/** A runbook at work: its steps, its status, its checklist in the UI, and the patience with which a step is done. */
export class Procedure<Step extends string> {
  readonly decisions: Decisions;
  private readonly steps: StepStatus[];
  private readonly state: Pick<ProcedureStatus, 'phase' | 'pendingApproval' | 'deadline' | 'ends' | 'outcome' | 'progress'> = { phase: 'starting' };
  private searchable: boolean;
  /** Raised by each `look`; whoever waits compares it with what it saw. */
  looks = 0;
  /** What goes on beside the main line: a topic that does not answer holds nothing else up. */
  private readonly beside = new Set<Promise<void>>();

  constructor(private readonly title: string, definitions: readonly StepDefinition[], carried?: CarriedProcedure) {
    this.steps = carried?.steps ?? definitions.map((d) => ({ ...d, state: 'waiting' }));
    this.searchable = carried?.searchable ?? false;
    // handlers stand before the first await: signals are buffered, but an Update without a handler is rejected
    this.decisions = new Decisions();
    this.decisions.refused = carried?.refused ?? 0;
    setHandler(status, () => this.status());
    setHandler(look, () => void this.looks++);
    this.show();
  }

  status(): ProcedureStatus {
    const missing = this.steps.filter((s) => s.state === 'retrying' || s.state === 'failed').map((s) => `${s.title}: ${s.detail ?? s.state}`);
    const { pendingApproval, ...rest } = this.state;
    return {
      ...rest,
      steps: this.steps,
      ...(pendingApproval === undefined ? {} : { pendingApproval: { ...pendingApproval, refused: this.decisions.refused, ...(this.decisions.lastRefusal === undefined ? {} : { lastRefusal: this.decisions.lastRefusal }) } }),
      ...(missing.length === 0 ? {} : { missing }),
    };
  }

  carry(): CarriedProcedure {
    return { steps: this.steps, refused: this.decisions.refused, searchable: this.searchable };
  }

  /** Search attributes are upserted only where the worker saw them registered: an unknown one wedges the workflow. */
  becomeSearchable(key: string, searchable: boolean): void {
    this.searchable = searchable;
    if (searchable) upsertSearchAttributes([{ key: KEY, value: key }, { key: PHASE, value: this.state.phase }]);
  }

  phase(phase: string): void {
    if (this.state.phase === phase) return;
    this.state.phase = phase;
    if (this.searchable) upsertSearchAttributes([{ key: PHASE, value: phase }]);
    this.show();
  }

  /** `ends`: what ends then, where it is not the recovery window. */
  deadline(deadline: string, ends?: string): void {
    if (this.state.deadline === deadline && this.state.ends === ends) return;
    this.state.deadline = deadline;
    if (ends !== undefined) this.state.ends = ends;
    if (this.searchable) upsertSearchAttributes([{ key: DEADLINE, value: new Date(deadline) }]);
    this.show();
  }

  outcome(outcome: string): void {
    this.state.outcome = outcome;
    this.phase(outcome);
    this.show();
  }

  /** Goes on beside the main line. A step that fails finally says so itself; the procedure goes on without it. */
  goOn(part: Promise<unknown>): void {
    const done: Promise<void> = part.then(() => undefined, (error: unknown) => {
      if (!isCancellation(error) && !isFinal(error)) throw error;
    }).finally(() => this.beside.delete(done));
    this.beside.add(done);
  }

  /** Nothing goes on beside, and every decision is judged: nothing would be lost by continuing as new. */
  get quiet(): boolean {
    return this.beside.size === 0 && this.decisions.idle;
  }

  /** Nothing is left behind: what went on beside is done, whoever waits for an answer has one, no step is left as if it were still to come. */
  async end(): Promise<void> {
    while (this.beside.size > 0) await Promise.all(this.beside);
    for (const s of this.steps) if (s.state === 'waiting') s.state = 'skipped';
    this.show();
    await this.decisions.close('the procedure has ended');
  }

  /** A flood of messages costs one look a second, not one each. */
  async pace(): Promise<void> {
    if (this.decisions.refused > 20 || this.looks > 20) await sleep('1 second', { summary: 'pace a flood of messages' });
  }

  pending(considered: Considered | undefined): void {
    if (considered === undefined) delete this.state.pendingApproval;
    else {
      const { plan, digest, words, quorum, decided } = considered;
      this.state.pendingApproval = { plan, digest, words, needed: quorum.missing + quorum.signed.length, missing: quorum.missing, eligible: quorum.eligible, decided, refused: this.decisions.refused };
    }
    this.show();
  }

  progress(progress: ProcedureStatus['progress']): void {
    this.state.progress = progress;
    this.show();
  }

  /** Does a step once; its failure is the procedure's. */
  async step<T>(name: Step, act: () => Promise<T>, say: (result: T) => string | undefined = () => undefined): Promise<T> {
    this.mark(name, 'running');
    try {
      const result = await act();
      this.mark(name, 'done', say(result));
      return result;
    } catch (error) {
      if (!isCancellation(error)) this.mark(name, 'failed', reasonOf(error));
      throw error;
    }
  }

  /**
   * Does a step however long the outage: after each failure that may pass it says so in `status` and waits a while, 5 minutes at most.
   * A final failure is thrown.
   */
  async persist<T>(name: Step, act: () => Promise<T>, say: (result: T) => string | undefined = () => undefined): Promise<T> {
    return this.step(name, () => this.untilDone(name, act), say);
  }

  /** The patience of `persist` for a part of a step. */
  async untilDone<T>(name: Step, act: () => Promise<T>): Promise<T> {
    const { state, detail } = this.find(name);
    for (let pause = 1_000, failed = false; ; pause = Math.min(pause * 2, 300_000)) {
      try {
        const result = await act();
        if (failed) this.mark(name, state, detail); // the trouble is over: what stood there stands again
        return result;
      } catch (error) {
        failed = true;
        if (isCancellation(error) || isFinal(error)) throw error;
        this.mark(name, 'retrying', `${reasonOf(error)} (tried again in ${Math.round(pause / 1000)} s)`);
        await sleep(pause, { summary: `try again: ${name}` });
      }
    }
  }

  note(name: Step, detail: string): void {
    this.mark(name, this.find(name).state === 'waiting' ? 'running' : this.find(name).state, detail);
  }

  skip(name: Step, why?: string): void {
    this.mark(name, 'skipped', why);
  }

  isOpen(name: Step): boolean {
    const { state } = this.find(name);
    return state !== 'done' && state !== 'skipped' && state !== 'failed';
  }

  mark(name: Step, state: StepStatus['state'], detail?: string): void {
    const step = this.find(name);
    const at = new Date().toISOString();
    step.state = state;
    if (state === 'running' || state === 'retrying') step.startedAt ??= at;
    if (state === 'done' || state === 'failed' || state === 'skipped') step.endedAt = at;
    if (detail === undefined) delete step.detail;
    else step.detail = detail;
    this.show();
  }

  private find(name: Step): StepStatus {
    const found = this.steps.find((s) => s.name === name);
    if (found === undefined) throw ApplicationFailure.nonRetryable(`no step ${name}`, 'KW-BUG');
    return found;
  }

  /** Waits until there is something to judge. */
  async decision(): Promise<void> {
    await condition(() => this.decisions.waiting);
  }

  private show(): void {
    setCurrentDetails(checklist(this.title, this.status()));
  }
}

/** Runs a workflow's body; errors of ours fail it with their stable code (a plain Error would retry the task for ever). */
export async function asProcedure<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    if (error instanceof KeywardenError) throw ApplicationFailure.nonRetryable(error.message, error.code, error.toJSON());
    const cause = applicationFailure(error);
    if (cause !== undefined && error instanceof ActivityFailure) throw ApplicationFailure.nonRetryable(cause.message, cause.type ?? 'KW-BUG', ...(cause.details ?? []));
    if (error instanceof TypeError || error instanceof RangeError) {
      log.error('defect', { error: String(error), runId: workflowInfo().runId });
    }
    throw error;
  }
}

export function applicationFailure(error: unknown): ApplicationFailure | undefined {
  if (error instanceof ApplicationFailure) return error;
  if (error instanceof ActivityFailure && error.cause instanceof ApplicationFailure) return error.cause;
  return undefined;
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof KeywardenError ? error.code : (applicationFailure(error)?.type ?? undefined);
}

export function isFinal(error: unknown): boolean {
  return error instanceof KeywardenError ? error.final : applicationFailure(error)?.nonRetryable === true;
}

export function reasonOf(error: unknown): string {
  if (error instanceof ActivityFailure && error.cause !== undefined) return error.cause instanceof CancelledFailure ? 'cancelled' : error.cause.message;
  return error instanceof Error ? error.message : String(error);
}
