/**
 * From the fields a client sent to a {@link QueryRequest}: every field of the contract, its type and its range,
 * and all errors at once.
 */
import { z } from 'zod';
import type { QueryRequest } from '../actors/query.ts';
import { MAX_DURATION_MS, size } from '../config/units.ts';
import { listed } from '../listed.ts';
import { mayUseSource, type Principal } from '../principal.ts';
import type { ResultOutput } from '../workers/protocol.ts';
import { FORMATS, type Format } from './formats.ts';
import { invalidRequest, type RequestError, toRequestErrors } from './invalid-request.ts';
import type { QueryFields } from './query-fields.ts';
import { NO_SOURCES, sourcesSchema } from './query-sources.ts';
import type { SourceService } from './services.ts';

const MAX_PARAMS = 65_535; // DuckDB's own limit of prepared statement parameters
const MAX_TAGS = 32;
const MAX_TAG_LENGTH = 256;
const LONE_SURROGATE = /\p{Surrogate}/u;

const A_PARAMETER = 'expected a string, a number, a boolean, null, or {"type": "...", "value": ...}';
const A_QUERY_ID = 'expected 1 to 128 of the characters A-Z a-z 0-9 . _ : -';

const QUERY_ID = /^[A-Za-z0-9._:-]{1,128}$/;

export function isQueryId(value: unknown): value is string {
  return typeof value === 'string' && QUERY_ID.test(value);
}

export interface ParsedQuery {
  readonly request: QueryRequest;
  readonly format: Format;
  /** For how long its client waits, and what is then. */
  readonly wait: Wait | undefined;
}

export interface Wait {
  readonly ms: number;
  readonly onTimeout: 'continue' | 'cancel';
}

export interface QueryOrigin {
  /** For a request that names none. */
  readonly queryId: string;
  readonly principal: Principal;
  readonly client: string | undefined;
  readonly readOnly: boolean;
  /** The format of the reply, by what the field `format` says, if anything. May throw. */
  readonly chooseFormat: (asked: Format | undefined) => Format;
}

/** The parser of one server's requests; `sources` says which aliases there are. */
export function queryParser(
  sources: SourceService,
): (fields: QueryFields, origin: QueryOrigin) => ParsedQuery {
  const known = Object.keys(querySchema.shape);
  return (fields, origin) => {
    const result = querySchema.safeParse(fields.values);
    const errors = [...fields.errors, ...unknownSources(fields.values, sources, origin.principal)];
    if (!result.success || errors.length > 0) {
      const wrong = result.success ? [] : toRequestErrors(result.error, known);
      const told = new Set(errors.map(({ path }) => path));
      throw invalidRequest([...errors, ...wrong.filter(({ path }) => !told.has(path))]);
    }
    const { data } = result;
    const format = origin.chooseFormat(data.format);
    const misplaced = misplacedFields(data, format);
    if (misplaced.length > 0) throw invalidRequest(misplaced);
    return {
      format,
      wait:
        data.wait_ms === undefined
          ? undefined
          : { ms: data.wait_ms, onTimeout: data.on_wait_timeout ?? 'continue' },
      request: {
        queryId: data.query_id ?? origin.queryId,
        sql: data.sql,
        params: data.params,
        rowFormat: data.row_format ?? 'arrays',
        output: outputOf(format, data.row_format, data.csv),
        ...(data.sources ?? NO_SOURCES),
        pool: data.pool,
        session: data.session,
        timeoutMs: data.timeout_ms,
        queueTimeoutMs: data.queue_timeout_ms,
        rowLimit: data.row_limit,
        byteLimit: data.byte_limit,
        memoryLimit: data.memory_limit,
        threads: data.threads,
        readOnly: origin.readOnly,
        tags: data.tags ?? {},
        principal: origin.principal,
        client: origin.client,
      },
    };
  };
}

type Fields = z.output<typeof querySchema>;

/** What is of no use with the format is a mistake. */
function misplacedFields(fields: Fields, format: Format): RequestError[] {
  const { wait_ms, on_wait_timeout } = fields;
  const errors = misplacedOptions(fields, format);
  if (on_wait_timeout !== undefined && wait_ms === undefined)
    errors.push({ path: 'on_wait_timeout', message: 'is of no use without wait_ms' });
  return errors;
}

/** Options of another format than the one that is wanted. */
export function misplacedOptions(
  { row_format, csv }: { readonly row_format?: unknown; readonly csv?: unknown },
  format: Format,
): RequestError[] {
  const errors: RequestError[] = [];
  if (row_format !== undefined && format !== 'json' && format !== 'ndjson')
    errors.push({ path: 'row_format', message: `is for json and ndjson; the format is ${format}` });
  if (csv !== undefined && format !== 'csv')
    errors.push({ path: 'csv', message: `is for csv; the format is ${format}` });
  return errors;
}

/** What a worker writes; undefined for the JSON reply. */
export function outputOf(
  format: Format,
  row_format: Fields['row_format'],
  csv: Fields['csv'],
): ResultOutput | undefined {
  switch (format) {
    case 'json':
      return undefined;
    case 'ndjson':
      return { format, rows: row_format ?? 'objects' };
    case 'csv':
      return {
        format,
        header: csv?.header ?? true,
        delimiter: csv?.delimiter ?? ',',
        null: csv?.null ?? '',
      };
    case 'arrow':
    case 'parquet':
      return { format };
    default:
      return format satisfies never;
  }
}

const A_DELIMITER = 'expected one character: a tab, a space, or ASCII punctuation, and no quote';
const A_NULL = 'expected up to 64 characters, no quote and no line end among them';

export const csvSchema = z
  .strictObject(
    {
      header: z.boolean({ error: 'expected true or false' }).optional(),
      delimiter: z
        .string({ error: A_DELIMITER })
        .regex(/^[\t !#-/:-@[-`{-~]$/, { error: A_DELIMITER })
        .optional(),
      null: z
        .string({ error: A_NULL })
        .regex(/^[^"\r\n\0\p{Surrogate}]{0,64}$/u, { error: A_NULL })
        .optional(),
    },
    {
      error: ({ code }) =>
        code === 'invalid_type' ? 'expected an object: {"header", "delimiter", "null"}' : undefined,
    },
  )
  .refine(({ delimiter = ',', null: nullText = '' }) => !nullText.includes(delimiter), {
    path: ['null'],
    error: 'has the delimiter in it',
  });

export const rowFormatSchema = z.enum(['arrays', 'objects'], { error: 'expected arrays or objects' });

/** What a client may say of a query. */
export const querySchema = z.strictObject(
  {
    sql: z
      .string({ error: ({ input }) => (input === undefined ? 'is missing' : 'expected a string') })
      .superRefine(checkSql),
    params: z
      .unknown()
      .meta({ type: ['array', 'object'] })
      .superRefine(checkParams)
      .transform(asParams)
      .optional(),
    format: z.enum(FORMATS, { error: `expected one of ${FORMATS.join(', ')}` }).optional(),
    row_format: rowFormatSchema.optional(),
    csv: csvSchema.optional(),
    sources: sourcesSchema.optional(),
    session: z
      .string({ error: 'expected a session id' })
      .min(1, { error: 'expected a session id' })
      .optional(),
    pool: z
      .string({ error: 'expected the name of a pool' })
      .min(1, { error: 'expected the name of a pool' })
      .optional(),
    timeout_ms: wholeNumber(1, MAX_DURATION_MS),
    queue_timeout_ms: wholeNumber(1, MAX_DURATION_MS),
    row_limit: wholeNumber(0, Number.MAX_SAFE_INTEGER),
    byte_limit: size().optional(),
    memory_limit: size().optional(),
    threads: wholeNumber(1, 1024),
    query_id: z.string({ error: A_QUERY_ID }).regex(QUERY_ID, { error: A_QUERY_ID }).optional(),
    wait_ms: wholeNumber(0, MAX_DURATION_MS),
    on_wait_timeout: z.enum(['continue', 'cancel'], { error: 'expected continue or cancel' }).optional(),
    tags: z
      .unknown()
      .meta({ type: 'object', additionalProperties: { type: 'string', maxLength: MAX_TAG_LENGTH } })
      .superRefine(checkTags)
      .transform((tags) => tags as Record<string, string>)
      .optional(),
  },
  { error: ({ code }) => (code === 'invalid_type' ? 'expected an object: {"sql": "..."}' : undefined) },
);

function wholeNumber(min: number, max: number) {
  const error =
    max === Number.MAX_SAFE_INTEGER
      ? `expected a whole number, ${min} or more`
      : `expected a whole number from ${min} to ${max}`;
  return z.number({ error }).int({ error }).min(min, { error }).max(max, { error }).optional();
}

function checkSql(sql: string, context: z.RefinementCtx<string>): void {
  if (sql.trim() === '') context.addIssue('is empty');
  const nul = sql.indexOf('\0');
  if (nul !== -1) context.addIssue(`has a NUL character at position ${nul}`);
  if (LONE_SURROGATE.test(sql)) context.addIssue('has half of a surrogate pair, which UTF-8 cannot express');
}

function checkParams(params: unknown, context: z.RefinementCtx<unknown>): void {
  if (params === undefined) return;
  if (typeof params !== 'object' || params === null) {
    context.addIssue('expected an array (for ? and $1) or an object (for $name)');
    return;
  }
  const entries: [PropertyKey, unknown][] = Array.isArray(params)
    ? [...params.entries()]
    : Object.entries(params);
  if (entries.length > MAX_PARAMS) {
    context.addIssue(`has ${entries.length} values; ${MAX_PARAMS} at most`);
    return;
  }
  for (const [key, value] of entries) {
    const message = parameterError(value);
    if (message !== undefined) context.addIssue({ code: 'custom', path: [key], message });
  }
}

function parameterError(value: unknown): string | undefined {
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    return 'a whole number beyond 2^53 may have lost digits; send {"type": "HUGEINT", "value": "..."}';
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { type, ...rest } = value as { type?: unknown };
  const typed = typeof type === 'string' && type !== '' && type.length <= 256;
  return typed && Object.keys(rest).join() === 'value' ? undefined : A_PARAMETER;
}

function asParams(params: unknown): QueryRequest['params'] {
  return params as QueryRequest['params'];
}

/** One that the principal may not use is no unknown one: placement refuses it, whether it exists or not. */
export function unknownSources(
  fields: unknown,
  sources: SourceService,
  principal: Principal,
): RequestError[] {
  const aliases: unknown = (fields as { sources?: unknown } | null)?.sources;
  if (!Array.isArray(aliases)) return [];
  const isUnknown = (alias: unknown) =>
    typeof alias === 'string' && !sources.has(alias) && mayUseSource(principal, alias);
  if (!aliases.some(isUnknown)) return [];
  const known = sources.list(principal).map(({ alias }) => alias);
  const there = known.length === 0 ? 'are none' : `is ${listed(known)}`;
  return aliases.flatMap((alias: unknown, index) => {
    if (!isUnknown(alias)) return [];
    return {
      path: `sources[${index}]`,
      message: `there is no source ${JSON.stringify(alias)}; there ${there}`,
    };
  });
}

function checkTags(tags: unknown, context: z.RefinementCtx<unknown>): void {
  if (tags === undefined) return;
  if (typeof tags !== 'object' || tags === null || Array.isArray(tags)) {
    context.addIssue('expected an object of strings');
    return;
  }
  const entries = Object.entries(tags);
  if (entries.length > MAX_TAGS) context.addIssue(`has ${entries.length} tags; ${MAX_TAGS} at most`);
  for (const [name, value] of entries) {
    const fits = typeof value === 'string' && value.length <= MAX_TAG_LENGTH && name.length <= MAX_TAG_LENGTH;
    if (!fits)
      context.addIssue({
        code: 'custom',
        path: [name],
        message: `expected a string of at most ${MAX_TAG_LENGTH} characters`,
      });
  }
}
