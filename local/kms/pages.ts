/** Marker pagination: a marker is the last item's id, encoded so that nobody builds one by hand. */
import { invalidMarker } from './errors';

export interface PageInput { readonly Limit?: number | undefined; readonly Marker?: string | undefined }
export interface Page<T> { items: T[]; Truncated: boolean; NextMarker?: string }

/** A page of items in the order of their ids; items added or deleted between pages neither repeat nor hide others. */
export function page<T>(items: Iterable<T>, idOf: (item: T) => string, { Limit, Marker }: PageInput, defaultLimit: number): Page<T> {
  const after = Marker === undefined ? undefined : readMarker(Marker);
  const sorted = [...items].sort((a, b) => compare(idOf(a), idOf(b)));
  const start = after === undefined ? 0 : sorted.findIndex((item) => compare(idOf(item), after) > 0);
  const rest = start < 0 ? [] : sorted.slice(start);
  const taken = rest.slice(0, Limit ?? defaultLimit);
  const last = taken.at(-1);
  return rest.length > taken.length && last !== undefined
    ? { items: taken, Truncated: true, NextMarker: Buffer.from(`after:${idOf(last)}`).toString('base64') }
    : { items: taken, Truncated: false };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function readMarker(marker: string): string {
  const text = Buffer.from(marker, 'base64').toString();
  if (!text.startsWith('after:')) throw invalidMarker('Invalid marker');
  return text.slice('after:'.length);
}

/** The page in wire form, its items under the operation's own name. */
export const pageOutput = <T>(name: string, found: Page<T>, shown: (item: T) => unknown): object =>
  ({ [name]: found.items.map(shown), Truncated: found.Truncated, ...(found.NextMarker === undefined ? {} : { NextMarker: found.NextMarker }) });
