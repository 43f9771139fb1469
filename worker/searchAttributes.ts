import { temporal } from '@temporalio/proto';
import type { NativeConnection } from '@temporalio/worker';
import { SEARCH_ATTRIBUTES } from '../domain/names';

const { IndexedValueType } = temporal.api.enums.v1;

/**
 * Registers Keywarden's search attributes where the server lacks them. False where they cannot be had: workflows then do without,
 * for an upsert of an unknown attribute would wedge them.
 */
export async function registerSearchAttributes(connection: NativeConnection, namespace: string): Promise<boolean> {
  const types = { KEYWORD: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD, DATETIME: IndexedValueType.INDEXED_VALUE_TYPE_DATETIME };
  try {
    const listed = await connection.operatorService.listSearchAttributes({ namespace });
    const missing = Object.entries(SEARCH_ATTRIBUTES).filter(([name]) => !(name in (listed.customAttributes ?? {})));
    if (missing.length > 0) {
      await connection.operatorService.addSearchAttributes({ namespace, searchAttributes: Object.fromEntries(missing.map(([name, type]) => [name, types[type]])) }).catch((error: unknown) => {
        if (!String(error).includes('already exist')) throw error; // another worker was first
      });
    }
    const seen = await connection.operatorService.listSearchAttributes({ namespace });
    return Object.keys(SEARCH_ATTRIBUTES).every((name) => name in (seen.customAttributes ?? {}));
  } catch {
    return false;
  }
}
