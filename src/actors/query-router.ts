/**
 * The query router: admission, placement, and the one place where a query's state changes.
 *
 * Whatever becomes of workers, queues and clients, each submitted query is settled exactly once: with a result or with a
 * failure. Reports that come too late, about queries that have ended, change nothing.
 *
 * A query is always with somebody, a queue or a worker, who reports its end. One whose holder is gone without a word was
 * still in that actor's mailbox: it goes back to the queue, or is turned away where there is none.
 */
import { Failure, shuttingDown, toFailure } from '../failures.ts';
import type { Principal } from '../principal.ts';
import type { StoredResult } from '../results/result-store.ts';
import type { Events } from '../telemetry/events.ts';
import type { ActorContext, ActorOptions, AnyActorRef } from './actor.ts';
import type { Directory, Key } from './directory.ts';
import type { Job, JobEnd, JobReport, ResultSink } from './job.ts';
import type { Placement } from './placement.ts';
import type { PoolQueueMessage } from './pool-queue.ts';
import type { CancelOutcome, QueryRequest, QueryResult } from './query.ts';
import { failureToTell, lostRouter } from './query-failure.ts';
import type { QueryFeed } from './query-feed.ts';
import { mayBecome, type QueryState } from './query-state.ts';
import { asked, isSame, isVacant, newQuery, type Submission } from './query-submission.ts';
import {
  type KeptRecord,
  type PendingQuery,
  type QueryRecord,
  type QueryTable,
  queueMs,
} from './query-table.ts';
import { withSourceHint } from './source-hint.ts';
import { sourceNames } from './source-names.ts';

export type QueryRouterMessage =
  | {
      readonly type: 'submit';
      readonly request: QueryRequest;
      /** Gets the result's bytes as they come. */
      readonly sink?: ResultSink | undefined;
      /** Told what to follow the query by, once it is admitted. */
      readonly onFeed?: ((feed: QueryFeed) => void) | undefined;
      readonly settle: (outcome: QueryResult | Failure) => void;
      /** Told once it waits or is with a worker; also where it is a query that is there already. */
      readonly onQueued?: () => void;
    }
  /** Told once this query has ended. */
  | { readonly type: 'await-end'; readonly queryId: string; readonly reply: () => void }
  /** Told once no query waits or runs. */
  | { readonly type: 'idle'; readonly reply: () => void }
  | {
      readonly type: 'cancel';
      readonly queryId: string;
      /** Who wants it cancelled. */
      readonly principal: Principal;
      /** What its sender hears in place of `QUERY_CANCELLED`. */
      readonly failure?: Failure | undefined;
      /** Told once the query has really stopped; undefined for an id that is unknown, or not the principal's to see. */
      readonly reply: (outcome: CancelOutcome | undefined) => void;
    }
  /** What these principals have waiting or running is to stop: the key it came with, or what that allowed, is not what it was. */
  | { readonly type: 'revoke'; readonly principals: ReadonlySet<string> }
  /** The client of this submission is gone; another one that was refused for the same id is none of it. */
  | { readonly type: 'abandon'; readonly request: QueryRequest; readonly cancelledBy: string }
  | { readonly type: 'holder-gone'; readonly holder: AnyActorRef }
  /** Whoever waits for a query is not to wait any more; with `kept`, nor is any other one to go on, for the server ends. */
  | { readonly type: 'turn-away'; readonly kept: boolean }
  | JobReport;

export interface QueryRouterOptions {
  readonly key: Key<QueryRouterMessage>;
  readonly directory: Directory;
  readonly table: QueryTable;
  /** Decides where a query runs and within which limits; throws a {@link Failure} for what it refuses. */
  readonly place: (request: QueryRequest) => Placement;
  /** A place for a result that is to be kept; throws a {@link Failure} where there is none. */
  readonly beginResult: () => StoredResult;
  readonly queueKey: (pool: string) => Key<PoolQueueMessage>;
  /** Aliases of the configured sources. */
  readonly sources: () => readonly string[];
  /** Why this query is not to run in that pool, for what went before. */
  readonly refusal: (request: QueryRequest, pool: string) => Failure | undefined;
  /** Why its principal has to wait before it sends another one; otherwise counts it. */
  readonly overQuota: (request: QueryRequest) => Failure | undefined;
  /** So many bytes of its result have gone to the client. */
  readonly delivered: (request: QueryRequest, bytes: number) => void;
  /** A query has ended, with this failure if any. */
  readonly onEnd: (job: Job, failure: Failure | undefined) => void;
  /** How often a read is tried again whose worker died before a byte of it reached the client. */
  readonly maxRetries: () => number;
  /** Why a pool without a queue takes no query. */
  readonly unavailable: (pool: string) => Failure;
  readonly events: Events;
}

export function queryRouter(options: QueryRouterOptions): Omit<ActorOptions<QueryRouterMessage>, 'name'> {
  return {
    // Bounded by what the HTTP server lets in; a lost report would be a query without an answer.
    mailbox: Number.POSITIVE_INFINITY,
    init: (context) => {
      options.directory.register(options.key, context.self);
      const router = new QueryRouter(options, context);
      router.failUnfinished(lostRouter());
      return {
        receive: (message) => router.receive(message),
        terminate: (exit) => {
          if (exit.kind === 'shutdown') {
            router.failUnfinished(shuttingDown());
          }
        },
      };
    },
  };
}

/** Who cancels the queries of a principal whose key or rights have changed. */
const REVOKED = 'a reload that changed the key or the rights of its principal';

class QueryRouter {
  readonly #options: QueryRouterOptions;
  readonly #context: ActorContext<QueryRouterMessage>;
  readonly #watched = new Set<AnyActorRef>();
  readonly #awaitIdle: (() => void)[] = [];

  constructor(options: QueryRouterOptions, context: ActorContext<QueryRouterMessage>) {
    this.#options = options;
    this.#context = context;
  }

  receive(message: QueryRouterMessage): void {
    switch (message.type) {
      case 'submit':
        this.#submit(message);
        return;
      case 'cancel':
        this.#cancel(message);
        return;
      case 'await-end':
        this.#awaitEnd(message.queryId, message.reply);
        return;
      case 'idle':
        this.#awaitIdle.push(message.reply);
        this.#sayIdle();
        return;
      case 'abandon':
        this.#abandon(message.request, message.cancelledBy);
        return;
      case 'revoke':
        this.#revoke(message.principals);
        return;
      case 'turn-away':
        this.failUnfinished(shuttingDown(), message.kept);
        return;
      case 'holder-gone':
        this.#holderGone(message.holder);
        return;
      case 'ended':
        this.#ended(message.queryId, message.end);
        return;
      case 'dispatched':
      case 'running':
      case 'streaming':
      case 'progress':
      case 'waiting':
      case 'requeued':
        this.#progress(message);
        return;
      default:
        message satisfies never;
    }
  }

  /** For a router that begins or ends: nobody else would answer these, nor free their workers. */
  failUnfinished(failure: Failure, keptToo = true): void {
    for (const record of this.#options.table.unfinished()) {
      if (record.kept !== undefined && !keptToo) continue;
      if (record.pending !== undefined) stopJob(record.pending, 'the server');
      if (record.startedAt !== undefined) {
        record.runMs = record.ranMs + this.#context.system.clock.now() - record.startedAt;
      }
      this.#settle(record, 'failed', failure);
    }
  }

  #submit({
    request,
    sink,
    onFeed,
    onQueued,
    settle,
  }: QueryRouterMessage & { readonly type: 'submit' }): void {
    const { table, place } = this.#options;
    const reject = (failure: Failure): void => {
      settle(failure);
      const { queryId } = request;
      this.#options.events.emit('query.rejected', { queryId, code: failure.code, asked: asked(request) });
    };
    const known = table.find(request.queryId);
    if (known !== undefined && isSame(known, request) && !isVacant(known)) {
      onQueued?.();
      return;
    }
    if (known !== undefined && !(isVacant(known) && known.principal === request.principal.name)) {
      reject(new Failure('QUERY_ID_REUSED', `The query_id ${request.queryId} is taken; choose another one.`));
      return;
    }
    let placement: Placement;
    let kept: KeptRecord | undefined;
    try {
      placement = place(request);
    } catch (error) {
      reject(toFailure(error));
      return;
    }
    const { refusal: crashRefusal, overQuota } = this.#options;
    const refusal = crashRefusal(request, placement.pool) ?? overQuota(request);
    if (refusal !== undefined) {
      reject(refusal);
      return;
    }
    try {
      kept = request.keep && { ...request.keep, result: this.#options.beginResult(), truncated: false };
    } catch (error) {
      reject(toFailure(error));
      return;
    }
    const { record, job } = this.#admit(request, placement, {
      sink,
      settle,
      kept,
      onQueued,
      isFollowed: onFeed !== undefined,
    });
    if (onFeed !== undefined) onFeed(this.#options.table.follow(record));
    this.#toQueue(record, job, { type: 'enqueue', job });
  }

  #toQueue(record: QueryRecord, job: Job, message: PoolQueueMessage): void {
    const { directory, queueKey, unavailable } = this.#options;
    const queue = directory.whereis(queueKey(record.pool));
    if (queue?.tell(message) !== 'accepted') {
      this.#settle(record, 'failed', unavailable(record.pool));
      return;
    }
    job.holder = queue;
    this.#watch(job);
    if (record.state !== 'queued') this.#to(record, 'queued');
  }

  #admit(
    request: QueryRequest,
    placement: Placement,
    submission: Submission,
  ): { readonly record: QueryRecord; readonly job: Job } {
    const { table, events } = this.#options;
    const now = this.#context.system.clock.now();
    const { record, job } = newQuery(request, placement, submission, { ticket: table.takeTicket(), now });
    table.add(record);
    this.#to(record, 'admitted');
    const { queryId, principal, tags } = request;
    const { pool } = placement;
    const sources = sourceNames(request);
    events.emit('query.started', { queryId, pool, principal: principal.name, sources, tags });
    return { record, job };
  }

  #progress(report: Exclude<JobReport, { type: 'ended' }>): void {
    const record = this.#options.table.find(report.queryId);
    if (record?.pending === undefined) return;
    this.#watch(record.pending.job);
    switch (report.type) {
      case 'dispatched':
        record.worker = report.worker;
        this.#to(record, 'dispatched');
        record.pending.onQueued?.();
        this.#options.table.tellPositions(record.pool);
        return;
      case 'running':
        record.startedAt = this.#context.system.clock.now();
        record.attempts += 1;
        this.#to(record, 'running');
        record.feed?.running(report.worker, record.attempts);
        return;
      case 'streaming':
        this.#to(record, 'streaming');
        return;
      case 'progress':
        record.progress = report.progress;
        record.feed?.progress(report.progress);
        return;
      case 'waiting':
        record.pending.onQueued?.();
        if (record.feed !== undefined) this.#options.table.followWaiting(record);
        return;
      case 'requeued':
        this.#notBegun(record);
        this.#to(record, 'queued');
        if (record.feed !== undefined) this.#options.table.followWaiting(record);
        return;
      default:
        report satisfies never;
    }
  }

  #notBegun(record: QueryRecord): void {
    if (record.startedAt !== undefined) record.attempts -= 1;
    record.startedAt = undefined;
    record.worker = undefined;
    record.progress = undefined;
  }

  #ended(queryId: string, end: JobEnd): void {
    const record = this.#options.table.find(queryId);
    if (record?.pending === undefined) return;
    if (!end.ok && this.#retried(record, record.pending.job, end)) return;
    record.runMs = record.ranMs + end.runMs;
    if (!end.ok) {
      const { request, stoppedFor } = record.pending;
      const state = end.failure.code === 'QUERY_CANCELLED' ? 'cancelled' : 'failed';
      const told = state === 'cancelled' ? (stoppedFor ?? end.failure) : end.failure;
      const failure = withSourceHint(told, request, this.#options.sources());
      this.#settle(record, state, failure, end.killed);
      return;
    }
    const { kept } = record;
    const refusal = kept?.result.keep(end.bytes);
    if (refusal !== undefined) {
      this.#settle(record, 'failed', refusal);
      return;
    }
    if (kept !== undefined) kept.truncated = end.truncated;
    record.rows = end.rows;
    record.bytes = end.bytes;
    // What is kept has gone to nobody yet: each fetch is a query of its own, and counts.
    if (kept === undefined) this.#options.delivered(record.pending.request, end.bytes);
    const totalMs = this.#context.system.clock.now() - record.receivedAt;
    this.#settle(record, 'succeeded', {
      body: [],
      rowCount: end.rows,
      truncated: end.truncated,
      stats: {
        queueMs: queueMs(record, this.#context.system.clock.now()),
        runMs: record.runMs,
        totalMs,
        rows: end.rows,
        bytes: end.bytes,
        peakMemoryBytes: end.peakMemoryBytes,
        worker: record.worker ?? '',
        attempts: record.attempts,
      },
    });
  }

  /**
   * Sends a query to a worker once more, to its old place in the queue and with what is left of its times. Its place among
   * those that begin is by then that of a query which has crashed a worker: whoever admits it there knows that.
   */
  #retried(record: QueryRecord, job: Job, end: Extract<JobEnd, { ok: false }>): boolean {
    if (end.mayRetry !== true || job.cancelledBy !== undefined || job.sink.committed) return false;
    if (record.attempts > this.#options.maxRetries()) return false;
    // What it read may have been in a transaction, or a temporary table, that is gone.
    if (record.pending?.request.session !== undefined) return false;
    const startedAt = record.startedAt ?? record.receivedAt;
    const now = this.#context.system.clock.now();
    const waitLeftMs = job.queueDeadline - startedAt;
    if (job.ranMs + end.runMs >= job.timeoutMs || waitLeftMs <= 0) return false;
    const queue = this.#options.directory.whereis(this.#options.queueKey(record.pool));
    if (queue === undefined) return false;
    job.attempt += 1;
    job.ranMs += end.runMs;
    record.ranMs = job.ranMs;
    job.queueDeadline = now + waitLeftMs;
    job.sink.reset();
    record.startedAt = undefined;
    record.worker = undefined;
    record.progress = undefined;
    record.crash = end.failure;
    this.#to(record, 'queued');
    record.feed?.retrying(record.attempts, end.failure.members.crash_id as string | undefined);
    this.#options.events.emit('query.retried', {
      queryId: record.queryId,
      pool: record.pool,
      attempts: record.attempts,
      crashId: end.failure.members.crash_id as string | undefined,
    });
    this.#toQueue(record, job, { type: 'requeue', ref: queue, jobs: [job] });
    return true;
  }

  #cancel({ queryId, principal, failure, reply }: QueryRouterMessage & { readonly type: 'cancel' }): void {
    const record = this.#options.table.findFor(principal, queryId);
    if (record === undefined) {
      reply(undefined);
      return;
    }
    if (record.pending === undefined) {
      reply('already_finished');
      return;
    }
    record.pending.onEnd.push(reply);
    record.pending.stoppedFor ??= failure;
    stopJob(record.pending, principal.name);
  }

  #abandon(request: QueryRequest, cancelledBy: string): void {
    const pending = this.#options.table.find(request.queryId)?.pending;
    if (pending?.request === request) stopJob(pending, cancelledBy);
  }

  #revoke(principals: ReadonlySet<string>): void {
    for (const { principal, pending } of this.#options.table.unfinished()) {
      if (pending !== undefined && principals.has(principal)) stopJob(pending, REVOKED);
    }
  }

  #watch({ holder }: Job): void {
    if (holder === undefined || this.#watched.has(holder)) return;
    this.#watched.add(holder);
    this.#context.watch(holder, () => ({ type: 'holder-gone', holder }));
  }

  #holderGone(holder: AnyActorRef): void {
    this.#watched.delete(holder);
    for (const record of this.#options.table.unfinished()) {
      const job = record.pending?.job;
      if (job?.holder !== holder) continue;
      this.#notBegun(record);
      this.#toQueue(record, job, { type: 'requeue', ref: holder, jobs: [job] });
    }
  }

  #settle(record: QueryRecord, state: QueryState, ended: QueryResult | Failure, killed = false): void {
    const { pending } = record;
    if (pending === undefined) return;
    const outcome = ended instanceof Failure ? failureToTell(record, state, ended) : ended;
    record.pending = undefined;
    this.#to(record, state);
    record.endedAt = this.#context.system.clock.now();
    if (outcome instanceof Failure) {
      record.failure = outcome;
      record.kept?.result.drop();
      this.#countCut(record, pending);
    }
    this.#options.table.retire(record);
    this.#options.onEnd(pending.job, outcome instanceof Failure ? outcome : undefined);
    pending.settle(outcome);
    for (const onEnd of pending.onEnd) {
      onEnd(state === 'cancelled' ? (killed ? 'killed' : 'cancelled') : 'already_finished');
    }
    const view = this.#options.table.view(record);
    record.feed?.ended(view);
    this.#options.table.tellPositions(record.pool);
    this.#options.events.emit('query.ended', {
      queryId: view.queryId,
      pool: view.pool,
      principal: view.principal,
      outcome: outcome instanceof Failure ? outcome.code : 'succeeded',
      queueMs: view.queueMs,
      runMs: view.runMs,
      totalMs: record.endedAt - record.receivedAt,
      rows: view.rows,
      bytes: view.bytes,
      worker: view.worker,
      attempts: view.attempts,
      error: outcome instanceof Failure ? outcome.cause : undefined,
      cancelledBy: state === 'cancelled' ? pending.job.cancelledBy : undefined,
      asked: asked(pending.request),
    });
    this.#sayIdle();
  }

  /** A stream that was cut has gone to its client as far as it came. */
  #countCut(record: QueryRecord, { request, job }: PendingQuery): void {
    const { delivered } = job.sink;
    if (delivered === 0) return;
    record.bytes = delivered;
    this.#options.delivered(request, delivered);
  }

  #awaitEnd(queryId: string, reply: () => void): void {
    const pending = this.#options.table.find(queryId)?.pending;
    if (pending === undefined) reply();
    else pending.onEnd.push(reply);
  }

  #sayIdle(): void {
    if (this.#awaitIdle.length === 0 || this.#options.table.unfinished().length > 0) return;
    for (const reply of this.#awaitIdle.splice(0)) reply();
  }

  /** A transition nobody declared is a fault of ours: counted and logged, and the query goes on to its end. */
  #to(record: QueryRecord, next: QueryState): void {
    if (!mayBecome(record.state, next)) {
      const error = new Error(`query ${record.queryId}: no transition from ${record.state} to ${next}`);
      this.#options.events.emit('fault', { where: 'query-router', error });
    }
    record.state = next;
  }
}

/** Whoever has the job next ends it; whoever has it now is told. */
function stopJob({ job }: PendingQuery, cancelledBy: string): void {
  job.cancelledBy ??= cancelledBy;
  job.holder?.tell({ type: 'cancel', queryId: job.queryId });
}
