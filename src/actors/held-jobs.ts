/**
 * The jobs that a worker process has: the one it runs, and behind it those sent ahead, in the order it has them.
 *
 * A job is stopped in steps, `interrupt` -> grace -> SIGKILL, and the first reason to stop it is the one the client hears. What
 * was sent ahead is taken back at the first step, so that no other job dies at the last; and so it is when the running one turns
 * out long.
 */
import type { Failure } from '../failures.ts';
import type { Attachment, Finished, Progress } from '../workers/protocol.ts';
import type { WorkerProcess } from '../workers/worker-process.ts';
import type { Clock } from './actor.ts';
import type { Job, JobEnd } from './job.ts';
import { outcomeOf } from './job-outcome.ts';
import { cancelled } from './pool-queue.ts';
import type { JobAtDeath } from './worker-death.ts';
import type { WorkerMail } from './worker-mail.ts';
import type { WorkerRoster } from './worker-roster.ts';

/** A job with the process. */
export interface HeldJob extends JobAtDeath {
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

/** What comes of the timers of a job. */
export type HeldJobMessage = {
  readonly type: 'deadline' | 'grace-over' | 'long';
  readonly seq: number;
};

export interface HeldJobsOptions {
  /** Of the worker. */
  readonly id: string;
  readonly process: WorkerProcess;
  readonly mail: WorkerMail;
  readonly roster: WorkerRoster;
  readonly clock: Clock;
  /** Tells the worker so later; returns what cancels that. */
  readonly after: (ms: number, message: HeldJobMessage) => () => void;
  /** Milliseconds from `interrupt` to SIGKILL. */
  readonly cancelGraceMs: () => number;
  readonly asConfiguredNow: (job: Job) => Attachment[];
}

/** A query that runs so long is not worth waiting behind: what was sent ahead goes to other workers. */
const LONG_MS = 20;

export class HeldJobs {
  readonly #options: HeldJobsOptions;
  #held: HeldJob[] = [];
  #givingBack = false;
  #nextSeq = 1;

  constructor(options: HeldJobsOptions) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#held.length === 0;
  }

  /** The one that the process runs. */
  get first(): HeldJob | undefined {
    return this.#held[0];
  }

  get all(): readonly HeldJob[] {
    return this.#held;
  }

  /** Sends a job to the process. */
  add(job: Job): void {
    const { process, mail, roster, asConfiguredNow } = this.#options;
    if (job.cancelledBy !== undefined) {
      mail.fail(job, cancelled(job.cancelledBy));
      mail.free(job);
      return;
    }
    const seq = this.#nextSeq;
    this.#nextSeq += 1;
    const attachments = asConfiguredNow(job);
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
    const armed = roster.faultOfQuery(job.queryId);
    if (armed !== undefined) process.injectFault(armed.fault, armed.phase, seq);
    // A spread that is followed by another member takes V8 microseconds.
    process.run(
      attachments.length === 0 ? { seq, ...job.statement } : { seq, ...job.statement, attachments },
    );
    if (this.#held.length === 1) this.begin();
    else if (this.#held.length === 2) this.#watchForLong();
  }

  /** The one before it has ended: the first is the one the process runs. */
  begin(): void {
    const [held] = this.#held;
    if (held === undefined) return;
    const { mail, clock, after, id } = this.#options;
    held.startedAt = clock.now();
    const timeLeft = Math.max(0, held.job.timeoutMs - held.job.ranMs);
    held.cancelTimers.push(after(timeLeft, { type: 'deadline', seq: held.seq }));
    mail.report({ type: 'running', queryId: held.job.queryId, worker: id });
    if (held.streaming) this.#reportStreaming(held);
    if (this.#held.length > 1) this.#watchForLong();
    // It was sent ahead, and had begun when the process was asked to give it back.
    this.#answered(held);
    if (held.job.cancelledBy !== undefined) this.#stop(held.seq, 'cancelled');
  }

  /** A timer of a job is over. */
  timeout({ type, seq }: HeldJobMessage): void {
    const [held] = this.#held;
    if (held?.seq !== seq) return;
    if (type === 'deadline') this.#stop(seq, 'timeout');
    else if (type === 'long') this.#leaveAlone(held);
    else if (held.stopping !== undefined) this.#options.process.kill(held.stopping);
  }

  cancel(queryId: string): void {
    const held = this.#held.find(({ job }) => job.queryId === queryId);
    if (held === undefined) return;
    if (held === this.#held[0]) this.#stop(held.seq, 'cancelled');
    else this.#withdraw(held);
  }

  /** Takes back what has not begun. */
  giveBack(): void {
    this.#givingBack = true;
    for (const held of this.#held.slice(1)) this.#withdraw(held);
    this.#sayGivenBack();
  }

  /** The process has given a job back. Returns whether it was the first; begin the next one then. */
  withdrawn(seq: number): boolean {
    const { mail } = this.#options;
    const wasFirst = this.#held[0]?.seq === seq;
    const held = this.#take(seq);
    if (held === undefined) return false;
    if (held.job.cancelledBy === undefined) {
      mail.handBack([held.job], 'requeue');
    } else {
      mail.fail(held.job, cancelled(held.job.cancelledBy));
      mail.free(held.job);
    }
    this.#answered(held);
    return wasFirst;
  }

  bytes(seq: number, bytes: Uint8Array): void {
    const { process } = this.#options;
    const held = this.#held.find((candidate) => candidate.seq === seq);
    if (held === undefined) return;
    const room = held.job.sink.write(bytes);
    if (room !== undefined) {
      process.pause();
      void room.then(() => process.resume());
    }
    if (held.streaming) return;
    held.streaming = true;
    if (held.startedAt !== undefined) this.#reportStreaming(held);
  }

  progress({ type: _, seq, ...progress }: Progress): void {
    const [held] = this.#held;
    if (held?.seq === seq)
      this.#options.mail.report({ type: 'progress', queryId: held.job.queryId, progress });
  }

  /** The job of a verdict, with the process no more; undefined for a verdict that nobody waits for. */
  finish(seq: number): HeldJob | undefined {
    return this.#held[0]?.seq === seq ? this.#take(seq) : undefined;
  }

  /** How a job ended; the small result of one that is well has gone where it is wanted. */
  outcomeOf(held: HeldJob, result: Finished): JobEnd {
    const end = outcomeOf(held, result);
    if (end.ok && result.body !== undefined) void held.job.sink.write(Buffer.from(result.body));
    if (end.ok) return end;
    return { ...end, mayRetry: this.#hasOldCredentials(held, end.failure) };
  }

  /** The process is gone: so are the timers. Returns what it had. */
  takeAll(): readonly HeldJob[] {
    const held = this.#held;
    for (const { cancelTimers } of held) for (const cancel of cancelTimers) cancel();
    this.#held = [];
    return held;
  }

  /** A read that its source did not let in, or let go on, and that has other credentials by now. */
  #hasOldCredentials({ job, stopping, attachments }: HeldJob, { code }: Failure): boolean {
    if (code !== 'SOURCE_UNAVAILABLE' || stopping !== undefined || job.statement.write) return false;
    const now = this.#options.asConfiguredNow(job);
    return JSON.stringify(now) !== JSON.stringify(attachments);
  }

  #watchForLong(): void {
    const [held] = this.#held;
    if (held !== undefined)
      held.cancelTimers.push(this.#options.after(LONG_MS, { type: 'long', seq: held.seq }));
  }

  #leaveAlone(held: HeldJob): void {
    if (held.alone) return;
    held.alone = true;
    this.#options.mail.sendAhead(false);
    this.giveBack();
  }

  #withdraw(held: HeldJob): void {
    if (!held.withdrawing) this.#options.process.withdraw(held.seq);
    held.withdrawing = true;
  }

  #answered(held: HeldJob): void {
    held.withdrawing = false;
    this.#sayGivenBack();
  }

  /** The queue sends nothing ahead until it hears that all it asked for has been answered. */
  #sayGivenBack(): void {
    if (!this.#givingBack || this.#held.some(({ withdrawing }) => withdrawing)) return;
    this.#givingBack = false;
    this.#options.mail.givenBack();
  }

  #stop(seq: number, why: 'timeout' | 'cancelled'): void {
    const [held] = this.#held;
    if (held?.seq !== seq || held.stopping !== undefined) return;
    const { process, after, cancelGraceMs } = this.#options;
    held.stopping = why;
    held.job.sink.discard();
    process.interrupt(seq);
    this.#leaveAlone(held);
    held.cancelTimers.push(after(cancelGraceMs(), { type: 'grace-over', seq }));
  }

  #reportStreaming({ job }: HeldJob): void {
    this.#options.mail.report({ type: 'streaming', queryId: job.queryId });
  }

  #take(seq: number): HeldJob | undefined {
    const index = this.#held.findIndex((held) => held.seq === seq);
    const [held] = index === -1 ? [] : this.#held.splice(index, 1);
    for (const cancel of held?.cancelTimers ?? []) cancel();
    return held;
  }
}
