import { CancellationScope, isCancellation, sleep } from '@temporalio/workflow';
import { duration } from '../domain/duration';

/** The recovery window's durable timers: its end, and the reminders before it. Visible in the UI, each with a summary. */
export class WindowClock {
  expired = false;
  /** Reminders that are due and not yet sent, in hours before the end. */
  readonly due: number[] = [];
  private scope: CancellationScope | undefined;
  private until = '';

  constructor(private readonly key: string, private readonly reminderHours: readonly number[], readonly sent: number[] = []) {}

  /** Starts the timers, or moves them when the deadline has moved. */
  set(deadline: string): void {
    if (deadline === this.until) return;
    this.until = deadline;
    this.scope?.cancel();
    this.expired = false;
    this.scope = new CancellationScope();
    const left = Date.parse(deadline) - Date.now();
    void this.scope
      .run(() => {
        const timers = [this.timer(left, `recovery window of ${this.key} ends`, () => (this.expired = true))];
        for (const hours of this.reminderHours) {
          const before = left - hours * 3_600_000;
          if (before > 0 && !this.sent.includes(hours)) timers.push(this.timer(before, `reminder: ${duration(hours * 3_600_000)} before the window of ${this.key} ends`, () => void this.due.push(hours)));
        }
        return Promise.all(timers);
      })
      .catch(ignoreCancellation);
  }

  stop(): void {
    this.scope?.cancel();
  }

  private async timer(ms: number, summary: string, then: () => void): Promise<void> {
    if (ms > 0) await sleep(ms, { summary });
    then();
  }
}

export function ignoreCancellation(error: unknown): void {
  if (!isCancellation(error)) throw error;
}
