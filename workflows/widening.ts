import { CancellationScope, condition, sleep } from '@temporalio/workflow';
import type { Arrived, Considered, Disabling, WindowState } from '../domain/activities';
import type { AlertFacts } from '../domain/alert';
import type { RevokeInput } from '../domain/inputs';
import type { WindowOutcome } from '../domain/keyRow';
import { widens } from '../domain/plan';
import { emergency, recovery } from './duties';
import { isFinal, reasonOf, type Procedure } from './procedure';
import type { RevokeStep } from './revokeKey';
import { ignoreCancellation } from './window';

/** Plans by their digest: signed, acted upon, refused finally. */
export interface CarriedWidening {
  approved?: string;
  acted?: string;
  refused?: string;
}

/**
 * What a revocation does beyond disabling, when two people have signed: quarantine and deletion. Runs beside the window, so that neither a
 * missing signature nor an outage of the recovery duty holds up a reminder, a recovery or the end.
 */
export class Widening {
  /** The plan that was signed; the recovery duty verifies it for itself. */
  private approvedDigest: string | undefined;
  acting = false;
  /** The plan under which something was done; at the window's end it is undone under the same. */
  private actedDigest: string | undefined;
  /** The deadline may be KMS's now: the window looks. */
  changedTheKey = false;
  readonly wanted: boolean;
  private rejected = false;
  private refusedDigest: string | undefined;
  private lapsed = false;
  private readonly scope = new CancellationScope();
  private running: Promise<void> = Promise.resolve();

  constructor(
    private readonly p: Procedure<RevokeStep>,
    private readonly input: RevokeInput,
    private readonly proof: Arrived | undefined,
    private readonly disabling: Disabling,
    private state: WindowState,
    carried: CarriedWidening | undefined,
    private readonly alert: (a: Omit<AlertFacts, 'key'>) => Promise<unknown>,
    private readonly tellRefusals: () => void,
  ) {
    this.wanted = widens(input);
    this.approvedDigest = carried?.approved;
    this.actedDigest = carried?.acted;
    this.refusedDigest = carried?.refused;
  }

  carry(): CarriedWidening {
    const { approvedDigest, actedDigest, refusedDigest } = this;
    return { ...(approvedDigest === undefined ? {} : { approved: approvedDigest }), ...(actedDigest === undefined ? {} : { acted: actedDigest }), ...(refusedDigest === undefined ? {} : { refused: refusedDigest }) };
  }

  begin(): void {
    const { mode, afterWindow } = this.input;
    if (mode !== 'quarantine') this.p.skip('quarantine');
    if ((afterWindow ?? 'disabled') === 'disabled') this.p.skip('delete');
    if (!this.wanted) this.p.skip('sign-widening');
    else this.running = this.scope.run(() => this.run()).catch(ignoreCancellation);
  }

  /** What the store says now. A newer revocation voids what was signed before it (rule 5). */
  look(state: WindowState): void {
    if (state.epoch !== this.state.epoch) this.lapsed = true;
    this.state = state;
  }

  async stop(): Promise<void> {
    this.scope.cancel();
    await this.running;
    this.acting = false;
  }

  private async run(): Promise<void> {
    // the start's signature counts as one
    if (this.approvedDigest === undefined) await this.sign(this.proof === undefined ? [] : [this.proof]);
    for (;;) {
      await condition(() => this.lapsed || this.p.decisions.waiting);
      if (this.lapsed) await this.signAgain();
      else if (this.rejected || this.approvedDigest !== undefined) await this.p.untilDone('sign-widening', () => this.p.decisions.consider((d, m) => this.ask(d, m)));
      else await this.take(await this.p.untilDone('sign-widening', () => this.p.decisions.consider((d, m) => this.ask(d, m))));
      this.tellRefusals();
      await this.p.pace();
    }
  }

  private async sign(decisions: Arrived[]): Promise<void> {
    this.p.mark('sign-widening', 'running');
    await this.take(await this.p.untilDone('sign-widening', () => this.ask(decisions, 0)));
  }

  /** What was signed before a newer revocation has lapsed; `disable` is stricter than `quarantine` and stays (rule 6). */
  private async signAgain(): Promise<void> {
    this.lapsed = false;
    if (this.rejected) return;
    this.approvedDigest = undefined;
    if (this.input.mode === 'quarantine' && this.state.mode === 'disable') {
      this.p.skip('quarantine', 'a later revocation is stricter: the key stays disabled');
      if ((this.input.afterWindow ?? 'disabled') === 'disabled') {
        this.rejected = true;
        this.p.skip('sign-widening');
        this.p.pending(undefined);
        return;
      }
    }
    await this.sign([]);
  }

  private async take(considered: Considered): Promise<void> {
    if (considered.rejected !== undefined) {
      this.rejected = true;
      this.p.pending(undefined);
      this.p.mark('sign-widening', 'skipped', `rejected by ${considered.rejected.person}: the key stays disabled`);
    } else if (considered.quorum.met && considered.digest === this.refusedDigest) {
      this.p.pending(undefined);
      this.p.mark('sign-widening', 'done', 'signed, but what was signed for was refused');
    } else if (considered.quorum.met) {
      this.approvedDigest = considered.digest;
      this.p.pending(undefined);
      this.p.mark('sign-widening', 'done', considered.quorum.signed.map((s) => `${s.person} (${s.role})`).join(', '));
      await this.act();
    } else {
      this.p.pending(considered);
    }
  }

  /** Quarantines, or schedules the deletion that must not wait for the window's end. */
  private async act(): Promise<void> {
    this.actedDigest = this.approvedDigest;
    let done = true;
    if (this.input.mode === 'quarantine' && this.state.mode === 'quarantine') {
      done = await this.everywhere('quarantine', (region, digest) => recovery.quarantineRegion.executeWithOptions({ summary: `quarantine in ${region}` }, [{ digest, region }]), { kind: 'quarantined', detail: 'Only the re-wrap role may read with the key now.' });
    }
    if (this.input.afterWindow === 'destroyed') done = await this.delete();
    this.changedTheKey = true;
    if (done || this.lapsed) return;
    // refused finally: a plan that has changed since wants new signatures, the same plan is not tried again
    this.refusedDigest = this.approvedDigest;
    this.approvedDigest = undefined;
    await this.sign([]);
  }

  private ask(decisions: Arrived[], malformed: number): Promise<Considered> {
    return recovery.considerWidening.executeWithOptions({ summary: `judge ${decisions.length} signature(s)` }, [{ input: this.input, decisions, malformed }]);
  }

  /** At the window's end a quarantined key goes down, and the deletion that was signed for is scheduled. */
  async atTheEnd(): Promise<void> {
    const digest = this.actedDigest;
    if (digest !== undefined && this.input.mode === 'quarantine') {
      for (const { region } of this.disabling.regions) await this.p.untilDone('close', () => recovery.disableQuarantined.executeWithOptions({ summary: `disable the quarantined key in ${region}` }, [{ digest, region }])).catch(finalOnly);
    }
    if (this.approvedDigest !== undefined && this.input.afterWindow === 'deletion-scheduled') await this.delete();
  }

  private delete(): Promise<boolean> {
    return this.everywhere('delete', (region, digest) => recovery.scheduleDeletion.executeWithOptions({ summary: `schedule the deletion in ${region}` }, [{ digest, region }]), { kind: 'deletion-scheduled', detail: 'KMS will destroy the key when its waiting period ends.' });
  }

  /** Each Region by itself; one that cannot be done finally is said and leaves the key disabled there. */
  private async everywhere(step: 'quarantine' | 'delete', act: (region: string, digest: string) => Promise<unknown>, say: Omit<AlertFacts, 'key'>): Promise<boolean> {
    const digest = this.approvedDigest!;
    this.acting = true;
    this.p.mark(step, 'running');
    const failed: string[] = [];
    await Promise.all(
      this.disabling.regions.map(async ({ region }) => {
        try {
          await this.p.untilDone(step, () => act(region, digest));
        } catch (error) {
          if (!isFinal(error)) throw error;
          failed.push(`${region}: ${reasonOf(error)}`);
        }
      }),
    );
    await this.p.untilDone(step, () => this.alert(failed.length === 0 ? say : { kind: 'revocation-incomplete', occasion: step, detail: `Not done: ${failed.join('; ')}` }));
    this.p.mark(step, failed.length === 0 ? 'done' : 'failed', failed.length === 0 ? undefined : failed.join('; '));
    this.acting = false; // not before it is said: a run that continues as new would leave the step unsaid
    return failed.length === 0;
  }

  /** A multi-Region key takes 14 days at least; KMS may take a day longer than it says. */
  async untilDestroyed(reason: string): Promise<WindowOutcome> {
    const { keyId } = this.disabling;
    for (;;) {
      const { gone, regions } = await this.p.untilDone('delete', () => recovery.deletionState.executeWithOptions({ summary: 'has KMS destroyed the key?' }, [{ keyId }]));
      if (gone) return (await this.p.untilDone('delete', () => emergency.closeWindow.executeWithOptions({ summary: 'record the destruction' }, [{ keyId, reason }]))).outcome;
      this.p.mark('delete', 'running', regions.map((r) => `${r.region} ${r.state}`).join(', '));
      await sleep('6 hours', { summary: 'KMS destroys the key' });
    }
  }
}

function finalOnly(error: unknown): void {
  if (!isFinal(error)) throw error;
}
