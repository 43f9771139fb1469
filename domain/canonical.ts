/** JSON with sorted keys and no white space (RFC 8785 for the values we use: strings, integers, booleans, null, arrays, objects). */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') {
    // RFC 8785's number form is only trivial for safe integers; nothing that is signed needs others
    if (!Number.isSafeInteger(value)) throw new TypeError(`not canonical: ${value}`);
    return String(value);
  }
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object') {
    const entries = Object.entries(value).filter(([, v]) => v !== undefined);
    entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${canonicalJson(v)}`).join(',')}}`;
  }
  throw new TypeError(`not canonical: ${typeof value}`);
}

/** The first path at which two JSON values differ, or undefined. Says to a person why a plan no longer fits. */
export function firstDifference(a: unknown, b: unknown, path = ''): string | undefined {
  if (isRecord(a) && isRecord(b)) {
    for (const key of [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()) {
      const found = firstDifference(a[key], b[key], path === '' ? key : `${path}.${key}`);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  if (a === undefined && b === undefined) return undefined;
  if (a === undefined || b === undefined) return path;
  return canonicalJson(a) === canonicalJson(b) ? undefined : path;
}

function isRecord(v: unknown): v is Record<string, unknown> {
  return typeof v === 'object' && v !== null && !Array.isArray(v);
}
