import { sleep, type CancellationScope } from '@temporalio/workflow';
import type { Consumers } from '../domain/activities';
import type { AlertFacts } from '../domain/alert';
import { duration } from '../domain/duration';
import { emergency, toItsEnd } from './duties';
import type { Procedure } from './procedure';
import type { RevokeStep } from './revokeKey';
import { ignoreCancellation } from './window';

/** After this, somebody should look at the processes that have not acknowledged. */
const PATIENCE_MS = 30_000;

/**
 * Waits until every application has dropped its plaintext keys under a revoked CMK, beside everything else. It ends by itself: a process that
 * never answers drops what it holds by age. A recovery, or the end of the window, ends it at once (`scope`).
 */
export async function drain(scope: CancellationScope, p: Procedure<RevokeStep>, keyId: string, seen: (c: Consumers) => void, alert: (a: Omit<AlertFacts, 'key'>) => Promise<unknown>): Promise<void> {
  p.mark('drain', 'running');
  await scope.run(() => untilDrained(p, keyId, seen, alert)).catch(ignoreCancellation);
  if (p.isOpen('drain')) p.skip('drain', 'a recovery began, or the window ended');
}

async function untilDrained(p: Procedure<RevokeStep>, keyId: string, seen: (c: Consumers) => void, alert: (a: Omit<AlertFacts, 'key'>) => Promise<unknown>): Promise<void> {
  const since = Date.now();
  let told = false;
  for (let pause = 1_000; ; pause = Math.min(pause * 2, 60_000)) {
    const c = await p.untilDone('drain', () => toItsEnd(() => emergency.consumers.executeWithOptions({ summary: 'who has dropped the keys that it held?' }, [{ keyId }])));
    seen(c);
    p.mark('drain', c.waitingCount === 0 ? 'done' : 'running', inWords(c));
    if (c.waitingCount === 0) return;
    if (!told && Date.now() - since >= PATIENCE_MS) {
      told = true;
      await p.untilDone('drain', () => alert({ kind: 'revocation-incomplete', occasion: 'drain', detail: `${c.waitingCount} processes may still use keys that they hold in memory: ${names(c.waiting)}. Stop them if the attacker may be in them.` }));
    }
    await sleep(pause, { summary: 'applications drop the keys that they hold' });
  }
}

function inWords(c: Consumers): string {
  if (c.total === 0) return 'no application is registered';
  const parts = [`${c.acknowledged} of ${c.total} have acknowledged${c.lastAfterMs === undefined ? '' : `, the last ${duration(c.lastAfterMs)} after the disabling`}`];
  if (c.waitingCount > 0) parts.push(`not yet: ${names(c.waiting)}`);
  if (c.lapsed.length > 0) parts.push(`never, but what they held has run out: ${names(c.lapsed)}`);
  return parts.join('; ');
}

const names = (some: Consumers['waiting']): string => some.map((c) => c.consumerId).join(', ');
