/**
 * The fields of a query as the client wrote them, whichever of the three ways it chose: a JSON body, SQL as the
 * body with the rest in the query string, or all of it in the query string. Whether they make sense is
 * query-request.ts's question.
 */
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { Failure } from '../failures.ts';
import type { Exchange } from './exchange.ts';
import { invalidRequest, type RequestError } from './invalid-request.ts';
import { parseJson } from './json.ts';
import { isRepeated } from './repeated-header.ts';
import { readBody } from './request-body.ts';

export interface QueryFields {
  readonly values: unknown;
  /** What was wrong already, to be told together with the rest. */
  readonly errors: readonly RequestError[];
}

const NUMBERS = new Set(['timeout_ms', 'queue_timeout_ms', 'row_limit', 'threads', 'wait_ms']);
/** Parameters that are JSON. */
export const JSON_TEXTS = new Set(['params', 'tags', 'csv']);
/** Media types of a body that is the SQL itself. */
export const SQL_TYPES = new Set(['application/sql', 'text/plain']);
const TYPES_SAID = 'application/json, application/sql or text/plain, in UTF-8';

/** Rejects with `UNSUPPORTED_MEDIA_TYPE`, `PAYLOAD_TOO_LARGE`, `INVALID_REQUEST`, and `ClientGone`. */
export async function readQueryFields(exchange: Exchange, maxBodyBytes: number): Promise<QueryFields> {
  const { ctx } = exchange;
  const type = mediaType(ctx.req);
  const text = decode(await readBody(exchange, maxBodyBytes));
  if (SQL_TYPES.has(type)) return fieldsOfQueryString(ctx.querystring, text);
  if (ctx.querystring !== '') {
    throw invalidRequest([
      { path: '', message: 'a JSON body holds all fields: leave the query string empty' },
    ]);
  }
  if (text.trim() === '')
    throw invalidRequest([{ path: '', message: 'the body is empty; expected {"sql": "..."}' }]);
  return { values: parseJson(text), errors: [] };
}

/** Lists are comma-separated or repeated, `params`, `tags` and `csv` are JSON. `body` is the SQL that came as the body. */
export function fieldsOfQueryString(querystring: string, body?: string): QueryFields {
  const errors: RequestError[] = [];
  const values = new Map<string, unknown>(body === undefined ? [] : [['sql', body]]);
  for (const [name, value] of new URLSearchParams(checkEncoding(querystring))) {
    if (name === 'sources') {
      values.set(name, [...((values.get(name) as string[] | undefined) ?? []), ...value.split(',')]);
    } else if (values.has(name)) {
      const message =
        body !== undefined && name === 'sql' ? 'the body is the SQL already' : 'given more than once';
      errors.push({ path: name, message });
    } else if (JSON_TEXTS.has(name)) {
      try {
        values.set(name, parseJson(value, name));
      } catch (error) {
        errors.push(...errorsOf(error));
      }
    } else {
      values.set(name, NUMBERS.has(name) && /^\d{1,15}$/.test(value) ? Number(value) : value);
    }
  }
  return { values: Object.fromEntries(values), errors };
}

/** URLSearchParams puts U+FFFD for what it cannot decode; nobody's SQL shall be changed like that. */
export function checkEncoding(querystring: string): string {
  try {
    decodeURIComponent(querystring);
    return querystring;
  } catch {
    throw invalidRequest([{ path: '', message: 'the query string is not percent-encoded UTF-8' }]);
  }
}

function mediaType(request: IncomingMessage): string {
  const { headers } = request;
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw unsupported(`Content-Encoding ${encoding} is not supported; send the body as it is`);
  }
  const header = headers['content-type'];
  if (header === 'application/json' && !isRepeated(request, 'content-type')) return header;
  if (header === undefined) throw unsupported(`The body needs a Content-Type: ${TYPES_SAID}`);
  if (isRepeated(request, 'content-type')) {
    throw invalidRequest([{ path: '', message: 'there is more than one Content-Type header' }]);
  }
  const [essence = '', ...parameters] = header.split(';').map((part) => part.trim().toLowerCase());
  if (essence !== 'application/json' && !SQL_TYPES.has(essence)) {
    throw unsupported(`The body is ${essence}; expected ${TYPES_SAID}`);
  }
  for (const parameter of parameters) {
    const charset = /^charset\s*=\s*"?([^"]*)"?$/.exec(parameter)?.[1];
    if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8') {
      throw unsupported(`The body's charset is ${charset}; expected ${TYPES_SAID}`);
    }
  }
  return essence;
}

function decode(body: Buffer): string {
  if (!isUtf8(body)) throw invalidRequest([{ path: '', message: 'the body is not valid UTF-8' }]);
  const text = body.toString('utf8');
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

function unsupported(detail: string): Failure {
  return new Failure('UNSUPPORTED_MEDIA_TYPE', `${detail}.`);
}

function errorsOf(error: unknown): readonly RequestError[] {
  if (!(error instanceof Failure)) throw error;
  return error.members.errors as readonly RequestError[];
}
