import { sleep } from '@temporalio/workflow';
import type { Arrived, Considered, Disabling, WindowState } from '../domain/activities';
import type { AlertFacts } from '../domain/alert';
import type { RevokeInput } from '../domain/inputs';
import type { WindowOutcome } from '../domain/keyRow';
import { widens } from '../domain/plan';
import { emergency, recovery } from './duties';
import { isFinal, reasonOf, type Procedure } from './procedure';
import type { RevokeStep } from './revokeKey';

/** What a revocation does beyond disabling, when two people have signed: quarantine and deletion. */
export class Widening {
  /** The plan that was signed; the recovery duty verifies it for itself. */
  approvedDigest: string | undefined;
  acting = false;
  private readonly wanted: boolean;
  private rejected = false;
  private acted = false;

  constructor(
    private readonly p: Procedure<RevokeStep>,
    private readonly input: RevokeInput,
    private readonly proof: Arrived | undefined,
    private readonly disabling: Disabling,
    approvedDigest: string | undefined,
    private readonly alert: (a: Omit<AlertFacts, 'key'>) => Promise<unknown>,
  ) {
    this.wanted = widens(input);
    this.approvedDigest = approvedDigest;
    this.acted = approvedDigest !== undefined;
  }

  /** Whether signatures are still wanted. */
  get open(): boolean {
    return this.wanted && !this.rejected && this.approvedDigest === undefined;
  }

  /** Shows the plan and counts the start's signature. */
  async begin(state: WindowState): Promise<void> {
    const { mode, afterWindow } = this.input;
    if (mode !== 'quarantine') this.p.skip('quarantine');
    if ((afterWindow ?? 'disabled') === 'disabled') this.p.skip('delete');
    if (!this.wanted) this.p.skip('sign-widening');
    if (!this.open) return;
    this.p.mark('sign-widening', 'running');
    if (this.proof !== undefined) await this.judge(state, [this.proof], 0);
    else await this.judge(state, [], 0);
    await this.act(state);
  }

  async consider(state: WindowState): Promise<void> {
    await this.p.untilDone('sign-widening', () => this.p.decisions.consider((decisions, malformed) => this.ask(decisions, malformed))).then((c) => this.take(c, state));
  }

  /** A newer revocation: what was signed before has lapsed (rule 5); `disable` is stricter than `quarantine` and stays (rule 6). */
  async lapsed(state: WindowState): Promise<void> {
    if (!this.wanted || this.rejected) return;
    this.approvedDigest = undefined;
    this.acted = false;
    if (this.input.mode === 'quarantine' && state.mode === 'disable') {
      this.rejected = (this.input.afterWindow ?? 'disabled') === 'disabled';
      this.p.skip('quarantine', 'a later revocation is stricter: the key stays disabled');
      if (this.rejected) {
        this.p.skip('sign-widening');
        this.p.pending(undefined);
        return;
      }
    }
    this.p.mark('sign-widening', 'running', 'a newer revocation exists: sign again');
    await this.judge(state, [], 0);
  }

  private async judge(state: WindowState, decisions: Arrived[], malformed: number): Promise<void> {
    this.take(await this.p.untilDone('sign-widening', () => this.ask(decisions, malformed)), state);
  }

  private ask(decisions: Arrived[], malformed: number): Promise<Considered> {
    return recovery.considerWidening.executeWithOptions({ summary: `judge ${decisions.length} signature(s)` }, [{ input: this.input, decisions, malformed }]);
  }

  private take(considered: Considered, _state: WindowState): void {
    if (considered.rejected !== undefined) {
      this.rejected = true;
      this.p.pending(undefined);
      this.p.mark('sign-widening', 'skipped', `rejected by ${considered.rejected.person}: the key stays disabled`);
    } else if (considered.quorum.met) {
      this.approvedDigest = considered.digest;
      this.p.pending(undefined);
      this.p.mark('sign-widening', 'done', considered.quorum.signed.map((s) => `${s.person} (${s.role})`).join(', '));
    } else {
      this.p.pending(considered);
    }
  }

  /** Quarantines, or schedules the deletion that must not wait for the window's end. True when something was done. */
  async act(state: WindowState): Promise<boolean> {
    if (this.approvedDigest === undefined || this.acted) return false;
    this.acted = true;
    if (this.input.mode === 'quarantine' && state.mode === 'quarantine') {
      await this.everywhere('quarantine', (region, digest) => recovery.quarantineRegion.executeWithOptions({ summary: `quarantine in ${region}` }, [{ digest, region }]), { kind: 'quarantined', detail: 'Only the re-wrap role may read with the key now.' });
    }
    if (this.input.afterWindow === 'destroyed') await this.delete();
    return true;
  }

  /** At the window's end a quarantined key goes down, and the deletion that was signed for is scheduled. */
  async atTheEnd(_state: WindowState): Promise<void> {
    if (this.approvedDigest === undefined) return;
    const digest = this.approvedDigest;
    if (this.input.mode === 'quarantine') {
      for (const { region } of this.disabling.regions) await this.p.untilDone('close', () => recovery.disableQuarantined.executeWithOptions({ summary: `disable the quarantined key in ${region}` }, [{ digest, region }])).catch(finalOnly);
    }
    if (this.input.afterWindow === 'deletion-scheduled') await this.delete();
  }

  private delete(): Promise<void> {
    return this.everywhere('delete', (region, digest) => recovery.scheduleDeletion.executeWithOptions({ summary: `schedule the deletion in ${region}` }, [{ digest, region }]), { kind: 'deletion-scheduled', detail: 'KMS will destroy the key when its waiting period ends.' });
  }

  /** Each Region by itself; one that cannot be done finally is said and leaves the key disabled there. */
  private async everywhere(step: 'quarantine' | 'delete', act: (region: string, digest: string) => Promise<unknown>, say: Omit<AlertFacts, 'key'>): Promise<void> {
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
    this.acting = false;
    if (failed.length === 0) this.p.mark(step, 'done');
    else this.p.mark(step, 'failed', failed.join('; '));
    await this.p.untilDone(step, () => this.alert(failed.length === 0 ? say : { kind: 'revocation-incomplete', occasion: step, detail: `Not done: ${failed.join('; ')}` }));
    this.p.mark(step, failed.length === 0 ? 'done' : 'failed', failed.length === 0 ? undefined : failed.join('; '));
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
