/** A query that is let in: what its job and its record begin with, and which submission is another one once more. */
import { Failure } from '../failures.ts';
import type { QueryAsked } from '../telemetry/events.ts';
import type { Job, ResultSink } from './job.ts';
import type { Placement } from './placement.ts';
import type { QueryRequest, QueryResult } from './query.ts';
import type { KeptRecord, QueryRecord } from './query-table.ts';
import { sourceNames } from './source-names.ts';

/** What becomes of a query that is let in. */
export interface Submission {
  readonly sink: ResultSink | undefined;
  readonly settle: (outcome: QueryResult | Failure) => void;
  readonly kept: KeptRecord | undefined;
  readonly onQueued: (() => void) | undefined;
  readonly isFollowed: boolean;
}

/** `ticket` is its place in the order of admission, `now` on the actor system's clock. */
export function newQuery(
  request: QueryRequest,
  placement: Placement,
  { sink, settle, kept, onQueued, isFollowed }: Submission,
  { ticket, now }: { readonly ticket: number; readonly now: number },
): { readonly record: QueryRecord; readonly job: Job } {
  const { queryId, principal, tags } = request;
  const { pool, statement, timeoutMs, queueTimeoutMs } = placement;
  const keep = kept && { path: kept.result.path, maxBytes: kept.result.maxBytes };
  const buffer = new BufferSink();
  const job: Job = {
    queryId,
    ticket,
    statement: keep === undefined ? statement : { ...statement, keep },
    timeoutMs,
    queueTimeoutMs,
    queueDeadline: now + queueTimeoutMs,
    origin: { principal, sources: sourceNames(request) },
    ranMs: 0,
    attempt: 1,
    sink: kept?.result ?? sink ?? buffer,
    tellsThatItWaits: isFollowed || onQueued !== undefined,
    cancelledBy: undefined,
    holder: undefined,
  };
  const record: QueryRecord = {
    queryId,
    principal: principal.name,
    tags,
    pool,
    pending: {
      request,
      job,
      settle: (outcome) => settle(outcome instanceof Failure ? outcome : { ...outcome, body: buffer.take() }),
      onEnd: [],
      stoppedFor: undefined,
      onQueued,
    },
    submittedAt: Date.now(),
    receivedAt: now,
    state: 'received',
    startedAt: undefined,
    ranMs: 0,
    crash: undefined,
    endedAt: undefined,
    runMs: 0,
    rows: undefined,
    bytes: undefined,
    attempts: 0,
    worker: undefined,
    progress: undefined,
    feed: undefined,
    failure: undefined,
    kept,
  };
  return { record, job };
}

/** What is told of a request (telemetry/events.ts). */
export function asked(request: QueryRequest): QueryAsked {
  const { principal, client, session, sql, kept, tags } = request;
  return {
    principal: principal.name,
    role: principal.role,
    client,
    session,
    sources: sourceNames(request),
    sql,
    resultOf: kept === undefined ? undefined : tags.result_of,
  };
}

/** Whether the request is the one that the query came from, sent again by the same principal. */
export function isSame({ principal, kept }: QueryRecord, request: QueryRequest): boolean {
  const { keep } = request;
  return keep !== undefined && kept?.digest === keep.digest && principal === request.principal.name;
}

/** One whose result would have been kept, and that was turned away before it began: whoever sends it again means it. */
export function isVacant({ kept, state, attempts, failure }: QueryRecord): boolean {
  return kept !== undefined && state === 'failed' && attempts === 0 && failure?.retryable === true;
}

/** A result that is sent whole: bounded by the `maxBytes` of its statement. */
class BufferSink implements ResultSink {
  readonly committed = false;
  readonly delivered = 0;
  #pieces: Uint8Array[] = [];

  write(bytes: Uint8Array): undefined {
    this.#pieces.push(bytes);
  }

  reset(): void {
    this.#pieces = [];
  }

  discard(): void {}

  /** The whole of it, which is then with the caller alone. */
  take(): readonly Uint8Array[] {
    const pieces = this.#pieces;
    this.#pieces = [];
    return pieces;
  }
}
