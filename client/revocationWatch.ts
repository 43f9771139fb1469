import type { Clock } from '../domain/clock';
import type { Acknowledged, Consumer, KeyMark, Store } from '../stores/store';
import { within } from '../stores/within';

export interface WatchOptions {
  store: Pick<Store, 'keyMarks' | 'erasuresSince' | 'saveConsumer' | 'removeConsumer'>;
  consumer: Consumer;
  /** A revocation is known to this process so long after it was recorded, while the store answers. */
  learnWithinMs: number;
  clock: Clock;
  /** Drops the plaintext keys under a CMK, before the next `await`. */
  drop(keyId: string): void;
  /** Opens the canary of a CMK that takes another's place. */
  open(keyId: string): Promise<void>;
  /** Drops the plaintext keys of a subject that is being erased, and what is under way for it; of everybody where nobody knows whose. */
  dropSubject(subjectId: string | undefined): void;
  /** After each look, whether the store answered or not. */
  looked(): void;
}

/**
 * Knows which CMKs are in use: looks at the store often enough to learn of a revocation in time, drops what is cached, and acknowledges.
 * A process that is not registered knows nothing and so uses no key: whoever holds plaintext keys can be waited for.
 */
export class RevocationWatch {
  private marks = new Map<string, KeyMark>();
  private readonly acknowledged = new Map<string, number>();
  private looking: Promise<void> | undefined;
  private saving: Promise<void> | undefined;
  private readonly opened = new Set<string>();
  private readonly opening = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private registered = false;
  private closed = false;
  /** When the last look that was answered began; the store's word is not newer than that. */
  private lookedAt = -Infinity;
  private savedAt = -Infinity;
  /** Erasures up to here are known; what began before the first look, the row of the subject says. */
  private erasures: number | undefined;
  /** Why the last look failed. */
  failure: unknown;

  constructor(private readonly o: WatchOptions) {}

  /** How old the knowledge is, in milliseconds. */
  get ageMs(): number {
    const age = this.o.clock.now() - this.lookedAt;
    return age < 0 ? Infinity : age; // the clock was set back
  }

  /** Whether a key may be used without another look: the knowledge is new enough, or the store has just been asked in vain. */
  get current(): boolean {
    return this.registered && !this.closed && (this.failure !== undefined || this.ageMs <= this.o.learnWithinMs);
  }

  mark(keyId: string): KeyMark | undefined {
    return this.marks.get(keyId);
  }

  /** Looks now, or waits for the look under way. Rejects with KW-STORE only while nothing is known at all. */
  async look(): Promise<void> {
    this.timer ??= setInterval(() => void this.look().catch(() => undefined), Math.max(20, this.o.learnWithinMs * 0.4)).unref();
    this.looking ??= this.lookOnce().finally(() => (this.looking = undefined));
    await this.looking;
    if (!this.registered) throw this.failure;
  }

  /** Says goodbye: the revocation need not wait for this process any more. */
  async close(): Promise<void> {
    this.closed = true;
    clearInterval(this.timer);
    await this.looking;
    await this.saving;
    if (this.registered) await this.o.store.removeConsumer(this.o.consumer.consumerId).catch(() => undefined);
  }

  private async lookOnce(): Promise<void> {
    const { store, consumer, learnWithinMs, clock } = this.o;
    const began = clock.now();
    try {
      // known to the store before the first key is in the clear
      if (!this.registered) await store.saveConsumer(consumer, []);
      const [marks, erasures] = await within(learnWithinMs * 0.55, 'looking which keys are in use', Promise.all([store.keyMarks(consumer.purposes), store.erasuresSince(this.erasures)]));
      this.take(marks);
      this.erase(erasures);
      this.lookedAt = began;
      this.registered = true;
      this.failure = undefined;
    } catch (error) {
      this.failure = error;
    }
    this.o.looked();
    if (this.failure !== undefined) return;
    this.acknowledge();
    for (const m of this.marks.values()) if (m.introduced === true) void this.openNew(m.keyId);
  }

  /** Tried again with each look until it opens: until then the CMK does not take the other's place. */
  private async openNew(keyId: string): Promise<void> {
    if (this.opened.has(keyId) || this.opening.has(keyId)) return;
    this.opening.add(keyId);
    try {
      await this.o.open(keyId);
      this.opened.add(keyId);
      this.acknowledged.delete(keyId);
      this.acknowledge();
    } catch {
      // the rotation that waits for this process shows it
    } finally {
      this.opening.delete(keyId);
    }
  }

  private take(marks: readonly KeyMark[]): void {
    const before = this.marks;
    this.marks = new Map(marks.map((m) => [m.keyId, m]));
    for (const m of marks) if (m.revoked || m.epoch !== before.get(m.keyId)?.epoch) this.o.drop(m.keyId);
    for (const keyId of before.keys()) if (!this.marks.has(keyId)) this.o.drop(keyId);
  }

  private erase({ seq, subjectIds }: { seq: number; subjectIds: string[] }): void {
    // a database restored to an earlier day counts from there: what it would say again was not heard
    if (seq < (this.erasures ?? 0)) this.o.dropSubject(undefined);
    for (const id of subjectIds) this.o.dropSubject(id);
    this.erasures = seq;
  }

  /** Beside everything else: knowing must not wait for saying. */
  private acknowledge(): void {
    const { store, consumer, learnWithinMs, clock } = this.o;
    const due: Acknowledged[] = [...this.marks.values()].filter((m) => this.acknowledged.get(m.keyId) !== m.epoch).map(({ keyId, epoch }) => ({ keyId, epoch, ...(this.opened.has(keyId) ? { opened: true as const } : {}) }));
    const quiet = Math.abs(clock.now() - this.savedAt) < learnWithinMs * 2;
    if (this.saving !== undefined || this.closed || (due.length === 0 && quiet)) return;
    this.saving = store.saveConsumer(consumer, due).then(
      () => {
        this.saving = undefined;
        this.savedAt = clock.now();
        for (const { keyId, epoch, opened } of due) if (opened === true || !this.opened.has(keyId)) this.acknowledged.set(keyId, epoch);
        this.acknowledge(); // what was learned meanwhile
      },
      () => void (this.saving = undefined), // said again with the next look
    );
  }
}
