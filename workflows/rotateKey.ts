import { ApplicationFailure, CancellationScope, condition, continueAsNew, ContinueAsNew, isCancellation, workflowInfo } from '@temporalio/workflow';
import type { Arrived, RotationChecked, RotationVerified } from '../domain/activities';
import type { AlertFacts } from '../domain/alert';
import { duration } from '../domain/duration';
import { parseInput, rotateInput, type RotateInput } from '../domain/inputs';
import { ROTATE_STEPS } from '../domain/steps';
import { rewrapping, rotating } from './duties';
import { asProcedure, codeOf, Procedure, reasonOf, type CarriedProcedure } from './procedure';
import { Replacement, type CarriedReplacement } from './replaceKey';
import { slide, type Rewrapped } from './rewrap';

export interface RotateResult {
  /** `incomplete`: some wrapped keys do not open and wait for a person; all others stand on the new material. */
  outcome: 'rotated' | 'incomplete' | 'rejected' | 'unsigned' | 'replaced' | 'rolled-back';
  keyId: string;
  /** Of `replace`: the new CMK, and the revocation of the old one that waits for signatures. */
  replacement?: string;
  retirement?: string;
  /** Why it was rolled back. */
  why?: string;
  /** The generation: id of the key material under which everything stands. */
  material?: string;
  /** `used`: KMS had made it by itself within the period. */
  made?: 'made' | 'used' | 'found';
  counts?: { subjectKeys: number; columnKeys: number; changedMeanwhile: number; setAside: number };
  durations?: { materialMs: number; rewrapMs: number; totalMs: number };
  signedBy: string[];
}

type Step = (typeof ROTATE_STEPS)[number]['name'];
type Facts = Pick<RotationChecked, 'keyId' | 'purpose' | 'parallel' | 'searchable' | 'why'>;

/** A person has so long to sign new material that is not due; then the rotation ends without having done anything. */
const SIGN_WITHIN = '72 hours';

interface Carried {
  procedure: CarriedProcedure;
  /** Absent while it waits for a signature. */
  at?: { facts: Facts; made: NonNullable<RotateResult['made']>; materialMs: number; signedBy: string[]; rewrapped: Rewrapped };
}

/** In place: new material in the same CMK, then everything re-wrapped under it. There is no way back; whatever fails is gone on with. */
export async function rotateKey(raw: RotateInput, carried?: Carried | CarriedReplacement): Promise<RotateResult> {
  if ((raw as Partial<RotateInput> | undefined)?.strategy === 'replace') return asProcedure(() => new Replacement(raw, carried as CarriedReplacement | undefined).run());
  return asProcedure(() => new RotationInPlace(raw, carried as Carried | undefined).run());
}

class RotationInPlace {
  private readonly p: Procedure<Step>;
  private readonly input: RotateInput;
  private facts: Facts | undefined;
  private signedBy: string[] = [];
  private begun = false;

  constructor(raw: RotateInput, private readonly carried: Carried | undefined) {
    this.p = new Procedure('Rotate ' + String((raw as Partial<RotateInput> | undefined)?.key).slice(0, 80), ROTATE_STEPS, carried?.procedure);
    this.input = parseInput(rotateInput, raw);
  }

  async run(): Promise<RotateResult> {
    try {
      const resumed = this.carried?.at;
      if (resumed !== undefined) {
        this.facts = resumed.facts;
        this.signedBy = resumed.signedBy;
        this.begun = true;
        return await this.rewrap(resumed.made, resumed.materialMs, resumed.rewrapped);
      }
      const checked = await this.check();
      const signed = await this.signature(checked);
      if ('outcome' in signed) return signed;
      await this.begin(checked);
      const { made, materialMs } = await this.material(signed.digest);
      await this.columnKeys();
      return await this.rewrap(made, materialMs, { total: checked.wrapped.subjectKeys, since: Date.now(), rewrapped: 0, changed: 0, setAside: 0 });
    } catch (error) {
      if (!(error instanceof ContinueAsNew)) await CancellationScope.nonCancellable(() => this.leave(error));
      throw error;
    } finally {
      await CancellationScope.nonCancellable(() => this.p.end());
    }
  }

  private async check(): Promise<RotationChecked> {
    this.p.phase('checking');
    const proof: Arrived[] = this.input.proof === undefined || this.carried !== undefined ? [] : [{ token: this.input.proof, runId: workflowInfo().firstExecutionRunId }];
    const checked = await this.p.persist('check', () => this.consider(proof, 0), (c) => `${c.why}; ${c.wrapped.subjectKeys} subject keys, ${c.wrapped.columnKeyValues} CEK values${c.findings.map((f) => `; ${f.text}`).join('')}`);
    const [first] = checked.answers;
    if (first?.accepted === false) throw ApplicationFailure.nonRetryable(`${first.code ?? ''}: input.proof: ${first.reason ?? ''}. Not done: the key was not rotated.`, first.code ?? 'KW-APPROVAL-FORM');
    const { keyId, purpose, parallel, searchable, why } = checked;
    this.facts = { keyId, purpose, parallel, searchable, why };
    this.p.becomeSearchable(purpose, searchable);
    for (const f of checked.findings) if (f.kind === 'rotation-quota') await this.p.untilDone('check', () => this.alert({ kind: 'rotation-quota', detail: f.text }));
    return checked;
  }

  /** What is due needs nobody; all else, and new material with `signOff`, one KeyManagementAdmin. The activity that makes it counts the receipts itself. */
  private async signature(checked: RotationChecked): Promise<{ digest?: string } | RotateResult> {
    if (checked.free) {
      this.p.skip('sign', checked.why);
      return {};
    }
    let c = checked;
    const until = Date.now() + 72 * 3_600_000;
    this.p.mark('sign', 'running');
    for (let told = false; !c.quorum.met && c.rejected === undefined; told = true) {
      this.p.pending(c);
      this.p.phase('waiting for a signature');
      if (!told && this.carried === undefined) await this.p.untilDone('sign', () => this.alert({ kind: 'rotation-requested', detail: `New key material is asked for: ${c.why}.`, command: `keywarden approve ${workflowInfo().workflowId} --as NAME` }));
      const decided = await condition(() => this.p.decisions.waiting || workflowInfo().continueAsNewSuggested, until - Date.now(), { summary: `nobody signs within ${SIGN_WITHIN}` });
      if (!decided) return this.over('unsigned', `nobody signed within ${SIGN_WITHIN}`);
      if (workflowInfo().continueAsNewSuggested && this.p.decisions.idle) await continueAsNew<typeof rotateKey>(this.input, { procedure: this.p.carry() });
      c = await this.p.untilDone('sign', () => this.p.decisions.consider((decisions, malformed) => this.consider(decisions, malformed)) as Promise<RotationChecked>);
      await this.p.pace();
    }
    this.p.pending(undefined);
    if (c.rejected !== undefined) return this.over('rejected', `rejected by ${c.rejected.person}`);
    this.signedBy = c.quorum.signed.map((s) => s.person);
    this.p.mark('sign', 'done', this.signedBy.join(', '));
    return { digest: c.digest };
  }

  private over(outcome: 'rejected' | 'unsigned', why: string): RotateResult {
    this.p.pending(undefined);
    this.p.skip('sign', why);
    this.p.outcome(outcome);
    return { outcome, keyId: this.facts!.keyId, signedBy: [] };
  }

  private async begin({ keyId }: RotationChecked): Promise<void> {
    await this.p.persist('begin', () => rotating.beginRotation.executeWithOptions({ summary: 'take the key for this rotation' }, [{ keyId }]));
    this.begun = true;
  }

  private async material(digest: string | undefined): Promise<{ made: 'made' | 'used' | 'found'; materialMs: number }> {
    this.p.phase('making material');
    const since = Date.now();
    const { keyId } = this.facts!;
    const say = { made: 'made', used: 'KMS had made it by itself', found: 'found' } as const;
    const { made } = await this.p.persist('material', () => rotating.makeMaterial.executeWithOptions({ summary: 'make new key material, or find it' }, [{ keyId, ...(digest === undefined ? {} : { digest }) }]), (m) => `${say[m.made]}: ${m.material.slice(0, 12)}…`);
    return { made, materialMs: Date.now() - since };
  }

  private async columnKeys(): Promise<void> {
    this.p.phase('re-wrapping');
    await this.p.persist('column-keys', () => rewrapping.rewrapColumnKeys.executeWithOptions({ summary: 're-wrap the column encryption keys' }, [{ keyId: this.facts!.keyId }]), (c) => `${c.rewrapped} re-wrapped${c.setAside === 0 ? '' : `, ${c.setAside} set aside`}`);
  }

  /** Pass after pass, until nothing is left: keys that the application added or changed meanwhile are found by the next. */
  private async rewrap(made: NonNullable<RotateResult['made']>, materialMs: number, at: Rewrapped): Promise<RotateResult> {
    const { keyId, parallel } = this.facts!;
    this.p.phase('re-wrapping');
    if (this.p.isOpen('subject-keys')) this.p.mark('subject-keys', 'running');
    for (let pass = 1; ; pass++) {
      const enough = (): boolean => workflowInfo().continueAsNewSuggested || workflowInfo().historyLength > 2_500;
      const through = await slide(keyId, parallel, at, { patience: (act) => this.p.untilDone('subject-keys', act), show: (progress) => this.p.progress(progress), enough });
      if (!through) {
        // whoever has sent a decision that nothing waits for gets an answer before the run ends
        while (!this.p.decisions.idle) await this.p.untilDone('subject-keys', () => this.p.decisions.consider((decisions, malformed) => this.consider(decisions, malformed)));
        await continueAsNew<typeof rotateKey>(this.input, { procedure: this.p.carry(), at: { facts: this.facts!, made, materialMs, signedBy: this.signedBy, rewrapped: at } });
      }
      const verified = await this.p.untilDone('verify', () => rewrapping.verifyRotation.executeWithOptions({ summary: 'count what stands on older material' }, [{ keyId }]));
      if (verified.left === 0) return this.finish(made, materialMs, at, verified);
      this.p.note('subject-keys', `${verified.left} were added or changed meanwhile: pass ${pass + 1}`);
      if (pass > 1) await condition(() => false, '1 second', { summary: 'let writers with older material finish' });
      await this.p.untilDone('column-keys', () => rewrapping.rewrapColumnKeys.executeWithOptions({ summary: 're-wrap column encryption keys that are left' }, [{ keyId }]));
    }
  }

  private async finish(made: NonNullable<RotateResult['made']>, materialMs: number, at: Rewrapped, v: RotationVerified): Promise<RotateResult> {
    const { keyId } = this.facts!;
    const rewrapMs = Date.now() - at.since;
    const outcome = v.setAside === 0 ? 'rotated' : 'incomplete';
    this.p.mark('subject-keys', 'done', `${v.rewrapped} re-wrapped in ${duration(rewrapMs)}`);
    this.p.mark('verify', 'done', v.setAside === 0 ? 'nothing is left on older material' : `${v.setAside} do not open and were set aside; nothing else is left on older material`);
    await this.p.persist('close', () => rotating.endRotation.executeWithOptions({ summary: 'record the rotation, give the key back' }, [{ keyId, outcome }]));
    const counts = `${v.rewrapped} subject keys and ${v.columnKeys} CEKs stand on the new material.`;
    await this.p.persist('notify', () => (outcome === 'rotated' ? this.alert({ kind: 'key-rotated', detail: counts }) : this.alert({ kind: 'rotation-incomplete', detail: `${counts} ${v.setAside} wrapped keys do not open and wait for a person.`, command: `keywarden status ${this.facts!.purpose}` })));
    this.p.outcome(outcome);
    return {
      outcome,
      keyId,
      material: v.material,
      made,
      counts: { subjectKeys: v.rewrapped, columnKeys: v.columnKeys, changedMeanwhile: at.changed, setAside: v.setAside },
      durations: { materialMs, rewrapMs, totalMs: Date.now() - workflowInfo().startTime.getTime() },
      signedBy: this.signedBy,
    };
  }

  /** It ends without having come to its end: the key is given back, security hears why. What was re-wrapped stays so. */
  private async leave(error: unknown): Promise<void> {
    const preempted = isCancellation(error) || codeOf(error) === 'KW-PREEMPTED';
    this.p.outcome(preempted ? 'pre-empted' : 'failed');
    const why = preempted ? 'a revocation took the key, or the rotation was cancelled' : reasonOf(error);
    if (this.begun) await this.p.untilDone('close', () => rotating.endRotation.executeWithOptions({ summary: 'give the key back' }, [{ keyId: this.facts!.keyId, outcome: 'ended', why: why.slice(0, 2_000) }]));
    if (this.facts === undefined && codeOf(error) === 'KW-INPUT') return;
    await this.p.untilDone('notify', () => this.alert({ kind: 'rotation-failed', detail: why.slice(0, 1_000), command: `keywarden status ${workflowInfo().workflowId}` }));
  }

  private consider(decisions: Arrived[], malformed: number): Promise<RotationChecked> {
    return rotating.considerRotation.executeWithOptions({ summary: decisions.length === 0 ? 'check the key, make the plan' : `judge ${decisions.length} signature(s)` }, [{ input: this.input, decisions, malformed }]);
  }

  private alert(facts: Omit<AlertFacts, 'key'>): Promise<unknown> {
    const { reason } = this.input;
    return rotating.alert.executeWithOptions({ summary: `tell security: ${facts.kind}` }, [{ key: this.facts?.purpose ?? this.input.key, ...(reason === undefined ? {} : { reason }), ...(this.facts === undefined ? {} : { keyId: this.facts.keyId }), ...facts }]);
  }
}
