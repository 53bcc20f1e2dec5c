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
 * While serving it holds the job that runs and those sent ahead, in the order the process has them. A job is stopped in
 * steps, `interrupt` -> grace -> SIGKILL, and the first reason to stop it is the one the client hears; what was sent ahead is
 * taken back at the first step, so that no other job dies at the last. When the process dies the flight recorder says which
 * job it was at: that one has failed, the later ones go back to the queue as if nothing had happened.
 */
import type { WorkerDeath } from '../crashes/crash-report.ts';
import { Failure } from '../failures.ts';
import type { Events } from '../telemetry/events.ts';
import {
  type Attachment,
  type FailedVerdict,
  type Finished,
  isStartFault,
  type Progress,
} from '../workers/protocol.ts';
import { WorkerExitError } from '../workers/worker-exit.ts';
import {
  type WorkerExit,
  WorkerProcess,
  type WorkerProcessEvents,
  type WorkerProcessOptions,
} from '../workers/worker-process.ts';
import type { ActorContext, ActorExit, ActorOptions } from './actor.ts';
import type { Directory, Key } from './directory.ts';
import type { Job, JobEnd, JobReport } from './job.ts';
import { cancelled, type PoolQueueMessage } from './pool-queue.ts';
import {
  deathFailure,
  deathOnRecord,
  type JobAtDeath,
  type Judgement,
  judgeDeath,
  mayBeRetried,
} from './worker-death.ts';
import type { WorkerMessage, WorkerRoster, WorkerStatus } from './worker-roster.ts';

export interface WorkerActorOptions {
  readonly id: string;
  readonly pool: string;
  readonly incarnation: number;
  readonly process: Omit<WorkerProcessOptions, 'worker' | 'incarnation'>;
  /** Takes down what a worker died of, and gives that an id. */
  readonly recordDeath: (death: WorkerDeath) => string;
  readonly settings: () => WorkerSettings;
  /** A job's sources with the credentials they have when it is sent to the process. */
  readonly asConfiguredNow: (attachments: readonly Attachment[]) => Attachment[];
  /** Whether what its process was started with is not what is configured any more. */
  readonly isOutdated: () => boolean;
  /** It serves now, or has died. */
  readonly onChange: () => void;
  readonly queueKey: Key<PoolQueueMessage>;
  readonly directory: Directory;
  readonly roster: WorkerRoster;
  readonly report: (report: JobReport) => void;
  /** Why jobs are turned away when there is no queue to give them back to. */
  readonly unavailable: () => Failure;
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
  | { readonly type: 'deadline'; readonly seq: number }
  | { readonly type: 'grace-over'; readonly seq: number }
  | { readonly type: 'long'; readonly seq: number }
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

/** A job with the process. */
interface Held extends JobAtDeath {
  /** Why it is being stopped; the first reason stands. */
  stopping: 'timeout' | 'cancelled' | undefined;
  /** Its first bytes are here. They may come before the verdict on the job before it is read. */
  streaming: boolean;
  startedAt: number | undefined;
  /** Its sources, as they were configured when it was sent to the process. */
  readonly attachments: readonly Attachment[];
  /** It has run so long, or is being stopped, that nothing is sent ahead behind it. */
  alone: boolean;
  /** The process was asked to give it back, and has not answered. */
  withdrawing: boolean;
  cancelTimers: (() => void)[];
}

/** A process that was asked to end, has nothing to do and does not end is killed. */
const RECYCLE_GRACE_MS = 5_000;
/** A timer holds no more than 24 days. */
const LOOK_AGAIN_MS = 86_400_000;
/** A query that runs so long is not worth waiting behind: what was sent ahead goes to other workers. */
const LONG_MS = 20;

type State = 'starting' | 'serving' | 'ending';

class WorkerActor {
  readonly #options: WorkerActorOptions;
  readonly #context: ActorContext<OwnMessage>;
  readonly #process: WorkerProcess;
  readonly #gone: Promise<void>;
  readonly #removeFromRoster: () => void;
  readonly #bornAt: number;
  #held: Held[] = [];
  #state: State = 'starting';
  #asked: 'recycle' | 'shutdown' | undefined;
  #givingBack = false;
  /** Until the queue says otherwise. */
  #reserve = true;
  #readyAt: number | undefined;
  /** Its version, once the process has said so. */
  #duckdb: string | undefined;
  #cancelAge: () => void = () => undefined;
  /** It holds memory that does not come back. */
  #swollen = false;
  #nextSeq = 1;
  #finished = 0;

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
      bytes: (seq, bytes) => this.#bytes(seq, bytes),
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
        this.#cancel(message.queryId);
        return;
      case 'give-back':
        this.#giveBack();
        return;
      case 'hello':
        if (this.#state === 'serving') this.#announce();
        return;
      case 'role':
        this.#reserve = message.reserve;
        return;
      case 'settings-changed':
        if (this.#state === 'serving') this.#watchAge();
        this.#retireIfDue();
        return;
      case 'old':
        this.#watchAge();
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
        this.#progress(message.progress);
        return;
      case 'swollen':
        this.#swollen = true;
        this.#retireIfDue();
        return;
      case 'exit':
        this.#exited(message.exit);
        return;
      case 'deadline':
        this.#stopJob(message.seq, 'timeout');
        return;
      case 'grace-over':
        this.#graceOver(message.seq);
        return;
      case 'long':
        this.#long(message.seq);
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
    for (const { job } of this.#held) {
      this.#report(job, failure());
      // Or the queue would take it for one that this worker had never read of, and send it to another.
      this.#free(job);
    }
    this.#held = [];
  }

  #ready(): void {
    if (this.#state !== 'starting') return;
    this.#state = 'serving';
    this.#readyAt = this.#context.system.clock.now();
    const { id, pool, incarnation, events } = this.#options;
    events.emit('worker.ready', {
      pool,
      worker: id,
      incarnation,
      pid: this.#process.pid,
      startMs: this.#age(),
    });
    this.#options.onChange();
    this.#announce();
    this.#watchAge();
  }

  #watchAge(): void {
    this.#cancelAge();
    const left = this.#options.settings().recycle.maxAgeMs - this.#served();
    this.#cancelAge =
      left > 0 ? this.#context.after(Math.min(left, LOOK_AGAIN_MS), { type: 'old' }) : () => undefined;
  }

  /** The queue decides when: workers are replaced one after the other. */
  #retireIfDue(): void {
    if (this.#state !== 'serving') return;
    const { maxQueries, maxAgeMs } = this.#options.settings().recycle;
    const isDue =
      this.#swollen ||
      this.#finished >= maxQueries ||
      this.#served() >= maxAgeMs ||
      this.#options.isOutdated();
    if (isDue) this.#tellQueue({ type: 'recycle-wanted', ref: this.#context.self });
  }

  #announce(): void {
    this.#tellQueue({
      type: 'worker-ready',
      ref: this.#context.self,
      jobs: this.#held.map(({ job }) => job),
    });
    if (this.#held[0]?.alone === true) this.#tellSendAhead(false);
    // It may have been due before this queue was there.
    this.#retireIfDue();
  }

  #run(job: Job): void {
    // On its way when the queue was told that nothing is wanted behind the running one.
    if (this.#state !== 'serving' || this.#held[0]?.alone === true) {
      this.#requeue([job]);
      return;
    }
    if (job.cancelledBy !== undefined) {
      this.#report(job, cancelled(job.cancelledBy));
      this.#free(job);
      return;
    }
    const seq = this.#nextSeq;
    this.#nextSeq += 1;
    const attachments = this.#options.asConfiguredNow(job.statement.attachments);
    this.#held.push({
      seq,
      job,
      stopping: undefined,
      streaming: false,
      startedAt: undefined,
      attachments,
      alone: false,
      withdrawing: false,
      cancelTimers: [],
    });
    const armed = this.#options.roster.faultOfQuery(job.queryId);
    if (armed !== undefined) this.#process.injectFault(armed.fault, armed.phase, seq);
    this.#process.run({ seq, ...job.statement, attachments });
    if (this.#held.length === 1) this.#begin();
    else if (this.#held.length === 2) this.#watchForLong();
  }

  /** The first of the held jobs is the one the process runs. */
  #begin(): void {
    const [held] = this.#held;
    if (held === undefined) return;
    held.startedAt = this.#context.system.clock.now();
    const timeLeft = Math.max(0, held.job.timeoutMs - held.job.ranMs);
    held.cancelTimers.push(this.#context.after(timeLeft, { type: 'deadline', seq: held.seq }));
    this.#options.report({ type: 'running', queryId: held.job.queryId, worker: this.#options.id });
    if (held.streaming) this.#reportStreaming(held);
    if (this.#held.length > 1) this.#watchForLong();
    // It was sent ahead, and had begun when the process was asked to give it back.
    this.#answered(held);
    if (held.job.cancelledBy !== undefined) this.#stopJob(held.seq, 'cancelled');
  }

  #watchForLong(): void {
    const [held] = this.#held;
    if (held !== undefined)
      held.cancelTimers.push(this.#context.after(LONG_MS, { type: 'long', seq: held.seq }));
  }

  #free({ queryId }: Job): void {
    this.#tellQueue({ type: 'freed', ref: this.#context.self, queryId });
  }

  #long(seq: number): void {
    const [held] = this.#held;
    if (held?.seq === seq) this.#leaveAlone(held);
  }

  #leaveAlone(held: Held): void {
    if (held.alone) return;
    held.alone = true;
    this.#tellSendAhead(false);
    this.#giveBack();
  }

  #tellSendAhead(useful: boolean): void {
    this.#tellQueue({ type: 'send-ahead', ref: this.#context.self, useful });
  }

  #giveBack(): void {
    this.#givingBack = true;
    for (const held of this.#held.slice(1)) this.#withdraw(held);
    this.#sayGivenBack();
  }

  #withdraw(held: Held): void {
    if (!held.withdrawing) this.#process.withdraw(held.seq);
    held.withdrawing = true;
  }

  #answered(held: Held): void {
    held.withdrawing = false;
    this.#sayGivenBack();
  }

  /** The queue sends nothing ahead until it hears that all it asked for has been answered. */
  #sayGivenBack(): void {
    if (!this.#givingBack || this.#held.some(({ withdrawing }) => withdrawing)) return;
    this.#givingBack = false;
    this.#tellQueue({ type: 'given-back', ref: this.#context.self });
  }

  #withdrawn(seq: number): void {
    const wasFirst = this.#held[0]?.seq === seq;
    const held = this.#take(seq);
    if (held === undefined) return;
    if (held.job.cancelledBy === undefined) {
      this.#requeue([held.job]);
    } else {
      this.#report(held.job, cancelled(held.job.cancelledBy));
      this.#free(held.job);
    }
    this.#answered(held);
    if (!wasFirst) return;
    if (this.#state === 'ending') this.#endProcess();
    this.#begin();
  }

  #bytes(seq: number, bytes: Uint8Array): void {
    const held = this.#held.find((candidate) => candidate.seq === seq);
    if (held === undefined) return;
    const room = held.job.sink.write(bytes);
    if (room !== undefined) {
      this.#process.pause();
      void room.then(() => this.#process.resume());
    }
    if (held.streaming) return;
    held.streaming = true;
    if (held.startedAt !== undefined) this.#reportStreaming(held);
  }

  #reportStreaming({ job }: Held): void {
    this.#options.report({ type: 'streaming', queryId: job.queryId });
  }

  #progress({ type: _, seq, ...progress }: Progress): void {
    const [held] = this.#held;
    if (held?.seq === seq) this.#options.report({ type: 'progress', queryId: held.job.queryId, progress });
  }

  #verdict(result: Finished): void {
    const held = this.#held[0]?.seq === result.seq ? this.#take(result.seq) : undefined;
    if (held === undefined) {
      this.#process.kill('protocol');
      return;
    }
    this.#finished += 1;
    if (result.volatile !== undefined) this.#options.onVolatile?.(result.volatile, result.lost);
    this.#options.roster.disarmQuery(held.job.queryId);
    this.#options.report({ type: 'ended', queryId: held.job.queryId, end: this.#endOf(held, result) });
    if (result.retire !== undefined) {
      this.#end('recycle');
      if (result.retire === 'stuck') this.#process.kill('recycled');
    } else if (this.#state === 'ending') this.#endProcess();
    else this.#retireIfDue();
    this.#begin();
    if (held.alone) this.#tellSendAhead(true);
    this.#free(held.job);
  }

  #endOf(held: Held, { verdict, body, bytes: piped, keptBytes, runMs, peakMemoryBytes }: Finished): JobEnd {
    const bytes = keptBytes ?? piped;
    // Of a stream that was stopped at its very end something is missing all the same.
    const isCut = held.stopping !== undefined && held.job.statement.output !== undefined;
    if (verdict.ok && isCut) return { ok: false, failure: this.#stopFailure(held), runMs, killed: false };
    if (verdict.ok) {
      if (body !== undefined) {
        const small = Buffer.from(body);
        void held.job.sink.write(small);
        return {
          ok: true,
          rows: verdict.rows,
          truncated: verdict.truncated,
          bytes: small.length,
          runMs,
          peakMemoryBytes,
        };
      }
      return { ok: true, rows: verdict.rows, truncated: verdict.truncated, bytes, runMs, peakMemoryBytes };
    }
    const failure = verdict.code === 'INTERRUPTED' ? this.#stopFailure(held) : failureOf(verdict);
    return { ok: false, failure, runMs, killed: false, mayRetry: this.#hasOldCredentials(held, failure) };
  }

  /** A read that its source did not let in, or let go on, and that has other credentials by now. */
  #hasOldCredentials({ job, stopping, attachments }: Held, { code }: Failure): boolean {
    if (code !== 'SOURCE_UNAVAILABLE' || stopping !== undefined || job.statement.write) return false;
    const now = this.#options.asConfiguredNow(job.statement.attachments);
    return JSON.stringify(now) !== JSON.stringify(attachments);
  }

  #cancel(queryId: string): void {
    const held = this.#held.find(({ job }) => job.queryId === queryId);
    if (held === undefined) return;
    if (held === this.#held[0]) this.#stopJob(held.seq, 'cancelled');
    else this.#withdraw(held);
  }

  #stopJob(seq: number, why: 'timeout' | 'cancelled'): void {
    const held = this.#held[0];
    if (held?.seq !== seq || held.stopping !== undefined) return;
    held.stopping = why;
    held.job.sink.discard();
    this.#process.interrupt(seq);
    this.#leaveAlone(held);
    held.cancelTimers.push(
      this.#context.after(this.#options.settings().cancelGraceMs, { type: 'grace-over', seq }),
    );
  }

  #graceOver(seq: number): void {
    const held = this.#held[0];
    if (held?.seq === seq && held.stopping !== undefined) this.#process.kill(held.stopping);
  }

  #stopFailure(held: Held): Failure {
    if (held.stopping === 'timeout') {
      const limit = held.job.timeoutMs;
      return new Failure(
        'QUERY_TIMEOUT',
        `The query ran for ${limit} ms, as long as it may, and was stopped.`,
        {
          members: { limit_ms: limit },
        },
      );
    }
    return cancelled(held.job.cancelledBy ?? 'unknown');
  }

  /** No new jobs; the running one may finish, unless the supervisor's patience ends first. */
  #end(why: 'recycle' | 'shutdown'): void {
    // A supervisor that stops a worker wants no successor, whatever the worker itself had in mind.
    if (this.#asked !== 'shutdown') this.#asked = why;
    this.#state = 'ending';
    this.#tellQueue({ type: 'worker-ending', ref: this.#context.self });
    this.#giveBack();
    this.#endProcess();
  }

  /** Once it has nothing to do any more. */
  #endProcess(): void {
    if (this.#held.length > 0) return;
    this.#process.stop();
    if (this.#asked === 'recycle') this.#context.after(RECYCLE_GRACE_MS, { type: 'recycle-overdue' });
  }

  #exited(exit: WorkerExit): void {
    const { id, pool, incarnation, events, onChange, roster, recordDeath, process } = this.#options;
    const served = this.#state !== 'starting';
    const judgement = judgeDeath(exit, { asked: this.#asked, served, held: this.#held });
    const { cause, phase, begun, waiting } = judgement;
    const { memoryLimit, memoryHardLimit, tempLimit, threads } = process.configure;
    const death = deathOnRecord(this.#options, exit, judgement, {
      uptimeMs: this.#age(),
      limits: { memoryLimit, memoryHardLimit, tempLimit, threads },
      duckdb: this.#duckdb,
    });
    // Before anything else is told of it: what waits is judged by it.
    const crashId = death === undefined ? undefined : recordDeath(death);
    for (const held of this.#held) for (const cancel of held.cancelTimers) cancel();
    this.#held = [];
    this.#state = 'ending';
    this.#handBack(
      waiting.map(({ job }) => job),
      'worker-died',
    );
    for (const held of begun) {
      roster.disarmQuery(held.job.queryId);
      this.#reportDeath(held, exit, judgement, crashId);
      this.#free(held.job);
    }
    if (cause !== 'shutdown') onChange();
    events.emit('worker.exited', {
      pool,
      worker: id,
      incarnation,
      pid: exit.pid,
      cause,
      signal: exit.signal,
      exitCode: exit.exitCode,
      phase,
      queryId: begun.at(-1)?.job.queryId,
      crashId,
      uptimeMs: this.#age(),
      memoryBytes: exit.memoryBytes,
      peakMemoryBytes: exit.peakMemoryBytes,
      detail: exit.detail,
      damagedWorkspace: exit.damagedWorkspace,
      lastLines: exit.lastLines,
    });
    if (cause === 'shutdown') this.#context.stop();
    else this.#context.fail(new WorkerExitError(cause, exit));
  }

  #reportDeath(held: Held, exit: WorkerExit, judgement: Judgement<Held>, crashId: string | undefined): void {
    const { cause } = judgement;
    const { queryId } = held.job;
    const now = this.#context.system.clock.now();
    // It had begun before the verdict on the one in front of it was read: an attempt all the same.
    if (held.startedAt === undefined) {
      this.#options.report({ type: 'running', queryId, worker: this.#options.id });
    }
    const killed = cause === 'killed' && held.stopping !== undefined;
    const failure = killed
      ? this.#stopFailure(held)
      : cause === 'shutdown'
        ? this.#options.unavailable()
        : deathFailure(this.#options, exit, judgement, crashId);
    const mayRetry = failure.code === 'WORKER_CRASHED' && mayBeRetried(held, exit);
    const runMs = now - (held.startedAt ?? now);
    this.#options.report({
      type: 'ended',
      queryId,
      end: { ok: false, failure, runMs, killed, mayRetry },
    });
  }

  #fault({ fault, phase, queryId }: WorkerMessage & { readonly type: 'fault' }): void {
    if (isStartFault(fault)) {
      this.#options.roster.armStart(this.#options.id, fault);
      return;
    }
    const seq = this.#held.find(({ job }) => job.queryId === queryId)?.seq;
    if (queryId === undefined || seq !== undefined) this.#process.injectFault(fault, phase, seq);
  }

  #take(seq: number): Held | undefined {
    const index = this.#held.findIndex((held) => held.seq === seq);
    const [held] = index === -1 ? [] : this.#held.splice(index, 1);
    for (const cancel of held?.cancelTimers ?? []) cancel();
    return held;
  }

  #requeue(jobs: readonly Job[]): void {
    if (jobs.length > 0) this.#handBack(jobs, 'requeue');
  }

  #handBack(jobs: readonly Job[], type: 'requeue' | 'worker-died'): void {
    const queue = this.#options.directory.whereis(this.#options.queueKey);
    const accepted = queue?.tell({ type, ref: this.#context.self, jobs }) === 'accepted';
    for (const job of jobs) {
      if (!accepted) {
        this.#report(job, this.#options.unavailable());
        continue;
      }
      job.sink.reset();
      job.holder = queue;
      this.#options.report({ type: 'requeued', queryId: job.queryId });
    }
  }

  #tellQueue(message: PoolQueueMessage): void {
    this.#options.directory.whereis(this.#options.queueKey)?.tell(message);
  }

  #report(job: Job, failure: Failure): void {
    this.#options.report({
      type: 'ended',
      queryId: job.queryId,
      end: { ok: false, failure, runMs: 0, killed: false },
    });
  }

  /** Milliseconds it has served: a slow start makes no worker old. */
  #served(): number {
    return this.#readyAt === undefined ? 0 : this.#context.system.clock.now() - this.#readyAt;
  }

  #age(): number {
    return this.#context.system.clock.now() - this.#bornAt;
  }

  #occupation(): 'busy' | 'reserve' | 'spare' | 'idle' {
    if (this.#held.length > 0) return 'busy';
    if (this.#options.isSpare?.() === true) return 'spare';
    return this.#reserve ? 'reserve' : 'idle';
  }

  #status(): WorkerStatus {
    const busy = this.#held[0];
    return {
      id: this.#options.id,
      pool: this.#options.pool,
      pid: this.#process.pid,
      state: this.#state === 'serving' ? this.#occupation() : this.#state,
      incarnation: this.#options.incarnation,
      queryId: busy?.job.queryId,
      rssBytes: this.#process.memory?.rssBytes,
      uptimeMs: this.#age(),
      queries: this.#finished,
    };
  }
}

/** A verdict of a worker that lives on, as the client hears it. */
function failureOf({ code, detail, members }: FailedVerdict): Failure {
  return new Failure(code === 'INTERRUPTED' ? 'QUERY_CANCELLED' : code, detail, { members });
}
