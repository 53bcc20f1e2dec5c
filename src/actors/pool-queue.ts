/**
 * The queue of a pool: admission order, assignment, deadlines in the queue.
 *
 * Workers say when they are ready and when a slot is free; the queue gives idle workers their next job, and sends a few
 * ahead to busy ones (the dispatch window, which hides the round trip). What was sent ahead comes back, to the head of the
 * queue and in its old order, when its worker dies, when the running query turns out long or is being stopped, or when another
 * worker is idle.
 *
 * When the queue itself ends, everything that waits is answered; jobs that workers hold are not touched, and the next
 * incarnation learns of the workers from the roster. Those still in its mailbox are found by the router.
 */
import { Failure } from '../failures.ts';
import type { ActorContext, ActorOptions, ActorRef, AnyActorRef } from './actor.ts';
import type { Directory, Key } from './directory.ts';
import { FairQueue, type Waiter } from './fair-queue.ts';
import type { Job, JobReport } from './job.ts';
import type { WorkerMessage, WorkerRoster } from './worker-roster.ts';

export type PoolQueueMessage =
  | { readonly type: 'enqueue'; readonly job: Job }
  /** A worker is ready, or greets a new queue; these jobs are with it. */
  | { readonly type: 'worker-ready'; readonly ref: ActorRef<WorkerMessage>; readonly jobs: readonly Job[] }
  /** A worker takes no jobs any more. */
  | { readonly type: 'worker-ending'; readonly ref: AnyActorRef }
  /** A worker has ended one of its jobs. */
  | { readonly type: 'freed'; readonly ref: AnyActorRef; readonly queryId: string }
  /** Jobs that had not begun come back from `ref`. */
  | { readonly type: 'requeue'; readonly ref: AnyActorRef; readonly jobs: readonly Job[] }
  /** A worker has died; these jobs, which it had not begun, come back from it. */
  | { readonly type: 'worker-died'; readonly ref: AnyActorRef; readonly jobs: readonly Job[] }
  /** A worker has given back all that it could. */
  | { readonly type: 'given-back'; readonly ref: AnyActorRef }
  /** Whether it is any use to send jobs ahead to a worker: not while a query of its runs for long. */
  | { readonly type: 'send-ahead'; readonly ref: AnyActorRef; readonly useful: boolean }
  | { readonly type: 'worker-gone'; readonly ref: AnyActorRef }
  /** A worker is to be replaced, once no other one is being replaced. */
  | { readonly type: 'recycle-wanted'; readonly ref: AnyActorRef }
  | { readonly type: 'settings-changed' }
  /** Tells when nothing waits and nothing runs; for a pool that nobody sends queries to any more. */
  | { readonly type: 'drain'; readonly reply: () => void }
  | { readonly type: 'cancel'; readonly queryId: string }
  | { readonly type: 'expired'; readonly queryId: string };

export interface PoolQueueOptions {
  readonly pool: string;
  readonly key: Key<PoolQueueMessage>;
  readonly directory: Directory;
  readonly roster: WorkerRoster;
  readonly settings: () => PoolQueueSettings;
  readonly admission: Admission;
  readonly report: (report: JobReport) => void;
  /** Why jobs are turned away when the queue ends. */
  readonly unavailable: () => Failure;
}

export interface PoolQueueSettings {
  /** Workers that take queries. */
  readonly size: number;
  /** More of them, kept warm to take over. */
  readonly reserve: number;
  /** Jobs that may wait. */
  readonly max: number;
  /** Jobs sent ahead to a busy worker. */
  readonly window: number;
}

/** What keeps a job from a worker although one is free. Asked each time one is about to be given to a worker. */
export interface Admission {
  /** Why it is not to run at all, by now. */
  refusal(job: Job): Failure | undefined;
  /** How many workers its principal may put at risk at the same time. */
  allowance(job: Job): number;
  /** Whether its principal may have one more with the workers, beside `running` of its own; those are counted only where there is a limit. */
  mayBegin(job: Job, running: () => number): boolean;
  /** Why it is not to wait, now that `waiting` of its principal's do, itself among them. */
  overcrowded(job: Job, waiting: number): Failure | undefined;
}

export function poolQueue(options: PoolQueueOptions): Omit<ActorOptions<PoolQueueMessage>, 'name'> {
  return {
    // The bound is the configuration's, and its refusal says so; reports of workers must never be lost.
    mailbox: Number.POSITIVE_INFINITY,
    init: (context) => {
      options.directory.register(options.key, context.self);
      const queue = new PoolQueue(options, context);
      for (const worker of options.roster.ofPool(options.pool)) worker.ref.tell({ type: 'hello' });
      return {
        receive: (message) => queue.receive(message),
        terminate: () => queue.turnAllAway(),
      };
    },
  };
}

interface Waiting extends Waiter {
  readonly job: Job;
  readonly cancelTimer: () => void;
}

interface Slot {
  readonly ref: ActorRef<WorkerMessage>;
  /** With the worker, begun or not, in their order. */
  readonly jobs: Map<string, Job>;
  /** False once it is ending. */
  accepting: boolean;
  sendAhead: boolean;
  /** It was asked for what it has not begun, and has not answered. */
  takingBack: boolean;
  /** Warm and idle until another worker is missing. */
  reserve: boolean;
  /** Whose sources it has attached last. */
  attached: string | undefined;
}

class PoolQueue {
  readonly #options: PoolQueueOptions;
  readonly #context: ActorContext<PoolQueueMessage>;
  readonly #workers = new Map<AnyActorRef, Slot>();
  readonly #waiting = new FairQueue<Waiting>((principal) => this.#runningOf(principal));
  /** Workers that want to be replaced, the longest first. */
  #toRecycle: AnyActorRef[] = [];
  /** The one that is being replaced, and how many there were to take queries when that began. */
  #recycling: { readonly ref: AnyActorRef; readonly accepting: number } | undefined;
  #drained: (() => void)[] = [];

  constructor(options: PoolQueueOptions, context: ActorContext<PoolQueueMessage>) {
    this.#options = options;
    this.#context = context;
  }

  receive(message: PoolQueueMessage): void {
    this.#handle(message);
    if (this.#drained.length > 0) this.#sayDrained();
  }

  #handle(message: PoolQueueMessage): void {
    switch (message.type) {
      case 'enqueue':
        this.#enqueue(message.job);
        return;
      case 'worker-ready':
        this.#workerReady(message.ref, message.jobs);
        return;
      case 'worker-ending':
        this.#workerEnding(message.ref);
        return;
      case 'freed':
        this.#workers.get(message.ref)?.jobs.delete(message.queryId);
        this.#assign();
        return;
      case 'requeue':
        this.#comeBack(message.ref, message.jobs);
        return;
      case 'worker-died':
        // What it gives back is in its old place before another worker takes over.
        this.#stopAccepting(message.ref);
        this.#comeBack(message.ref, message.jobs);
        return;
      case 'given-back':
        this.#givenBack(message.ref);
        return;
      case 'send-ahead':
        this.#sendAhead(message.ref, message.useful);
        return;
      case 'worker-gone':
        this.#workerGone(message.ref);
        return;
      case 'recycle-wanted':
        if (!this.#toRecycle.includes(message.ref)) this.#toRecycle.push(message.ref);
        this.#recycleNext();
        return;
      case 'settings-changed':
        this.#settleRoles();
        this.#assign();
        return;
      case 'drain':
        this.#drained.push(message.reply);
        return;
      case 'cancel':
        this.#cancel(message.queryId);
        return;
      case 'expired':
        this.#expire(message.queryId);
        return;
      default:
        message satisfies never;
    }
  }

  turnAllAway(): void {
    for (const { job } of this.#waiting.clear()) this.#fail(job, this.#options.unavailable());
  }

  #enqueue(job: Job): void {
    this.#wait(job);
    this.#assign();
    const { queryId, origin } = job;
    const waiter = { queryId, principal: origin.principal.name };
    if (!this.#waiting.has(waiter)) return;
    const failure = this.#options.admission.overcrowded(job, this.#waiting.waitingOf(waiter.principal));
    if (failure !== undefined) {
      this.#drop(queryId);
      this.#fail(job, failure);
      return;
    }
    this.#turnAwaySurplus();
    if (job.tellsThatItWaits && this.#waiting.has(waiter)) this.#options.report({ type: 'waiting', queryId });
  }

  /** Whoever has most queries waiting makes room for others. */
  #turnAwaySurplus(): void {
    const { max } = this.#options.settings();
    const surplus = this.#waiting.size > max ? this.#waiting.surplus() : undefined;
    if (surplus === undefined) return;
    const { job } = surplus;
    this.#drop(job.queryId);
    const detail = `${max} queries are waiting for pool ${this.#options.pool}, the most it takes; try again.`;
    this.#fail(job, new Failure('OVERLOADED', detail, { retryAfter: 1 }));
  }

  /** How many of the principal's are with workers, begun or not. */
  #runningOf(principal: string): number {
    let running = 0;
    for (const { jobs } of this.#workers.values()) {
      for (const { origin } of jobs.values()) if (origin.principal.name === principal) running += 1;
    }
    return running;
  }

  #comeBack(ref: AnyActorRef, jobs: readonly Job[]): void {
    const slot = this.#workers.get(ref);
    for (const { queryId } of jobs) slot?.jobs.delete(queryId);
    for (const job of jobs) this.#wait(job);
    this.#settleRoles();
    this.#assign();
  }

  #givenBack(ref: AnyActorRef): void {
    const slot = this.#workers.get(ref);
    if (slot !== undefined) slot.takingBack = false;
    this.#assign();
  }

  /** Puts a job in its place in the order of admission; one that has been cancelled on its way ends here. */
  #wait(job: Job): void {
    if (job.cancelledBy !== undefined) {
      this.#fail(job, cancelled(job.cancelledBy));
      return;
    }
    const left = Math.max(0, job.queueDeadline - this.#context.system.clock.now());
    const cancelTimer = this.#context.after(left, { type: 'expired', queryId: job.queryId });
    const { queryId, ticket, origin } = job;
    this.#waiting.add({ queryId, ticket, principal: origin.principal.name, job, cancelTimer });
  }

  /** A worker may say so twice, to greet the queue and because it has just started: what it says is true both times. */
  #workerReady(ref: ActorRef<WorkerMessage>, jobs: readonly Job[]): void {
    const known = this.#workers.get(ref);
    const slot: Slot = known ?? {
      ref,
      jobs: new Map(),
      accepting: true,
      sendAhead: true,
      takingBack: false,
      reserve: true,
      attached: undefined,
    };
    for (const job of jobs) {
      slot.jobs.set(job.queryId, job);
      // Whoever cancelled it may have told a queue that ended before it could pass that on.
      if (job.cancelledBy !== undefined) ref.tell({ type: 'cancel', queryId: job.queryId });
    }
    if (known === undefined) {
      this.#workers.set(ref, slot);
      ref.tell({ type: 'role', reserve: true });
      this.#context.watch(ref, () => ({ type: 'worker-gone', ref }));
    }
    this.#settleRoles();
    this.#assign();
    this.#recycleNext();
  }

  #workerEnding(ref: AnyActorRef): void {
    this.#stopAccepting(ref);
    this.#settleRoles();
    this.#assign();
  }

  #stopAccepting(ref: AnyActorRef): void {
    const slot = this.#workers.get(ref);
    if (slot !== undefined) slot.accepting = false;
  }

  /** As many as the pool's size take queries; a worker that is missing is replaced by one of the reserve at once. */
  #settleRoles(): void {
    const { size } = this.#options.settings();
    const accepting = this.#accepting();
    const active = accepting.filter((slot) => !slot.reserve);
    for (const slot of active.slice(size)) this.#setReserve(slot, true);
    const missing = Math.max(0, size - active.length);
    for (const slot of accepting.filter((slot) => slot.reserve).slice(0, missing)) {
      this.#setReserve(slot, false);
    }
  }

  #setReserve(slot: Slot, reserve: boolean): void {
    slot.reserve = reserve;
    slot.ref.tell({ type: 'role', reserve });
    if (reserve && slot.jobs.size > 0) this.#takeBack(slot);
  }

  #takeBack(slot: Slot): void {
    if (slot.takingBack) return;
    slot.takingBack = true;
    slot.ref.tell({ type: 'give-back' });
  }

  #accepting(): Slot[] {
    return [...this.#workers.values()].filter((slot) => slot.accepting);
  }

  /** One at a time: the next one when the last is gone and there are as many as there were before, or as are wanted now. */
  #recycleNext(): void {
    const { size, reserve } = this.#options.settings();
    const accepting = this.#accepting().length;
    if (this.#recycling !== undefined) {
      const enough = Math.min(this.#recycling.accepting, size + reserve);
      if (this.#workers.has(this.#recycling.ref) || accepting < enough) return;
      this.#recycling = undefined;
    }
    const ref = this.#toRecycle.shift();
    const slot = ref === undefined ? undefined : this.#workers.get(ref);
    if (slot === undefined) return;
    this.#recycling = { ref: slot.ref, accepting };
    slot.ref.tell({ type: 'recycle' });
  }

  #sayDrained(): void {
    if (this.#waiting.size > 0 || [...this.#workers.values()].some(({ jobs }) => jobs.size > 0)) return;
    for (const reply of this.#drained.splice(0)) reply();
  }

  /** What a worker held when it ended it has reported on; a job it has said nothing of was still in its mailbox. */
  #workerGone(ref: AnyActorRef): void {
    const slot = this.#workers.get(ref);
    this.#workers.delete(ref);
    this.#toRecycle = this.#toRecycle.filter((other) => other !== ref);
    this.#settleRoles();
    for (const job of slot?.jobs.values() ?? []) {
      // The router may have been told of the end first, and have sent it back already.
      if (job.holder !== ref) continue;
      job.holder = this.#context.self;
      this.#options.report({ type: 'requeued', queryId: job.queryId });
      this.#wait(job);
    }
    this.#assign();
    this.#recycleNext();
  }

  #sendAhead(ref: AnyActorRef, useful: boolean): void {
    const slot = this.#workers.get(ref);
    if (slot === undefined) return;
    slot.sendAhead = useful;
    this.#assign();
  }

  #assign(): void {
    while (this.#waiting.size > 0) {
      const free = this.#freeSlot();
      if (free === undefined) return;
      // What one principal has running holds up its own queries and nobody else's.
      const next = this.#waiting.heads().find(({ job }) => !this.#mustWait(job, free));
      if (next === undefined) break;
      const { job } = next;
      const slot = this.#asGood(free, job);
      const refusal = this.#refusal(job);
      this.#waiting.serve(next);
      next.cancelTimer();
      if (refusal !== undefined) {
        this.#fail(job, refusal);
        continue;
      }
      if (slot.ref.tell({ type: 'run', job }) !== 'accepted') {
        // Its slot stays until it is gone: there may be jobs in its mailbox.
        slot.accepting = false;
        this.#settleRoles();
        this.#wait(job);
        continue;
      }
      job.holder = slot.ref;
      slot.jobs.set(job.queryId, job);
      slot.attached = attachedBy(job) ?? slot.attached;
      this.#options.report({ type: 'dispatched', queryId: job.queryId, worker: slot.ref.name });
    }
    this.#levelOut();
  }

  #refusal(job: Job): Failure | undefined {
    if (job.cancelledBy !== undefined) return cancelled(job.cancelledBy);
    if (this.#context.system.clock.now() > job.queueDeadline) return this.#expired(job);
    return this.#options.admission.refusal(job);
  }

  /**
   * Whether its principal has as many running as it may, or as many workers have queries of it as that may put at risk and this is
   * not one of them. Where it may put none at risk it does not wait: it is refused.
   */
  #mustWait(job: Job, slot: Slot): boolean {
    if (!this.#options.admission.mayBegin(job, () => this.#runningOf(job.origin.principal.name))) return true;
    const allowance = this.#options.admission.allowance(job);
    if (allowance === Number.POSITIVE_INFINITY || allowance === 0) return false;
    const { name } = job.origin.principal;
    const hasOne = ({ jobs }: Slot) =>
      [...jobs.values()].some(({ origin }) => origin.principal.name === name);
    return !hasOne(slot) && [...this.#workers.values()].filter(hasOne).length >= allowance;
  }

  /** The worker with the fewest jobs, if it takes another. */
  #freeSlot(): Slot | undefined {
    const { window } = this.#options.settings();
    let best: Slot | undefined;
    for (const slot of this.#workers.values()) {
      const ahead = slot.sendAhead && !slot.takingBack && slot.jobs.size <= window;
      const room = slot.accepting && !slot.reserve && (slot.jobs.size === 0 || ahead);
      if (room && (best === undefined || slot.jobs.size < best.jobs.size)) best = slot;
    }
    return best;
  }

  /** In place of an idle worker another idle one that may have the job's sources attached already. */
  #asGood(free: Slot, job: Job): Slot {
    const wanted = attachedBy(job);
    if (wanted === undefined || free.jobs.size > 0) return free;
    const idle = ({ accepting, reserve, jobs }: Slot) => accepting && !reserve && jobs.size === 0;
    return [...this.#workers.values()].find((slot) => idle(slot) && slot.attached === wanted) ?? free;
  }

  /** Nobody waits here: what was sent ahead to a busy worker is taken back when another one is idle. */
  #levelOut(): void {
    const slots = [...this.#workers.values()];
    if (!slots.some((slot) => slot.accepting && !slot.reserve && slot.jobs.size === 0)) return;
    for (const slot of slots) {
      if (slot.jobs.size > 1) this.#takeBack(slot);
    }
  }

  /** A job that is not here is with a worker, or on its way, where its `cancelledBy` is seen. */
  #cancel(queryId: string): void {
    const job = this.#drop(queryId);
    if (job !== undefined) {
      this.#fail(job, cancelled(job.cancelledBy ?? 'unknown'));
      return;
    }
    for (const { ref } of this.#workers.values()) ref.tell({ type: 'cancel', queryId });
  }

  #expire(queryId: string): void {
    const job = this.#drop(queryId);
    if (job !== undefined) this.#fail(job, this.#expired(job));
  }

  #expired(job: Job): Failure {
    const detail = `The query waited ${job.queueTimeoutMs} ms for a worker of pool ${this.#options.pool}, as long as it may; try again.`;
    return new Failure('QUEUE_TIMEOUT', detail, { members: { limit_ms: job.queueTimeoutMs } });
  }

  #drop(queryId: string): Job | undefined {
    const waiting = this.#waiting.remove(queryId);
    waiting?.cancelTimer();
    return waiting?.job;
  }

  #fail(job: Job, failure: Failure): void {
    this.#options.report({
      type: 'ended',
      queryId: job.queryId,
      end: { ok: false, failure, runMs: 0, killed: false },
    });
  }
}

/** What is attached for one principal is never used for another. */
function attachedBy({ origin }: Job): string | undefined {
  return origin.sources.length === 0 ? undefined : JSON.stringify([origin.principal.name, ...origin.sources]);
}

export function cancelled(cancelledBy: string): Failure {
  return new Failure('QUERY_CANCELLED', `The query was cancelled by ${cancelledBy}.`, {
    members: { cancelled_by: cancelledBy },
  });
}
