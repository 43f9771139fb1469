/** The admin client. It speaks HTTP, so it works as well on a server in another process. */
import type { CallFilter, CallRecord } from './call-log';
import type { Fault } from './faults';
import type { QuotaSetting } from './quotas';

export type { CallFilter, CallRecord } from './call-log';
export type { Fault } from './faults';
export type { QuotaSetting } from './quotas';

export interface Health { ok: boolean; clock: string; regions: string[] }

export class LocalKmsAdmin {
  constructor(private readonly url: string) {}

  /** Names the caller behind an access key id. Durable. `arn`: a user, role, role session, or account root. */
  async addPrincipal(accessKeyId: string, principal: { arn: string; identityPolicy?: object }): Promise<void> {
    await this.send('PUT', 'principals', { accessKeyId, ...principal });
  }

  /** Sets the emulated clock (ISO 8601 or epoch milliseconds); it runs on from there. Durable. What falls due happens before this resolves. */
  async setClock(time: string | number): Promise<void> {
    await this.send('PUT', 'clock', { time });
  }

  async advanceClock(ms: number): Promise<void> {
    await this.send('POST', 'clock/advance', { ms });
  }

  async clock(): Promise<Date> {
    return new Date((await this.health()).clock);
  }

  /** Resolves to the fault's id. */
  async addFault(fault: Fault): Promise<string> {
    return (await this.send<{ id: string }>('POST', 'faults', fault)).id;
  }

  async clearFaults(): Promise<void> {
    await this.send('DELETE', 'faults');
  }

  /** Oldest first, at most the last 10,000. */
  async calls(filter: CallFilter = {}): Promise<CallRecord[]> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(filter)) if (value !== undefined) query.set(name, String(value));
    return (await this.send<{ calls: CallRecord[] }>('GET', `calls?${query.toString()}`)).calls;
  }

  async setQuotas(quotas: QuotaSetting): Promise<void> {
    await this.send('PUT', 'quotas', { quotas });
  }

  async health(): Promise<Health> {
    return this.send<Health>('GET', 'health');
  }

  private async send<T>(method: string, path: string, body?: object): Promise<T> {
    const response = await fetch(new URL(`/_local/${path}`, this.url), { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    const answer = (await response.json()) as T & { error?: string };
    if (!response.ok) throw new Error(`local KMS: ${answer.error ?? response.statusText}`);
    return answer;
  }
}
