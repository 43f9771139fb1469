/** An AWS KMS for one machine: `startLocalKms` serves the protocol to the unmodified SDK, every Region on one port. */
import { join } from 'node:path';
import { LocalKmsAdmin } from './admin';
import { CallLog } from './call-log';
import { LastUsage } from './last-usage';
import { Quotas, type QuotaSetting } from './quotas';
import { listen } from './server';
import { KmsService } from './service';
import { Store } from './store';

export { LocalKmsAdmin, type CallFilter, type CallRecord, type Fault, type Health } from './admin';
export type { QuotaSetting } from './quotas';

export interface LocalKmsOptions {
  /** Holds key material in the clear: for development only. One server at a time. */
  dataDir: string;
  /** Loopback only; default 127.0.0.1. */
  host?: string;
  /** Default 0: any free port. */
  port?: number;
  /** Default 000000000000. */
  account?: string;
  /** Default us-east-1 and us-west-2. */
  regions?: string[];
  /** Callers by access key id, added to those that the directory remembers. */
  principals?: Record<string, { arn: string; identityPolicy?: object }>;
  /** Default `aws`: the documented rates. */
  quotas?: QuotaSetting;
  /** How long Creating, Updating and an on-demand rotation last, in milliseconds of the emulated clock; default 50. */
  propagationMs?: number;
  /** Also keeps a record of every change in `events.ndjson` of the data directory; default false. */
  eventsFile?: boolean;
}

export interface LocalKms {
  url: string;
  port: number;
  /** Ends open requests, then closes the store. */
  stop(): Promise<void>;
  admin: LocalKmsAdmin;
}

export async function startLocalKms(options: LocalKmsOptions): Promise<LocalKms> {
  const store = new Store(options.dataDir);
  const calls = new CallLog(10_000, options.eventsFile ? join(options.dataDir, 'events.ndjson') : undefined);
  try {
    const trackingSince = Date.now() + (store.get('clock', 'clock')?.offset ?? 0);
    const service = new KmsService(store, {
      account: options.account ?? '000000000000',
      regions: options.regions ?? ['us-east-1', 'us-west-2'],
      propagationMs: options.propagationMs ?? 50,
      usage: new LastUsage(trackingSince),
    }, new Quotas(options.quotas ?? 'aws'), calls);
    for (const [accessKeyId, principal] of Object.entries(options.principals ?? {})) await service.addPrincipal(accessKeyId, principal);
    const { server, url, port } = await listen(service, options.host ?? '127.0.0.1', options.port ?? 0);
    const stop = async (): Promise<void> => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await store.close();
      calls.close();
    };
    let stopping: Promise<void> | undefined;
    return { url, port, stop: () => (stopping ??= stop()), admin: new LocalKmsAdmin(url) };
  } catch (error) {
    await store.close();
    calls.close();
    throw error;
  }
}
