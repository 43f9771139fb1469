import { compactVerify, decodeProtectedHeader, importJWK, calculateJwkThumbprint } from 'jose';
import type { RevokeInput } from '../domain/inputs';
import type { Deps } from './deps';
import { execution, now } from './execution';
import type { Target } from './targets';

/** What `keywarden revoke --direct` writes and signs when Temporal is down. Times ISO 8601. */
export interface DirectRecord {
  typ: 'keywarden-direct';
  keyId: string;
  application: string;
  environment: string;
  reason: string;
  at: string;
  regions: { region: string; state: string; requestId?: string; at?: string }[];
}

/**
 * The moment of a direct revocation, from a record signed by a person who holds EmergencyKeyAdmin; undefined where there is none that counts.
 * Its rows are written into the trail, as that person's doing. A record older than the window counts from now.
 */
export async function directRevocation(deps: Deps, input: RevokeInput, target: Target): Promise<number | undefined> {
  if (input.directRecord === undefined) return undefined;
  const found = await verified(deps, input.directRecord);
  if (found === undefined || found.record.keyId !== target.keyId || found.record.application !== deps.config.application || found.record.environment !== deps.config.environment) return undefined;
  const at = Date.parse(found.record.at);
  const e = await execution(deps);
  await deps.trail.record(
    found.record.regions.filter((r) => r.state === 'disabled').map((r) => ({
      eventId: `direct/${found.record.keyId}/${found.record.at}/${r.region}`,
      at: r.at ?? found.record.at,
      actor: `person:${found.person}`,
      operation: 'revokeKey',
      action: 'DisableKey',
      phase: 'done' as const,
      keyId: target.keyId,
      keyArn: target.keyArn.replace(/:kms:[a-z0-9-]+:/, `:kms:${r.region}:`),
      region: r.region,
      reason: found.record.reason,
      workflowId: e.workflowId,
      approvers: [found.person],
      ...(r.requestId === undefined ? {} : { requestId: r.requestId }),
      detail: { direct: true },
    })),
  );
  const age = now(deps) - at;
  return age >= 0 && age < deps.config.recovery.windowDays * 86_400_000 ? at : undefined;
}

async function verified(deps: Deps, token: string): Promise<{ person: string; record: DirectRecord } | undefined> {
  try {
    const { kid } = decodeProtectedHeader(token);
    for (const person of deps.config.people) {
      if (!person.roles.includes('EmergencyKeyAdmin')) continue;
      for (const identity of person.identities) {
        if ((await calculateJwkThumbprint(identity.publicKey)) !== kid) continue;
        const { payload } = await compactVerify(token, await importJWK({ ...identity.publicKey, alg: 'EdDSA' }, 'EdDSA'));
        const record = JSON.parse(new TextDecoder().decode(payload)) as DirectRecord;
        return record.typ === 'keywarden-direct' ? { person: person.name, record } : undefined;
      }
    }
  } catch {
    // not a record of ours: the moment is taken from the trail, else from now
  }
  return undefined;
}
