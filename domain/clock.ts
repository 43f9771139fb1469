/** The one source of time for activities (milliseconds since the epoch). Settable only in development. */
export interface Clock {
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };
