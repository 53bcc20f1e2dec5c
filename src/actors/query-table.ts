/**
 * The queries the server knows: those on their way, and the last ones that ended.
 *
 * Only the router changes it. It outlives the router's incarnations, so that a query whose router died is answered by the next
 * one rather than by nobody.
 */
import { Failure } from '../failures.ts';
import { maySeeQueriesOf, type Principal } from '../principal.ts';
import type { StoredResult } from '../results/result-store.ts';
import { sessionOfPool } from '../sessions/session-pool.ts';
import type { Job } from './job.ts';
import type {
  CancelOutcome,
  Delivery,
  QueryFilter,
  QueryProgress,
  QueryRequest,
  QueryResult,
  QueryView,
} from './query.ts';
import { QueryFeed } from './query-feed.ts';
import { isFinal, publicState, type QueryState } from './query-state.ts';

/** What a query needs until it ends. Statement, parameters and result are held by nothing else, and go with it. */
export interface PendingQuery {
  readonly request: QueryRequest;
  readonly job: Job;
  /** To be called once. */
  readonly settle: (outcome: QueryResult | Failure) => void;
  readonly onEnd: ((outcome: CancelOutcome) => void)[];
  /** What its sender hears where it is cancelled, if not just that. */
  stoppedFor: Failure | undefined;
  /** Told once it waits or is with a worker. */
  readonly onQueued: (() => void) | undefined;
}

export interface QueryRecord {
  readonly queryId: string;
  /** The name of whoever sent it. */
  readonly principal: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly pool: string;
  /** Undefined once it has ended. */
  pending: PendingQuery | undefined;
  /** Milliseconds since the epoch. */
  readonly submittedAt: number;
  /** On the actor system's clock. */
  readonly receivedAt: number;
  state: QueryState;
  /** Of the attempt at hand. */
  startedAt: number | undefined;
  /** Milliseconds that earlier attempts ran. */
  ranMs: number;
  /** What the last attempt died of; what the client hears unless another attempt begins. */
  crash: Failure | undefined;
  endedAt: number | undefined;
  runMs: number;
  rows: number | undefined;
  bytes: number | undefined;
  attempts: number;
  worker: string | undefined;
  progress: QueryProgress | undefined;
  /** For those who follow it; there is none until somebody does. */
  feed: QueryFeed | undefined;
  failure: Failure | undefined;
  readonly kept: KeptRecord | undefined;
}

/** What is kept of a query's result. */
export interface KeptRecord {
  readonly digest: string;
  readonly delivery: Delivery;
  readonly result: StoredResult;
  truncated: boolean;
}

export class QueryTable {
  readonly #records = new Map<string, QueryRecord>();
  /** Ended ones, oldest first. */
  readonly #ended: QueryRecord[] = [];
  /** Ended ones whose results are kept, or were: these are known as long as their results are. */
  readonly #keeping: QueryRecord[] = [];
  readonly #keep: number;
  readonly #now: () => number;
  readonly #run: string;
  /** Ids of followed queries that wait. */
  readonly #followed = new Set<string>();
  #tickets = 0;

  /** Keeps the last `keep` ended queries; `now` is the actor system's clock, `run` tells this server's events from another's. */
  constructor(keep: number, now: () => number, run = 'run') {
    this.#keep = keep;
    this.#now = now;
    this.#run = run;
  }

  /** The number of the next query to be admitted. */
  takeTicket(): number {
    this.#tickets += 1;
    return this.#tickets;
  }

  /** Takes the place of one with the same id. */
  add(record: QueryRecord): void {
    this.#records.delete(record.queryId);
    this.#records.set(record.queryId, record);
  }

  find(queryId: string): QueryRecord | undefined {
    return this.#records.get(queryId);
  }

  /** As {@link find}, for one who may not see every query. */
  findFor(principal: Principal, queryId: string): QueryRecord | undefined {
    const record = this.find(queryId);
    return record !== undefined && maySeeQueriesOf(principal, record.principal) ? record : undefined;
  }

  /** The feed of a query, made where there is none: it begins with where the query is. */
  follow(record: QueryRecord): QueryFeed {
    if (record.feed !== undefined) return record.feed;
    const feed = new QueryFeed(record.queryId, { run: this.#run });
    record.feed = feed;
    switch (publicState(record.state)) {
      case 'queued':
        this.#followed.add(record.queryId);
        // Before the queue has it, there is no place to tell.
        if (record.state === 'queued') feed.queued(this.#position(record));
        break;
      case 'running':
        feed.running(record.worker, record.attempts);
        if (record.progress !== undefined) feed.progress(record.progress);
        break;
      default:
        feed.ended(this.view(record));
    }
    return feed;
  }

  /** Tells followers of what waits in a pool how far that is; to be called when something there has moved. */
  tellPositions(pool: string): void {
    for (const queryId of this.#followed) {
      const record = this.#records.get(queryId);
      if (record === undefined || publicState(record.state) !== 'queued') this.#followed.delete(queryId);
      else if (record.pool === pool && record.state === 'queued') record.feed?.queued(this.#position(record));
    }
  }

  /** To be called when a followed query waits (again). */
  followWaiting({ queryId, pool }: QueryRecord): void {
    this.#followed.add(queryId);
    this.tellPositions(pool);
  }

  /** From 1, among those that wait in its pool. */
  #position({ pool, pending }: QueryRecord): number {
    const ticket = pending?.job.ticket ?? 0;
    const isAhead = (other: QueryRecord) =>
      other.pool === pool && other.state === 'queued' && (other.pending?.job.ticket ?? ticket) < ticket;
    return this.unfinished().filter(isAhead).length + 1;
  }

  unfinished(): QueryRecord[] {
    return [...this.#records.values()].filter(({ state }) => !isFinal(state));
  }

  /** To be told of each record that has reached a final state. */
  retire(record: QueryRecord): void {
    (record.kept?.result.state === 'kept' ? this.#keeping : this.#ended).push(record);
    while (this.#keeping.length > 0 && this.#keeping[0]?.kept?.result.state !== 'kept')
      this.#ended.push(this.#keeping.shift() as QueryRecord);
    while (this.#ended.length > this.#keep) this.#forget(this.#ended.shift() as QueryRecord);
  }

  #forget(record: QueryRecord): void {
    // Another one may have its id by now.
    if (this.#records.get(record.queryId) === record) this.#records.delete(record.queryId);
  }

  view(record: QueryRecord): QueryView {
    const now = record.endedAt ?? this.#now();
    return {
      queryId: record.queryId,
      state: publicState(record.state),
      pool: record.pool,
      principal: record.principal,
      submittedAt: record.submittedAt,
      queueMs: queueMs(record, now),
      runMs: isFinal(record.state)
        ? record.runMs
        : record.startedAt === undefined
          ? record.ranMs
          : record.ranMs + now - record.startedAt,
      rows: record.rows,
      bytes: record.bytes,
      attempts: record.attempts,
      worker: record.worker,
      progress: record.progress,
      error: record.failure,
      kept: record.kept && {
        state: record.kept.result.state,
        digest: record.kept.digest,
        delivery: record.kept.delivery,
        truncated: record.kept.truncated,
        expiresAt: record.kept.result.expiresAt,
      },
      tags: record.tags,
    };
  }

  /**
   * What the principal may see, newest first. The cursor is the id of the last one shown, and so one of these; one that
   * it may not see is as unknown as one that never was.
   */
  list(
    filter: QueryFilter,
    principal: Principal,
  ): { queries: readonly QueryView[]; next: string | undefined } {
    const newest = [...this.#records.values()]
      .filter((record) => maySeeQueriesOf(principal, record.principal))
      .reverse();
    const start = filter.cursor === undefined ? 0 : this.#after(newest, filter.cursor);
    const matching = newest
      .slice(start)
      .map((record) => this.view(record))
      .filter((view) => filter.state === undefined || view.state === filter.state)
      .filter(({ pool }) => filter.session === undefined || sessionOfPool(pool) === filter.session)
      .filter((view) => filter.pool === undefined || view.pool === filter.pool);
    const queries = matching.slice(0, filter.limit);
    const last = matching.length > filter.limit ? queries.at(-1) : undefined;
    return {
      queries,
      next: last === undefined ? undefined : Buffer.from(last.queryId).toString('base64url'),
    };
  }

  #after(newest: readonly QueryRecord[], cursor: string): number {
    const queryId = Buffer.from(cursor, 'base64url').toString();
    const index = newest.findIndex((record) => record.queryId === queryId);
    if (index !== -1) return index + 1;
    const message = 'this cursor is none of ours, or too old; begin without one';
    throw new Failure('INVALID_REQUEST', `cursor: ${message}`, {
      members: { errors: [{ path: 'cursor', message }] },
    });
  }
}

/** Milliseconds it waited for its worker, for every one of its attempts. */
export function queueMs({ startedAt, receivedAt, ranMs }: QueryRecord, now: number): number {
  return Math.max(0, (startedAt ?? now) - receivedAt - ranMs);
}
