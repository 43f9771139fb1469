/** Codes, not prose: what a failure's stable code is, however deep it lies. */
import { asKeywardenError } from '../../cli/output';

export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return asKeywardenError(error).code;
  }
  return 'nothing was thrown';
}
