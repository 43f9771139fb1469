/** What is stored. Values are immutable: a change puts a new value. Times are milliseconds of the emulated clock. */
import type { KeyState } from './states';

export interface Tag { readonly TagKey: string; readonly TagValue: string }

/** What each Region keeps for itself, also for a multi-Region key: state, policy, tags, description. */
export interface RegionalKey {
  readonly keyId: string;
  readonly region: string;
  readonly createdAt: number;
  readonly state: Exclude<KeyState, 'Creating' | 'Updating'>;
  /** Seen instead of `state` until `until`. */
  readonly transition?: { readonly state: 'Creating' | 'Updating'; readonly until: number };
  readonly description: string;
  readonly policy: string;
  readonly tags: readonly Tag[];
  readonly pendingWindowInDays?: number;
  readonly deletionDate?: number;
}

/** One generation of key material. `bytes` is base64: raw for symmetric and HMAC keys, PKCS #8 DER for key pairs. */
export interface Material {
  readonly id: string;
  readonly bytes: string;
  readonly rotatedAt?: number;
  readonly rotationType?: 'AUTOMATIC' | 'ON_DEMAND';
}

/** What all Regions of a key share: identity, material, rotation. A single-Region key has one Region. */
export interface SharedKey {
  readonly keyId: string;
  readonly keySpec: string;
  readonly keyUsage: string;
  readonly origin: 'AWS_KMS' | 'EXTERNAL';
  readonly multiRegion: boolean;
  readonly primaryRegion: string;
  readonly regions: readonly string[];
  /** Oldest first; the last one is current. Empty while an EXTERNAL key waits for its import. */
  readonly materials: readonly Material[];
  readonly rotation?: { readonly periodInDays: number; readonly nextDate: number };
  readonly onDemand?: { readonly startedAt: number; readonly completesAt: number };
}

export interface Alias {
  readonly name: string;
  readonly region: string;
  readonly keyId: string;
  readonly createdAt: number;
  readonly updatedAt: number;
}

export interface GrantConstraints {
  readonly EncryptionContextSubset?: Record<string, string>;
  readonly EncryptionContextEquals?: Record<string, string>;
}

export interface Grant {
  readonly grantId: string;
  readonly token: string;
  readonly keyId: string;
  readonly region: string;
  readonly name?: string;
  readonly createdAt: number;
  readonly granteePrincipal: string;
  readonly retiringPrincipal?: string;
  readonly issuingAccount: string;
  readonly operations: readonly string[];
  readonly constraints?: GrantConstraints;
}

export interface StoredPrincipal { readonly arn: string; readonly identityPolicy?: object }

/** Collection name → value type. Ids are paths; the part before the last slash is the parent that lists go by. */
export interface Collections {
  key: RegionalKey; // region/keyId
  shared: SharedKey; // keyId
  alias: Alias; // region/name, see aliasId
  grant: Grant; // region/keyId/grantId
  principal: StoredPrincipal; // access key id
  clock: { readonly offset: number }; // 'clock'
}
export type Collection = keyof Collections;

export const DAY = 86_400_000;
export const regionalId = (region: string, keyId: string): string => `${region}/${keyId}`;
/** Alias names hold slashes, so the id carries the name encoded. */
export const aliasId = (region: string, name: string): string => `${region}/${encodeURIComponent(name)}`;
export const keyArn = (account: string, region: string, keyId: string): string => `arn:aws:kms:${region}:${account}:key/${keyId}`;
export const aliasArn = (account: string, region: string, name: string): string => `arn:aws:kms:${region}:${account}:${name}`;
/** Timestamps on the wire are epoch seconds, fractions allowed. */
export const epochSeconds = (ms: number): number => ms / 1000;
