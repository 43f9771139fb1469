/** The state check that stands between authorisation and effect. */
import type { Call } from './call';
import type { Key } from './key-lookup';
import { stateRefusal } from './states';

/** Throws what the state table says for this operation, or for `operation` where one call does the work of another. */
export function checkState(call: Call, key: Key, operation = call.operation): void {
  const refusal = stateRefusal(operation, key.state, key.arn);
  if (refusal !== undefined) throw refusal;
}
