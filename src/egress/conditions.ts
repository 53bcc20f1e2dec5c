/** What a request wants of a file, by its headers: all of it, a part, or nothing since it has it already. Pure. */
import type { IncomingHttpHeaders } from 'node:http';

export interface Validators {
  /** Bytes. */
  readonly size: number;
  readonly etag: string;
  /** Milliseconds since the epoch. */
  readonly modifiedAt: number;
}

export type Wanted =
  | { readonly kind: 'whole' }
  /** Bytes, both included. */
  | { readonly kind: 'part'; readonly start: number; readonly end: number }
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'unsatisfiable' };

const WHOLE: Wanted = { kind: 'whole' };

/** In the order of RFC 9110, section 13.2.2. A range is for GET alone; several in one request are answered with all of it. */
export function wantedOf(method: 'GET' | 'HEAD', headers: IncomingHttpHeaders, file: Validators): Wanted {
  if (isUnchanged(headers, file)) return { kind: 'unchanged' };
  const { range } = headers;
  if (method !== 'GET' || range === undefined || !isOfThis(headers['if-range'], file)) return WHOLE;
  return partOf(range, file.size);
}

/** One that is malformed, or of another unit, counts as none (section 14.2). */
function partOf(range: string, size: number): Wanted {
  const [, first, last] = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(range) ?? [];
  if (first === undefined || last === undefined || first + last === '') return WHOLE;
  // The last so many bytes; all, where there are fewer (section 14.1.2).
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (start >= size) return { kind: 'unsatisfiable' };
  return start <= end ? { kind: 'part', start, end } : WHOLE;
}

/** A time as a header has it, to the second (section 5.6.7). */
export function httpDate(ms: number): string {
  return new Date(ms).toUTCString();
}

function isUnchanged(headers: IncomingHttpHeaders, { etag, modifiedAt }: Validators): boolean {
  const tags = headers['if-none-match'];
  // With tags the date does not count (section 13.1.3).
  if (tags !== undefined) {
    return tags.trim() === '*' || tags.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
  }
  const since = Date.parse(headers['if-modified-since'] ?? '');
  return Math.floor(modifiedAt / 1_000) * 1_000 <= since;
}

/** Whether the part that a client has is one of this file; a weak tag never says so (section 13.1.5). */
function isOfThis(ifRange: string | string[] | undefined, { etag, modifiedAt }: Validators): boolean {
  return ifRange === undefined || ifRange === etag || ifRange === httpDate(modifiedAt);
}
