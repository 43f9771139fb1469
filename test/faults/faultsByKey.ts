import type { Receipt } from '../../domain/approval';
import type { AuditEntry } from '../../domain/audit';
import type { Store } from '../../stores/store';
import { FaultyStore } from '../stores/faultyStore';

/** A store that fails for some keys only, so that many cases can share one world. */
export interface FaultsByKey {
  store: Store;
  /** The faults of one key, by its id. */
  of(keyId: string): FaultyStore;
  /** A procedure's calls that name no key are its key's. */
  belongs(workflowId: string, keyId: string): void;
}

export function faultsByKey(real: Store): FaultsByKey {
  const faulty = new Map<string, FaultyStore>();
  const owners = new Map<string, string>();
  const keyOf = (method: string, args: unknown[]): string | undefined => {
    const [first, second] = args;
    if (method === 'appendAudit') return (first as AuditEntry[]).map((e) => e.keyId).find((k) => k !== undefined);
    if (method === 'saveReceipt') return (first as Receipt).keyId;
    if (method === 'consumeProof') return owners.get((first as { workflowId: string }).workflowId);
    if (method === 'savePlan') {
      const { keyId } = JSON.parse(second as string) as { keyId: string };
      owners.set(first as string, keyId);
      return keyId;
    }
    return owners.get(first as string) ?? (first as string);
  };
  const store = new Proxy(real, {
    get: (target, method: keyof Store) => {
      const act: unknown = target[method];
      if (typeof act !== 'function') return act;
      return (...args: unknown[]): unknown => {
        const to = faulty.get(keyOf(method, args) ?? '') ?? target;
        return (to[method] as (...a: unknown[]) => unknown).apply(to, args);
      };
    },
  });
  return {
    store,
    of(keyId) {
      const known = faulty.get(keyId) ?? new FaultyStore(real);
      faulty.set(keyId, known);
      return known;
    },
    belongs: (workflowId, keyId) => void owners.set(workflowId, keyId),
  };
}
