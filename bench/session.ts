import { openPair, type Pair } from './openWindows';
import { BenchStack } from './stack';

/** Keys that one run can use up. */
const KEYS = 2_000;

/** One run of `npm run bench`: the stacks that its benchmarks share, brought up when first asked for. */
export class Session {
  private revoking: Promise<BenchStack> | undefined;
  private windows: Promise<Pair> | undefined;
  private readonly started = Date.now();

  constructor(readonly o: { full: boolean }) {}

  /** Progress, for whoever watches; never on standard output. */
  note = (text: string): void => {
    process.stderr.write(`${((Date.now() - this.started) / 1_000).toFixed(0).padStart(4)} s  ${text}\n`);
  };

  /** The stack on which keys are revoked one by one. */
  stack(): Promise<BenchStack> {
    return (this.revoking ??= BenchStack.start(KEYS, this.note));
  }

  /** Two stacks alike but for the number of open windows. The other stack is stopped first: it would only make noise. */
  pair(): Promise<Pair> {
    return (this.windows ??= (async () => {
      await this.endRevoking();
      return openPair(this.o.full ? 10_000 : 2_000, this.note);
    })());
  }

  async stop(): Promise<void> {
    await this.endRevoking();
    const pair = await this.windows?.catch(() => undefined);
    this.windows = undefined;
    await pair?.stop();
  }

  private async endRevoking(): Promise<void> {
    const stack = await this.revoking?.catch(() => undefined);
    this.revoking = undefined;
    await stack?.stop();
  }
}
