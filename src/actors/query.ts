/**
 * A query as the API process knows it: what was asked, what became of it, and the service that answers both.
 * Results are opaque bytes here; only a worker ever looks at a row.
 */
import type { InlineSource } from '../config/inline-sources.ts';
import type { Failure } from '../failures.ts';
import type { Principal } from '../principal.ts';
import type { ExportSpec, Progress, ResultOutput } from '../workers/protocol.ts';
import type { ResultSink } from './job.ts';
import type { QueryFeed } from './query-feed.ts';

/** A DuckDB value as it stands in `params`: a JSON value, or one with its type said. */
export type QueryParameter = unknown;

export interface QueryRequest {
  /** The client's `query_id`, or one made for it. */
  readonly queryId: string;
  readonly sql: string;
  /** An array for `?` and `$1`, a record for `$name`. */
  readonly params: readonly QueryParameter[] | Readonly<Record<string, QueryParameter>> | undefined;
  readonly rowFormat: 'arrays' | 'objects';
  /** What a result is streamed as; undefined for the JSON reply. */
  readonly output: ResultOutput | undefined;
  /** Aliases of configured sources. */
  readonly sources: readonly string[];
  /** Sources that it brings along. None has the alias of another one of the request; it may have that of a configured one. */
  readonly inline?: readonly InlineSource[];
  /** They are connected to, whatever a worker has kept of them. */
  readonly attachAnew?: boolean;
  /** Every view of its sources is there, be it named or not. */
  readonly allViews?: boolean;
  readonly pool: string | undefined;
  /** The session it runs in. */
  readonly session?: string | undefined;
  readonly timeoutMs: number | undefined;
  readonly queueTimeoutMs: number | undefined;
  readonly rowLimit: number | undefined;
  /** Bytes of `data`; the result stops before it is passed. */
  readonly byteLimit: number | undefined;
  /** Bytes. */
  readonly memoryLimit: number | undefined;
  readonly threads: number | undefined;
  /** Its result is kept rather than sent. */
  readonly keep?: KeepRequest | undefined;
  /** What it reads is a page of a kept result, in this file. `sql` only names it. */
  readonly kept?: { readonly path: string; readonly offset: number; readonly limit: number } | undefined;
  /** Its result is not sent but becomes files. */
  readonly export?: ExportSpec | undefined;
  /** True where statements that write are refused whatever the configuration says (`GET /v1/query`). */
  readonly readOnly: boolean;
  readonly tags: Readonly<Record<string, string>>;
  readonly principal: Principal;
  /** The address that it came from. */
  readonly client?: string | undefined;
}

/** How a result is written. */
export type Delivery = Pick<QueryRequest, 'output' | 'rowFormat'>;

export interface KeepRequest {
  /** Tells the body of one submission from that of another. */
  readonly digest: string;
  /** Unless it is asked for otherwise. */
  readonly delivery: Delivery;
}

/** A kept result, for one who may have it. */
export interface KeptView {
  readonly state: 'writing' | 'kept' | 'dropped';
  readonly digest: string;
  readonly delivery: Delivery;
  readonly truncated: boolean;
  /** Milliseconds since the epoch; of one that is kept. */
  readonly expiresAt: number | undefined;
}

/** One that is being read: its file stays until `release`. */
export interface OpenResult {
  readonly path: string;
  readonly release: () => void;
}

/** Where a query is that takes its time. */
export type QueryProgress = Omit<Progress, 'type' | 'seq'>;

export interface QueryStats {
  readonly queueMs: number;
  readonly runMs: number;
  readonly totalMs: number;
  readonly rows: number;
  readonly bytes: number;
  readonly peakMemoryBytes: number;
  /** The id of the worker that ran it. */
  readonly worker: string;
  readonly attempts: number;
}

export interface QueryResult {
  /** The members `"columns":[...],"data":[...]` of the JSON reply, encoded by the worker, in pieces. Nothing where it was streamed. */
  readonly body: readonly Uint8Array[];
  readonly rowCount: number;
  readonly truncated: boolean;
  readonly stats: QueryStats;
}

/** The states a client sees; the router's own are finer. */
export type QueryPublicState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';

/** One line of `GET /v1/queries`. Times in milliseconds, `submittedAt` since the epoch. */
export interface QueryView {
  readonly queryId: string;
  readonly state: QueryPublicState;
  readonly pool: string;
  /** The name of whoever sent it. */
  readonly principal: string;
  readonly submittedAt: number;
  readonly queueMs: number;
  readonly runMs: number;
  readonly rows: number | undefined;
  readonly bytes: number | undefined;
  readonly attempts: number;
  readonly worker: string | undefined;
  /** The latest word on it; undefined for one that never took its time. */
  readonly progress: QueryProgress | undefined;
  readonly error: Failure | undefined;
  /** Undefined where the result went to whoever sent the query. */
  readonly kept: KeptView | undefined;
  readonly tags: Readonly<Record<string, string>>;
}

export type CancelOutcome = 'cancelled' | 'killed' | 'already_finished';

export interface RunningQuery {
  readonly queryId: string;
  /** Settles exactly once: with the result, or with a {@link Failure}. */
  readonly result: Promise<QueryResult>;
  /** Stops the query, for its client is gone, or as somebody else wants it. Nothing happens if it has ended. */
  abandon(cancelledBy?: string): void;
}

export interface QueryFilter {
  readonly state: QueryPublicState | undefined;
  readonly session?: string | undefined;
  readonly pool: string | undefined;
  readonly limit: number;
  readonly cursor: string | undefined;
}

/** A query that a principal may not see is to it a query that does not exist. */
export interface QueryService {
  /**
   * Never throws: refusals (unknown pool, full queue, reused id) are rejections of `result`. A `sink` gets the bytes as they
   * come; without one they are the result's `body`. `onFeed` is told what to follow it by, once it is admitted.
   */
  run(request: QueryRequest, sink?: ResultSink, onFeed?: (feed: QueryFeed) => void): RunningQuery;
  /**
   * Begins a query whose result is kept, for a request that has `keep`. Resolves with what is known of it once it waits, runs, or
   * has ended; rejects with a {@link Failure} where it is refused. The same submission again is the same query.
   */
  submit(request: QueryRequest): Promise<QueryView>;
  /** Resolves once the query has ended, or is none. */
  ended(queryId: string): Promise<void>;
  /** The kept result of a query; undefined where it has none (any more). */
  open(queryId: string, principal: Principal): OpenResult | undefined;
  /** Deletes the kept result of a query: whether there was one. */
  dropResult(queryId: string, principal: Principal): boolean;
  /** Resolves once no query waits or runs. */
  idle(): Promise<void>;
  /** What a query is followed by; undefined for one that is unknown. */
  follow(queryId: string, principal: Principal): QueryFeed | undefined;
  get(queryId: string, principal: Principal): QueryView | undefined;
  /** Newest first. `next` continues the listing. Throws a {@link Failure} for a cursor that is not ours. */
  list(
    filter: QueryFilter,
    principal: Principal,
  ): { readonly queries: readonly QueryView[]; readonly next: string | undefined };
  /**
   * In the name of the principal. Resolves once the query has really stopped; `undefined` for an unknown id. Its sender hears
   * `QUERY_CANCELLED`, or `failure` where there is one.
   */
  cancel(queryId: string, principal: Principal, failure?: Failure): Promise<CancelOutcome | undefined>;
}
