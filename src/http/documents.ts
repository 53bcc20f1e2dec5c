/**
 * The JSON documents of replies: the types of what the server sends are inferred from these, and the OpenAPI document is made of
 * them. Times are integers in milliseconds, those called `at`, `..._at` and `until` since the epoch; sizes are bytes.
 */
import { z } from 'zod';
import { crashReportSchema, crashSummarySchema } from '../crashes/crash-report.ts';
import { FAILURE_KINDS } from '../failures.ts';
import { FAULTS } from '../workers/protocol.ts';

/** What the server sends by a schema. */
export type Document<Schema extends z.ZodType> = DeepReadonly<z.output<Schema>>;

type DeepReadonly<Value> = Value extends readonly (infer Item)[]
  ? readonly DeepReadonly<Item>[]
  : Value extends object
    ? { readonly [Key in keyof Value]: DeepReadonly<Value[Key]> }
    : Value;

const text = z.string();
const orNull = z.string().nullable();
const count = z.int().min(0);
const countOrNull = count.nullable();

/** What a query failed with, where it is part of another document. */
const problem = z.looseObject({
  code: z.enum(Object.keys(FAILURE_KINDS) as (keyof typeof FAILURE_KINDS)[]),
  status: z.int(),
  retryable: z.boolean(),
  detail: text,
});

export const resultDocument = z
  .strictObject({
    query_id: text,
    columns: z.array(z.strictObject({ name: text, type: text })),
    data: z.array(z.union([z.array(z.unknown()), z.record(text, z.unknown())])),
    row_count: count,
    truncated: z.boolean(),
    stats: z.strictObject({
      queue_ms: count,
      run_ms: count,
      total_ms: count,
      rows: count,
      bytes: count,
      peak_memory_bytes: count,
      worker: text,
      attempts: count,
    }),
  })
  .meta({ id: 'Result' });

const progress = z.strictObject({
  percentage: z.number().nullable(),
  rows: count,
  bytes: count,
  memory_bytes: count,
});
const outcome = z.enum(['cancelled', 'killed', 'already_finished']);
const state = z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled']);

export const acceptedDocument = z.strictObject({ query_id: text, state });

export const queryDocument = z
  .strictObject({
    query_id: text,
    state,
    pool: text,
    principal: text,
    session_id: orNull,
    submitted_at: count,
    queue_ms: count,
    run_ms: count,
    rows: countOrNull,
    bytes: countOrNull,
    attempts: count,
    worker: orNull,
    progress: progress.nullable(),
    error: problem.nullable(),
    result: z
      .strictObject({
        rows: countOrNull,
        bytes: countOrNull,
        truncated: z.boolean(),
        expires_at: countOrNull,
      })
      .nullable(),
    tags: z.record(text, text),
  })
  .meta({ id: 'Query' });
export type QueryDocument = Document<typeof queryDocument>;

export const queriesDocument = z.strictObject({ queries: z.array(queryDocument), next: orNull });

export const cancelledDocument = z.strictObject({
  outcome,
  result: z.literal('deleted').optional(),
});

/** A session as the contract shows it. `lost` is what the last death of its worker, or change of its sources, took along. */
export const sessionDocument = z
  .strictObject({
    session_id: text,
    name: orNull,
    owner: text,
    state: text,
    sources: z.array(text),
    created_at: count,
    expires_at: count,
    idle_expires_at: count,
    memory_limit: count,
    disk_limit: count,
    threads: count,
    disk_used_bytes: count,
    lost: z.array(text),
  })
  .meta({ id: 'Session' });

export const sessionsDocument = z.strictObject({ sessions: z.array(sessionDocument) });
export const sessionEndedDocument = z.strictObject({ session_id: text, state: z.literal('ended') });

/** A configured source, without anything secret. */
export const sourceDocument = z.strictObject({ alias: text, kind: text });
export const sourcesDocument = z.strictObject({ sources: z.array(sourceDocument) });
export const sourceCheckedDocument = z.strictObject({ alias: text, ok: z.literal(true), ms: count });
export const credentialsReplacedDocument = z.strictObject({ alias: text, version: count });

export const tablesDocument = z.strictObject({
  alias: text,
  tables: z.array(z.strictObject({ schema: text, name: text, kind: z.enum(['table', 'view']), sql: text })),
  next: orNull,
});
export const columnsDocument = z.strictObject({
  alias: text,
  schema: text,
  name: text,
  sql: text,
  columns: z.array(z.strictObject({ name: text, type: text, nullable: z.boolean() })),
});

export const exportDocument = z
  .strictObject({
    export_id: text,
    state,
    principal: text,
    format: text,
    compression: text,
    partition_by: z.array(text),
    file_size: countOrNull,
    destination: z.looseObject({ kind: text }),
    created_at: count,
    finished_at: countOrNull,
    expires_at: countOrNull,
    rows: countOrNull,
    bytes: countOrNull,
    attempts: count,
    worker: orNull,
    progress: progress.nullable(),
    error: problem.nullable(),
    files: z.array(z.strictObject({ path: text, bytes: count, url: orNull, url_expires_at: countOrNull })),
    tags: z.record(text, text),
  })
  .meta({ id: 'Export' });
export const exportsDocument = z.strictObject({ exports: z.array(exportDocument) });
export const exportDeletedDocument = z.strictObject({ outcome, files: z.enum(['deleted', 'none']) });

export const aliveDocument = z.strictObject({ status: z.literal('ok') });
/** The state of each pool by its name. */
export const readinessDocument = z.strictObject({ ready: z.boolean(), pools: z.record(text, text) });

/** One worker of `GET /v1/workers`. `queries` is how many it has run. */
export const workerDocument = z.strictObject({
  id: text,
  pool: text,
  pid: countOrNull,
  state: text,
  incarnation: count,
  query_id: orNull,
  session_id: orNull,
  rss_bytes: countOrNull,
  uptime_ms: count,
  queries: count,
});
export const workersDocument = z.strictObject({ workers: z.array(workerDocument) });

/** One node of the supervision tree, its children in the order of their start. */
export const supervisionDocument = z
  .strictObject({
    path: text,
    kind: z.enum(['worker', 'supervisor']),
    state: z.enum(['starting', 'running', 'stopping', 'stopped', 'restarting']),
    strategy: z.enum(['one_for_one', 'one_for_all', 'rest_for_one']).nullable(),
    restart: z.enum(['permanent', 'transient', 'temporary']).nullable(),
    incarnation: count,
    restarts: count,
    intensity: countOrNull,
    period_ms: countOrNull,
    backoff: z.strictObject({ attempt: count, delay_ms: z.number().min(0) }).nullable(),
    note: z.literal('spare').optional(),
    get children() {
      return z.array(supervisionDocument);
    },
  })
  .meta({ id: 'SupervisionNode' });

/** A restart that was accepted, and has not happened yet; `incarnation` is the one that ends. */
export const restartDocument = z.strictObject({ path: text, incarnation: count });

export const configDocument = z.looseObject({
  reload: z.looseObject({ version: count, loaded_at: count }),
});

export const reloadedDocument = z.strictObject({
  version: count,
  changes: z.array(z.strictObject({ path: text, effect: text })),
  warnings: z.array(z.strictObject({ path: text, message: text })),
});

export const crashesDocument = z.strictObject({
  crashes: z.array(crashSummarySchema.meta({ id: 'CrashSummary' })),
  next: orNull,
});
export const crashDocument = crashReportSchema.meta({ id: 'CrashReport' });

export const quarantineDocument = z.strictObject({
  quarantine: z.array(
    z.strictObject({
      fingerprint: text,
      statement: text,
      crash_ids: z.array(text),
      since: count,
      until: count,
      principals: z.array(text),
    }),
  ),
});
export const liftedDocument = z.strictObject({ lifted: count });

export const chaosDocument = z.strictObject({
  target: z.union([
    z.strictObject({ worker: text }),
    z.strictObject({ pool: text }),
    z.strictObject({ query: text, phase: text }),
  ]),
  fault: z.enum(FAULTS),
  worker: orNull,
});
