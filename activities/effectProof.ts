import { heartbeat, sleep } from '@temporalio/activity';
import type { EffectProof, EmergencyActivities } from '../domain/activities';
import { KeywardenError } from '../domain/errors';
import { parseInput, revokeInput } from '../domain/inputs';
import { openWindowOf } from '../domain/keyRow';
import { CANARY_CONTEXT } from '../domain/names';
import type { Deps } from './deps';
import { disableAll, disabledRow, verifyForDisabling } from './disabling';
import { entry, execution, here, now } from './execution';
import { errorName } from './kms';
import { resolveTarget } from './targets';

/** That a revocation took effect, and that it stays so, for the emergency duty. */
export function effectActivities(deps: Deps): Pick<EmergencyActivities, 'proveEffect' | 'holdDisabled'> {
  return {
    async proveEffect(a): Promise<EffectProof> {
      const since = Date.parse(a.since);
      const row = await deps.store.readKey(a.keyId).catch(() => undefined);
      const regions = await Promise.all(a.regions.filter((r) => deps.config.regions.includes(r)).map((region) => untilRefused(deps, a.keyId, region, row?.canary, since)));
      const e = await execution(deps);
      await deps.trail.record(regions.map((r) => entry(deps, e, { action: 'ProveEffect', phase: r.refused ? 'done' : 'failed', keyId: a.keyId, region: r.region, detail: { afterMs: r.afterMs, refusedWith: r.error ?? '' } })));
      return { regions };
    },

    async holdDisabled(a) {
      const input = parseInput(revokeInput, a.input);
      const until = Date.now() + Math.min(a.holdMs, 15 * 60_000);
      let disabledAgain = 0;
      while (Date.now() < until) {
        const target = await resolveTarget(deps.config, deps.kms, input.key);
        const up = [...target.seen].filter(([, m]) => m.KeyState === 'Enabled').map(([region]) => region);
        if (up.length > 0) {
          // authorised like the first time, or by the open window: what this procedure disabled stays disabled
          const at = here();
          const row = await deps.store.readKey(target.keyId);
          if (a.proof !== undefined) await verifyForDisabling(deps, input, target, a.proof, at.workflowId);
          else if (openWindowOf(row) === undefined) throw new KeywardenError('KW-APPROVAL-MISSING', 'nobody signed and no window is open', { key: target.keyId, notDone: 'nothing was disabled', next: 'sign a revocation' });
          const done = await disableAll(deps, target.keyId, up);
          disabledAgain += done.filter((r) => r.state === 'disabled').length;
          await deps.trail.record(done.filter((r) => r.state === 'disabled').map((r) => ({ ...disabledRow(deps, at, input, target, r, undefined, false), eventId: `${at.runId}/${at.activityId}/hold/${r.region}/${r.requestId ?? r.at}` })));
        }
        heartbeat({ disabledAgain });
        await sleep(Math.min(2_000, Math.max(50, until - Date.now())));
      }
      return { disabledAgain };
    },
  };
}

/** A canary decrypt, again and again until KMS refuses it: nothing else proves that the change has reached the data plane. */
async function untilRefused(deps: Deps, keyId: string, region: string, canary: string | undefined, since: number): Promise<EffectProof['regions'][number]> {
  const kms = deps.kms.get(region)!;
  for (;;) {
    try {
      if (canary === undefined) await kms.encrypt(keyId, Buffer.from('canary'), CANARY_CONTEXT);
      else await kms.decrypt(keyId, Buffer.from(canary, 'base64'), CANARY_CONTEXT);
    } catch (error) {
      const name = errorName(error instanceof KeywardenError ? error.cause : error);
      if (name === 'DisabledException' || name === 'KMSInvalidStateException' || name === 'NotFoundException') return { region, refused: true, afterMs: Math.max(0, now(deps) - since), error: name };
      throw error;
    }
    heartbeat();
    await sleep(250);
  }
}
