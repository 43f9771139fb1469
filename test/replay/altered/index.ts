/** Keywarden's workflows with one altered on purpose: the replay must catch it. */
import { sleep } from '@temporalio/workflow';
import * as real from '../../../workflows';

export const eraseSubject = real.eraseSubject;
export const initializeKeys = real.initializeKeys;
export const recoverKey = real.recoverKey;
export const rotateColumnEncryptionKey = real.rotateColumnEncryptionKey;
export const rotateDueKeys = real.rotateDueKeys;
export const rotateKey = real.rotateKey;

/** Waits a second before it disables: another first command than the histories tell of. */
export async function revokeKey(...args: Parameters<typeof real.revokeKey>): ReturnType<typeof real.revokeKey> {
  await sleep('1 second');
  return real.revokeKey(...args);
}
