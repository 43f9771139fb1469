import { MockActivityEnvironment } from '@temporalio/testing';
import { now } from '../../activities/execution';
import { canonicalJson } from '../../domain/canonical';

/** The time-skipping server is ahead of every clock, and tells nanoseconds. */
it.each([['ahead', 1_796_104_528_188.75, 1_796_104_528_188], ['behind', 12.5, 1_700_000_000_000]])('the time for an activity is whole milliseconds, as audit rows hold them: a server %s of the clock', async (_where, scheduled, expected) => {
  const env = new MockActivityEnvironment({ currentAttemptScheduledTimestampMs: scheduled });
  const at = await env.run(async () => now({ clock: { now: () => 1_700_000_000_000 }, development: true }));
  expect(at).toBe(expected);
  expect(canonicalJson({ afterMs: at })).toBe(`{"afterMs":${expected}}`);
});
