import { systemClock, type Clock } from '../domain/clock';

/** In development the local KMS's clock, which can be set, is the clock of activities too: "seven days later" means the same everywhere. */
export function localClock(kmsEndpoint: string): Clock & { stop(): void; refresh(): Promise<void> } {
  let offset = 0;
  const refresh = async (): Promise<void> => {
    try {
      const sent = Date.now();
      const answer = await fetch(new URL('/_local/health', kmsEndpoint), { signal: AbortSignal.timeout(500) });
      const { clock } = (await answer.json()) as { clock: string | number };
      const ahead = new Date(clock).getTime() - (sent + Date.now()) / 2;
      offset = Math.abs(ahead) < 1_000 ? 0 : ahead; // not set: real time, exactly
    } catch {
      // a KMS that does not answer keeps the last offset
    }
  };
  const timer = setInterval(() => void refresh(), 1_000);
  timer.unref();
  return { now: () => systemClock.now() + offset, stop: () => clearInterval(timer), refresh };
}
