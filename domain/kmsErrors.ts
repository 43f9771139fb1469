/** KMS errors by name: never by HTTP status, which the SDK's model and the service give differently (facts A1). */
export function errorName(error: unknown): string {
  return typeof error === 'object' && error !== null && 'name' in error ? String((error as { name: unknown }).name) : 'unknown';
}

/** No answer, or an answer that says nothing about the effect. */
export function isSilence(error: unknown): boolean {
  const code = typeof error === 'object' && error !== null && 'code' in error ? String((error as { code: unknown }).code) : '';
  return ['TimeoutError', 'RequestTimeout', 'AbortError', 'NetworkingError'].includes(errorName(error)) || /^(ECONN|ETIMEDOUT|EPIPE|ENOTFOUND|EAI_AGAIN|EHOST|ENETUNREACH)/.test(code) || /socket hang up/.test(String(error));
}
