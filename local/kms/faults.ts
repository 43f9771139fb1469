/** Faults on demand. They live in memory only: a restarted server is a healthy one. */
import { randomUUID } from 'node:crypto';

export interface Fault {
  /** For `stale-state`: the Region that lags. For all others: the Region of the request. */
  region?: string;
  operation?: string | string[];
  /** Key id, key ARN or alias name. */
  keyId?: string;
  /** ARN or access key id of the caller. */
  principal?: string;
  kind: 'latency' | 'silent' | 'error' | 'drop-before' | 'drop-after' | 'throttle' | 'deny' | 'stale-state';
  /** Milliseconds of real time: the delay of `latency`, the lag of `stale-state` (default 1000). */
  ms?: number;
  /** For `error`; default KMSInternalException. */
  errorCode?: string;
  /** For `error`; default 500. */
  status?: number;
  /** How often it strikes; for ever without. */
  count?: number;
  /** 0 to 1; default 1. */
  probability?: number;
}

/** What a fault is matched against. `keyIds` are ids, looked up only when a fault asks for a key. */
export interface Occasion {
  readonly region: string;
  readonly operation: string;
  readonly accessKeyId: string;
  readonly principalArn: string;
  readonly keyNames: () => readonly string[];
}

export const FAULT_KINDS: readonly Fault['kind'][] = ['latency', 'silent', 'error', 'drop-before', 'drop-after', 'throttle', 'deny', 'stale-state'];

export class Faults {
  private readonly active = new Map<string, Fault>();

  add(fault: Fault): string {
    if (!FAULT_KINDS.includes(fault.kind)) throw new Error(`unknown kind of fault: ${String(fault.kind)}`);
    const id = randomUUID();
    this.active.set(id, { ...fault });
    return id;
  }

  clear(): void {
    this.active.clear();
  }

  /** The faults that strike this request, each counted as used. Lagging Regions are asked for apart. */
  strike(occasion: Occasion): Fault[] {
    return this.active.size === 0 ? [] : this.take((fault) => fault.kind !== 'stale-state' && (fault.region === undefined || fault.region === occasion.region) && matches(fault, occasion));
  }

  /** The lags that a successful change begins. */
  strikeChange(occasion: Occasion): Fault[] {
    return this.active.size === 0 ? [] : this.take((fault) => fault.kind === 'stale-state' && matches(fault, occasion));
  }

  private take(wanted: (fault: Fault) => boolean): Fault[] {
    const struck: Fault[] = [];
    for (const [id, fault] of this.active) {
      if (!wanted(fault) || Math.random() >= (fault.probability ?? 1)) continue;
      struck.push(fault);
      if (fault.count !== undefined && (fault.count -= 1) <= 0) this.active.delete(id);
    }
    return struck;
  }
}

function matches(fault: Fault, occasion: Occasion): boolean {
  if (fault.operation !== undefined && ![fault.operation].flat().includes(occasion.operation)) return false;
  if (fault.principal !== undefined && fault.principal !== occasion.accessKeyId && fault.principal !== occasion.principalArn) return false;
  return fault.keyId === undefined || occasion.keyNames().includes(fault.keyId);
}
