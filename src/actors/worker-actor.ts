/**
 * A worker actor: the owner of one worker process, for as long as that lives.
 *
 * ```
 *             ready               stop, or time for a new one            exit of the process
 *  starting ---------> serving -------------------------------> ending ----------------------> (actor ends)
 *      |                  |                                        ^                               ^
 *      |                  +----------- the process dies -----------|-------------------------------+
 *      +---------------------------- the process dies -------------+
 * ```
 *
 * While serving it holds the job that runs and those sent ahead (held-jobs.ts). When the process dies the flight recorder says which
 * job it was at: that one has failed, the later ones go back to the queue as if nothing had happened.
 */
import type { WorkerDeath } from '../crashes/crash-report.ts';
import { Failure } from '../failures.ts';
import type { Events } from '../telemetry/events.ts';
import { type Attachment, type Finished, isStartFault, type Progress } from '../workers/protocol.ts';
import { WorkerExitError } from '../workers/worker-exit.ts';
import {
  type WorkerExit,
  WorkerProcess,
  type WorkerProcessEvents,
  type WorkerProcessOptions,
} from '../workers/worker-process.ts';
import type { ActorContext, ActorExit, ActorOptions } from './actor.ts';
import { type HeldJob, type HeldJobMessage, HeldJobs } from './held-jobs.ts';
import type { Job } from './job.ts';
import { stopFailure } from './job-outcome.ts';
import {
  deathFailure,
  deathOnRecord,
  type Judgement,
  judgeDeath,
  mayBeRetried,
  toldOf,
} from './worker-death.ts';
import { WorkerMail, type WorkerMailOptions } from './worker-mail.ts';
import { Retirement } from './worker-retirement.ts';
import type { WorkerMessage, WorkerRoster, WorkerStatus } from './worker-roster.ts';

export interface WorkerActorOptions extends WorkerMailOptions {
  readonly id: string;
  readonly pool: string;
  readonly incarnation: number;
  readonly process: Omit<WorkerProcessOptions, 'worker' | 'incarnation'>;
  /** Takes down what a worker died of, and gives that an id. */
  readonly recordDeath: (death: WorkerDeath) => string;
  readonly settings: () => WorkerSettings;
  /** A job's sources with the credentials they have when it is sent to the process. */
  readonly asConfiguredNow: (job: Job) => Attachment[];
  /** Whether what its process was started with is not what is configured any more. */
  readonly isOutdated: () => boolean;
  /** It serves now, or has died. */
  readonly onChange: () => void;
  readonly roster: WorkerRoster;
  readonly events: Events;
  /** Told what a session would lose with its worker, after each of its statements, and what of that is lost already. */
  readonly onVolatile?: (names: readonly string[], lost: readonly string[] | undefined) => void;
  /** Whether it is kept warm for a session that nobody has opened yet. */
  readonly isSpare?: () => boolean;
}

/** What may change while a worker lives. */
export interface WorkerSettings {
  /** Milliseconds from `interrupt` to SIGKILL. */
  readonly cancelGraceMs: number;
  /** It is replaced after so many statements, or milliseconds. */
  readonly recycle: { readonly maxQueries: number; readonly maxAgeMs: number };
}

type OwnMessage =
  | WorkerMessage
  | { readonly type: 'ready' }
  | { readonly type: 'finished'; readonly result: Finished }
  | { readonly type: 'withdrawn'; readonly seq: number }
  | { readonly type: 'progress'; readonly progress: Progress }
  | { readonly type: 'swollen' }
  | { readonly type: 'exit'; readonly exit: WorkerExit }
  | HeldJobMessage
  | { readonly type: 'old' }
  | { readonly type: 'recycle-overdue' };

/** Builds the actor; a supervisor spawns it (worker-child.ts). */
export function workerActor(options: WorkerActorOptions): Omit<ActorOptions<OwnMessage>, 'name'> {
  return {
    mailbox: Number.POSITIVE_INFINITY,
    init: (context) => {
      const worker = new WorkerActor(options, context);
      return { receive: (message) => worker.receive(message), terminate: (exit) => worker.terminate(exit) };
    },
  };
}

/** A process that was asked to end, has nothing to do and does not end is killed. */
const RECYCLE_GRACE_MS = 5_000;

type State = 'starting' | 'serving' | 'ending';

class WorkerActor {
  readonly #options: WorkerActorOptions;
  readonly #context: ActorContext<OwnMessage>;
  readonly #process: WorkerProcess;
  readonly #gone: Promise<void>;
  readonly #removeFromRoster: () => void;
  readonly #bornAt: number;
  readonly #mail: WorkerMail;
  readonly #jobs: HeldJobs;
  readonly #retirement: Retirement;
  #state: State = 'starting';
  #asked: 'recycle' | 'shutdown' | undefined;
  /** Until the queue says otherwise. */
  #reserve = true;
  /** Its version, once the process has said so. */
  #duckdb: string | undefined;

  constructor(options: WorkerActorOptions, context: ActorContext<OwnMessage>) {
    this.#options = options;
    this.#context = context;
    this.#bornAt = context.system.clock.now();
    const tell = (message: OwnMessage) => context.self.tell(message);
    let processGone: () => void = () => undefined;
    this.#gone = new Promise((resolve) => {
      processGone = resolve;
    });
    const events: WorkerProcessEvents = {
      ready: ({ duckdb }) => {
        this.#duckdb = duckdb;
        tell({ type: 'ready' });
      },
      finished: (result) => tell({ type: 'finished', result }),
      withdrawn: (seq) => tell({ type: 'withdrawn', seq }),
      bytes: (seq, bytes) => this.#jobs.bytes(seq, bytes),
      progress: (progress) => tell({ type: 'progress', progress }),
      swollen: () => tell({ type: 'swollen' }),
      exit: (exit) => {
        processGone();
        tell({ type: 'exit', exit });
      },
    };
    const identity = { worker: options.id, incarnation: options.incarnation };
    const startFault = options.roster.takeStartFault(options.id);
    const configure = { ...options.process.configure, ...(startFault && { startFault }) };
    this.#process = new WorkerProcess({ ...options.process, ...identity, configure }, events);
    this.#mail = new WorkerMail(options, context.self);
    this.#jobs = new HeldJobs({
      id: options.id,
      process: this.#process,
      mail: this.#mail,
      roster: options.roster,
      clock: context.system.clock,
      after: (ms, message) => context.after(ms, message),
      cancelGraceMs: () => options.settings().cancelGraceMs,
      asConfiguredNow: options.asConfiguredNow,
    });
    this.#retirement = new Retirement({
      clock: context.system.clock,
      recycle: () => options.settings().recycle,
      isOutdated: options.isOutdated,
      after: (ms, message) => context.after(ms, message),
    });
    this.#removeFromRoster = options.roster.add({
      pool: options.pool,
      ref: context.self,
      status: () => this.#status(),
    });
  }

  receive(message: OwnMessage): void {
    switch (message.type) {
      case 'run':
        this.#run(message.job);
        return;
      case 'cancel':
        this.#jobs.cancel(message.queryId);
        return;
      case 'give-back':
        this.#jobs.giveBack();
        return;
      case 'hello':
        if (this.#state === 'serving') this.#announce();
        return;
      case 'role':
        this.#reserve = message.reserve;
        return;
      case 'settings-changed':
        if (this.#state === 'serving') this.#retirement.watchAge();
        this.#retireIfDue();
        return;
      case 'old':
        this.#retirement.watchAge();
        this.#retireIfDue();
        return;
      case 'recycle':
        if (this.#state !== 'ending') this.#end('recycle');
        return;
      case 'stop':
        this.#end('shutdown');
        return;
      case 'kill':
        this.#process.kill('shutdown');
        return;
      case 'fault':
        this.#fault(message);
        return;
      case 'ready':
        this.#ready();
        return;
      case 'finished':
        this.#verdict(message.result);
        return;
      case 'withdrawn':
        this.#withdrawn(message.seq);
        return;
      case 'progress':
        this.#jobs.progress(message.progress);
        return;
      case 'swollen':
        this.#retirement.swell();
        this.#retireIfDue();
        return;
      case 'exit':
        this.#exited(message.exit);
        return;
      case 'deadline':
      case 'grace-over':
      case 'long':
        this.#jobs.timeout(message);
        return;
      case 'recycle-overdue':
        this.#process.kill('recycled');
        return;
      default:
        message satisfies never;
    }
  }

  /** However the actor ends, its process is gone before it is. */
  async terminate(exit: ActorExit): Promise<void> {
    this.#removeFromRoster();
    this.#process.kill('shutdown');
    await this.#gone;
    // Only where a fault of this actor, or of what is above it, left no time for an order: any of them may have begun.
    const failure = () =>
      exit.kind === 'crash'
        ? new Failure('INTERNAL', `The owner of worker ${this.#options.id} failed while it had the query.`)
        : this.#options.unavailable();
    for (const { job } of this.#jobs.takeAll()) {
      this.#mail.fail(job, failure());
      // Or the queue would take it for one that this worker had never read of, and send it to another.
      this.#mail.free(job);
    }
  }

  #ready(): void {
    if (this.#state !== 'starting') return;
    this.#state = 'serving';
    const { id, pool, incarnation, events } = this.#options;
    events.emit('worker.ready', {
      pool,
      worker: id,
      incarnation,
      pid: this.#process.pid,
      startMs: this.#age(),
    });
    this.#retirement.begin();
    this.#options.onChange();
    this.#announce();
  }

  /** The queue decides when: workers are replaced one after the other. */
  #retireIfDue(): void {
    if (this.#state === 'serving' && this.#retirement.isDue) this.#mail.recycleWanted();
  }

  #announce(): void {
    this.#mail.ready(this.#jobs.all.map(({ job }) => job));
    if (this.#jobs.first?.alone === true) this.#mail.sendAhead(false);
    // It may have been due before this queue was there.
    this.#retireIfDue();
  }

  #run(job: Job): void {
    // On its way when the queue was told that nothing is wanted behind the running one.
    if (this.#state !== 'serving' || this.#jobs.first?.alone === true) this.#mail.handBack([job], 'requeue');
    else this.#jobs.add(job);
  }

  #withdrawn(seq: number): void {
    if (!this.#jobs.withdrawn(seq)) return;
    if (this.#state === 'ending') this.#endProcess();
    this.#jobs.begin();
  }

  #verdict(result: Finished): void {
    const held = this.#jobs.finish(result.seq);
    if (held === undefined) {
      this.#process.kill('protocol');
      return;
    }
    const { queryId } = held.job;
    this.#retirement.countStatement();
    if (result.volatile !== undefined) this.#options.onVolatile?.(result.volatile, result.lost);
    this.#options.roster.disarmQuery(queryId);
    this.#mail.report({ type: 'ended', queryId, end: this.#jobs.outcomeOf(held, result) });
    if (result.retire !== undefined) {
      this.#end('recycle');
      if (result.retire === 'stuck') this.#process.kill('recycled');
    } else if (this.#state === 'ending') this.#endProcess();
    else this.#retireIfDue();
    this.#jobs.begin();
    if (held.alone) this.#mail.sendAhead(true);
    this.#mail.free(held.job);
  }

  /** No new jobs; the running one may finish, unless the supervisor's patience ends first. */
  #end(why: 'recycle' | 'shutdown'): void {
    // A supervisor that stops a worker wants no successor, whatever the worker itself had in mind.
    if (this.#asked !== 'shutdown') this.#asked = why;
    this.#state = 'ending';
    this.#mail.ending();
    this.#jobs.giveBack();
    this.#endProcess();
  }

  /** Once it has nothing to do any more. */
  #endProcess(): void {
    if (!this.#jobs.isEmpty) return;
    this.#process.stop();
    if (this.#asked === 'recycle') this.#context.after(RECYCLE_GRACE_MS, { type: 'recycle-overdue' });
  }

  #exited(exit: WorkerExit): void {
    const { id, pool, incarnation, events, onChange, roster, recordDeath, process } = this.#options;
    const served = this.#state !== 'starting';
    const judgement = judgeDeath(exit, { asked: this.#asked, served, held: this.#jobs.all });
    const { cause, phase, begun, waiting } = judgement;
    const { memoryLimit, memoryHardLimit, tempLimit, threads } = process.configure;
    const death = deathOnRecord(this.#options, exit, judgement, {
      uptimeMs: this.#age(),
      limits: { memoryLimit, memoryHardLimit, tempLimit, threads },
      duckdb: this.#duckdb,
    });
    // Before anything else is told of it: what waits is judged by it.
    const crashId = death === undefined ? undefined : recordDeath(death);
    this.#jobs.takeAll();
    this.#state = 'ending';
    this.#mail.handBack(
      waiting.map(({ job }) => job),
      'worker-died',
    );
    for (const held of begun) {
      roster.disarmQuery(held.job.queryId);
      this.#reportDeath(held, exit, judgement, crashId);
      this.#mail.free(held.job);
    }
    if (cause !== 'shutdown') onChange();
    const queryId = begun.at(-1)?.job.queryId;
    const uptimeMs = this.#age();
    events.emit('worker.exited', {
      ...{ pool, worker: id, incarnation, cause, phase, queryId, crashId, uptimeMs },
      ...toldOf(exit),
    });
    if (cause === 'shutdown') this.#context.stop();
    else this.#context.fail(new WorkerExitError(cause, exit));
  }

  #reportDeath(
    held: HeldJob,
    exit: WorkerExit,
    judgement: Judgement<HeldJob>,
    crashId: string | undefined,
  ): void {
    const { cause } = judgement;
    const { queryId } = held.job;
    const now = this.#context.system.clock.now();
    // It had begun before the verdict on the one in front of it was read: an attempt all the same.
    if (held.startedAt === undefined) {
      this.#mail.report({ type: 'running', queryId, worker: this.#options.id });
    }
    const killed = cause === 'killed' && held.stopping !== undefined;
    const failure = killed
      ? stopFailure(held)
      : cause === 'shutdown'
        ? this.#options.unavailable()
        : deathFailure(this.#options, exit, judgement, crashId);
    const mayRetry = failure.code === 'WORKER_CRASHED' && mayBeRetried(held, exit);
    const runMs = now - (held.startedAt ?? now);
    this.#mail.report({ type: 'ended', queryId, end: { ok: false, failure, runMs, killed, mayRetry } });
  }

  #fault({ fault, phase, queryId }: WorkerMessage & { readonly type: 'fault' }): void {
    if (isStartFault(fault)) {
      this.#options.roster.armStart(this.#options.id, fault);
      return;
    }
    const seq = this.#jobs.all.find(({ job }) => job.queryId === queryId)?.seq;
    if (queryId === undefined || seq !== undefined) this.#process.injectFault(fault, phase, seq);
  }

  #age(): number {
    return this.#context.system.clock.now() - this.#bornAt;
  }

  #occupation(): 'busy' | 'reserve' | 'spare' | 'idle' {
    if (!this.#jobs.isEmpty) return 'busy';
    if (this.#options.isSpare?.() === true) return 'spare';
    return this.#reserve ? 'reserve' : 'idle';
  }

  #status(): WorkerStatus {
    return {
      id: this.#options.id,
      pool: this.#options.pool,
      pid: this.#process.pid,
      state: this.#state === 'serving' ? this.#occupation() : this.#state,
      incarnation: this.#options.incarnation,
      queryId: this.#jobs.first?.job.queryId,
      rssBytes: this.#process.memory?.rssBytes,
      uptimeMs: this.#age(),
      queries: this.#retirement.finished,
    };
  }
}
