import { workflowInfo } from '@temporalio/workflow';
import type { AlertFacts } from '../domain/alert';
import type { Procedure } from './procedure';

/** Refused proofs, told to security once a minute at most: a flood of them must not fill the topic. */
export class Refusals<Step extends string> {
  private lastMinute = -1;
  private told: number;

  constructor(private readonly p: Procedure<Step>, private readonly step: Step, private readonly alert: (facts: Omit<AlertFacts, 'key'>) => Promise<unknown>) {
    this.told = p.decisions.refused;
  }

  tell(): void {
    const { refused, lastRefusal } = this.p.decisions;
    const minute = Math.floor(Date.now() / 60_000);
    if (minute === this.lastMinute || refused === this.told) return;
    this.lastMinute = minute;
    this.told = refused;
    this.p.goOn(this.say(lastRefusal ?? ''));
  }

  say(last: string): Promise<unknown> {
    const { refused } = this.p.decisions;
    return this.p.untilDone(this.step, () => this.alert({ kind: 'approval-refused', occasion: String(Math.floor(Date.now() / 60_000)), detail: `${refused} refused so far. The last: ${last}`, command: `keywarden status ${workflowInfo().workflowId}` }));
  }
}
