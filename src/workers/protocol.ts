/**
 * The control protocol between the API process and a worker process: small messages, one JSON document a line,
 * over a socket pair of their own. Result bytes take another one (data-frames.ts), or a named pipe (result-pipe.ts).
 *
 * Both sides check every message they receive: a worker is native code that may write anything, and what it
 * writes must end that worker and nothing else. This is also why it is not node's own IPC channel, which throws
 * an uncatchable error in the parent when a line is not JSON.
 *
 * ```
 *   parent                                  worker
 *     | -- configure ------------------------> |   limits, folders; before DuckDB is loaded
 *     | <------------------------------ ready -|   versions
 *     | -- run(1), run(2) -------------------> |   2 waits: the dispatch window
 *     | <-------------------------- finished 1-|   the verdict, with a small result; a large one took the data pipe
 *     | -- withdraw(2) ----------------------> |   only if 2 has not begun
 *     | <------------------------- withdrawn 2-|
 *     | -- interrupt(3) ---------------------> |
 *     | <----------- progress(3), now and then-|   of one that takes its time
 *     | <------------------ heartbeat (always)-|
 * ```
 */
import { z } from 'zod';

/** Raised with every change that an older peer would misread. A worker of another version is not used. */
export const PROTOCOL_VERSION = 4;

/** File descriptors of a worker process. */
export const CONTROL_FD = 3;
export const DATA_FD = 4;

/** Where in a statement's life a worker is; what a crash report and a fault are told by. */
export const PHASES = [
  'starting',
  'idle',
  'attaching',
  'preparing',
  'running',
  'replying',
  'cancelling',
] as const;
export type Phase = (typeof PHASES)[number];

/** Faults that a worker does not live through. */
export const DEADLY_FAULTS = [
  'sigsegv',
  'sigabrt',
  'sigkill',
  'sigstop',
  'exit',
  'exit-0',
  'exit-1',
  'hang',
  'oom',
  'channel-garbage',
  'channel-close',
  'heartbeat-loss',
] as const;
export type DeadlyFault = (typeof DEADLY_FAULTS)[number];
/** Those that a worker is told of while it lives. */
export const INJECTED_FAULTS = [...DEADLY_FAULTS, 'disk-full', 'stale-catalogs'] as const;
export type InjectedFault = (typeof INJECTED_FAULTS)[number];
/** Those that it is started with. */
export const START_FAULTS = ['slow-start', 'crash-at-start'] as const;
export type StartFault = (typeof START_FAULTS)[number];

/** Faults a worker can have, where the configuration allows chaos. */
export const FAULTS = [...INJECTED_FAULTS, ...START_FAULTS] as const;
export type Fault = (typeof FAULTS)[number];

export function isStartFault(fault: Fault): fault is StartFault {
  return START_FAULTS.some((name) => name === fault);
}

const seq = z.number().int().nonnegative();
const count = z.number().int().nonnegative();
const name = z.string().min(1);

/** A database server, in the terms of its own client library (`options`). */
const server = {
  alias: name,
  host: name,
  port: count,
  user: z.string().optional(),
  password: z.string().optional(),
  database: z.string().optional(),
  options: z.record(z.string(), z.string()),
  /** Milliseconds in which it answers, whenever it is asked whether it is there; undefined where nobody asks. */
  connectTimeoutMs: count.min(1).optional(),
  readOnly: z.boolean(),
  /** `postgres_query` and `mysql_query` may be called with it. */
  remoteQuery: z.boolean().optional(),
};

/** Views that the configuration names. */
const views = z.array(
  z.strictObject({ name, path: name, format: z.enum(['parquet', 'csv', 'json']).optional() }),
);

const postgres = z.strictObject({ kind: z.literal('postgres'), ...server });

const bucket = z.strictObject({
  kind: z.literal('s3'),
  alias: name,
  /** `s3://bucket/prefix/`: every path of the source is below it. */
  url: name,
  region: name,
  /** `host:port`; Amazon's own without it. */
  endpoint: name.optional(),
  urlStyle: z.enum(['vhost', 'path']),
  useSsl: z.boolean(),
  keyId: z.string().optional(),
  secret: z.string().optional(),
  sessionToken: z.string().optional(),
  sslCa: name.optional(),
  /** Each a path or glob below `url`. */
  views,
});

/** A source as a worker attaches it: what it is, and the credentials this query needs. Never logged. */
const attachment = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('ducklake'),
    alias: name,
    /** Where its catalog is: a file of DuckDB's, or a server. */
    catalog: z.discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('file'), path: name }),
      postgres,
    ]),
    /** The schema that its catalog has there; DuckDB's default without it. */
    metadataSchema: name.optional(),
    /** Ends with a `/`: a folder, or a URL below that of `bucket`. */
    dataPath: name,
    bucket: bucket.optional(),
    readOnly: z.boolean(),
  }),
  postgres,
  z.strictObject({ kind: z.literal('mysql'), ...server }),
  z.strictObject({ kind: z.literal('sqlite'), alias: name, path: name, readOnly: z.boolean() }),
  z.strictObject({ kind: z.literal('duckdb'), alias: name, path: name }),
  z.strictObject({
    kind: z.literal('files'),
    alias: name,
    path: name,
    /** Each a path or glob below `path`. */
    views,
  }),
  bucket,
  z.strictObject({
    kind: z.literal('http'),
    alias: name,
    /** `https://host/folder/`: every path of the source is below it. */
    url: name,
    bearerToken: z.string().optional(),
    headers: z.record(z.string(), z.string()),
    sslCa: name.optional(),
    /** Each a path below `url`. */
    views,
  }),
]);
export type Attachment = z.infer<typeof attachment>;

const configure = z.strictObject({
  type: z.literal('configure'),
  version: z.literal(PROTOCOL_VERSION),
  worker: name,
  /** The private run folder; spill goes to a folder inside it. */
  folder: name,
  threads: count.min(1),
  memoryLimit: count,
  /** Bytes of the data segment, set before the program began; more than half of it held means a new worker. */
  memoryHardLimit: count,
  tempLimit: count,
  /** Which to load at once, which when a source needs them, and the folder they are in (src/extensions/layout.ts). */
  extensions: z.strictObject({ directory: name, names: z.array(name), onDemand: z.array(name).optional() }),
  allowFunctions: z.array(z.string()),
  heartbeatMs: count.min(1),
  niceness: z.number().int(),
  /** The database file of a session: this worker is that session's, and keeps one instance for it. */
  workspace: name.optional(),
  /** How many instances are kept with sources attached, and for how many milliseconds after their last statement. */
  attached: z.strictObject({ max: count, idleMs: count }).optional(),
  /** Whether `fault` messages, and `startFault`, are obeyed. */
  chaos: z.boolean(),
  startFault: z.enum(START_FAULTS).optional(),
});
export type Configure = z.infer<typeof configure>;

/** What a result is streamed as. */
const output = z.discriminatedUnion('format', [
  z.strictObject({ format: z.literal('ndjson'), rows: z.enum(['arrays', 'objects']) }),
  z.strictObject({
    format: z.literal('csv'),
    header: z.boolean(),
    /** One character. */
    delimiter: z.string(),
    /** What stands for NULL. */
    null: z.string(),
  }),
  z.strictObject({ format: z.literal('arrow') }),
  z.strictObject({ format: z.literal('parquet') }),
]);
export type ResultOutput = z.infer<typeof output>;

/** A result that becomes files. */
const exportSpec = z.strictObject({
  /** An empty folder, in which nothing else is written. */
  folder: name,
  format: z.enum(['parquet', 'csv', 'ndjson']),
  compression: z.enum(['none', 'gzip', 'zstd', 'snappy', 'lz4']),
  /** Columns whose values are folders (Hive partitioning). */
  partitionBy: z.array(name),
  /** Bytes after which a file is followed by another one; undefined for one file. */
  fileBytes: count.min(1).optional(),
  csv: z.strictObject({ header: z.boolean(), delimiter: z.string(), null: z.string() }),
  /** Bytes that all of the files may have. */
  maxBytes: count,
});
export type ExportSpec = z.infer<typeof exportSpec>;

const run = z.strictObject({
  type: z.literal('run'),
  seq,
  sql: z.string(),
  params: z.union([z.array(z.unknown()), z.record(z.string(), z.unknown())]).optional(),
  rowFormat: z.enum(['arrays', 'objects']),
  /** The members of a JSON reply without. */
  output: output.optional(),
  /** The result is not sent but kept, in a DuckDB database that is not there yet and may have so many bytes. */
  keep: z.strictObject({ path: name, maxBytes: count }).optional(),
  /** What is read is a page of a result that was kept; `sql` only names it. */
  kept: z.strictObject({ path: name, offset: count, limit: count }).optional(),
  /** The result is not sent but becomes files. */
  export: exportSpec.optional(),
  rowLimit: count.optional(),
  byteLimit: count.optional(),
  /** Bytes of `data` past which a JSON result is refused rather than cut. */
  maxBytes: count,
  attachments: z.array(attachment),
  /** Whose statement it is: what is attached for it is kept for nobody else. */
  owner: name.optional(),
  /** Its sources are connected to, whatever is kept. */
  attachAnew: z.boolean().optional(),
  /** Every view of a folder is made, be it named or not. */
  allViews: z.boolean().optional(),
  memoryLimit: count.optional(),
  threads: count.min(1).optional(),
  /** Statements other than reads are allowed. */
  write: z.boolean(),
});
export type Run = z.infer<typeof run>;

const parentMessage = z.discriminatedUnion('type', [
  configure,
  run,
  z.strictObject({ type: z.literal('interrupt'), seq }),
  z.strictObject({ type: z.literal('withdraw'), seq }),
  z.strictObject({ type: z.literal('shutdown') }),
  /** The first bytes that this statement wrote to the result pipe are here. */
  z.strictObject({ type: z.literal('flowing'), seq }),
  /** So are the last ones. */
  z.strictObject({ type: z.literal('taken'), seq }),
  z.strictObject({
    type: z.literal('fault'),
    fault: z.enum(INJECTED_FAULTS),
    /** It waits until the worker enters this phase; undefined for at once. */
    phase: z.enum(PHASES).optional(),
    /** Of this statement alone. */
    seq: seq.optional(),
  }),
]);
export type ParentMessage = z.infer<typeof parentMessage>;

/** Why a statement failed inside a worker that lives on. */
const failed = z.strictObject({
  ok: z.literal(false),
  code: z.enum([
    'SQL_ERROR',
    'INVALID_REQUEST',
    'FORBIDDEN',
    'MEMORY_LIMIT',
    'DISK_LIMIT',
    'RESULT_TOO_LARGE',
    'SOURCE_UNAVAILABLE',
    'INTERRUPTED',
  ]),
  detail: z.string(),
  members: z.record(z.string(), z.unknown()),
});
export type FailedVerdict = z.infer<typeof failed>;

const succeeded = z.strictObject({ ok: z.literal(true), rows: count, truncated: z.boolean() });

const finished = z.strictObject({
  type: z.literal('finished'),
  seq,
  verdict: z.discriminatedUnion('ok', [succeeded, failed]),
  /** Bytes sent down the data pipe for this statement. */
  bytes: count,
  /** Of the files that the result is kept in, or has become. */
  keptBytes: count.optional(),
  /** The whole result where it is small; else it went down the data pipe. */
  body: z.string().optional(),
  runMs: z.number().nonnegative(),
  peakMemoryBytes: count,
  /** Of a session: names of what is in this process's memory alone. */
  volatile: z.array(z.string()).optional(),
  /** Of a session: what of that is gone since its sources are others than before. */
  lost: z.array(z.string()).optional(),
  /**
   * This worker must be replaced before its next statement: DuckDB says that it is broken though the process lives, memory it
   * took does not come back, or a native call waits for a server that is gone, so that the process cannot even end by itself.
   */
  retire: z.enum(['broken', 'memory', 'stuck']).optional(),
});
export type Finished = z.infer<typeof finished>;

/** Where a statement is that takes its time. */
const progress = z.strictObject({
  type: z.literal('progress'),
  seq,
  /** As DuckDB estimates it; undefined where it cannot. */
  percentage: z.number().min(0).max(100).optional(),
  /** That DuckDB has taken in, of tables and files. */
  rows: count,
  /** Of the result, written so far; not those that DuckDB wrote to the result pipe. */
  bytes: count,
  /** Of the process. */
  memoryBytes: count,
});
export type Progress = z.infer<typeof progress>;

const ready = z.strictObject({
  type: z.literal('ready'),
  version: z.literal(PROTOCOL_VERSION),
  duckdb: name,
  node: name,
});
export type Ready = z.infer<typeof ready>;

const workerMessage = z.discriminatedUnion('type', [
  ready,
  finished,
  z.strictObject({ type: z.literal('withdrawn'), seq }),
  progress,
  /** This statement may write to the result pipe from now on; it does so no more. */
  z.strictObject({ type: z.literal('piping'), seq }),
  z.strictObject({ type: z.literal('piped'), seq }),
  z.strictObject({ type: z.literal('heartbeat') }),
  /** The worker cannot start or go on and says why, before it exits. */
  z.strictObject({
    type: z.literal('failed'),
    detail: z.string(),
    /** It is the session's workspace that DuckDB cannot open, and no other process could. */
    damagedWorkspace: z.boolean().optional(),
  }),
]);
export type WorkerMessage = z.infer<typeof workerMessage>;

export const decodeParentMessage = (value: unknown): ParentMessage => parentMessage.parse(value);
export const decodeWorkerMessage = (value: unknown): WorkerMessage => workerMessage.parse(value);
