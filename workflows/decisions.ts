import { allHandlersFinished, condition, setHandler, workflowInfo } from '@temporalio/workflow';
import type { Arrived, Considered } from '../domain/activities';
import { peekClaims } from '../domain/approval';
import { decision } from '../domain/inputs';
import { approve, decide, reject, type DecideAnswer } from './messages';

interface Waiting {
  arrived: Arrived;
  answer?: (a: DecideAnswer) => void;
}

/** One activity judges so many proofs, or so many bytes of them, at once: a flood costs few events. */
const BATCH = 100;
const BATCH_BYTES = 400_000;

/**
 * Decisions as they arrive, from signals and updates, kept in order until a gate considers them: one sent early counts when the wait begins.
 * What is not a proof for this workflow at all is only counted.
 */
export class Decisions {
  private readonly queue: Waiting[] = [];
  /** Batches that an activity judges now. */
  private judging = 0;
  malformed = 0;
  refused = 0;
  lastRefusal: string | undefined;

  constructor() {
    setHandler(approve, (raw) => void this.take(raw, 'approve'));
    setHandler(reject, (raw) => void this.take(raw, 'reject'));
    setHandler(
      decide,
      async (raw) => {
        const { decision: as, ...message } = raw;
        let answer: DecideAnswer | undefined;
        const refusal = this.take(message, as, (a) => (answer = a));
        if (refusal !== undefined) return refusal;
        await condition(() => answer !== undefined);
        return answer!;
      },
      {
        // synchronous and cheap: signatures are verified by an activity (an async validator would wedge the workflow)
        validator: (raw) => {
          if (typeof raw !== 'object' || raw === null || (raw.decision !== 'approve' && raw.decision !== 'reject')) throw new Error('KW-INPUT: decision: must be "approve" or "reject"');
          const { decision: _d, ...message } = raw;
          if (!decision.safeParse(message).success) throw new Error('KW-INPUT: proof: must be the token that `keywarden sign` prints');
        },
      },
    );
  }

  get waiting(): boolean {
    return this.queue.length > 0 || this.malformed > 0;
  }

  private take(raw: unknown, as: 'approve' | 'reject', answer?: (a: DecideAnswer) => void): DecideAnswer | undefined {
    const parsed = decision.safeParse(raw);
    const peeked = parsed.success ? peekClaims(parsed.data.proof) : undefined;
    if (!parsed.success || peeked === undefined) {
      this.malformed++;
      return { accepted: false, code: 'KW-APPROVAL-FORM', reason: 'the proof is not a Keywarden approval' };
    }
    const { proof: token, comment } = parsed.data;
    this.queue.push({ arrived: { token, as, runId: workflowInfo().runId, ...(comment === undefined ? {} : { comment }) }, ...(answer === undefined ? {} : { answer }) });
    return undefined;
  }

  /** Takes the next batch out, has it judged, and answers those who wait for an answer. */
  async consider(judge: (batch: Arrived[], malformed: number) => Promise<Considered>): Promise<Considered> {
    const batch: Waiting[] = [];
    let bytes = 0;
    while (batch.length < BATCH && this.queue[0] !== undefined && bytes + this.queue[0].arrived.token.length <= BATCH_BYTES) {
      const next = this.queue.shift()!;
      bytes += next.arrived.token.length;
      batch.push(next);
    }
    const malformed = this.malformed;
    this.malformed = 0;
    this.judging++;
    try {
      const considered = await judge(batch.map((w) => w.arrived), malformed);
      batch.forEach((w, i) => {
        const a = considered.answers[i]!;
        if (!a.accepted) this.lastRefusal = `${a.code ?? ''} ${a.reason ?? ''}`.trim();
        w.answer?.({ ...a, missing: considered.quorum.missing });
      });
      this.refused += malformed + considered.answers.filter((a) => !a.accepted).length;
      if (malformed > 0) this.lastRefusal = 'KW-APPROVAL-FORM not a Keywarden approval';
      return considered;
    } catch (error) {
      // nothing was judged: they are judged again with the next attempt
      this.queue.unshift(...batch);
      this.malformed += malformed;
      throw error;
    } finally {
      this.judging--;
    }
  }

  /** Ends with an answer for everybody who still waits for one. */
  async close(reason: string): Promise<void> {
    for (const w of this.queue.splice(0)) w.answer?.({ accepted: false, code: 'KW-APPROVAL-LAPSED', reason });
    await condition(allHandlersFinished);
  }

  /** What continue-as-new must carry: nothing, for it waits until every decision is judged. */
  get idle(): boolean {
    return !this.waiting && this.judging === 0 && allHandlersFinished();
  }
}
