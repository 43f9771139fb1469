import { calculateJwkThumbprint, compactVerify, decodeProtectedHeader, importJWK, type JWK } from 'jose';
import { claimsSchema, refused, type ApprovalClaims } from '../../domain/approval';
import type { Config } from '../../domain/config';
import type { Verifier } from './verifier';

/**
 * Local identities: Ed25519, compact JWS (RFC 7515, RFC 8037), `kid` = JWK thumbprint (RFC 7638). Development only.
 */
export const localVerifier: Verifier = {
  kind: 'local',

  takes: (token) => /^[\w-]+\.[\w-]+\.[\w-]+$/.test(token),

  async verify(token, config) {
    const header = headerOf(token);
    if (header.alg !== 'EdDSA' || header.typ !== 'keywarden-approval+jws' || typeof header.kid !== 'string') {
      throw refused('KW-APPROVAL-FORM', 'the proof is not an Ed25519 approval made by `keywarden approve` or `keywarden sign`', 'sign with `keywarden sign`');
    }
    const found = await identityOf(config, header.kid);
    if (found === undefined) {
      throw refused('KW-APPROVAL-NOBODY', `no person of the configuration has the identity ${header.kid.slice(0, 12)}…`, 'list the person with `keywarden identity add`');
    }
    const { payload } = await compactVerify(token, await importJWK({ ...found.publicKey, alg: 'EdDSA' }, 'EdDSA')).catch((cause: unknown) => {
      throw refused('KW-APPROVAL-SIGNATURE', `the signature is not ${found.person}'s`, 'sign again; if nobody signed, somebody is forging proofs');
    });
    const parsed = claimsSchema.safeParse(jsonOf(payload));
    if (!parsed.success) throw refused('KW-APPROVAL-FORM', `the proof lacks ${parsed.error.issues[0]?.path.join('.') ?? 'a field'}`, 'sign with `keywarden sign` of the same build');
    return { person: found.person, claims: parsed.data as unknown as ApprovalClaims };
  },
};

/** Undefined where it is not JSON: a signature says who, not that what was signed makes sense. */
function jsonOf(payload: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(payload));
  } catch {
    return undefined;
  }
}

function headerOf(token: string): { alg?: string; typ?: string; kid?: string } {
  try {
    return decodeProtectedHeader(token) as { alg?: string; typ?: string; kid?: string };
  } catch {
    throw refused('KW-APPROVAL-FORM', 'the proof is not a compact JWS', 'paste the whole token, without line breaks');
  }
}

const thumbprints = new Map<string, string>();

async function identityOf(config: Config, kid: string): Promise<{ person: string; publicKey: JWK } | undefined> {
  for (const person of config.people) {
    for (const identity of person.identities) {
      if (identity.verifier !== 'local') continue;
      const x = identity.publicKey.x;
      const thumbprint = thumbprints.get(x) ?? (await calculateJwkThumbprint(identity.publicKey));
      thumbprints.set(x, thumbprint);
      if (thumbprint === kid) return { person: person.name, publicKey: identity.publicKey };
    }
  }
  return undefined;
}
