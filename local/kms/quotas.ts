/**
 * Request quotas: one token bucket for each account, Region and class, refilled every moment, one second deep.
 * Source: AWS KMS Developer Guide, "Request quotas" (2026). They count real time, not the emulated clock.
 */
import { throttled } from './errors';

const SYMMETRIC = ['Decrypt', 'Encrypt', 'GenerateDataKey', 'GenerateDataKeyWithoutPlaintext', 'GenerateMac', 'GenerateRandom', 'ReEncrypt', 'VerifyMac'];
const ASYMMETRIC = new Set(['Decrypt', 'Encrypt', 'ReEncrypt', 'Sign', 'Verify']);
const LARGE_REGIONS = ['us-east-1', 'us-west-2', 'eu-west-1'];
const MIDDLE_REGIONS = ['us-east-2', 'ap-southeast-1', 'ap-southeast-2', 'ap-northeast-1', 'eu-central-1', 'eu-west-2'];

/** Requests a second for each operation that has a quota of its own. */
const PER_OPERATION: Record<string, number> = {
  ...each(5, ['CreateKey', 'CreateAlias', 'UpdateAlias', 'EnableKey', 'DisableKey', 'DisableKeyRotation', 'CancelKeyDeletion', 'RotateKeyOnDemand', 'ReplicateKey', 'UpdatePrimaryRegion', 'UpdateKeyDescription', 'UntagResource', 'GetKeyLastUsage']),
  ...each(10, ['TagResource']),
  ...each(15, ['ScheduleKeyDeletion', 'EnableKeyRotation', 'PutKeyPolicy', 'DeleteAlias', 'ImportKeyMaterial']),
  ...each(50, ['CreateGrant', 'RevokeGrant', 'RetireGrant']),
  ...each(100, ['ListGrants', 'ListRetirableGrants', 'ListKeyPolicies', 'ListKeyRotations']),
  ...each(500, ['ListKeys', 'ListAliases']),
  ...each(1000, ['GetKeyPolicy', 'GetKeyRotationStatus']),
  ...each(2000, ['DescribeKey', 'GetPublicKey', 'ListResourceTags']),
  ...each(1, ['GetParametersForImport']),
};
const KEY_PAIR_RATES: Record<string, number> = { RSA_2048: 20, RSA_3072: 4, RSA_4096: 1 };

/** `aws`: the documented rates. `off`: none. A record overrides single classes: `symmetric`, `rsa`, `ecc`, an operation's name, or `hotKey`. */
export type QuotaSetting = 'aws' | 'off' | Record<string, number>;

/** The classes that one request draws on, with how many tokens from each. */
export interface Cost { readonly name: string; readonly region: string; readonly tokens: number }

export function quotaClass(operation: string, keyFamily: string | undefined, keyPairSpec?: string): string | undefined {
  if (operation.startsWith('GenerateDataKeyPair')) return `GenerateDataKeyPair ${keyPairSpec}`;
  if (ASYMMETRIC.has(operation) && (keyFamily === 'rsa' || keyFamily === 'ecc')) return keyFamily;
  if (SYMMETRIC.includes(operation)) return 'symmetric';
  return operation in PER_OPERATION ? operation : undefined;
}

function awsRate(name: string, region: string): number | undefined {
  if (name === 'symmetric') return LARGE_REGIONS.includes(region) ? 100_000 : MIDDLE_REGIONS.includes(region) ? 20_000 : 10_000;
  if (name === 'rsa' || name === 'ecc') return 1000;
  if (name.startsWith('GenerateDataKeyPair ')) return KEY_PAIR_RATES[name.split(' ')[1]!] ?? 100;
  return PER_OPERATION[name];
}

/** State changes that heat a key: a burst of them on one key is throttled below the quota. */
const HEATING = new Set(['EnableKey', 'DisableKey', 'ScheduleKeyDeletion', 'CancelKeyDeletion', 'UpdatePrimaryRegion', 'EnableKeyRotation', 'DisableKeyRotation', 'PutKeyPolicy']);

export class Quotas {
  private readonly buckets = new Map<string, { tokens: number; at: number }>();

  constructor(private setting: QuotaSetting, private readonly clock: () => number = () => performance.now()) {}

  set(setting: QuotaSetting): void {
    this.setting = setting;
    this.buckets.clear();
  }

  /** Throws ThrottlingException where a bucket is empty; takes from none of them then. */
  spend(account: string, costs: readonly Cost[]): void {
    if (this.setting === 'off') return;
    const drawn = costs.map((cost) => ({ cost, rate: this.rateOf(cost) })).filter(({ rate }) => rate !== undefined)
      .map(({ cost, rate }) => ({ bucket: this.bucket(`${account} ${cost.region} ${cost.name}`, rate!), tokens: cost.tokens }));
    if (drawn.some(({ bucket, tokens }) => bucket.tokens < tokens)) throw throttled();
    for (const { bucket, tokens } of drawn) bucket.tokens -= tokens;
  }

  /** Off unless the setting names a `hotKey` rate: state changes a second on one key. */
  heat(operation: string, keyId: string, region: string): void {
    if (typeof this.setting === 'string' || this.setting.hotKey === undefined || !HEATING.has(operation)) return;
    const bucket = this.bucket(`hot ${region} ${keyId}`, this.setting.hotKey);
    if (bucket.tokens < 1) throw throttled();
    bucket.tokens -= 1;
  }

  private rateOf({ name, region }: Cost): number | undefined {
    return (typeof this.setting === 'object' ? this.setting[name] : undefined) ?? awsRate(name, region);
  }

  private bucket(name: string, rate: number): { tokens: number; at: number } {
    const now = this.clock();
    let bucket = this.buckets.get(name);
    if (bucket === undefined) this.buckets.set(name, (bucket = { tokens: rate, at: now }));
    bucket.tokens = Math.min(rate, bucket.tokens + ((now - bucket.at) / 1000) * rate);
    bucket.at = now;
    return bucket;
  }
}

function each(rate: number, operations: string[]): Record<string, number> {
  return Object.fromEntries(operations.map((operation) => [operation, rate]));
}
