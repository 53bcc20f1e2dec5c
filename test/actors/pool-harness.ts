/** The real router, queue and directory on a manual clock, with workers that do what a test tells them. */
import { expect, onTestFinished } from 'vitest';
import { type ActorContext, type ActorOptions, type ActorRef, ActorSystem } from '../../src/actors/actor.ts';
import { Directory, type Key } from '../../src/actors/directory.ts';
import type { Job, JobEnd } from '../../src/actors/job.ts';
import { type Admission, cancelled, type PoolQueueMessage, poolQueue } from '../../src/actors/pool-queue.ts';
import type { QueryRequest, QueryResult } from '../../src/actors/query.ts';
import { type QueryRouterMessage, queryRouter } from '../../src/actors/query-router.ts';
import { queryService } from '../../src/actors/query-service.ts';
import { QueryTable } from '../../src/actors/query-table.ts';
import { type WorkerMessage, WorkerRoster } from '../../src/actors/worker-roster.ts';
import { Failure, type FailureCode } from '../../src/failures.ts';
import type { Principal } from '../../src/principal.ts';
import { Events } from '../../src/telemetry/events.ts';
import { nextTurn } from '../support/actor-harness.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { reader } from '../support/principals.ts';

type Order =
  | WorkerMessage
  /** The first job succeeds. */
  | { readonly type: 'finish' }
  /** Dies at work: the first job has failed, the others go back. */
  | { readonly type: 'crash' }
  /** Takes no more jobs, and goes once it has none. */
  | { readonly type: 'retire' }
  /** The first job takes long: nothing is wanted behind it, and what is there goes back, one by one. */
  | { readonly type: 'long' };

/** Whoever sends queries here. */
export const PRINCIPAL: Principal = reader('p');

export interface ScriptedWorker {
  readonly ref: ActorRef<Order>;
  /** What it has, in order; the first one has begun. */
  readonly jobs: readonly Job[];
}

export interface PoolSettings {
  readonly max?: number;
  readonly window?: number;
  /** Workers that take jobs; more of them are the reserve. */
  readonly size?: number;
  readonly maxRetries?: number;
  readonly admission?: Admission;
}

export const ADMITS_ALL: Admission = {
  refusal: () => undefined,
  allowance: () => Number.POSITIVE_INFINITY,
  mayBegin: () => true,
  overcrowded: () => undefined,
};

export function poolHarness({
  max = 1_000,
  window = 3,
  size = 100,
  maxRetries = 0,
  admission = ADMITS_ALL,
}: PoolSettings = {}) {
  const clock = new ManualClock();
  const events = new Events();
  const crashes: unknown[] = [];
  const system = new ActorSystem({ clock, onFault: (_path, error) => crashes.push(error) });
  const directory = new Directory(system);
  const roster = new WorkerRoster();
  const table = new QueryTable(1_000, () => clock.now());
  const routerKey: Key<QueryRouterMessage> = { name: 'router' };
  const queueKey: Key<PoolQueueMessage> = { name: 'queue' };
  const report = (message: QueryRouterMessage) => directory.whereis(routerKey)?.tell(message);
  const unavailable = () => new Failure('POOL_DOWN', 'down');

  const faults: unknown[] = [];
  const started: string[] = [];
  const ended: string[] = [];
  events.on('fault', ({ error }) => faults.push(error));
  events.on('query.started', ({ queryId }) => started.push(queryId));
  events.on('query.ended', ({ queryId }) => ended.push(queryId));

  /** Ids of the queries that workers began, in that order. */
  const begun: string[] = [];
  const workers = new Set<ScriptedWorker>();
  let names = 0;
  const name = (what: string) => {
    names += 1;
    return `${what}-${names}`;
  };

  const startRouter = () => {
    const place = () => ({
      pool: 'pool',
      timeoutMs: 1_000,
      queueTimeoutMs: 1_000,
      statement: { sql: '', rowFormat: 'arrays' as const, maxBytes: 1_000, attachments: [], write: false },
    });
    const options = {
      sources: () => [],
      key: routerKey,
      directory,
      table,
      place,
      queueKey: () => queueKey,
      unavailable,
      beginResult: () => {
        throw new Failure('DISK_LIMIT', 'no results are kept here');
      },
      refusal: () => undefined,
      overQuota: () => undefined,
      delivered: () => undefined,
      onEnd: () => undefined,
      maxRetries: () => maxRetries,
      events,
    };
    return system.spawn({ name: name('router'), ...queryRouter(options) });
  };
  const startQueue = () => {
    const options = {
      pool: 'pool',
      key: queueKey,
      directory,
      roster,
      settings: () => ({ size, reserve: 0, max, window }),
      admission,
      report,
      unavailable,
    };
    return system.spawn({ name: name('queue'), ...poolQueue(options) });
  };
  const startWorker = (): ScriptedWorker => {
    const worker = { jobs: [] as Job[] };
    const ref = system.spawn<Order>(
      scriptedWorker(name('worker'), worker, {
        report,
        queue: () => directory.whereis(queueKey),
        onBegin: ({ queryId }) => begun.push(queryId),
        onGone: (gone) => {
          remove();
          workers.delete(gone);
        },
      }),
    );
    const scripted = Object.assign(worker, { ref });
    workers.add(scripted);
    const remove = roster.add({ pool: 'pool', ref: ref as never, status: () => ({}) as never });
    directory.whereis(queueKey)?.tell({ type: 'worker-ready', ref: ref as never, jobs: [] });
    return scripted;
  };

  const service = queryService({ actors: system, directory, routerKey, table });
  const outcomes = new Map<string, FailureCode | 'succeeded'>();
  const run = (queryId: string, settings: Partial<QueryRequest> = {}) => {
    const running = service.run({
      queryId,
      principal: PRINCIPAL,
      tags: {},
      sources: [],
      ...settings,
    } as never);
    const settled = (outcome: QueryResult | Failure) =>
      outcomes.set(queryId, outcome instanceof Failure ? outcome.code : 'succeeded');
    running.result.then(settled, settled);
    return running;
  };
  const turns = async (count = 12) => {
    for (let turn = 0; turn < count; turn += 1) await nextTurn();
  };

  let stopped: Promise<void> | undefined;
  const stop = () => {
    const end = async () => {
      await system.stopAll();
      expect(system.stats.live).toBe(0);
      expect(clock.pendingTimers).toBe(0);
    };
    stopped ??= end();
    return stopped;
  };
  onTestFinished(stop);

  return {
    /** Safe to call again; the end of the test does. */
    stop,
    clock,
    system,
    directory,
    table,
    service,
    faults,
    started,
    ended,
    begun,
    workers,
    outcomes,
    startRouter,
    startQueue,
    startWorker,
    run,
    turns,
    queue: () => directory.whereis(queueKey),
    router: () => directory.whereis(routerKey),
    /** A message nobody can handle: the behaviour throws, as a bug of ours would. */
    crashQueue: () => directory.whereis(queueKey)?.tell({ type: 'enqueue' } as never),
    crashRouter: () => directory.whereis(routerKey)?.tell({ type: 'submit' } as never),
  };
}

interface Surroundings {
  readonly report: (message: QueryRouterMessage) => void;
  readonly queue: () => ActorRef<PoolQueueMessage> | undefined;
  readonly onBegin: (job: Job) => void;
  readonly onGone: (worker: ScriptedWorker) => void;
}

/** Speaks a worker's part of the protocol between queue, worker and router, without a process. */
function scriptedWorker(
  name: string,
  worker: { jobs: Job[] },
  { report, queue, onBegin, onGone }: Surroundings,
): ActorOptions<Order> {
  let retired = false;
  let alone = false;
  const init = (context: ActorContext<Order>) => {
    const ref = context.self as never;
    const begin = () => {
      const [job] = worker.jobs;
      if (job !== undefined) {
        onBegin(job);
        report({ type: 'running', queryId: job.queryId, worker: name });
        if (job.cancelledBy !== undefined) end(job, failed(cancelled(job.cancelledBy)));
      } else if (retired) context.stop();
    };
    const drop = (job: Job) => {
      worker.jobs = worker.jobs.filter((other) => other !== job);
    };
    const end = (job: Job, how: JobEnd) => {
      const wasFirst = worker.jobs[0] === job;
      drop(job);
      report({ type: 'ended', queryId: job.queryId, end: how });
      if (wasFirst) {
        begin();
        if (alone) queue()?.tell({ type: 'send-ahead', ref, useful: true });
        alone = false;
      }
      queue()?.tell({ type: 'freed', ref, queryId: job.queryId });
    };
    const giveBack = (job: Job) => {
      drop(job);
      const to = queue();
      if (to?.tell({ type: 'requeue', ref, jobs: [job] }) !== 'accepted') {
        report({ type: 'ended', queryId: job.queryId, end: failed(new Failure('POOL_DOWN', 'down')) });
        return;
      }
      job.holder = to;
      report({ type: 'requeued', queryId: job.queryId });
    };
    const giveBackRest = () => {
      for (const job of worker.jobs.slice(1)) giveBack(job);
      queue()?.tell({ type: 'given-back', ref });
    };
    return {
      receive: (order: Order) => {
        const [first] = worker.jobs;
        switch (order.type) {
          case 'run':
            if (retired || alone) {
              giveBack(order.job);
              return;
            }
            worker.jobs.push(order.job);
            if (first === undefined) begin();
            return;
          case 'cancel': {
            const job = worker.jobs.find(({ queryId }) => queryId === order.queryId);
            if (job !== undefined) end(job, failed(cancelled(job.cancelledBy ?? 'unknown')));
            return;
          }
          case 'give-back':
            giveBackRest();
            return;
          case 'hello':
            if (retired) return;
            queue()?.tell({ type: 'worker-ready', ref, jobs: worker.jobs });
            if (alone) queue()?.tell({ type: 'send-ahead', ref, useful: false });
            return;
          case 'finish':
            if (first !== undefined) end(first, SUCCEEDED);
            return;
          case 'long':
            if (first === undefined) return;
            alone = true;
            queue()?.tell({ type: 'send-ahead', ref, useful: false });
            giveBackRest();
            return;
          case 'crash': {
            const [begunJob, ...rest] = worker.jobs;
            if (begunJob !== undefined) {
              report({
                type: 'ended',
                queryId: begunJob.queryId,
                end: { ...failed(new Failure('WORKER_CRASHED', 'crashed')), mayRetry: true },
              });
              queue()?.tell({ type: 'freed', ref, queryId: begunJob.queryId });
            }
            for (const job of rest) giveBack(job);
            worker.jobs = [];
            context.fail(new Error('crash'));
            return;
          }
          case 'retire':
            retired = true;
            queue()?.tell({ type: 'worker-ending', ref });
            giveBackRest();
            if (worker.jobs.length === 0) context.stop();
            return;
          default:
            return;
        }
      },
      terminate: () => {
        for (const job of worker.jobs) {
          report({ type: 'ended', queryId: job.queryId, end: failed(new Failure('INTERNAL', 'gone')) });
          queue()?.tell({ type: 'freed', ref: context.self as never, queryId: job.queryId });
        }
        worker.jobs = [];
        onGone(worker as unknown as ScriptedWorker);
      },
    };
  };
  return { name, init };
}

const SUCCEEDED: JobEnd = {
  ok: true,
  rows: 1,
  truncated: false,
  bytes: 0,
  runMs: 0,
  peakMemoryBytes: 0,
};

function failed(failure: Failure): Extract<JobEnd, { ok: false }> {
  return { ok: false, failure, runMs: 0, killed: false };
}
