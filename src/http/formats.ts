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

/** Those that a worker can write. */
const AVAILABLE: readonly Format[] = ['json', 'ndjson', 'csv', 'parquet'];
const TYPES = AVAILABLE.map((format) => MEDIA_TYPES[format].type);

/** The format of the reply: `asked` wins over the `Accept` header. Throws `NOT_ACCEPTABLE`. */
export function chooseFormat(ctx: Context, asked: Format | undefined): Format {
  if (asked !== undefined) {
    if (AVAILABLE.includes(asked)) return asked;
    throw notAcceptable(`The format ${asked} is not available`);
  }
  const { accept } = ctx.req.headers;
  if (accept === undefined || accept === '*/*' || accept === 'application/json') return 'json';
  const type = ctx.accepts(TYPES);
  const format = AVAILABLE[TYPES.indexOf(String(type))];
  if (format !== undefined) return format;
  throw notAcceptable(`Nothing in "Accept: ${accept}" is available`);
}

function notAcceptable(what: string): Failure {
  return new Failure('NOT_ACCEPTABLE', `${what}; what is: ${AVAILABLE.join(', ')}.`, {
    members: { available: AVAILABLE },
  });
}
