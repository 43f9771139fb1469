import { ApplicationFailure, CancellationScope, CancelledFailure, condition, continueAsNew, ContinueAsNew, isCancellation, workflowInfo } from '@temporalio/workflow';
import type { Arrived, Considered } from '../domain/activities';
import type { AlertFacts } from '../domain/alert';
import { parseInput, recoverInput, type RecoverInput } from '../domain/inputs';
import { RECOVER_STEPS } from '../domain/steps';
import { recovery } from './duties';
import { asProcedure, codeOf, Procedure, reasonOf, type CarriedProcedure } from './procedure';
import { Refusals } from './refusals';
import { tell } from './revokeKey';

export interface RecoverResult {
  outcome: 'recovered' | 'rejected';
  keyId: string;
  /** KMS's state by Region. */
  states?: Record<string, string>;
  /** Checks passed, in words. */
  checks: string[];
  signedBy: string[];
}

type Step = (typeof RECOVER_STEPS)[number]['name'];

/** Brings a revoked CMK back inside its window, when two people have signed: exactly the policy, grants and aliases that it had. */
export async function recoverKey(raw: RecoverInput, carried?: Carried): Promise<RecoverResult> {
  return asProcedure(() => new Recovery(raw, carried).run());
}

/** What a waiting recovery carries when it continues as new; its signatures are receipts in the store by then. */
interface Carried {
  procedure: CarriedProcedure;
}

class Recovery {
  private readonly p: Procedure<Step>;
  private readonly input: RecoverInput;
  private readonly checks: string[] = [];
  private requested = false;
  /** Whose key was taken over. */
  private revocation: string | undefined;
  private readonly refusals: Refusals<Step>;

  constructor(raw: RecoverInput, private readonly carried: Carried | undefined) {
    this.p = new Procedure('Recover ' + String((raw as Partial<RecoverInput> | undefined)?.key).slice(0, 80), RECOVER_STEPS, carried?.procedure);
    this.requested = carried !== undefined;
    this.refusals = new Refusals(this.p, 'notify', (facts) => this.alert(facts));
    this.input = parseInput(recoverInput, raw);
  }

  async run(): Promise<RecoverResult> {
    try {
      const signed = await this.signatures();
      if (signed.rejected !== undefined) return await this.rejected(signed);
      return await this.recover(signed);
    } catch (error) {
      if (error instanceof ContinueAsNew) throw error;
      await CancellationScope.nonCancellable(() => this.leave(error));
      throw error;
    } finally {
      await CancellationScope.nonCancellable(() => this.p.end());
    }
  }

  /** Checks the key, shows the plan, and collects signatures until two people have signed or one has rejected. */
  private async signatures(): Promise<Considered> {
    const fromStart: Arrived[] = this.input.proof === undefined || this.carried !== undefined ? [] : [{ token: this.input.proof, runId: workflowInfo().firstExecutionRunId }];
    let considered = await this.p.persist('check', () => this.consider(fromStart, 0), (c) => `${c.plan.regions.length} Region(s), deadline and grants checked`);
    const [first] = considered.answers;
    if (first?.accepted === false) {
      // a wrong proof in the input is refused at the door
      throw ApplicationFailure.nonRetryable(`${first.code ?? ''}: input.proof: ${first.reason ?? ''}. Not done: the recovery was not started.`, first.code ?? 'KW-APPROVAL-FORM');
    }
    this.checks.push('inside the recovery window', 'aliases as recorded', 'no unknown grant');
    this.p.mark('sign', 'running');
    while (!considered.quorum.met && considered.rejected === undefined) {
      this.p.pending(considered);
      this.p.phase('waiting for signatures');
      this.tellApprovers(considered);
      await this.decisionOrEnd(considered.deadline!);
      if (this.mayContinueAsNew()) await continueAsNew<typeof recoverKey>(this.input, { procedure: this.p.carry() });
      considered = await this.p.untilDone('sign', () => this.p.decisions.consider((decisions, malformed) => this.consider(decisions, malformed)));
      this.refusals.tell();
      await this.p.pace();
    }
    this.p.pending(undefined);
    return considered;
  }

  /** Until somebody has decided, or the window has ended: then the next look refuses. */
  private async decisionOrEnd(deadline: string): Promise<void> {
    this.p.deadline(deadline);
    const left = Math.max(1_000, Date.parse(deadline) - Date.now() + 1_000);
    await condition(() => this.p.decisions.waiting || this.mayContinueAsNew(), left, { summary: 'the recovery window ends' });
  }

  private async recover({ digest, plan, quorum, decided }: Considered): Promise<RecoverResult> {
    this.p.mark('sign', 'done', quorum.signed.map((s) => `${s.person} (${s.role})`).join(', '));
    this.p.phase('recovering');
    this.revocation = plan.revocation;
    await this.p.persist('begin', () => this.begin(digest));
    await this.inEachRegion('cancel-deletion', plan.regions, (region) => recovery.cancelDeletion.executeWithOptions({ summary: `cancel a pending deletion in ${region}` }, [{ digest, region }]));
    await this.inEachRegion('restore-policy', plan.regions, (region) => recovery.restorePolicy.executeWithOptions({ summary: `restore the key policy in ${region}, read it back` }, [{ digest, region }]));
    this.checks.push('policy as recorded at the revocation');
    await this.inEachRegion('enable', plan.regions, (region) => recovery.enableKey.executeWithOptions({ summary: `enable in ${region}` }, [{ digest, region }]));
    await this.inEachRegion('prove', plan.regions, (region) => recovery.proveRecovery.executeWithOptions({ summary: `canary decrypt in ${region}` }, [{ digest, region }]));
    this.checks.push('canary decrypts in every Region');
    const { states } = await this.p.persist('close', () => recovery.finishRecovery.executeWithOptions({ summary: 'close the window of the revocation' }, [{ digest }]));
    await tell(plan.revocation!);
    const who = decided.filter((d) => d.decision === 'approve').map((d) => d.person);
    const not = Object.entries(states).filter(([, s]) => s !== 'Enabled' && s !== 'absent').map(([region, s]) => `${region} (${s})`);
    await this.p.persist('notify', () => this.alert({ kind: 'key-recovered', who, detail: `Enabled in ${plan.regions.join(', ')}.${not.length === 0 ? '' : ` NOT in ${not.join(', ')}: look at the key there; if it is down, revoke the key once more and recover it.`}` }));
    this.p.outcome('recovered');
    return { outcome: 'recovered', keyId: plan.keyId, states, checks: this.checks, signedBy: quorum.signed.map((s) => s.person) };
  }

  /** Takes the key's row; waits until the revocation has no attempt to disable under way any more. */
  private async begin(digest: string): Promise<void> {
    for (;;) {
      const { pending } = await recovery.beginRecovery.executeWithOptions({ summary: 'take the key over from the revocation' }, [{ digest }]);
      if (pending.length === 0) return;
      this.p.note('begin', `waits until ${pending.map((r) => r.workflowId).join(', ')} has ended its attempts to disable`);
      for (const revocation of pending) await tell(revocation.workflowId);
      await condition(() => false, '2 seconds', { summary: 'pending disables end' });
    }
  }

  private async inEachRegion(step: Step, regions: readonly string[], act: (region: string) => Promise<unknown>): Promise<void> {
    await this.p.step(step, () => Promise.all(regions.map((region) => this.p.untilDone(step, () => act(region)))).then(() => undefined), () => regions.join(', '));
  }

  private async rejected(c: Considered): Promise<RecoverResult> {
    this.p.mark('sign', 'skipped', `rejected by ${c.rejected!.person}`);
    this.p.outcome('rejected');
    await this.p.untilDone('notify', () => this.alert({ kind: 'recovery-refused', who: [c.rejected!.person], detail: `Rejected by ${c.rejected!.person}; the key stays as it is.` }));
    return { outcome: 'rejected', keyId: c.plan.keyId, checks: this.checks, signedBy: c.quorum.signed.map((s) => s.person) };
  }

  /** The procedure ends without having recovered: the row is given back, and security hears why. The key stays disabled where it was. */
  private async leave(error: unknown): Promise<void> {
    const preempted = isCancellation(error) || error instanceof CancelledFailure || codeOf(error) === 'KW-PREEMPTED';
    this.p.outcome(preempted ? 'pre-empted' : 'refused');
    if (codeOf(error) === 'KW-INPUT' || String(codeOf(error)).startsWith('KW-KEY-')) return; // refused at the door: no key of ours, nothing to give back
    const why = preempted ? 'a newer revocation took the key over, or the procedure was cancelled' : reasonOf(error);
    await this.p.untilDone('close', () => recovery.endRecovery.executeWithOptions({ summary: 'give the key back' }, [{ key: this.input.key, why }]));
    if (this.revocation !== undefined) await tell(this.revocation); // it goes on with what it had stopped
    await this.p.untilDone('notify', () => this.alert({ kind: preempted ? 'recovery-preempted' : 'recovery-refused', detail: why.slice(0, 500) }));
  }

  private consider(decisions: Arrived[], malformed: number): Promise<Considered> {
    return recovery.considerRecovery.executeWithOptions({ summary: decisions.length === 0 ? 'check the key and make the plan' : `judge ${decisions.length} signature(s)` }, [{ input: this.input, decisions, malformed }]);
  }

  private mayContinueAsNew(): boolean {
    return workflowInfo().continueAsNewSuggested && this.p.quiet;
  }

  private tellApprovers(c: Considered): void {
    if (this.requested) return;
    this.requested = true;
    this.p.goOn(this.p.untilDone('notify', () => this.alert({ kind: 'recovery-requested', keyId: c.plan.keyId, detail: `${c.quorum.missing} more ${c.quorum.missing === 1 ? 'person' : 'people'} must sign (${c.quorum.eligible.join(' or ')}).`, command: `keywarden approve ${workflowInfo().workflowId} --as NAME` })));
  }

  private alert(facts: Omit<AlertFacts, 'key'>): Promise<unknown> {
    const { key, reason, incident } = this.input;
    return recovery.alert.executeWithOptions({ summary: `tell security: ${facts.kind}` }, [{ key, reason, ...(incident === undefined ? {} : { incident }), ...facts }]);
  }
}
