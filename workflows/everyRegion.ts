import { ApplicationFailure, CancellationScope, condition, isCancellation } from '@temporalio/workflow';
import type { Arrived, Disabling, EffectProof } from '../domain/activities';
import { duration } from '../domain/duration';
import type { RevokeInput } from '../domain/inputs';
import { emergency, emergencyLong, toItsEnd } from './duties';
import { isFinal, type Procedure } from './procedure';
import type { RevokeStep } from './revokeKey';

/**
 * Beside the window: a Region that was silent is disabled when it answers, a canary proves that nothing decrypts any more, and how each Region
 * looked goes on record. A recovery pauses all of it; one that ends without having recovered lets it go on.
 */
export class EveryRegion {
  effect: EffectProof | undefined;
  private scope = new CancellationScope();
  private paused = false;
  private over = false;
  /** Whether the store knows of this revocation: before that, there is nothing to end. */
  private recorded = false;

  constructor(private readonly p: Procedure<RevokeStep>, private readonly input: RevokeInput, private readonly proof: Arrived | undefined, private readonly disabling: Disabling) {}

  windowIsOpen(): void {
    this.recorded = true;
  }

  pause(): void {
    this.paused = true;
    this.scope.cancel();
  }

  resume(): void {
    this.paused = false;
  }

  stop(): void {
    this.over = true;
    this.scope.cancel();
  }

  async run(): Promise<void> {
    for (;;) {
      const whole = await this.scope.run(() => this.work()).then(() => true, stopped);
      if (whole) break;
      await condition(() => this.recorded);
      await this.endDisables();
      await condition(() => !this.paused || this.over);
      if (this.over || this.proof === undefined) break;
      const { input, proof } = this;
      await this.p.untilDone('open-window', () => emergency.beginDisables.executeWithOptions({ summary: 'go on: the recovery has ended without recovering' }, [{ input, proof }]));
      this.scope = new CancellationScope();
      if (this.over) this.scope.cancel();
    }
    if (this.p.isOpen('prove-effect')) this.p.skip('prove-effect', 'a recovery began');
  }

  private async work(): Promise<void> {
    const { keyId, regions, revokedAt } = this.disabling;
    await Promise.all(regions.filter((r) => r.state === 'silent').map((r) => this.disableIn(r.region)));
    this.effect ??= await this.p.persist(
      'prove-effect',
      () => emergencyLong.proveEffect.executeWithOptions({ summary: 'canary decrypt until KMS refuses it' }, [{ keyId, regions: regions.map((r) => r.region), since: revokedAt }]),
      (e) => `refused ${duration(Math.max(...e.regions.map((r) => r.afterMs)))} after the disabling`,
    ).catch((error: unknown) => {
      // the step says that it failed; what is on record must be there all the same, or nobody could recover the key
      if (isCancellation(error) || !isFinal(error)) throw error;
      return undefined;
    });
    await condition(() => this.recorded);
    // a recovery restores what is on record: a Region that did not say how it looked is asked until it does
    await this.p.untilDone('open-window', async () => {
      const { unseen } = await this.endDisables();
      if (unseen.length > 0) throw ApplicationFailure.retryable(`not on record yet how the key looked in ${unseen.join(', ')}`, 'KW-KMS-SILENT');
    });
  }

  private async disableIn(region: string): Promise<void> {
    await this.p.untilDone('disable', async () => {
      const again = await toItsEnd(() => emergency.disableKey.executeWithOptions({ summary: `disable in ${region}, which was silent` }, [{ input: this.input, regions: [region], ...(this.proof === undefined ? {} : { proof: this.proof }) }]));
      const answer = again.regions.find((r) => r.region === region);
      if (answer === undefined || answer.state === 'silent') throw ApplicationFailure.retryable(`${region} does not answer: ${answer?.detail ?? ''}`, 'KW-KMS-SILENT');
      if (again.unaudited) throw unaudited();
      Object.assign(this.disabling.regions.find((r) => r.region === region)!, answer);
    });
    this.p.mark('disable', 'done', this.disabling.regions.map((r) => `${r.region} ${r.state}`).join(', '));
  }

  private endDisables(): Promise<{ unseen: string[] }> {
    return this.p.untilDone('open-window', () => toItsEnd(() => emergency.endDisables.executeWithOptions({ summary: 'no disable is pending any more' }, [{ keyId: this.disabling.keyId }])));
  }
}

function stopped(error: unknown): false {
  if (!isCancellation(error)) throw error;
  return false;
}

export function unaudited(): ApplicationFailure {
  return ApplicationFailure.retryable('neither store nor journal took the audit rows of the disabling', 'KW-AUDIT');
}
