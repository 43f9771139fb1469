import { heartbeat, sleep } from '@temporalio/activity';
import type { EffectProof, EmergencyActivities } from '../domain/activities';
import { digest, policyDigest } from '../domain/digest';
import { KeywardenError } from '../domain/errors';
import { parseInput, revokeInput } from '../domain/inputs';
import { openWindowOf } from '../domain/keyRow';
import { CANARY_CONTEXT } from '../domain/names';
import { quarantinePolicy } from '../domain/policies';
import type { Deps } from './deps';
import { disableAll, disabledRow, verifyForDisabling } from './disabling';
import { entry, execution, here, now } from './execution';
import { errorName, type RegionalKms } from './kms';
import { rolesForPolicies } from './planning';
import { ACT_TIMEOUT_MS } from './recoveryWindow';
import { isDown, resolveTarget } from './targets';

/** A key that somebody enables again and again is said, not held for ever in silence. */
const LONGEST_HOLD_MS = 15 * 60_000;

/** That a revocation took effect, and that it stays so, for the emergency duty. */
export function effectActivities(deps: Deps): Pick<EmergencyActivities, 'proveEffect' | 'holdDisabled'> {
  return {
    async proveEffect(a): Promise<EffectProof> {
      await resolveTarget(deps.config, deps.kms, a.keyId); // a canary is tried on a key of ours only
      const since = Date.parse(a.since);
      const row = await deps.store.readKey(a.keyId).catch(() => undefined);
      const regions = await Promise.all(a.regions.filter((r) => deps.config.regions.includes(r)).map((region) => untilRefused(deps, a.keyId, region, row?.canary, since)));
      const e = await execution(deps);
      await deps.trail.record(regions.map((r) => entry(deps, e, { action: 'ProveEffect', phase: r.refused ? 'done' : 'failed', keyId: a.keyId, region: r.region, ...(row?.window?.incident === undefined ? {} : { incident: row.window.incident }), detail: { afterMs: r.afterMs, refusedWith: r.error ?? '' } })));
      return { regions };
    },

    async holdDisabled(a) {
      const input = parseInput(revokeInput, a.input);
      const at = here();
      const approval = a.proof === undefined ? undefined : await verifyForDisabling(deps, input, a.proof, at.workflowId);
      const holdMs = ACT_TIMEOUT_MS + deps.config.recovery.holdSeconds * 1000;
      const latest = Date.now() + LONGEST_HOLD_MS;
      let disabledAgain = 0;
      let since = Date.now(); // real time: what may still act elsewhere does so in real time
      while (Date.now() - since < holdMs) {
        if (Date.now() > latest) throw new KeywardenError('KW-NOT-YET', 'the key is enabled again and again', { key: input.key, notDone: 'the disabled state does not hold', next: 'find out who enables the key; it is held on' });
        const target = await resolveTarget(deps.config, deps.kms, approval?.claims.plan.keyId ?? input.key);
        const up = [...target.seen].filter(([, m]) => m.KeyState === 'Enabled').map(([region]) => region);
        if (up.length > 0) {
          // authorised like the first time, or by the open window: what a revocation disabled stays disabled
          if (approval === undefined && openWindowOf(await deps.store.readKey(target.keyId)) === undefined) throw new KeywardenError('KW-APPROVAL-MISSING', 'nobody signed and no window is open', { key: target.keyId, notDone: 'nothing was disabled', next: 'sign a revocation' });
          const done = (await disableAll(deps, target.keyId, up)).filter((r) => r.state === 'disabled');
          disabledAgain += done.length;
          await deps.trail.record(done.map((r) => ({ ...disabledRow(deps, at, input, target, r, approval, false), eventId: `${at.runId}/${at.activityId}/hold/${r.region}/${r.requestId ?? r.at}` })));
          since = Date.now();
        }
        heartbeat({ disabledAgain });
        await sleep(Math.min(2_000, Math.max(50, since + holdMs - Date.now())));
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
      // a key that was quarantined before denies the canary to this duty: that it is down as well is all there is to see
      // and one that is quarantined while the proof still runs (a worker died meanwhile) denies it to all but re-wrap
      if (name === 'AccessDeniedException' && (isDown((await kms.describe(keyId))?.KeyState) || (await isQuarantined(deps, kms, keyId)))) return { region, refused: true, afterMs: Math.max(0, now(deps) - since), error: name };
      throw error;
    }
    heartbeat();
    await sleep(250);
  }
}

async function isQuarantined(deps: Deps, kms: RegionalKms, keyId: string): Promise<boolean> {
  return policyDigest(await kms.policy(keyId)) === digest(JSON.parse(quarantinePolicy(rolesForPolicies(deps.config))));
}
