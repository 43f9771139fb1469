/** What can go wrong with the stack on one machine; codes are stable, as those of domain/errors.ts. */
export const LOCAL_ERROR_CODES = {
  'KW-TEMPORAL-CLI': 'no Temporal CLI could be found, downloaded or built',
  'KW-TEST-SERVER': 'no time-skipping test server could be found or fetched',
  'KW-DEV-RUNNING': 'another `dev` runs on this folder',
  'KW-DEV-PORT': 'a port that was asked for is taken',
  'KW-DEV-PART': 'a part of the local stack did not start',
} as const;

export type LocalErrorCode = keyof typeof LOCAL_ERROR_CODES;

export class LocalError extends Error {
  override readonly name = 'LocalError';
  constructor(
    readonly code: LocalErrorCode,
    /** What happened, without the code. */
    readonly what: string,
    /** What to do next, as a sentence. */
    readonly next?: string,
    cause?: unknown,
  ) {
    super(`${code}: ${what}${next === undefined ? '' : `\nNext: ${next}`}`, cause === undefined ? undefined : { cause });
  }
}
