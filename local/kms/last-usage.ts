/** GetKeyLastUsage: the last successful cryptographic use of a key, for each Region by itself. Kept in memory only. */
import { authorize } from './authorization';
import { operation } from './call';
import * as fields from './fields';
import { findKey } from './key-lookup';
import { epochSeconds, regionalId } from './model';

export interface Usage { readonly operation: string; readonly at: number; readonly requestId: string }

export class LastUsage {
  private readonly uses = new Map<string, Usage>();

  /** Emulated time at which this server began to watch. */
  constructor(readonly trackingSince: number) {}

  note(keyArn: string, usage: Usage): void {
    this.uses.set(keyArn, usage);
  }

  of(keyArn: string): Usage | undefined {
    return this.uses.get(keyArn);
  }
}

export const lastUsageOperations = [
  operation('GetKeyLastUsage', { KeyId: fields.keyId }, (call, { KeyId }) => {
    const key = findKey(call, KeyId, 'with-aliases');
    authorize(call, 'GetKeyLastUsage', key);
    const created = call.truth.get('key', regionalId(call.region, key.shared.keyId))?.createdAt ?? key.regional.createdAt;
    const usage = call.settings.usage.of(key.arn);
    return {
      KeyId: key.arn,
      ...(usage === undefined ? {} : { KeyLastUsage: { Operation: usage.operation, Timestamp: epochSeconds(usage.at), KmsRequestId: usage.requestId, CloudTrailEventId: usage.requestId } }),
      TrackingStartDate: epochSeconds(Math.max(created, call.settings.usage.trackingSince)),
      KeyCreationDate: epochSeconds(created),
    };
  }),
];
