/** What is kept of a worker's death: a document of the wire contract, and of a file, in the same words. */
import { z } from 'zod';
import type { PrincipalIdentity } from '../principal.ts';
import { normalise } from './normalise.ts';
import type { Redactor } from './redact.ts';

/** The query that a worker died of. */
export interface QueryOrigin {
  readonly queryId: string;
  readonly principal: PrincipalIdentity;
  readonly sessionId: string | undefined;
  readonly sql: string;
  /** Credentials of its sources: what it says of itself holds none of them. */
  readonly secrets: readonly string[];
  /** As the client sent them; only their types are looked at. */
  readonly params: unknown;
  /** Aliases. */
  readonly sources: readonly string[];
  readonly timeoutMs: number;
  readonly attempts: number;
}

/** Bytes, and DuckDB's threads. */
export interface WorkerLimits {
  readonly memoryLimit: number;
  readonly memoryHardLimit: number;
  readonly tempLimit: number;
  readonly threads: number;
}

export interface WorkerDeath {
  readonly pool: string;
  readonly worker: string;
  readonly incarnation: number;
  readonly pid: number | undefined;
  readonly signal: string | undefined;
  readonly exitCode: number | undefined;
  readonly cause: 'crash' | 'unresponsive' | 'killed';
  /** What we killed it for. */
  readonly killedFor: string | undefined;
  readonly phase: string;
  readonly uptimeMs: number;
  /** The last reading, and the highest. */
  readonly memoryBytes: number | undefined;
  readonly peakMemoryBytes: number | undefined;
  readonly detail: string | undefined;
  /** Of its stderr. */
  readonly lastLines: readonly string[];
  readonly limits: WorkerLimits;
  /** The version of DuckDB, if the worker came to say it. */
  readonly duckdb: string | undefined;
  /** Undefined where the death is no query's doing. */
  readonly query: QueryOrigin | undefined;
}

const text = z.string().nullable();
const count = z.number().nullable();

const summary = {
  crash_id: z.string(),
  /** Milliseconds since the epoch. */
  at: z.number(),
  pool: z.string(),
  worker: z.string(),
  incarnation: z.number(),
  pid: count,
  signal: text,
  exit_code: count,
  cause: z.enum(['crash', 'unresponsive', 'killed']),
  phase: z.string(),
  query_id: text,
  fingerprint: text,
  principal: text,
  session_id: text,
  peak_memory_bytes: count,
  uptime_ms: z.number(),
};

/** One line of `GET /v1/crashes`. */
export const crashSummarySchema = z.object(summary);
export type CrashSummary = z.infer<typeof crashSummarySchema>;

/** `GET /v1/crashes/{id}`. Members that a later version adds to a file are dropped. */
export const crashReportSchema = z.object({
  ...summary,
  killed_for: text,
  detail: text,
  /** Normalised: it holds no literal. */
  statement: text,
  /** As it was sent, where `crashes.include_sql` says so. */
  sql: text,
  /** Declared types, and kinds of JSON values; never a value. */
  parameter_types: z.union([z.array(z.string()), z.record(z.string(), z.string())]).nullable(),
  sources: z.array(z.string()),
  memory_bytes: count,
  limits: z.object({
    memory_limit: z.number(),
    memory_hard_limit: z.number(),
    temp_limit: z.number(),
    threads: z.number(),
    timeout_ms: count,
  }),
  last_lines: z.array(z.string()),
  versions: z.object({ duckcoop: z.string(), node: z.string(), duckdb: text }),
  attempts: count,
});
export type CrashReport = z.infer<typeof crashReportSchema>;

/** Characters. What is longer is cut: a report is for a person, and its parts come from strangers. */
const LONGEST = { sql: 10_000, statement: 2_000, detail: 2_000, line: 999, name: 256 } as const;
const MOST_LINES = 40;
const MOST_NAMES = 100;

export interface ReportContext {
  readonly crashId: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Of the query, if there is one. */
  readonly fingerprint: string | undefined;
  readonly includeSql: boolean;
  readonly redactor: Redactor;
  /** Of this process; a worker runs the same node. */
  readonly versions: { readonly duckcoop: string; readonly node: string };
}

/** Each text that others wrote goes through the redactor. */
export function crashReport(death: WorkerDeath, context: ReportContext): CrashReport {
  const { query, limits } = death;
  const redactor = redactorFor(query, context.redactor);
  return {
    crash_id: context.crashId,
    at: context.at,
    pool: death.pool,
    worker: death.worker,
    incarnation: death.incarnation,
    pid: death.pid ?? null,
    signal: death.signal ?? null,
    exit_code: death.exitCode ?? null,
    cause: death.cause,
    phase: death.phase,
    query_id: query?.queryId ?? null,
    fingerprint: context.fingerprint ?? null,
    principal: query?.principal.name ?? null,
    session_id: query?.sessionId ?? null,
    peak_memory_bytes: death.peakMemoryBytes ?? null,
    uptime_ms: Math.round(death.uptimeMs),
    killed_for: death.killedFor ?? null,
    detail: death.detail === undefined ? null : redactor.excerpt(death.detail, LONGEST.detail),
    statement: query === undefined ? null : shownStatement(query.sql, redactor),
    sql: query !== undefined && context.includeSql ? redactor.excerpt(query.sql, LONGEST.sql) : null,
    parameter_types: query === undefined ? null : parameterTypes(query.params, redactor),
    sources: [...(query?.sources ?? [])],
    memory_bytes: death.memoryBytes ?? null,
    limits: {
      memory_limit: limits.memoryLimit,
      memory_hard_limit: limits.memoryHardLimit,
      temp_limit: limits.tempLimit,
      threads: limits.threads,
      timeout_ms: query?.timeoutMs ?? null,
    },
    last_lines: shownLines(death.lastLines, redactor),
    versions: { ...context.versions, duckdb: death.duckdb ?? null },
    attempts: query?.attempts ?? null,
  };
}

/** One that knows the credentials of the query's sources besides. */
export function redactorFor(query: Pick<QueryOrigin, 'secrets'> | undefined, redactor: Redactor): Redactor {
  return redactor.with(query?.secrets ?? []);
}

/** The normalised statement as operators see it. Names are left in it, and may be such as `"s3://key:secret@bucket"`. */
export function shownStatement(sql: string, redactor: Redactor): string {
  return redactor.excerpt(normalise(sql), LONGEST.statement);
}

/** As one text at first: a secret may have several lines. */
function shownLines(lines: readonly string[], redactor: Redactor): string[] {
  if (lines.length === 0) return [];
  const redacted = redactor.redact(lines.slice(-MOST_LINES).join('\n')).split('\n');
  return redacted.map((line) => redactor.excerpt(line, LONGEST.line));
}

function parameterTypes(params: unknown, redactor: Redactor): CrashReport['parameter_types'] {
  if (typeof params !== 'object' || params === null) return null;
  const shown = (name: string) => redactor.excerpt(name, LONGEST.name);
  const typeOf = (value: unknown) => shown(parameterType(value));
  if (Array.isArray(params)) return params.slice(0, MOST_NAMES).map(typeOf);
  const entries = Object.entries(params).slice(0, MOST_NAMES);
  return Object.fromEntries(entries.map(([name, value]) => [shown(name), typeOf(value)]));
}

function parameterType(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value !== 'object') return typeof value;
  const { type } = value as { readonly type?: unknown };
  return typeof type === 'string' ? type : Array.isArray(value) ? 'array' : 'object';
}
