import { ApplicationFailure, CancellationScope, condition, continueAsNew, ContinueAsNew, isCancellation, ParentClosePolicy, startChild, workflowInfo } from '@temporalio/workflow';
import type { Arrived, Considered, ReplacementChecked, ReplacementVerified } from '../domain/activities';
import type { AlertFacts } from '../domain/alert';
import { duration } from '../domain/duration';
import { parseInput, rotateInput, type RotateInput } from '../domain/inputs';
import { REPLACE_STEPS } from '../domain/steps';
import { replacing, rewrapping, settling } from './duties';
import { applicationFailure, codeOf, isFinal, Procedure, reasonOf, type CarriedProcedure } from './procedure';
import type { revokeKey } from './revokeKey';
import { slide, type Rewrapped } from './rewrap';
import type { rotateKey, RotateResult } from './rotateKey';

type Step = (typeof REPLACE_STEPS)[number]['name'];
const HOUR = 3_600_000;
/** Each of the two signatures may take so long; then everything is as before. */
const SIGN_MS = 72 * HOUR;
const REMIND_HOURS = [24, 2];

/** What continue-as-new carries. Signatures are receipts, the new CMK is a row: both stand in the store. */
export interface CarriedReplacement {
  procedure: CarriedProcedure;
  state?: State;
}

interface State {
  stage: 'overlap' | 'sign-off' | 'commit' | 'retire';
  facts: Pick<ReplacementChecked, 'keyId' | 'purpose' | 'regions' | 'parallel' | 'searchable'>;
  replacement: string;
  rewrapped: Rewrapped;
  signedBy: string[];
  /** Until then the cutover may be signed, milliseconds. */
  until?: number;
  digest?: string;
  result?: RotateResult;
  backupsUntil?: string;
}

/** Ends the way forward: everything goes back. */
class Back extends Error {}

/** Moves everything to a new CMK. Until two people have signed the cutover it goes back whatever happens; from then on it goes forward whatever happens. */
export class Replacement {
  private readonly p: Procedure<Step>;
  private readonly input: RotateInput;
  private facts: State['facts'] | undefined;
  private state: State | undefined;
  private begun = false;

  constructor(raw: RotateInput, private readonly carried: CarriedReplacement | undefined) {
    this.p = new Procedure('Replace ' + String((raw as Partial<RotateInput> | undefined)?.key).slice(0, 80), REPLACE_STEPS, carried?.procedure);
    this.state = carried?.state;
    this.facts = carried?.state?.facts;
    this.begun = this.state !== undefined;
    this.input = parseInput(rotateInput, raw);
  }

  async run(): Promise<RotateResult> {
    try {
      if (this.state === undefined) {
        const ended = await this.begin();
        if (ended !== undefined) return ended;
      }
      const state = this.state!;
      if (state.stage === 'overlap') await this.overlap(state);
      if (state.stage === 'sign-off') await this.signOff(state);
      if (state.stage === 'commit') await this.commit(state);
      return await this.retire(state);
    } catch (error) {
      if (error instanceof ContinueAsNew || this.state?.stage === 'retire') throw error;
      return await CancellationScope.nonCancellable(() => this.leave(error));
    } finally {
      await CancellationScope.nonCancellable(() => this.p.end());
    }
  }

  /** Check, the first signature, the new CMK. */
  private async begin(): Promise<RotateResult | undefined> {
    this.p.phase('checking');
    const proof: Arrived[] = this.input.proof === undefined || this.carried !== undefined ? [] : [{ token: this.input.proof, runId: workflowInfo().firstExecutionRunId }];
    const checked = await this.p.persist('check', () => this.consider(proof, 0), (c) => `${c.wrapped.subjectKeys} subject keys, ${c.wrapped.columnKeyValues} CEK values`);
    const [first] = checked.answers;
    if (first?.accepted === false) throw ApplicationFailure.nonRetryable(`${first.code ?? ''}: input.proof: ${first.reason ?? ''}. Not done: the key was not replaced.`, first.code ?? 'KW-APPROVAL-FORM');
    const { keyId, purpose, regions, parallel, searchable } = checked;
    this.facts = { keyId, purpose, regions, parallel, searchable };
    this.p.becomeSearchable(purpose, searchable);
    const signed = await this.firstSignature(checked);
    if ('outcome' in signed) return signed;
    const { digest } = signed;
    this.begun = true;
    await this.p.persist('begin', () => replacing.beginReplacement.executeWithOptions({ summary: 'take the key for this rotation' }, [{ digest }]));
    this.p.phase('making the new CMK');
    const make = (region: string): Promise<{ keyId: string }> => this.p.untilDone('create', () => replacing.makeReplacement.executeWithOptions({ summary: `make the new CMK in ${region}, or find it` }, [{ digest, region }]));
    const replacement = await this.p.step('create', async () => {
      const { keyId: made } = await make(regions[0]!);
      await Promise.all(regions.slice(1).map(make));
      return made;
    }, (made) => `${made} in ${regions.join(', ')}`);
    this.state = { stage: 'overlap', facts: this.facts, replacement, signedBy: signed.quorum.signed.map((s) => s.person), rewrapped: { total: checked.wrapped.subjectKeys, since: Date.now(), rewrapped: 0, changed: 0, setAside: 0 } };
    return undefined;
  }

  private async firstSignature(checked: ReplacementChecked): Promise<Considered | RotateResult> {
    let c: Considered = checked;
    const until = Date.now() + SIGN_MS;
    this.p.mark('sign', 'running');
    for (let told = this.carried !== undefined; !c.quorum.met && c.rejected === undefined; told = true) {
      this.p.pending(c);
      this.p.phase('waiting for a signature');
      if (!told) this.p.goOn(this.p.untilDone('sign', () => this.alert({ kind: 'rotation-requested', detail: 'It is to be replaced by a new CMK.', command: `keywarden approve ${workflowInfo().workflowId} --as NAME` })));
      if (!(await condition(() => this.p.decisions.waiting || this.mayContinueAsNew(), until - Date.now(), { summary: 'nobody signs within 72 hours' }))) return this.over('unsigned', 'nobody signed within 72 hours');
      if (this.mayContinueAsNew()) await continueAsNew<typeof rotateKey>(this.input, { procedure: this.p.carry() });
      c = await this.p.untilDone('sign', () => this.p.decisions.consider((decisions, malformed) => this.consider(decisions, malformed)));
      await this.p.pace();
    }
    this.p.pending(undefined);
    if (c.rejected !== undefined) return this.over('rejected', `rejected by ${c.rejected.person}`);
    this.p.mark('sign', 'done', c.quorum.signed.map((s) => s.person).join(', '));
    return c;
  }

  private over(outcome: 'rejected' | 'unsigned', why: string): RotateResult {
    this.p.pending(undefined);
    this.p.skip('sign', why);
    this.p.outcome(outcome);
    return { outcome, keyId: this.facts!.keyId, signedBy: [] };
  }

  /** Everything gets a second ciphertext under the new CMK, until nothing is left and all of it opens. What does not open blocks the cutover. */
  private async overlap(state: State): Promise<void> {
    const until = (state.until ??= Date.now() + SIGN_MS);
    for (let told = false, pass = 1; ; pass++) {
      const seen = this.p.looks;
      await this.rewrap(state, 'column-keys', 'subject-keys', () => this.rejection());
      const v = await this.verify('verify');
      this.p.mark('subject-keys', 'done', `${v.subjectKeys} stand under the new CMK too`);
      if (v.left === 0 && v.setAside === 0) break;
      if (v.left > 0) {
        this.p.note('subject-keys', `${v.left} were added or changed meanwhile: pass ${pass + 1}`);
        if (pass > 1) await condition(() => false, '1 second', { summary: 'let writers finish' });
        continue;
      }
      const why = `${v.setAside} wrapped keys do not open and block the cutover: mend or delete them`;
      this.p.mark('verify', 'retrying', why);
      if (!told) await this.p.untilDone('verify', () => this.alert({ kind: 'rotation-incomplete', detail: `${why}.`, command: `keywarden status ${this.facts!.purpose}` }));
      told = true;
      if (Date.now() > until) throw new Back(why);
      await condition(() => this.p.looks > seen || this.p.decisions.waiting, '5 minutes', { summary: 'somebody mends what does not open' });
      await this.rejection();
    }
    delete state.until;
    state.stage = 'sign-off';
  }

  /** A pass over CEKs and subject keys; between stretches, `between` may end it. */
  private async rewrap(state: State, columnKeys: Step, subjectKeys: Step, between: () => Promise<void>): Promise<void> {
    const { keyId, parallel } = state.facts;
    this.p.phase('re-wrapping');
    await this.p.persist(columnKeys, () => rewrapping.rewrapColumnKeys.executeWithOptions({ summary: 'a value under the new CMK for each column encryption key' }, [{ keyId }]), (c) => `${c.rewrapped} added${c.setAside === 0 ? '' : `, ${c.setAside} set aside`}`);
    this.p.mark(subjectKeys, 'running');
    const full = (): boolean => workflowInfo().continueAsNewSuggested || workflowInfo().historyLength > 2_500;
    for (;;) {
      const through = await slide(keyId, parallel, state.rewrapped, { patience: (act) => this.p.untilDone(subjectKeys, act), show: (progress) => this.p.progress(progress), enough: () => full() || this.p.decisions.waiting });
      await between();
      if (through) return;
      if (full() && this.p.quiet) await this.again(state);
    }
  }

  private async verify(step: Step): Promise<ReplacementVerified> {
    return this.p.persist(step, () => settling.verifyReplacement.executeWithOptions({ summary: 'open under the new CMK: every CEK, a sample of subject keys' }, [{ keyId: this.facts!.keyId }]), (v) => (v.left + v.setAside === 0 ? `nothing is left; ${v.columnKeys} CEKs and ${v.sampled} subject keys picked at random were opened` : `${v.left} left, ${v.setAside} do not open`));
  }

  /** While it re-wraps, whoever may sign may reject what was signed. */
  private async rejection(): Promise<void> {
    while (this.p.decisions.waiting) {
      const c = await this.p.untilDone('subject-keys', () => this.p.decisions.consider((decisions, malformed) => this.consider(decisions, malformed)));
      if (c.rejected !== undefined) throw new Back(`rejected by ${c.rejected.person}`);
      await this.p.pace();
    }
  }

  /** From the cutover on nothing is decided any more. */
  private async tooLate(): Promise<void> {
    if (this.p.decisions.waiting) await this.p.decisions.close('the cutover has begun: it goes on to its end');
  }

  /** Every application has opened something under the new CMK, and a second person has signed: both, within 72 hours. */
  private async signOff(state: State): Promise<void> {
    const until = (state.until ??= Date.now() + SIGN_MS);
    const command = `keywarden approve ${workflowInfo().workflowId} --as NAME`;
    let c = await this.p.untilDone('sign-off', () => this.considerCutover([], 0));
    let ready = !this.p.isOpen('consumers');
    if (this.p.isOpen('sign-off')) this.p.mark('sign-off', 'running');
    this.p.deadline(new Date(until).toISOString(), 'The time for the sign-off');
    const remind = REMIND_HOURS.map((h) => until - h * HOUR).filter((at) => at > Date.now());
    if (!ready) this.p.goOn(this.p.untilDone('sign-off', () => this.alert({ kind: 'cutover-requested', deadline: new Date(until).toISOString(), detail: `Everything opens under the new CMK ${state.replacement}. One more person must sign the cutover, else it goes back.`, command })));
    for (let pause = 1_000; ; pause = Math.min(pause * 2, 60_000)) {
      if (c.rejected !== undefined) throw new Back(`rejected by ${c.rejected.person}`);
      if (!ready) ready = await this.allHaveOpened();
      if (c.quorum.met && ready) break;
      this.p.pending(c.quorum.met ? undefined : c);
      this.p.phase(c.quorum.met ? 'waiting for applications' : 'waiting for the sign-off');
      if (Date.now() >= until) throw new Back(c.quorum.met ? 'not every application opened something under the new CMK within 72 hours' : 'nobody signed the cutover within 72 hours');
      if (remind[0] !== undefined && Date.now() >= remind[0]) {
        const left = until - remind.shift()!;
        this.p.goOn(this.p.untilDone('sign-off', () => this.alert({ kind: 'cutover-requested', occasion: duration(left), deadline: new Date(until).toISOString(), detail: `In ${duration(left)} everything goes back to the old CMK.`, command })));
      }
      const seen = this.p.looks;
      const next = Math.max(1_000, Math.min(until, remind[0] ?? until, ready ? until : Date.now() + pause) - Date.now());
      await condition(() => this.p.decisions.waiting || this.p.looks > seen || this.mayContinueAsNew(), next, { summary: ready ? 'the time for the sign-off ends' : 'applications open something under the new CMK' });
      if (this.mayContinueAsNew()) await this.again(state);
      c = await this.p.untilDone('sign-off', () => this.p.decisions.consider((decisions, malformed) => this.considerCutover(decisions, malformed)));
      await this.p.pace();
    }
    this.p.pending(undefined);
    state.signedBy = c.quorum.signed.map((s) => s.person);
    state.digest = c.digest;
    this.p.mark('sign-off', 'done', state.signedBy.join(', '));
    state.stage = 'commit';
  }

  private async allHaveOpened(): Promise<boolean> {
    const c = await this.p.untilDone('consumers', () => settling.openedBy.executeWithOptions({ summary: 'who has opened something under the new CMK?' }, [{ keyId: this.facts!.keyId }]));
    this.p.mark('consumers', c.waitingCount === 0 ? 'done' : 'running', c.total === 0 ? 'no application is registered' : `${c.total - c.waitingCount} of ${c.total}${c.waitingCount === 0 ? '' : `; not yet: ${c.waiting.map((w) => w.consumerId).join(', ')}`}`);
    return c.waitingCount === 0;
  }

  /** No way back from here. */
  private async commit(state: State): Promise<void> {
    const { regions } = state.facts;
    const { digest } = state as { digest: string };
    this.p.skip('roll-back', 'two people have signed');
    this.p.phase('cutting over');
    const each = (step: Step, act: (region: string) => Promise<unknown>): Promise<void> =>
      this.p.isOpen(step) ? this.p.step(step, () => Promise.all(regions.map((region) => this.p.untilDone(step, () => act(region)))).then(() => undefined), () => regions.join(', ')) : Promise.resolve();
    await each('cutover', (region) => replacing.cutover.executeWithOptions({ summary: `move the aliases in ${region}` }, [{ digest, region }]));
    await each('deactivate', (region) => replacing.deactivate.executeWithOptions({ summary: `the old CMK decrypts only in ${region}` }, [{ digest, region }]));
    let v: ReplacementVerified;
    for (let pass = 1; ; pass++) {
      await this.rewrap(state, 'sweep', 'sweep', () => this.tooLate());
      v = await this.verify('sweep');
      if (v.left === 0) break;
      if (pass > 1) await condition(() => false, '1 second', { summary: 'let writers finish' });
    }
    await this.finish(state, v.setAside, `${v.setAside} wrapped keys do not open and stay under the old CMK.`, v.columnKeys);
  }

  /** The old ciphertexts go, the key is given back. */
  private async finish(state: State, left: number, why: string, columnKeys: number): Promise<void> {
    const { keyId } = state.facts;
    const dropped = await this.p.persist('drop', () => settling.settleReplacement.executeWithOptions({ summary: 'drop the old ciphertexts' }, [{ keyId }]), (d) => `${d.subjectKeys} subject keys, ${d.columnKeys} CEK values`);
    const { backupsUntil } = await this.p.persist('close', () => replacing.endReplacement.executeWithOptions({ summary: 'record the replacement, give the key back' }, [{ keyId, ...(left === 0 ? {} : { why }) }]));
    const outcome = left === 0 ? 'replaced' : 'incomplete';
    const counts = { subjectKeys: dropped.subjectKeys, columnKeys, changedMeanwhile: state.rewrapped.changed, setAside: left };
    await this.p.persist('notify', () => this.alert(left === 0
      ? { kind: 'key-replaced', who: state.signedBy, detail: `${counts.subjectKeys} subject keys and ${columnKeys} CEKs stand under the new CMK ${state.replacement}. The old one only decrypts, until backups need it no more (${backupsUntil}).` }
      : { kind: 'rotation-incomplete', who: state.signedBy, detail: why, command: `keywarden status ${keyId}` }));
    this.p.outcome(outcome);
    const now = Date.now();
    state.result = { outcome, keyId, replacement: state.replacement, counts, durations: { materialMs: 0, rewrapMs: now - state.rewrapped.since, totalMs: now - workflowInfo().startTime.getTime() }, signedBy: state.signedBy };
    state.backupsUntil = backupsUntil;
    state.stage = 'retire';
  }

  /** The old CMK stays while backups within retention need it; then its revocation is started, which waits for the people who must sign it. */
  private async retire(state: State): Promise<RotateResult> {
    const { keyId } = state.facts;
    const result = state.result!;
    if (result.outcome !== 'replaced') {
      this.p.skip('retire', 'the old CMK is still needed');
      return result;
    }
    const until = Date.parse(state.backupsUntil!);
    this.p.mark('retire', 'running', `kept until ${state.backupsUntil!}`);
    this.p.phase('retiring the old CMK');
    this.p.deadline(state.backupsUntil!, 'The time in which backups need the old CMK');
    while (Date.now() < until) {
      await condition(() => this.p.decisions.waiting || this.p.looks > 200 || this.mayContinueAsNew(), until - Date.now(), { summary: 'backups need the old CMK no more' });
      await this.tooLate();
      if (this.mayContinueAsNew() || this.p.looks > 200) await this.again(state);
    }
    const retirement = `revokeKey-${keyId}-retired-by-${workflowInfo().workflowId}`.slice(0, 250);
    await startChild<typeof revokeKey>('revokeKey', { workflowId: retirement, args: [{ key: keyId, reason: `replaced by ${state.replacement}; no backup within retention needs it`, afterWindow: 'deletion-scheduled' }], parentClosePolicy: ParentClosePolicy.ABANDON }).catch(() => undefined); // somebody has started it already
    await this.p.untilDone('retire', () => this.alert({ kind: 'retirement-proposed', occasion: 'retire', detail: `The old CMK ${keyId} was replaced by ${state.replacement}; no backup within retention needs it.`, command: `keywarden approve ${retirement} --as NAME` }));
    this.p.mark('retire', 'done', `proposed: ${retirement}`);
    return { ...result, retirement };
  }

  /** It cannot go forward: back, where that is still possible; else on, without what cannot be done. */
  private async leave(error: unknown): Promise<RotateResult> {
    const preempted = isCancellation(error) || codeOf(error) === 'KW-PREEMPTED';
    const why = preempted ? 'a revocation took the key, or the rotation was cancelled' : reasonOf(error);
    if (this.facts === undefined || !this.begun) {
      this.p.outcome(preempted ? 'pre-empted' : 'failed');
      if (this.facts !== undefined) await this.p.untilDone('notify', () => this.alert({ kind: 'rotation-failed', detail: why.slice(0, 1_000) }));
      throw error;
    }
    const { keyId } = this.facts;
    this.p.pending(undefined);
    const back = await this.p.untilDone('roll-back', () => replacing.rollBack.executeWithOptions({ summary: 'decide that everything goes back' }, [{ keyId, why: why.slice(0, 2_000) }])).catch((refusal: unknown) => {
      if (!isFinal(refusal)) throw refusal;
      return undefined; // the cutover has begun
    });
    if (back === undefined) return this.insist(this.state!, why);
    await this.rollBack(back.replacement, why);
    if (error instanceof Back) return { outcome: 'rolled-back', keyId, ...(back.replacement === undefined ? {} : { replacement: back.replacement }), why, signedBy: [] };
    throw applicationFailure(error) ?? error;
  }

  private async rollBack(replacement: string | undefined, why: string): Promise<void> {
    const { keyId, regions } = this.facts!;
    this.p.phase('rolling back');
    this.p.mark('roll-back', 'running', why);
    if (replacement !== undefined) {
      await this.p.untilDone('roll-back', () => settling.settleReplacement.executeWithOptions({ summary: 'put the old ciphertexts back' }, [{ keyId }]));
      await Promise.all(regions.map((region) => this.p.untilDone('roll-back', () => replacing.withdrawReplacement.executeWithOptions({ summary: `disable the unused CMK in ${region}` }, [{ keyId, region }]))));
    }
    this.p.mark('roll-back', 'done', why);
    await this.p.persist('close', () => replacing.endReplacement.executeWithOptions({ summary: 'give the key back' }, [{ keyId, why: why.slice(0, 2_000) }]));
    this.p.outcome('rolled-back');
    await this.p.persist('notify', () => this.alert({ kind: 'rotation-rolled-back', detail: `${why.slice(0, 1_000)}. Everything stands under the old CMK.${replacement === undefined ? '' : ` The new one, ${replacement}, is disabled; nothing needs it.`}`, ...(replacement === undefined ? {} : { command: `keywarden revoke ${replacement} --after-window deletion-scheduled --reason "unused after a rolled back rotation" --as NAME` }) }));
  }

  /** After the cutover has begun: what is left is done as far as it can be; a person hears of the rest. */
  private async insist(state: State, why: string): Promise<RotateResult> {
    await this.finish(state, 1, `${why.slice(0, 1_000)}. The cutover to ${state.replacement} had begun and is not taken back; look at the aliases and the policy of the old CMK in each Region.`, 0);
    return state.result!;
  }

  private again(state: State): Promise<never> {
    return continueAsNew<typeof rotateKey>(this.input, { procedure: this.p.carry(), state });
  }

  private mayContinueAsNew(): boolean {
    return workflowInfo().continueAsNewSuggested && this.p.quiet;
  }

  private consider(decisions: Arrived[], malformed: number): Promise<ReplacementChecked> {
    return replacing.considerReplacement.executeWithOptions({ summary: decisions.length === 0 ? 'check the key, make the plan' : `judge ${decisions.length} signature(s)` }, [{ input: this.input, decisions, malformed }]);
  }

  private considerCutover(decisions: Arrived[], malformed: number): Promise<Considered> {
    return replacing.considerCutover.executeWithOptions({ summary: decisions.length === 0 ? 'make the plan of the cutover' : `judge ${decisions.length} signature(s)` }, [{ input: this.input, decisions, malformed }]);
  }

  private alert(facts: Omit<AlertFacts, 'key'>): Promise<unknown> {
    const { reason } = this.input;
    return replacing.alert.executeWithOptions({ summary: `tell security: ${facts.kind}` }, [{ key: this.facts?.purpose ?? this.input.key, ...(reason === undefined ? {} : { reason }), ...(this.facts === undefined ? {} : { keyId: this.facts.keyId }), ...facts }]);
  }
}
