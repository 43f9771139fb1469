import { CancellationScope, condition, continueAsNew, getExternalWorkflowHandle, workflowInfo } from '@temporalio/workflow';
import type { Arrived, Census, Consumers, Disabling, EffectProof, WindowOpened, WindowState } from '../domain/activities';
import type { AlertFacts } from '../domain/alert';
import { duration } from '../domain/duration';
import { KeywardenError } from '../domain/errors';
import { parseInput, revokeInput, type RevokeInput } from '../domain/inputs';
import type { WindowOutcome } from '../domain/keyRow';
import { REVOKE_STEPS } from '../domain/steps';
import { drain } from './draining';
import { emergency, emergencyLong } from './duties';
import { EveryRegion, unaudited } from './everyRegion';
import { look } from './messages';
import { asProcedure, codeOf, isFinal, Procedure, reasonOf, type CarriedProcedure } from './procedure';
import { Refusals } from './refusals';
import { Widening, type CarriedWidening } from './widening';
import { WindowClock } from './window';

export interface RevokeResult {
  outcome: WindowOutcome | 'rejected';
  keyId: string;
  revokedAt?: string;
  deadline?: string;
  /** From the start of the procedure until KMS had disabled the key in the last Region that answered at once. */
  timeToDisabledMs?: number;
  /** From the disabling until KMS refused the canary in every Region. */
  timeToEffectiveMs?: number;
  regions?: Disabling['regions'];
  census?: Census;
  /** Who held keys in memory, and how long until the last had said that it dropped them. */
  consumers?: Consumers;
  /** The revocation whose window this one joined. */
  joined?: string;
}

export type RevokeStep = (typeof REVOKE_STEPS)[number]['name'];

/** What a waiting revocation carries when it continues as new: decisions are all judged by then. */
interface Carried {
  procedure: CarriedProcedure;
  disabling: Disabling;
  proof?: Arrived;
  opened: WindowOpened;
  remindersSent: number[];
  widening?: CarriedWidening;
  effect?: EffectProof;
  census?: Census;
  consumers?: Consumers;
}

/** Takes a CMK out of use at once, keeps a recovery window open, and ends as the window ends. Cannot be cancelled: it is recovered, or it ends. */
export async function revokeKey(raw: RevokeInput, carried?: Carried): Promise<RevokeResult> {
  return asProcedure(() => CancellationScope.nonCancellable(() => new Revocation(raw, carried).run()));
}

class Revocation {
  private readonly p: Procedure<RevokeStep>;
  private readonly input: RevokeInput;
  private proof: Arrived | undefined;
  private disabling!: Disabling;
  private regions!: EveryRegion;
  private census: Census | undefined;
  private consumers: Consumers | undefined;
  /** Ends when a recovery begins. */
  private readonly draining = new CancellationScope();
  private readonly refusals: Refusals<RevokeStep>;

  constructor(raw: RevokeInput, private readonly carried: Carried | undefined) {
    this.p = new Procedure('Revoke ' + String((raw as Partial<RevokeInput> | undefined)?.key).slice(0, 80), REVOKE_STEPS, carried?.procedure);
    this.refusals = new Refusals(this.p, 'alert', (facts) => this.alert(facts));
    this.input = parseInput(revokeInput, raw);
    if (this.input.mode === 'quarantine' && this.input.afterWindow === 'destroyed') {
      throw new KeywardenError('KW-INPUT', 'a quarantined key is enabled for re-wrapping and cannot be destroyed at once', { path: 'input.afterWindow', key: this.input.key, notDone: 'nothing was started', next: 'choose "deletion-scheduled" with quarantine, or "destroyed" with disable' });
    }
    if (this.input.proof !== undefined) this.proof = { token: this.input.proof, runId: workflowInfo().firstExecutionRunId };
  }

  async run(): Promise<RevokeResult> {
    if (this.carried !== undefined) {
      this.resume(this.carried);
      return this.window(this.carried.opened);
    }
    // rule 2: the first workflow task schedules DisableKey and nothing else
    const rejected = await this.disable();
    if (rejected !== undefined) return rejected;

    this.p.becomeSearchable(this.disabling.purpose, this.disabling.searchable);
    this.p.phase('disabled');
    this.p.deadline(this.disabling.deadline);
    this.regions = new EveryRegion(this.p, this.input, this.proof, this.disabling);
    this.p.goOn(this.p.persist('alert', () => this.alertRevoked(), () => 'security was told'));
    this.p.goOn(this.regions.run());
    this.p.goOn(this.countDependents());
    const opened = await this.openWindow();
    this.regions.windowIsOpen();
    this.p.goOn(drain(this.draining, this.p, this.disabling.keyId, (c) => (this.consumers = c), (a) => this.alert(a)));
    this.p.deadline(opened.deadline);
    if (opened.preempted !== undefined) this.p.goOn(this.preempt(opened.preempted.workflowId, opened.holdMs));
    else this.p.skip('hold', 'no other procedure was at work');
    if (opened.rotation !== undefined) this.p.goOn(this.endRotation(opened.rotation.workflowId));
    return opened.joined ? this.join(opened) : this.window(opened);
  }

  /** Disables with the start's proof; without one, waits until an EmergencyKeyAdmin has signed (a key that is down already is adopted). */
  private async disable(): Promise<RevokeResult | undefined> {
    const act = () => emergency.disableKey.executeWithOptions({ summary: this.proof === undefined ? `is ${this.input.key} disabled already? if not, it needs a signature` : `disable ${this.input.key} in every Region` }, [{ input: this.input, ...(this.proof === undefined ? {} : { proof: this.proof }) }]);
    const say = (d: Disabling) => (d.outcome === 'needs-approval' ? 'waits for an EmergencyKeyAdmin' : d.regions.map((r) => `${r.region} ${r.state}`).join(', '));
    try {
      this.disabling = await this.p.persist('disable', act, say);
    } catch (error) {
      if (String(codeOf(error)).startsWith('KW-APPROVAL')) await this.refusals.say(reasonOf(error)).catch(() => undefined);
      throw error;
    }
    if (this.disabling.outcome === 'disabled') return undefined;

    this.p.mark('disable', 'running', say(this.disabling));
    this.p.becomeSearchable(this.disabling.purpose, this.disabling.searchable);
    this.p.phase('waiting for an EmergencyKeyAdmin');
    for (;;) {
      const considered = await this.p.untilDone('disable', () => this.p.decisions.consider((decisions, malformed) => emergency.considerRevocation.executeWithOptions({ summary: 'judge signatures' }, [{ input: this.input, decisions, malformed }])));
      this.p.pending(considered);
      this.refusals.tell();
      if (considered.rejected !== undefined) return this.rejected(considered.rejected.person);
      if (considered.allowing !== undefined) {
        this.proof = considered.allowing;
        this.disabling = await this.p.persist('disable', act, say);
        this.p.pending(undefined);
        return undefined;
      }
      await this.p.pace();
      await this.p.decision();
    }
  }

  private async rejected(by: string): Promise<RevokeResult> {
    this.p.pending(undefined);
    this.p.mark('disable', 'skipped', `rejected by ${by}`);
    this.p.outcome('rejected');
    await this.p.untilDone('alert', () => this.alert({ kind: 'revocation-rejected', who: [by] }));
    return this.end({ outcome: 'rejected', keyId: this.disabling.keyId });
  }

  private async countDependents(): Promise<void> {
    const say = (c: Census) => (c.empty ? 'nothing depends on the key' : `${c.subjectKeys} subject keys, ${c.columnKeyValues} CEK values, ${c.databases.length} databases`);
    this.census = await this.p.persist('census', () => emergency.census.executeWithOptions({ summary: 'count what depends on the key' }, [{ keyId: this.disabling.keyId }]), say);
  }

  private async openWindow(): Promise<WindowOpened> {
    const proof = this.proof === undefined ? {} : { proof: this.proof };
    return this.p.persist(
      'open-window',
      async () => {
        if (this.disabling.unaudited) {
          const again = await emergency.disableKey.executeWithOptions({ summary: 'disable again, to audit it' }, [{ input: this.input, ...proof }]);
          if (again.unaudited) throw unaudited();
          this.disabling.unaudited = false;
        }
        return emergency.openWindow.executeWithOptions({ summary: 'record the revocation, open the window' }, [{ input: this.input, ...proof }]);
      },
      (o) => (o.joined ? `joined ${o.procedure.workflowId}` : `open until ${o.deadline}`) + (o.receiptRefused === undefined ? '' : `; ${o.receiptRefused}`),
    );
  }

  /** A rotation was at work: what it has re-wrapped stays so, and it ends by itself when it looks at the key's row; this wakes it. */
  private async endRotation(rotation: string): Promise<void> {
    await getExternalWorkflowHandle(rotation).cancel().catch(() => undefined);
  }

  /** A recovery was at work: it is cancelled, and the disabled state is held until nothing of it can still act. */
  private async preempt(recovery: string, holdMs: number): Promise<void> {
    await getExternalWorkflowHandle(recovery).cancel().catch(() => undefined); // it may have ended by itself
    await this.p.persist(
      'hold',
      () => emergencyLong.holdDisabled.executeWithOptions({ summary: `hold the disabled state for ${duration(holdMs)} against ${recovery}` }, [{ input: this.input, ...(this.proof === undefined ? {} : { proof: this.proof }) }]),
      (h) => `${recovery} was pre-empted; disabled again ${h.disabledAgain} times`,
    );
  }

  /** A window is open already: its revocation takes note of the stricter mode, this one ends as that ends. */
  private async join(opened: WindowOpened): Promise<RevokeResult> {
    for (const step of ['sign-widening', 'quarantine', 'delete'] as const) this.p.skip(step, `left to ${opened.procedure.workflowId}`);
    this.p.phase('joined');
    await tell(opened.procedure.workflowId);
    const state = await this.p.persist('window', () => this.untilWindowEnds(opened.revokedAt), (s) => `ended: ${s.outcome ?? ''}`);
    this.p.skip('close', `left to ${opened.procedure.workflowId}`);
    return this.finish(state.outcome!, state, opened.procedure.workflowId);
  }

  private async untilWindowEnds(revokedAt: string): Promise<WindowState> {
    for (;;) {
      const seen = this.p.looks;
      const state = await this.windowState(revokedAt);
      this.follow(state);
      if (state.outcome !== undefined) return state;
      await condition(() => this.p.looks !== seen || this.p.decisions.waiting, '1 hour', { summary: `has the window of ${state.procedure.workflowId} ended?` });
      await this.p.pace();
      await this.answerLate();
    }
  }

  /** The window: reminders, a recovery, a stricter revocation, the end; beside it, the signatures for what widens. */
  private async window(opened: WindowOpened): Promise<RevokeResult> {
    const clock = new WindowClock(this.disabling.purpose, this.disabling.reminderHours, this.carried?.remindersSent);
    const widening = new Widening(this.p, this.input, this.proof, this.disabling, opened, this.carried?.widening, (a) => this.alert(a), () => this.refusals.tell());
    let state: WindowState = opened;
    this.p.mark('window', 'running');
    this.p.phase('window open');
    clock.set(state.deadline);
    widening.begin();
    for (let seen = this.p.looks; ; ) {
      await condition(() => clock.expired || clock.due.length > 0 || this.p.looks !== seen || widening.changedTheKey || (!widening.wanted && this.p.decisions.waiting) || this.mayContinueAsNew(widening));
      for (const hours of clock.due.splice(0)) {
        clock.sent.push(hours);
        this.p.goOn(this.p.untilDone('window', () => this.alert({ kind: 'window-reminder', occasion: `${hours}h`, deadline: state.deadline, detail: `The recovery window ends in ${duration(hours * 3_600_000)}.`, command: `keywarden recover ${this.disabling.purpose} --reason "…" --as NAME` })));
      }
      if (this.p.looks !== seen || clock.expired || widening.changedTheKey) {
        seen = this.p.looks;
        widening.changedTheKey = false;
        state = await this.p.untilDone('window', () => this.windowState());
        this.p.deadline(state.deadline);
        clock.set(state.deadline);
        widening.look(state);
        this.follow(state);
        if (state.outcome !== undefined) break;
      }
      if (!widening.wanted) await this.answerLate();
      await this.p.pace();
      if (clock.expired && Date.now() >= Date.parse(state.deadline)) break;
      if (this.mayContinueAsNew(widening)) await this.continueAsNew(opened, state, clock, widening);
    }
    clock.stop();
    this.regions.stop();
    this.draining.cancel();
    await widening.stop();
    this.p.pending(undefined);
    this.p.mark('window', 'done', state.outcome ?? 'the window has ended');
    return state.outcome === undefined ? this.close(widening, state) : this.closed(state.outcome, state);
  }

  /** The window ended without recovery: what was signed for the end happens now, and whatever is up goes down. */
  private async close(widening: Widening, state: WindowState): Promise<RevokeResult> {
    this.p.phase('closing');
    await widening.atTheEnd();
    const outcome = await this.p.persist('close', async () => {
      if (this.proof !== undefined) await emergency.disableKey.executeWithOptions({ summary: 'disable whatever is up' }, [{ input: this.input, proof: this.proof }]).catch((e: unknown) => (isFinal(e) ? undefined : Promise.reject(e)));
      const { reason, incident } = this.input;
      return (await emergency.closeWindow.executeWithOptions({ summary: 'close the recovery window' }, [{ keyId: this.disabling.keyId, reason, ...(incident === undefined ? {} : { incident }) }])).outcome;
    }, (o) => o);
    await this.p.untilDone('close', () => this.alert({ kind: 'window-ended', occasion: outcome, detail: `The recovery window has ended; the key is ${outcome}. It can no longer be recovered by Keywarden.` }));
    if (this.input.afterWindow !== 'destroyed' || outcome !== 'deletion-scheduled') return this.closed(outcome, state);
    this.p.outcome('deletion-scheduled');
    return this.closed(await widening.untilDestroyed(this.input.reason), state);
  }

  private async closed(outcome: WindowOutcome, state: WindowState): Promise<RevokeResult> {
    if (this.p.isOpen('close')) this.p.mark('close', 'done', outcome);
    for (const step of ['sign-widening', 'quarantine', 'delete'] as const) if (this.p.isOpen(step)) this.p.skip(step);
    return this.finish(outcome, state);
  }

  private async finish(outcome: WindowOutcome, { deadline, revokedAt, joiners }: WindowState, joined?: string): Promise<RevokeResult> {
    if (joined === undefined) for (const joiner of joiners) await tell(joiner.workflowId);
    const started = workflowInfo().startTime.getTime();
    this.p.outcome(outcome);
    return this.end({
      outcome,
      keyId: this.disabling.keyId,
      revokedAt,
      deadline,
      timeToDisabledMs: Math.max(0, Date.parse(this.disabling.revokedAt) - started),
      ...(this.regions.effect === undefined ? {} : { timeToEffectiveMs: Math.max(...this.regions.effect.regions.map((r) => r.afterMs)) }),
      regions: this.disabling.regions,
      ...(this.census === undefined ? {} : { census: this.census }),
      ...(this.consumers === undefined ? {} : { consumers: this.consumers }),
      ...(joined === undefined ? {} : { joined }),
    });
  }

  private async end(result: RevokeResult): Promise<RevokeResult> {
    await this.p.end();
    return result;
  }

  /** A recovery at work ends every attempt to disable; one that has ended without recovering lets them go on. */
  private follow(state: WindowState): void {
    if (state.outcome !== undefined || state.recovery !== undefined) this.draining.cancel();
    if (state.outcome !== undefined) this.regions.stop();
    else if (state.recovery !== undefined) this.regions.pause();
    else this.regions.resume();
  }

  private windowState(revokedAt?: string): Promise<WindowState> {
    return emergency.windowState.executeWithOptions({ summary: 'read the state of the window' }, [{ keyId: this.disabling.keyId, ...(revokedAt === undefined ? {} : { revokedAt }) }]);
  }

  /** Signatures that nothing waits for are judged and answered all the same. */
  private async answerLate(): Promise<void> {
    if (!this.p.decisions.waiting) return;
    await this.p.untilDone('window', () => this.p.decisions.consider((decisions, malformed) => emergency.considerRevocation.executeWithOptions({ summary: 'judge late signatures' }, [{ input: this.input, decisions, malformed }])));
    this.refusals.tell();
  }

  private alertRevoked(): Promise<unknown> {
    const { regions, person, adopted } = this.disabling;
    return this.alert({
      kind: 'key-revoked',
      detail: adopted ? 'The key was disabled already; Keywarden has taken it over.' : `Disabled in ${regions.filter((r) => r.state !== 'silent').map((r) => r.region).join(', ')}${regions.some((r) => r.state === 'silent') ? `; NO ANSWER YET from ${regions.filter((r) => r.state === 'silent').map((r) => r.region).join(', ')}` : ''}.`,
      ...(person === undefined ? {} : { who: [person] }),
      deadline: this.disabling.deadline,
      command: `keywarden recover ${this.disabling.purpose} --reason "…" --as NAME`,
    });
  }

  private alert(facts: Omit<AlertFacts, 'key'>): Promise<unknown> {
    const { reason, incident } = this.input;
    const key = (this.disabling as Disabling | undefined)?.purpose ?? this.input.key;
    const keyId = (this.disabling as Disabling | undefined)?.keyId;
    return emergency.alert.executeWithOptions({ summary: `tell security: ${facts.kind}` }, [{ key, reason, ...(keyId === undefined ? {} : { keyId }), ...(incident === undefined ? {} : { incident }), ...facts }]);
  }

  private mayContinueAsNew(widening: Widening): boolean {
    return workflowInfo().continueAsNewSuggested && this.p.quiet && !widening.acting;
  }

  private async continueAsNew(opened: WindowOpened, state: WindowState, clock: WindowClock, widening: Widening): Promise<never> {
    clock.stop();
    return continueAsNew<typeof revokeKey>(this.input, {
      procedure: this.p.carry(),
      disabling: this.disabling,
      ...(this.proof === undefined ? {} : { proof: this.proof }),
      opened: { ...opened, ...state },
      remindersSent: clock.sent,
      widening: widening.carry(),
      ...(this.regions.effect === undefined ? {} : { effect: this.regions.effect }),
      ...(this.census === undefined ? {} : { census: this.census }),
      ...(this.consumers === undefined ? {} : { consumers: this.consumers }),
    });
  }

  private resume(c: Carried): void {
    this.disabling = c.disabling;
    this.proof = c.proof;
    this.regions = new EveryRegion(this.p, this.input, this.proof, this.disabling);
    this.regions.effect = c.effect;
    this.census = c.census;
    this.consumers = c.consumers;
    this.p.deadline(c.opened.deadline);
  }
}

/** Wakes another procedure, which then looks for itself; one that has ended needs no telling. */
export async function tell(workflowId: string): Promise<void> {
  await getExternalWorkflowHandle(workflowId).signal(look).catch(() => undefined);
}
