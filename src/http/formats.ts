/** The formats of results: their names, their media types, and which of them a client takes (RFC 9110, section 12.5.1). */
import type { Context } from 'koa';
import { Failure } from '../failures.ts';

export const FORMATS = ['json', 'ndjson', 'csv', 'arrow', 'parquet'] as const;
export type Format = (typeof FORMATS)[number];

interface MediaType {
  readonly type: string;
  readonly extension: string;
  /** A browser is to save it rather than to show it. */
  readonly isFile: boolean;
}

export const MEDIA_TYPES: Readonly<Record<Format, MediaType>> = {
  json: { type: 'application/json', extension: 'json', isFile: false },
  ndjson: { type: 'application/x-ndjson', extension: 'ndjson', isFile: false },
  csv: { type: 'text/csv', extension: 'csv', isFile: true },
  arrow: { type: 'application/vnd.apache.arrow.stream', extension: 'arrows', isFile: true },
  parquet: { type: 'application/vnd.apache.parquet', extension: 'parquet', isFile: true },
};

const TYPES = FORMATS.map((format) => MEDIA_TYPES[format].type);

/** The format of the reply: `asked` wins over the `Accept` header. Throws `NOT_ACCEPTABLE`. */
export function chooseFormat(ctx: Context, asked: Format | undefined): Format {
  if (asked !== undefined) return asked;
  const { accept } = ctx.req.headers;
  if (accept === undefined || accept === '*/*' || accept === 'application/json') return 'json';
  const type = ctx.accepts(TYPES);
  const format = FORMATS[TYPES.indexOf(String(type))];
  if (format !== undefined) return format;
  const detail = `Nothing in "Accept: ${accept}" is available; what is: ${FORMATS.join(', ')}.`;
  throw new Failure('NOT_ACCEPTABLE', detail, { members: { available: FORMATS } });
}
