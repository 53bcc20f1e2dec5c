/** The worker actor over real worker processes; queue and router are lists of what they were told. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { type ActorOptions, ActorSystem } from '../../src/actors/actor.ts';
import { Directory } from '../../src/actors/directory.ts';
import type { Job, JobReport } from '../../src/actors/job.ts';
import type { PoolQueueMessage } from '../../src/actors/pool-queue.ts';
import { type WorkerActorOptions, workerActor } from '../../src/actors/worker-actor.ts';
import { type WorkerMessage, WorkerRoster } from '../../src/actors/worker-roster.ts';
import { Failure } from '../../src/failures.ts';
import { Events, type ServerEvents } from '../../src/telemetry/events.ts';
import { WORKER_MAIN } from '../../src/workers/launch.ts';
import type { Attachment } from '../../src/workers/protocol.ts';
import { RunFolders } from '../../src/workers/run-folder.ts';
import { WorkerExitError } from '../../src/workers/worker-exit.ts';
import { DEAF, ENDLESS, SEGFAULT } from '../chaos/deaths.ts';
import { makeFolder } from '../support/temp.ts';
import { until } from '../support/test-server.ts';

let folder: Awaited<ReturnType<typeof makeFolder>>;
let folders: RunFolders;
beforeAll(async () => {
  folder = await makeFolder();
  folders = await RunFolders.open(folder.path);
});
afterAll(() => folder.remove());

const ROGUE = join(import.meta.dirname, '../workers/rogue-worker.js');
let workers = 0;

/** With `rogue`, over a program that breaks the protocol in that way (rogue-worker.js). */
function scene({
  rogue,
  asConfiguredNow = ({ statement }) => [...statement.attachments],
}: { readonly rogue?: string } & Partial<Pick<WorkerActorOptions, 'asConfiguredNow'>> = {}) {
  const system = new ActorSystem();
  const directory = new Directory(system);
  const events = new Events();
  const exits: ServerEvents['worker.exited'][] = [];
  events.on('worker.exited', (exit) => exits.push(exit));
  const reports: JobReport[] = [];
  const told: PoolQueueMessage[] = [];
  const queueKey = { name: 'queue' };
  const queue = system.spawn<PoolQueueMessage>({
    name: 'queue',
    init: () => ({ receive: (message) => void told.push(message) }),
  });
  directory.register<PoolQueueMessage>(queueKey, queue);
  workers += 1;
  const id = rogue ?? `w-${workers}`;
  const roster = new WorkerRoster();
  const ref = system.spawn<WorkerMessage>({
    ...(workerActor({
      id,
      pool: 'pool',
      incarnation: 1,
      asConfiguredNow,
      recordDeath: ({ cause }) => (cause === 'killed' ? 'killed-id' : 'crash-id'),
      settings: () => ({ cancelGraceMs: 100, recycle: { maxQueries: 10_000, maxAgeMs: 3_600_000 } }),
      isOutdated: () => false,
      onChange: () => undefined,
      queueKey,
      directory,
      roster,
      report: (report) => reports.push(report),
      unavailable: () => new Failure('POOL_DOWN', 'down'),
      events,
      process: {
        main: rogue === undefined ? WORKER_MAIN : ROGUE,
        folders,
        startTimeoutMs: 20_000,
        heartbeatTimeoutMs: 5_000,
        configure: {
          threads: 1,
          memoryLimit: 256e6,
          memoryHardLimit: 1_500e6,
          tempLimit: 1e9,
          extensions: { directory: folder.path, names: [] },
          allowFunctions: [],
          heartbeatMs: 100,
          niceness: 0,
          chaos: true,
        },
      },
    }) as ActorOptions<WorkerMessage>),
    name: id,
  });
  onTestFinished(() => system.stopAll());

  const jobs: Job[] = [];
  const run = (sql: string, settings: Partial<Job> = {}) => {
    const job: Job = {
      tellsThatItWaits: false,
      queryId: `q-${jobs.length}`,
      ticket: jobs.length,
      statement: { sql, rowFormat: 'arrays', maxBytes: 1e6, attachments: [], write: false },
      origin: { principal: { name: 'p', role: 'reader' }, sources: [] },
      attempt: 1,
      timeoutMs: 10_000,
      ranMs: 0,
      queueTimeoutMs: 10_000,
      queueDeadline: Number.POSITIVE_INFINITY,
      sink: {
        committed: false,
        delivered: 0,
        write: () => undefined,
        reset: () => undefined,
        discard: () => undefined,
      },
      cancelledBy: undefined,
      holder: ref,
      ...settings,
    };
    jobs.push(job);
    ref.tell({ type: 'run', job });
    return job;
  };
  const endOf = (job: Job) => {
    const ended = reports.filter((report) => report.type === 'ended' && report.queryId === job.queryId);
    expect(ended.length).toBeLessThanOrEqual(1);
    const [report] = ended;
    if (report?.type !== 'ended') return undefined;
    return report.end.ok ? 'succeeded' : report.end.failure.code;
  };
  const cameBack = () =>
    told.flatMap((message) =>
      message.type === 'requeue' || message.type === 'worker-died' ? message.jobs : [],
    );
  const heard = (type: PoolQueueMessage['type']) => told.some((message) => message.type === type);
  return {
    system,
    ref,
    queue,
    exits,
    told,
    run,
    endOf,
    reports,
    cameBack,
    heard,
    ready: () => until('it is ready', () => heard('worker-ready')),
    ended: (job: Job) => until(`${job.queryId} ends`, () => endOf(job) !== undefined),
    exit: () => system.exited(ref),
    pid: () => roster.all()[0]?.status().pid,
  };
}

it('jobs are run in their order, and each is said to be free when it has ended', async () => {
  const { ref, run, ready, endOf, told, cameBack } = scene();
  await ready();
  const jobs = ['SELECT 1', 'SELECT nonsense', 'SELECT 3'].map((sql) => run(sql));
  const sentAgain = new Set<Job>();
  for (const job of jobs) {
    await until(`${job.queryId} ends`, () => {
      // One before it took long: then it is the queue's to send once more.
      if (cameBack().includes(job) && !sentAgain.has(job)) {
        sentAgain.add(job);
        ref.tell({ type: 'run', job });
      }
      return endOf(job) !== undefined;
    });
  }
  expect(jobs.map(endOf)).toEqual(['succeeded', 'SQL_ERROR', 'succeeded']);
  await until('all are free', () => told.filter(({ type }) => type === 'freed').length === 3);
});

it('a read whose source did not let it in, and is configured otherwise by now, may be tried once more', async () => {
  const source: Attachment = { kind: 'sqlite', alias: 's', path: '/nowhere', readOnly: true };
  const paths: string[] = [];
  const { run, ready, ended, reports } = scene({
    asConfiguredNow: () => [{ ...source, path: paths.shift() ?? '/nowhere' }],
  });
  await ready();
  const triedOnceMore = async (pathsInTurn: readonly string[], write: boolean) => {
    paths.splice(0, paths.length, ...pathsInTurn);
    const statement = {
      sql: 'SELECT 1',
      rowFormat: 'arrays' as const,
      maxBytes: 1e6,
      attachments: [source],
      write,
    };
    const job = run('SELECT 1', { statement });
    await ended(job);
    const report = reports.find(({ type, queryId }) => type === 'ended' && queryId === job.queryId);
    expect(report).toMatchObject({ end: { ok: false, failure: { code: 'SOURCE_UNAVAILABLE' } } });
    return report?.type === 'ended' && !report.end.ok && report.end.mayRetry;
  };
  expect(await triedOnceMore(['/nowhere', '/nowhere'], false)).toBe(false);
  expect(await triedOnceMore(['/nowhere', '/elsewhere'], false)).toBe(true);
  expect(await triedOnceMore(['/nowhere', '/elsewhere'], true)).toBe(false);
});

it('what was sent ahead comes back when the first one crashes, whose death is told by its signal', async () => {
  const { run, ready, endOf, cameBack, exit, exits } = scene();
  await ready();
  const [victim, ...others] = [SEGFAULT, 'SELECT 1', 'SELECT 2'].map((sql) => run(sql)) as [Job, ...Job[]];
  const { error } = (await exit()) as { error: WorkerExitError };
  expect(error).toBeInstanceOf(WorkerExitError);
  expect(error.exitCause).toBe('crash');
  expect(exits).toMatchObject([{ cause: 'crash', signal: 'SIGSEGV', queryId: victim.queryId }]);
  expect(endOf(victim)).toBe('WORKER_CRASHED');
  expect(cameBack()).toEqual(others);
  expect(others.map(endOf)).toEqual([undefined, undefined]);
});

it('a write whose verdict was lost is not tried again because the worker died of a read behind it', async () => {
  const { run, ready, reports, exit } = scene({ rogue: 'loses-a-verdict' });
  await ready();
  const statement = { rowFormat: 'arrays' as const, maxBytes: 1e6, attachments: [] } satisfies Partial<
    Job['statement']
  >;
  const written = run('', { statement: { ...statement, sql: 'INSERT', write: true } });
  const read = run('', { statement: { ...statement, sql: 'SELECT', write: false } });
  await exit();
  const ends = reports.flatMap((report) =>
    report.type === 'ended' && !report.end.ok ? [[report.queryId, report.end.mayRetry]] : [],
  );
  expect(ends).toEqual([
    [written.queryId, false],
    [read.queryId, true],
  ]);
  // Both were attempts: what was begun is said to have been, or the second would have had none.
  const begun = reports.flatMap((report) => (report.type === 'running' ? [report.queryId] : []));
  expect(begun).toEqual([written.queryId, read.queryId]);
});

it('what was sent ahead comes back as soon as the first one is to be stopped', async () => {
  const { run, ready, endOf, ended, cameBack, queue } = scene();
  await ready();
  // Shorter than it takes to find out that the query is a long one.
  const victim = run(DEAF, { timeoutMs: 5 });
  const ahead = [run('SELECT 1'), run('SELECT 2')];
  await until('they are back', () => cameBack().length === 2);
  expect(cameBack()).toEqual(ahead);
  expect(ahead.map(({ holder }) => holder)).toEqual([queue, queue]);
  await ended(victim);
  expect(endOf(victim)).toBe('QUERY_TIMEOUT');
});

it('a job that is cancelled while it waits behind another one ends alone', async () => {
  const { run, ready, ref, endOf, ended } = scene();
  await ready();
  const first = run(ENDLESS);
  const second = run('SELECT 2');
  second.cancelledBy = 'me';
  ref.tell({ type: 'cancel', queryId: second.queryId });
  await ended(second);
  expect(endOf(second)).toBe('QUERY_CANCELLED');
  expect(endOf(first)).toBeUndefined();
  first.cancelledBy = 'me';
  ref.tell({ type: 'cancel', queryId: first.queryId });
  await ended(first);
  expect(endOf(first)).toBe('QUERY_CANCELLED');
});

it('a cancel that finds its job begun when it was thought to wait stops it all the same', async () => {
  const { run, ready, ref, cameBack, endOf } = scene();
  await ready();
  for (let turn = 0; turn < 30; turn += 1) {
    run('SELECT 1');
    const job = run(ENDLESS);
    // About when the first one ends, now a little before and now a little after.
    await new Promise((resolve) => setTimeout(resolve, turn / 10));
    job.cancelledBy = 'me';
    ref.tell({ type: 'cancel', queryId: job.queryId });
    // Where the first one took long, the job is back with the queue, which ends it.
    await until('it is stopped', () => cameBack().includes(job) || endOf(job) !== undefined);
    if (!cameBack().includes(job)) expect(endOf(job)).toBe('QUERY_CANCELLED');
  }
});

it('asked to give back what it has not, it says that there is nothing', async () => {
  const { ready, ref, heard } = scene();
  await ready();
  ref.tell({ type: 'give-back' });
  await until('it says so', () => heard('given-back'));
});

it('a long query gives back what is behind it, and the queue hears when it is over', async () => {
  const { run, ready, told, cameBack, ref, ended } = scene();
  await ready();
  const long = run(ENDLESS);
  const behind = run('SELECT 1');
  await until('it is back', () => cameBack().includes(behind));
  const aheads = () => told.flatMap((message) => (message.type === 'send-ahead' ? [message.useful] : []));
  expect(aheads()).toEqual([false]);
  run('SELECT 2');
  await until('that one is back too', () => cameBack().length === 2);
  // A new queue is told the same.
  ref.tell({ type: 'hello' });
  await until('it has greeted', () => aheads().length === 2);
  long.cancelledBy = 'me';
  ref.tell({ type: 'cancel', queryId: long.queryId });
  await ended(long);
  await until('it wants more', () => aheads().at(-1) === true);
  expect(aheads()).toEqual([false, false, true]);
});

it.each(['before there is a process', 'after'])(
  'asked to stop while it starts, %s, it has not crashed',
  async (moment) => {
    const { ref, exit, exits, pid, heard } = scene();
    if (moment === 'after') await until('there is a process', () => pid() !== undefined);
    ref.tell({ type: 'stop' });
    expect(await exit()).toEqual({ kind: 'normal' });
    expect(exits).toMatchObject([{ cause: 'shutdown' }]);
    expect(heard('worker-ready')).toBe(false);
  },
);

it('asked to stop, it finishes what runs and gives back the rest', async () => {
  const { run, ready, ref, endOf, cameBack, exit, exits } = scene();
  await ready();
  // Long enough to be running still when the second one is asked back.
  const first = run('SELECT count(*) FROM range(100000000) t(i) WHERE hash(i) % 7 = 1');
  const second = run('SELECT 2');
  ref.tell({ type: 'stop' });
  const third = run('SELECT 3');
  await exit();
  expect(endOf(first)).toBe('succeeded');
  expect(cameBack().toSorted((a, b) => a.ticket - b.ticket)).toEqual([second, third]);
  expect(exits).toMatchObject([{ cause: 'shutdown', exitCode: 0 }]);
});

it('a fault of the actor itself ends its process, and fails what it had once', async () => {
  const { run, ready, ref, endOf, heard, exit, system } = scene();
  await ready();
  const job = run(ENDLESS);
  ref.tell({ type: 'run' } as never);
  expect((await exit()).kind).toBe('crash');
  expect(endOf(job)).toBe('INTERNAL');
  await until('its place is free', () => heard('freed'));
  expect(system.isAlive(ref)).toBe(false);
});

it('without a queue, jobs that cannot be run are turned away', async () => {
  const { run, ready, system, queue, endOf, exit } = scene();
  await ready();
  await system.stop(queue);
  const [victim, behind] = [run(SEGFAULT), run('SELECT 1')];
  await exit();
  expect([victim, behind].map(endOf)).toEqual(['WORKER_CRASHED', 'POOL_DOWN']);
});
