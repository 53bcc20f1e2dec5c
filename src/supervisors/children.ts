import type { ActorContext } from '../actors/actor.ts';
import type { CheckedChildSpec, Child, StartContext } from './child-spec.ts';
import type { ExitReason } from './exit-reason.ts';
import { show } from './expected.ts';
import { Incarnation } from './incarnation.ts';
import { SupervisedChild } from './supervised-child.ts';
import type { SupervisorEventDetail } from './supervisor-event.ts';

/** A child of a group that did not start. `reason` is what its `start` threw. */
export interface FailedStart {
  readonly child: SupervisedChild;
  readonly reason: unknown;
}

export interface ChildrenOptions {
  readonly actor: Pick<ActorContext<never>, 'self' | 'spawn' | 'system'>;
  /** A child has ended by itself. */
  readonly exited: (child: SupervisedChild, incarnation: Incarnation, reason: ExitReason) => void;
  readonly emit: (child: SupervisedChild, detail: SupervisorEventDetail) => void;
}

/** The children of one supervisor in the order of their start, and how they are started and ended. No policy. */
export class Children {
  readonly #options: ChildrenOptions;
  #list: readonly SupervisedChild[] = [];

  constructor(options: ChildrenOptions) {
    this.#options = options;
  }

  /** The supervisor's path. */
  get path(): string {
    return this.#options.actor.self.path;
  }

  /** In the order of their start. */
  get list(): readonly SupervisedChild[] {
    return this.#list;
  }

  find(id: string): SupervisedChild | undefined {
    return this.#list.find((child) => child.spec.id === id);
  }

  add(spec: CheckedChildSpec): SupervisedChild {
    const child = new SupervisedChild(this.path, spec);
    this.#list = [...this.#list, child];
    return child;
  }

  remove(child: SupervisedChild): void {
    this.#list = this.#list.filter((other) => other !== child);
  }

  /** Starts children from left to right, up to the first that fails. A temporary child with nothing to start goes. */
  async startAll(children: readonly SupervisedChild[]): Promise<FailedStart | undefined> {
    for (const child of children) {
      const failed = await this.start(child);
      if (failed !== undefined) return failed;
      if (child.state.kind === 'stopped' && child.spec.restart === 'temporary') this.remove(child);
    }
    return undefined;
  }

  /** Starts one child; it is `stopped` after that if it failed, or if there was nothing to start. */
  async start(child: SupervisedChild): Promise<FailedStart | undefined> {
    const { clock } = this.#options.actor.system;
    this.#requireAlive();
    child.starting();
    const incarnation = new Incarnation(child.incarnations, (self, reason) => {
      if (this.#isAlive) this.#options.exited(child, self, reason);
    });
    const outcome = await attempt(child, this.#startContext(child, incarnation));
    if ('failure' in outcome) {
      child.stopped(clock.now());
      this.#options.emit(child, { type: 'child_start_failed', reason: outcome.failure });
      return { child, reason: outcome.failure };
    }
    if (outcome.child === 'ignore') {
      child.stopped(clock.now());
    } else {
      incarnation.started(outcome.child);
      child.running(incarnation, clock.now());
      this.#options.emit(child, { type: 'child_started' });
    }
    this.#requireAlive();
    return undefined;
  }

  /** Ends children from right to left, whatever their state; temporary ones are forgotten. */
  async endAll(children: readonly SupervisedChild[]): Promise<void> {
    for (const child of children.toReversed()) {
      await this.end(child);
      if (child.spec.restart === 'temporary') this.remove(child);
    }
  }

  /** Ends one child, or cancels its restart. */
  async end(child: SupervisedChild): Promise<void> {
    const { clock } = this.#options.actor.system;
    if (child.state.kind === 'running') {
      const { incarnation } = child.state;
      child.stopping(incarnation);
      const ended = await incarnation.end(child.spec.shutdown, clock);
      child.stopped(clock.now());
      this.#options.emit(child, { type: 'child_stopped', ...ended });
    } else if (child.state.kind === 'restarting') {
      child.stopped(clock.now());
    }
  }

  /**
   * Ends what still runs when the supervisor's actor goes without having done so: it crashed, or somebody stopped the
   * actor itself. `onFault` hears of a child that refuses to be ended; it must not keep the others from it.
   */
  async endRest(byForce: boolean, onFault: (error: unknown) => void): Promise<void> {
    for (const child of this.#list.toReversed()) {
      try {
        if (!byForce) await this.end(child);
      } catch (error) {
        onFault(error);
      }
      if (child.incarnation?.isAlive) await this.#endByForce(child.incarnation, onFault);
    }
  }

  /** Kills everything at once, without waiting for it. */
  killAll(onFault: (error: unknown) => void): void {
    for (const child of this.#list) {
      if (child.incarnation?.isAlive) void this.#endByForce(child.incarnation, onFault);
    }
  }

  async #endByForce(incarnation: Incarnation, onFault: (error: unknown) => void): Promise<void> {
    try {
      await incarnation.end('brutal-kill', this.#options.actor.system.clock);
    } catch (error) {
      onFault(error);
    }
  }

  #startContext(child: SupervisedChild, incarnation: Incarnation): StartContext {
    return {
      id: child.spec.id,
      path: child.path,
      incarnation: incarnation.number,
      actor: this.#options.actor,
      exited: incarnation.exited,
    };
  }

  get #isAlive(): boolean {
    return this.#options.actor.system.isAlive(this.#options.actor.self);
  }

  /** Cuts work short once the actor is ending: nothing may start that nobody would stop. */
  #requireAlive(): void {
    if (!this.#isAlive) throw new Error(`${this.path} is ending and starts no more children`);
  }
}

type Attempt = { readonly child: Child | 'ignore' } | { readonly failure: unknown };

async function attempt(child: SupervisedChild, context: StartContext): Promise<Attempt> {
  try {
    const started = await child.spec.start(context);
    if (started === 'ignore' || (typeof started?.stop === 'function' && typeof started.kill === 'function')) {
      return { child: started };
    }
    return {
      failure: new TypeError(`expected start to give { stop, kill } or "ignore", got ${show(started)}`),
    };
  } catch (failure) {
    return { failure };
  }
}
