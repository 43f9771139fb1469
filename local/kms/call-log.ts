/** A record of each call, as CloudTrail would keep it: who, what, when, how it ended. Never plaintext, never context values. */
import { closeSync, fdatasync, openSync, writeSync } from 'node:fs';

export interface CallRecord {
  /** ISO 8601, emulated clock. */
  time: string;
  region: string;
  /** Absent for what the service does by itself (DeleteKey, RotateKey) and for callers that it does not know. */
  principalArn?: string;
  accessKeyId?: string;
  operation: string;
  keyArn?: string;
  errorCode?: string;
  errorMessage?: string;
  requestId: string;
  encryptionContextKeys?: string[];
  readOnly: boolean;
  eventType: 'AwsApiCall' | 'AwsServiceEvent';
  /** Set where a fault kept the answer from the caller. */
  answerLost?: boolean;
}

export interface CallFilter {
  operation?: string;
  region?: string;
  principalArn?: string;
  keyArn?: string;
  errorCode?: string;
  /** Only records at or after this time, ISO 8601. */
  since?: string;
  /** The newest so many. */
  limit?: number;
}

const CRYPTOGRAPHIC = /^(Encrypt|Decrypt|ReEncrypt|Generate\w+|Sign|Verify\w*)$/;
const READ_ONLY = /^(Get|List|Describe)/;
export const isReadOnly = (operation: string): boolean => READ_ONLY.test(operation) || CRYPTOGRAPHIC.test(operation);
export const isCryptographic = (operation: string): boolean => CRYPTOGRAPHIC.test(operation);

export class CallLog {
  private readonly ring: CallRecord[] = [];
  private next = 0;
  private readonly file?: number;

  /** `eventsFile`: where changes are also kept for good, one JSON object a line. */
  constructor(private readonly capacity = 10_000, eventsFile?: string) {
    if (eventsFile !== undefined) this.file = openSync(eventsFile, 'a', 0o600);
  }

  add(record: CallRecord): void {
    this.ring[this.next] = record;
    this.next = (this.next + 1) % this.capacity;
    if (this.file === undefined || record.readOnly) return;
    writeSync(this.file, `${JSON.stringify(record)}\n`);
    fdatasync(this.file, () => undefined);
  }

  /** Oldest first. */
  find(filter: CallFilter = {}): CallRecord[] {
    const ordered = [...this.ring.slice(this.next), ...this.ring.slice(0, this.next)];
    const since = filter.since === undefined ? undefined : new Date(filter.since).toISOString();
    const found = ordered.filter((record) => (['operation', 'region', 'principalArn', 'keyArn', 'errorCode'] as const).every((name) => filter[name] === undefined || filter[name] === record[name])
      && (since === undefined || record.time >= since));
    return filter.limit === undefined ? found : found.slice(-filter.limit);
  }

  close(): void {
    if (this.file !== undefined) closeSync(this.file);
  }
}
