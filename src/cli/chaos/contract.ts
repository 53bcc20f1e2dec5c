/**
 * What a reply to a query may be (docs/http.md), and what is wrong with one that is none of it. Pure.
 *
 * A success has to have the right data. A failure has to be a problem document with a documented code, the status and the
 * `retryable` of that code, the members that belong to it, and a code that this request can have earned: a statement without
 * an error is never a `SQL_ERROR`, and a query that nobody cancelled is never `QUERY_CANCELLED`.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { FAILURE_KINDS, type FailureCode } from '../../failures.ts';
import { PHASES } from '../../workers/protocol.ts';
import type { Column } from '../table.ts';

export interface HttpReply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** From the request's first byte to the reply's last one, in milliseconds. */
  readonly ms: number;
}

/** The right answer. */
export interface ExpectedResult {
  readonly columns: readonly Column[];
  readonly rows: number;
  /** The row at this index, as JSON has it. */
  readonly row: (index: number) => readonly unknown[];
  readonly truncated: boolean;
}

export interface Expectation {
  readonly queryId: string;
  readonly pool: string;
  /** Undefined for a query that cannot succeed. */
  readonly result: ExpectedResult | undefined;
  /** How it may fail. */
  readonly codes: ReadonlySet<FailureCode>;
  /** Milliseconds that it may run, and wait. */
  readonly timeoutMs: number;
  readonly queueTimeoutMs: number;
  /** How often it may be tried. */
  readonly maxAttempts: number;
}

export interface Verdict {
  /** `succeeded`, the code of a failure, or `unknown` for what cannot be read. */
  readonly outcome: string;
  /** What breaks the contract; nothing in a reply that keeps it. */
  readonly wrong: readonly string[];
}

/** Timers round. */
const TIMER_SLACK_MS = 5;

export function checkReply(reply: HttpReply, expected: Expectation): Verdict {
  const document = parsed(reply.body);
  if (document === undefined) {
    const what = reply.body === '' ? 'the body is empty' : 'the body is no JSON object';
    return { outcome: 'unknown', wrong: [`status ${reply.status}, and ${what}`] };
  }
  const wrong =
    reply.status === 200 ? success(reply, document, expected) : failure(reply, document, expected);
  const header = reply.headers['x-query-id'];
  if (header !== expected.queryId) wrong.push(`X-Query-Id is ${show(header)}`);
  if (document.query_id !== expected.queryId) wrong.push(`query_id is ${show(document.query_id)}`);
  return { outcome: reply.status === 200 ? 'succeeded' : outcomeOf(document), wrong };
}

/** What is wrong with any problem document, whatever was asked for; for replies to other requests as well. */
export function checkProblem(reply: HttpReply, document: Document): string[] {
  const wrong: string[] = [];
  if (!/^application\/problem\+json\b/.test(reply.headers['content-type'] ?? '')) {
    wrong.push(`a failure has the content type ${show(reply.headers['content-type'])}`);
  }
  const { code } = document;
  if (!isCode(code)) return [...wrong, `the code ${show(code)} is not documented`];
  const kind = FAILURE_KINDS[code];
  if (reply.status !== kind.status) wrong.push(`${code} has the status ${reply.status}, not ${kind.status}`);
  const members = z.looseObject({
    type: z.string().min(1),
    title: z.string().min(1),
    status: z.literal(kind.status),
    detail: z.string().min(1),
    retryable: z.literal(kind.retryable),
    ...MEMBERS[code],
  });
  wrong.push(...faultsOf(members, document, code));
  if (/\n\s+at .+:\d+:\d+/.test(String(document.detail))) wrong.push('the detail holds a stack trace');
  if (NEEDS_RETRY_AFTER.has(code) && !/^[1-9]\d*$/.test(reply.headers['retry-after'] ?? '')) {
    wrong.push(`${code} has the Retry-After ${show(reply.headers['retry-after'])}`);
  }
  return wrong;
}

type Document = Readonly<Record<string, unknown>>;

const count = z.number().int().nonnegative();
const text = z.string().min(1);
const limits = { limit: count, used: count };
const limitMs = { limit_ms: count };

/** The members of a problem document that belong to its code. */
const MEMBERS: Readonly<Record<FailureCode, z.ZodRawShape>> = {
  INVALID_REQUEST: { errors: z.array(z.looseObject({ path: z.string(), message: text })).min(1) },
  SQL_ERROR: { duckdb: z.looseObject({ type: text }) },
  UNAUTHENTICATED: {},
  FORBIDDEN: { denied: z.looseObject({ kind: text, name: z.string() }) },
  NOT_FOUND: {},
  METHOD_NOT_ALLOWED: {},
  LINK_EXPIRED: {},
  RANGE_NOT_SATISFIABLE: {},
  NOT_ACCEPTABLE: {},
  QUERY_CANCELLED: { cancelled_by: text },
  RESULT_NOT_READY: {},
  QUERY_ID_REUSED: {},
  SESSION_BUSY: {},
  SESSION_EXPIRED: {},
  PAYLOAD_TOO_LARGE: { limit: count },
  UNSUPPORTED_MEDIA_TYPE: {},
  MEMORY_LIMIT: limits,
  DISK_LIMIT: limits,
  RESULT_TOO_LARGE: limits,
  QUERY_QUARANTINED: { crash_ids: z.array(text).min(1), until: count },
  QUOTA_EXCEEDED: {},
  CRASH_BUDGET_EXCEEDED: {},
  INTERNAL: {},
  WORKER_CRASHED: {
    worker: z.looseObject({
      id: text,
      incarnation: count.min(1),
      pid: count.nullable(),
      signal: text.nullable(),
      exit_code: count.nullable(),
      phase: z.enum(PHASES),
    }),
    cause: z.enum(['crash', 'unresponsive', 'killed']),
    crash_id: text,
    attempts: count.min(1),
  },
  SOURCE_UNAVAILABLE: { source: text },
  POOL_DOWN: { pool: text },
  OVERLOADED: {},
  SHUTTING_DOWN: {},
  QUERY_TIMEOUT: limitMs,
  QUEUE_TIMEOUT: limitMs,
};

const NEEDS_RETRY_AFTER: ReadonlySet<FailureCode> = new Set<FailureCode>([
  'QUOTA_EXCEEDED',
  'CRASH_BUDGET_EXCEEDED',
  'POOL_DOWN',
  'OVERLOADED',
  'SHUTTING_DOWN',
]);

const resultSchema = z.looseObject({
  columns: z.array(z.looseObject({ name: z.string(), type: text })),
  data: z.array(z.unknown()),
  row_count: count,
  truncated: z.boolean(),
  stats: z.looseObject({
    queue_ms: count,
    run_ms: count,
    total_ms: count,
    rows: count,
    bytes: count,
    peak_memory_bytes: count,
    worker: text,
    attempts: count.min(1),
  }),
});

function success(reply: HttpReply, document: Document, expected: Expectation): string[] {
  const wrong: string[] = [];
  if (!/^application\/json\b/.test(reply.headers['content-type'] ?? '')) {
    wrong.push(`a result has the content type ${show(reply.headers['content-type'])}`);
  }
  const { result } = expected;
  if (result === undefined) return [...wrong, 'it succeeded, and cannot have'];
  const shape = resultSchema.safeParse(document);
  if (!shape.success) return [...wrong, ...faultsOf(resultSchema, document, 'the result')];
  const { columns, data, row_count, truncated, stats } = shape.data;
  if (!isDeepStrictEqual(columns, result.columns)) wrong.push(`the columns are ${show(columns)}`);
  if (data.length !== result.rows) wrong.push(`there are ${data.length} rows, not ${result.rows}`);
  const index = data.findIndex((row, at) => at < result.rows && !isSameRow(row, result.row(at)));
  if (index !== -1) wrong.push(`row ${index} is ${show(data[index])}, not ${show(result.row(index))}`);
  if (row_count !== data.length) wrong.push(`row_count is ${row_count} of ${data.length} rows`);
  if (stats.rows !== data.length) wrong.push(`stats.rows is ${stats.rows} of ${data.length} rows`);
  if (truncated !== result.truncated) wrong.push(`truncated is ${truncated}`);
  if (!stats.worker.startsWith(`${expected.pool}-`)) wrong.push(`it ran on ${show(stats.worker)}`);
  return [...wrong, ...tooManyAttempts(stats.attempts, expected)];
}

/** Cells are scalars. */
function isSameRow(row: unknown, expected: readonly unknown[]): boolean {
  return (
    Array.isArray(row) &&
    row.length === expected.length &&
    expected.every((cell, at) => Object.is(cell, row[at]))
  );
}

function failure(reply: HttpReply, document: Document, expected: Expectation): string[] {
  const wrong = checkProblem(reply, document);
  const { code } = document;
  if (!isCode(code)) return wrong;
  if (!expected.codes.has(code)) wrong.push(`it cannot have earned ${code}`);
  if (code === 'QUERY_TIMEOUT') wrong.push(...tooEarly(reply, document, expected.timeoutMs));
  if (code === 'QUEUE_TIMEOUT') wrong.push(...tooEarly(reply, document, expected.queueTimeoutMs));
  if (code === 'WORKER_CRASHED') wrong.push(...tooManyAttempts(document.attempts, expected));
  return wrong;
}

function tooEarly({ ms }: HttpReply, { limit_ms, code }: Document, limit: number): string[] {
  const wrong: string[] = [];
  if (limit_ms !== limit) wrong.push(`limit_ms is ${show(limit_ms)}, not ${limit}`);
  if (ms < limit - TIMER_SLACK_MS) wrong.push(`${code} after ${Math.round(ms)} of ${limit} ms`);
  return wrong;
}

function tooManyAttempts(attempts: unknown, { maxAttempts }: Expectation): string[] {
  return Number(attempts) > maxAttempts ? [`it was tried ${attempts} times, and may be ${maxAttempts}`] : [];
}

function outcomeOf({ code }: Document): string {
  return typeof code === 'string' ? code : 'unknown';
}

function isCode(code: unknown): code is FailureCode {
  return typeof code === 'string' && Object.hasOwn(FAILURE_KINDS, code);
}

function faultsOf(schema: z.ZodType, document: Document, what: string): string[] {
  const { error } = schema.safeParse(document);
  return (error?.issues ?? []).map(({ path, message }) => `${what}: ${path.join('.')}: ${message}`);
}

/** The JSON object that a text is. */
export function parsed(text: string): Document | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as Document) : undefined;
  } catch {
    return undefined;
  }
}

function show(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 200) ?? 'missing';
}
