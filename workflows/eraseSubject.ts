import { ApplicationFailure, CancellationScope, condition, continueAsNew, ContinueAsNew, isCancellation, workflowInfo } from '@temporalio/workflow';
import type { Arrived, Certificate, Considered } from '../domain/activities';
import type { AlertFacts } from '../domain/alert';
import { SUBJECT_HASH, type ErasureProof } from '../domain/erasure';
import { eraseInput, parseInput, type EraseInput } from '../domain/inputs';
import { ERASE_STEPS } from '../domain/steps';
import { erasing, recovery } from './duties';
import { asProcedure, codeOf, Procedure, reasonOf, type CarriedProcedure } from './procedure';
import { Refusals } from './refusals';

export interface EraseResult {
  outcome: 'proven' | 'rejected' | 'restored';
  /** The hash; nobody stands here in the clear. */
  subjectId: string;
  proof?: ErasureProof;
  signedBy: string[];
}

type Step = (typeof ERASE_STEPS)[number]['name'];

/** How often it is looked whether a database restore has brought the person back. */
const LOOK_MS = 86_400_000;

/** Destroys one person's keys, when two people have signed and nobody has rejected it for days; proves it when no backup holds them any more. */
export async function eraseSubject(raw: EraseInput, carried?: Carried): Promise<EraseResult> {
  return asProcedure(() => new Erasure(raw, carried).run());
}

/** What a waiting erasure carries when it continues as new; its signatures are receipts in the store by then. */
interface Carried {
  procedure: CarriedProcedure;
  searchable: boolean;
  requested: boolean;
  withheld?: Withheld;
  deleted?: Deleted;
}

/** Nobody gets the keys any more. */
interface Withheld {
  digest: string;
  deadline: string;
  signedBy: string[];
}

interface Deleted {
  certificate: Certificate;
  backupsUntil: string;
}

class Erasure {
  private readonly p: Procedure<Step>;
  private readonly input: EraseInput;
  private readonly refusals: Refusals<Step>;
  private searchable: boolean;
  private requested: boolean;
  private withheld: Withheld | undefined;
  private deleted: Deleted | undefined;

  constructor(raw: EraseInput, private readonly carried: Carried | undefined) {
    const named = String((raw as Partial<EraseInput> | undefined)?.subjectId);
    // an id that was given in the clear is not shown as well
    this.p = new Procedure('Erase ' + (SUBJECT_HASH.test(named) ? named : 'a subject'), ERASE_STEPS, carried?.procedure);
    this.searchable = carried?.searchable ?? false;
    this.requested = carried?.requested ?? false;
    this.withheld = carried?.withheld;
    this.deleted = carried?.deleted;
    this.refusals = new Refusals(this.p, 'notify', (facts) => this.alert(facts));
    this.input = parseInput(eraseInput, raw);
  }

  async run(): Promise<EraseResult> {
    try {
      if (this.withheld === undefined) {
        const signed = await this.signatures();
        if (signed.rejected !== undefined) return await this.rejected(signed);
        this.withheld = await this.withhold(signed);
      }
      if (this.deleted === undefined) {
        const rejection = await this.wait(this.withheld);
        if (rejection !== undefined) return await this.rejected(rejection);
        this.deleted = await this.delete(this.withheld);
      }
      await this.outlastBackups(this.deleted);
      return await this.prove(this.deleted.certificate, this.withheld.signedBy);
    } catch (error) {
      if (error instanceof ContinueAsNew) throw error;
      await CancellationScope.nonCancellable(() => this.leave(error));
      throw error;
    } finally {
      await CancellationScope.nonCancellable(() => this.p.end());
    }
  }

  /** Checks the request, shows the plan, and collects signatures until two people have signed or one has rejected. */
  private async signatures(): Promise<Considered> {
    const fromStart: Arrived[] = this.input.proof === undefined || this.carried !== undefined ? [] : [{ token: this.input.proof, runId: workflowInfo().firstExecutionRunId }];
    const checked = await this.p.persist('check', () => this.consider(fromStart, 0), () => 'the request is known, no other erasure is open');
    let considered: Considered = checked;
    this.searchable = checked.searchable;
    this.p.becomeSearchable(this.input.subjectId, this.searchable);
    const [first] = considered.answers;
    if (first?.accepted === false) {
      // a wrong proof in the input is refused at the door
      throw ApplicationFailure.nonRetryable(`${first.code ?? ''}: input.proof: ${first.reason ?? ''}. Not done: the erasure was not started.`, first.code ?? 'KW-APPROVAL-FORM');
    }
    this.p.mark('sign', 'running');
    while (!considered.quorum.met && considered.rejected === undefined) {
      this.p.pending(considered);
      this.p.phase('waiting for signatures');
      this.tellApprovers(considered);
      await condition(() => this.p.decisions.waiting || this.mayContinueAsNew());
      if (this.mayContinueAsNew()) await this.continueAsNew();
      considered = await this.judge('sign');
    }
    this.p.pending(undefined);
    return considered;
  }

  private async withhold({ digest, quorum }: Considered): Promise<Withheld> {
    this.p.mark('sign', 'done', quorum.signed.map((s) => `${s.person} (${s.role})`).join(', '));
    const { deadline } = await this.p.persist('withhold', () => recovery.withholdSubject.executeWithOptions({ summary: "withhold the person's keys" }, [{ digest }]), (w) => `until ${w.deadline}`);
    const signedBy = quorum.signed.map((s) => s.person);
    this.p.goOn(this.p.untilDone('notify', () => this.alert({ kind: 'erasure-begun', who: signedBy, detail: `No application gets the person's keys any more. They are deleted at ${deadline}; until then one KeyRecoveryAdmin gives them back.`, command: `keywarden reject ${workflowInfo().workflowId} --as NAME` })));
    return { digest, deadline, signedBy };
  }

  /** The waiting time: a durable timer. Resolves to a rejection, if one comes. */
  private async wait({ deadline }: Withheld): Promise<Considered | undefined> {
    this.p.mark('wait', 'running');
    this.p.phase('erasing');
    this.p.deadline(deadline, 'Waiting time');
    for (;;) {
      const left = Date.parse(deadline) - Date.now();
      if (left > 0) await condition(() => this.p.decisions.waiting || this.mayContinueAsNew(), left, { summary: 'the waiting time ends' });
      if (this.p.decisions.waiting) {
        const considered = await this.judge('wait');
        if (considered.rejected !== undefined) return considered;
      } else if (Date.now() >= Date.parse(deadline)) return undefined;
      if (this.mayContinueAsNew()) await this.continueAsNew();
    }
  }

  private async delete({ digest, signedBy }: Withheld): Promise<Deleted> {
    this.p.mark('wait', 'done', 'nobody has rejected it');
    const done = await this.p.persist('delete', () => recovery.deleteSubject.executeWithOptions({ summary: "delete the person's wrapped keys" }, [{ digest }]), (d) => `${d.keys} key(s) at ${d.deletedAt}`);
    this.p.goOn(this.p.untilDone('notify', () => this.alert({ kind: 'subject-deleted', who: signedBy, detail: `${done.keys} wrapped key(s) deleted. Backups may hold them until ${done.backupsUntil}; then the proof of destruction is issued.` })));
    return { certificate: done.certificate, backupsUntil: done.backupsUntil };
  }

  /** A database restore may bring the person back until the last backup has expired: once a day, and when told to look, it is made sure that none has. */
  private async outlastBackups(deleted: Deleted): Promise<void> {
    this.p.mark('retention', 'running');
    this.p.phase('destruction-pending');
    for (let times = 1; ; times++) {
      const seen = this.p.looks;
      const { reapplied, backupsUntil } = await this.p.untilDone('retention', () => erasing.keepErased.executeWithOptions({ summary: 'has a database restore brought the person back?' }, [{ certificate: deleted.certificate }]));
      deleted.backupsUntil = backupsUntil;
      this.p.deadline(backupsUntil, 'Retention of backups');
      if (reapplied) {
        this.p.note('retention', `applied again after a database restore, ${new Date().toISOString()}`);
        this.p.goOn(this.p.untilDone('notify', () => this.alert({ kind: 'erasure-reapplied', occasion: `${workflowInfo().runId}/${times}`, detail: 'A database restore had brought the person back. The keys are deleted again.' })));
      }
      const left = Date.parse(backupsUntil) - Date.now();
      if (left <= 0) return;
      await condition(() => this.p.looks !== seen || this.p.decisions.waiting || this.mayContinueAsNew(), Math.min(left, LOOK_MS), { summary: 'backups that may hold the keys expire' });
      if (this.p.decisions.waiting) await this.judge('retention');
      await this.p.pace();
      if (this.mayContinueAsNew()) await this.continueAsNew();
    }
  }

  private async prove(certificate: Certificate, signedBy: string[]): Promise<EraseResult> {
    this.p.mark('retention', 'done', 'no backup within retention holds the keys');
    const { proof } = await this.p.persist('prove', () => erasing.proveErasure.executeWithOptions({ summary: 'issue the proof of destruction' }, [{ certificate }]), (r) => `issued at ${r.proof.provenAt}`);
    await this.p.persist('notify', () => this.alert({ kind: 'erasure-proven', who: signedBy, detail: `Deleted at ${proof.deletedAt}; the last backup that may have held the keys expired at ${proof.backupsUntil}.` }));
    this.p.outcome('proven');
    return { outcome: 'proven', subjectId: this.input.subjectId, proof, signedBy };
  }

  /** Before anything was done it simply ends; during the wait the keys are given back. */
  private async rejected(c: Considered): Promise<EraseResult> {
    const by = c.rejected!.person;
    if (this.p.isOpen('sign')) this.p.mark('sign', 'skipped', `rejected by ${by}`);
    else this.p.mark('wait', 'skipped', `rejected by ${by}`);
    const { restored } = await this.p.untilDone('notify', () => recovery.restoreSubject.executeWithOptions({ summary: 'give back what was withheld' }, [{ digest: c.digest }]));
    const outcome = restored ? 'restored' : 'rejected';
    await this.p.persist('notify', () => this.alert({ kind: 'erasure-refused', who: [by], detail: `Rejected by ${by}; ${restored ? 'the keys are given back' : 'nothing was done'}.` }));
    this.p.outcome(outcome);
    return { outcome, subjectId: this.input.subjectId, signedBy: c.quorum.signed.map((s) => s.person) };
  }

  /** The procedure ends before its time. What is withheld stays so: giving it back takes a signature. */
  private async leave(error: unknown): Promise<void> {
    this.p.outcome(isCancellation(error) ? 'stopped' : 'refused');
    if (this.withheld === undefined && ['KW-INPUT', 'KW-SUBJECT-UNKNOWN'].includes(String(codeOf(error)))) return; // refused at the door
    const state = this.deleted !== undefined ? 'The keys are deleted, but nobody looks for a database restore any more, and no proof is issued.' : this.withheld !== undefined ? 'The keys stay withheld, unless the database was restored.' : 'Nothing was done.';
    const why = isCancellation(error) ? 'it was cancelled' : reasonOf(error);
    await this.p.untilDone('notify', () => this.alert({ kind: 'erasure-refused', detail: `${state} ${why}`.slice(0, 1_000), command: 'keywarden erase ID --reason "…" --as NAME' }));
  }

  private async judge(step: Step): Promise<Considered> {
    const considered = await this.p.untilDone(step, () => this.p.decisions.consider((decisions, malformed) => this.consider(decisions, malformed)));
    this.refusals.tell();
    await this.p.pace();
    return considered;
  }

  private consider(decisions: Arrived[], malformed: number): Promise<Considered & { searchable: boolean }> {
    return recovery.considerErasure.executeWithOptions({ summary: decisions.length === 0 ? 'check the request and make the plan' : `judge ${decisions.length} signature(s)` }, [{ input: this.input, decisions, malformed }]) as Promise<Considered & { searchable: boolean }>;
  }

  private mayContinueAsNew(): boolean {
    return workflowInfo().continueAsNewSuggested && this.p.quiet;
  }

  private continueAsNew(): Promise<never> {
    const { searchable, requested, withheld, deleted } = this;
    return continueAsNew<typeof eraseSubject>(this.input, { procedure: this.p.carry(), searchable, requested, ...(withheld === undefined ? {} : { withheld }), ...(deleted === undefined ? {} : { deleted }) });
  }

  private tellApprovers(c: Considered): void {
    if (this.requested) return;
    this.requested = true;
    this.p.goOn(this.p.untilDone('notify', () => this.alert({ kind: 'erasure-requested', detail: `${c.quorum.missing} more ${c.quorum.missing === 1 ? 'person' : 'people'} must sign (${c.quorum.eligible.join(' or ')}).`, command: `keywarden approve ${workflowInfo().workflowId} --as NAME` })));
  }

  private alert(facts: Omit<AlertFacts, 'key'>): Promise<unknown> {
    const { subjectId: key, reason } = this.input;
    return recovery.alert.executeWithOptions({ summary: `tell security: ${facts.kind}` }, [{ key, reason, ...facts }]);
  }
}
