/**
 * A supervisor: starts children in order, restarts those that end when they should not, and gives up when that
 * happens too often. It behaves as Erlang/OTP's `supervisor` does (stdlib 4.2, `supervisor(3)`), step for step:
 * test/otp plays the same scenarios on both. What is added: a backoff per child, and exits that do not count.
 *
 * ```ts
 * const pool = await startSupervisor(system, {
 *   name: 'pool',
 *   strategy: 'rest_for_one',
 *   intensity: 5,
 *   periodMs: 10_000,
 *   children: [
 *     supervisorChild({ id: 'workers', children: [workerSpec('worker-1'), workerSpec('worker-2')] }),
 *     actorChild({ id: 'queue', init: (context) => new Queue(context) }),
 *   ],
 * });
 * await pool.terminateChild('queue');
 * await pool.stop();
 * ```
 *
 * It does one thing at a time. While it starts or ends a child, exits and calls wait in the order in which they came.
 * A fault in it (a `stop` that throws, a transition nobody declared) crashes its actor, which then ends its children.
 *
 * ```
 *                  all children run             stop, or too many restarts         all children are gone
 *    starting ---------------------> running ----------------------------> stopping ----------------> stopped
 *        \____________________________________________________________________^
 *              a child does not start, or the actor ends under it
 * ```
 */
import type { ActorContext, ActorExit, Behaviour } from '../actors/actor.ts';
import { Children } from './children.ts';
import { type ExitReason, isOrderly, KILLED, SHUTDOWN } from './exit-reason.ts';
import { InvalidOptionError } from './expected.ts';
import type { Incarnation } from './incarnation.ts';
import { addRestart, NO_RESTARTS, type RestartHistory } from './restart-intensity.ts';
import { supervisorNode } from './snapshot.ts';
import type { SupervisedChild } from './supervised-child.ts';
import { type Call, type Outcome, performCall } from './supervisor-call.ts';
import { ChildCallError, RestartIntensityError, SupervisorStartError } from './supervisor-errors.ts';
import type { SupervisorEventDetail } from './supervisor-event.ts';
import type { SupervisionNode } from './supervisor-handle.ts';
import {
  type CheckedSupervisorOptions,
  checkSupervisorChanges,
  type SupervisorChanges,
} from './supervisor-options.ts';
import { requireTransition, type Transitions } from './transitions.ts';

export type SupervisorMessage =
  | { readonly type: 'start' }
  | {
      readonly type: 'exited';
      readonly child: SupervisedChild;
      readonly incarnation: Incarnation;
      readonly reason: ExitReason;
    }
  | { readonly type: 'try_again'; readonly id: string }
  | {
      readonly type: 'delay_over';
      readonly child: SupervisedChild;
      readonly incarnation: number;
      /** What was ended with it, itself included, by the strategy of that moment. */
      readonly ended: readonly SupervisedChild[];
    }
  | { readonly type: 'call'; readonly call: Call }
  | { readonly type: 'stop' }
  /** The work on the message before is done, or failed. */
  | { readonly type: 'done' }
  | { readonly type: 'fault'; readonly error: unknown };

const TRANSITIONS = {
  starting: ['running', 'stopping'],
  running: ['stopping'],
  stopping: ['stopped'],
  stopped: [],
} as const satisfies Transitions<'starting' | 'running' | 'stopping' | 'stopped'>;

/** The behaviour of a supervisor's actor; `startSupervisor` spawns it. */
export class Supervisor implements Behaviour<SupervisorMessage> {
  /** Resolves once all children have started; stays open if they do not. */
  readonly started: Promise<void>;
  #options: CheckedSupervisorOptions;
  readonly #context: ActorContext<SupervisorMessage>;
  readonly #children: Children;
  readonly #resolveStarted: () => void;
  #state: keyof typeof TRANSITIONS = 'starting';
  #restarts: RestartHistory = NO_RESTARTS;
  readonly #inbox: Exclude<SupervisorMessage, { type: 'done' | 'fault' }>[] = [];
  #work: Promise<void> | undefined;
  #exitReason: ExitReason | undefined;
  #gaveUp: RestartIntensityError | undefined;

  constructor(context: ActorContext<SupervisorMessage>, options: CheckedSupervisorOptions) {
    this.#context = context;
    this.#options = options;
    let resolveStarted: () => void = () => undefined;
    this.started = new Promise((resolve) => {
      resolveStarted = resolve;
    });
    this.#resolveStarted = resolveStarted;
    this.#children = new Children({
      actor: context,
      exited: (child, incarnation, reason) => this.#tell({ type: 'exited', child, incarnation, reason }),
      emit: (child, detail) => this.#emit(child, detail),
    });
    this.#tell({ type: 'start' });
  }

  /** Why the supervisor ended, or is ending. */
  get exitReason(): ExitReason {
    return this.#exitReason ?? SHUTDOWN;
  }

  snapshot(): SupervisionNode {
    return supervisorNode({
      path: this.#context.self.path,
      state: this.#state,
      strategy: this.#options.strategy,
      limit: this.#options,
      history: this.#restarts,
      children: this.#children.list,
      now: this.#now,
    });
  }

  /** Ends the children, then the actor, at once and in no order. */
  kill(): void {
    this.#exitReason = KILLED;
    this.#children.killAll((error) => this.#report(error));
    void this.#context.system.stop(this.#context.self);
  }

  receive(message: SupervisorMessage): void {
    if (message.type === 'fault') throw message.error;
    if (message.type === 'done') this.#work = undefined;
    else this.#inbox.push(message);
    if (this.#work !== undefined) return;
    if (this.#state === 'stopping') this.#leave();
    else this.#next();
  }

  /** Not needed: a child that is an actor is watched by its adapter, as any other child reports its own exit. */
  childExited(): void {}

  async terminate(exit: ActorExit): Promise<void> {
    const isFault = exit.kind === 'crash' && exit.error !== this.#gaveUp;
    this.#exitReason = isFault ? { kind: 'error', error: exit.error } : this.exitReason;
    if (this.#state !== 'stopping') this.#to('stopping');
    await this.#work?.catch(() => undefined);
    await this.#children.endRest(this.#exitReason.kind === 'killed', (error) => this.#report(error));
    this.#to('stopped');
  }

  #next(): void {
    const message = this.#inbox.shift();
    if (message === undefined) return;
    this.#work = this.#handle(message);
    this.#context.pipe(
      this.#work,
      () => ({ type: 'done' }),
      (error) => ({ type: 'fault', error }),
    );
  }

  async #handle(message: Exclude<SupervisorMessage, { type: 'done' | 'fault' }>): Promise<void> {
    switch (message.type) {
      case 'start':
        return this.#start();
      case 'exited':
        return this.#exited(message.child, message.incarnation, message.reason);
      case 'try_again':
        return this.#tryAgain(message.id);
      case 'delay_over':
        return this.#delayOver(message);
      case 'call':
        return performCall(this.#children, message.call, (changes) => this.#reconfigure(changes));
      case 'stop':
        return this.#endChildren(SHUTDOWN);
    }
  }

  async #start(): Promise<void> {
    const failed = await this.#children.startAll(
      this.#options.children.map((spec) => this.#children.add(spec)),
    );
    if (failed === undefined) {
      this.#to('running');
      this.#resolveStarted();
      return;
    }
    const { path } = this.#context.self;
    const error = new SupervisorStartError(path, failed.child.spec.id, failed.reason);
    await this.#endChildren({ kind: 'shutdown', detail: error });
  }

  /** A clause for each restart type and exit reason (OTP, `do_restart/3`). */
  async #exited(child: SupervisedChild, incarnation: Incarnation, reason: ExitReason): Promise<void> {
    if (child.incarnation !== incarnation) return;
    this.#emit(child, { type: 'child_exited', reason });
    child.stopped(this.#now);
    switch (child.spec.restart) {
      case 'permanent':
        return this.#restart(child, reason);
      case 'transient':
        return isOrderly(reason) ? undefined : this.#restart(child, reason);
      case 'temporary':
        return this.#children.remove(child);
    }
  }

  /** A restart that failed is tried again unless somebody has dealt with the child since. */
  async #tryAgain(id: string): Promise<void> {
    const child = this.#children.find(id);
    if (child?.state.kind !== 'restarting' || child.state.delay !== undefined) return;
    child.stopped(this.#now);
    await this.#restart(child);
  }

  /** The backoff's timer; what it was set for may have been cancelled while the message was on its way. */
  async #delayOver({
    child,
    incarnation,
    ended,
  }: Extract<SupervisorMessage, { type: 'delay_over' }>): Promise<void> {
    if (child.state.kind !== 'restarting' || child.incarnations !== incarnation) return;
    child.stopped(this.#now);
    // The strategy may be another one by now: what was ended for the old one would wait for ever.
    const group = new Set([...ended, ...this.#restartedWith(child)]);
    await this.#startAgain(this.#children.list.filter((other) => group.has(other)));
  }

  /** Restarts a child that is stopped, at once or after its backoff, or gives up. */
  async #restart(child: SupervisedChild, exit?: ExitReason): Promise<void> {
    if (exit !== undefined && !child.spec.countsTowardsIntensity(exit))
      return this.#startAgain(this.#restartedWith(child));
    const { intensity: allowed } = this.#options;
    const { history, exceeded } = addRestart(this.#options, this.#restarts, this.#now);
    this.#restarts = history;
    this.#emit(child, { type: 'intensity', used: history.length, allowed });
    if (exceeded) return this.#giveUp(child);
    const delayMs = child.nextDelayMs(this.#options.random);
    if (delayMs === undefined) return this.#startAgain(this.#restartedWith(child));
    const ended = this.#restartedWith(child);
    await this.#children.endAll(ended);
    const { incarnations: incarnation } = child;
    const message: SupervisorMessage = { type: 'delay_over', child, incarnation, ended };
    child.restarting({ ms: delayMs, cancel: this.#context.after(delayMs, message) });
    this.#emit(child, { type: 'restart_scheduled', delayMs, attempt: child.attempts(this.#now) });
  }

  /** Ends what is restarted together, from right to left, and starts what is left of it from left to right. */
  async #startAgain(group: readonly SupervisedChild[]): Promise<void> {
    await this.#children.endAll(group);
    // Temporary ones are forgotten by now.
    const left = group.filter((child) => this.#children.list.includes(child));
    const failed = await this.#children.startAll(left);
    if (failed === undefined) return;
    failed.child.restarting(undefined);
    this.#tell({ type: 'try_again', id: failed.child.spec.id });
  }

  async #giveUp(child: SupervisedChild): Promise<void> {
    const { intensity: allowed, periodMs } = this.#options;
    const used = this.#restarts.length;
    this.#emit(child, { type: 'supervisor_gave_up', used, allowed });
    this.#gaveUp = new RestartIntensityError(this.#context.self.path, used, allowed, periodMs);
    await this.#endChildren(SHUTDOWN);
  }

  /** Nobody above may miss that a supervisor gave up: its actor crashes, whereas its own exit reason is `shutdown`. */
  #leave(): void {
    if (this.#gaveUp === undefined) this.#context.stop();
    else this.#context.fail(this.#gaveUp);
  }

  async #endChildren(reason: ExitReason): Promise<void> {
    this.#exitReason ??= reason;
    this.#to('stopping');
    await this.#children.endAll(this.#children.list);
  }

  /** The child itself and what its restart takes along, in the order of their start. */
  #restartedWith(child: SupervisedChild): readonly SupervisedChild[] {
    const { list } = this.#children;
    switch (this.#options.strategy) {
      case 'one_for_one':
        return [child];
      case 'rest_for_one':
        return list.slice(list.indexOf(child));
      case 'one_for_all':
        return list;
    }
  }

  /** All of it or nothing. */
  #reconfigure(changes: SupervisorChanges): Outcome<undefined> {
    try {
      const { options, children } = checkSupervisorChanges(this.#options, changes);
      const missing = children.find(({ id }) => this.#children.find(id) === undefined);
      if (missing !== undefined) {
        return { error: new ChildCallError(this.#context.self.path, missing.id, 'not_found') };
      }
      for (const spec of children) this.#children.find(spec.id)?.respecify(spec);
      this.#options = options;
      return { value: undefined };
    } catch (error) {
      if (error instanceof InvalidOptionError) return { error };
      throw error;
    }
  }

  #to(next: keyof typeof TRANSITIONS): void {
    requireTransition(this.#context.self.path, TRANSITIONS, this.#state, next);
    this.#state = next;
  }

  #tell(message: SupervisorMessage): void {
    this.#context.self.tell(message);
  }

  #emit(child: SupervisedChild, detail: SupervisorEventDetail): void {
    const { path, spec, incarnations: incarnation } = child;
    try {
      this.#options.onEvent({
        supervisor: this.#context.self.path,
        path,
        id: spec.id,
        incarnation,
        ...detail,
      });
    } catch (error) {
      this.#report(error);
    }
  }

  #report(error: unknown): void {
    this.#context.system.onFault(this.#context.self.path, error);
  }

  get #now(): number {
    return this.#context.system.clock.now();
  }
}
