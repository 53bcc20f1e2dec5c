import { afterRunning, type BackoffState, NO_ATTEMPTS, nextDelay } from './backoff.ts';
import type { CheckedChildSpec } from './child-spec.ts';
import type { Incarnation } from './incarnation.ts';
import type { StartedChild } from './supervisor-handle.ts';
import { requireTransition, type Transitions } from './transitions.ts';

/** A backoff that is being waited out. */
export interface Delay {
  readonly ms: number;
  readonly cancel: () => void;
}

export type ChildState =
  | { readonly kind: 'stopped' }
  | { readonly kind: 'starting' }
  | { readonly kind: 'running'; readonly incarnation: Incarnation; readonly since: number }
  | { readonly kind: 'stopping'; readonly incarnation: Incarnation }
  /** Without a delay: a restart failed, and the next one has its turn behind what the supervisor has to do by now. */
  | { readonly kind: 'restarting'; readonly delay: Delay | undefined };

const TRANSITIONS = {
  stopped: ['starting', 'restarting'],
  starting: ['running', 'stopped'],
  running: ['stopping', 'stopped'],
  stopping: ['stopped'],
  restarting: ['stopped'],
} as const satisfies Transitions<ChildState['kind']>;

/**
 * A child spec and what became of it: one line in the supervisor's list, whatever number of incarnations it has.
 *
 * ```
 *                start                 started               terminate
 *    stopped ------------> starting ------------> running ---------------> stopping
 *     ^ |  ^                   |                     |                         |
 *     | |  +-------------------+---------------------+-------------------------+
 *     | |         failed, 'ignore'           exit dealt with                 exit
 *     | v to be started again
 *   restarting
 *       its turn has come, or it was cancelled: back to stopped
 * ```
 *
 * A child that is dead stays `running` until its supervisor deals with the exit (OTP keeps the pid as long).
 */
export class SupervisedChild {
  readonly path: string;
  /** Starts so far, failed ones too: the number of the latest incarnation. */
  incarnations = 0;
  #spec: CheckedChildSpec;
  #starts = 0;
  #state: ChildState = { kind: 'stopped' };
  #backoff: BackoffState = NO_ATTEMPTS;

  constructor(supervisorPath: string, spec: CheckedChildSpec) {
    this.#spec = spec;
    this.path = `${supervisorPath}/${spec.id}`;
  }

  get spec(): CheckedChildSpec {
    return this.#spec;
  }

  /** Another spec of the same id: in force from now on, for the incarnation that runs as well. */
  respecify(spec: CheckedChildSpec): void {
    this.#spec = spec;
  }

  get state(): ChildState {
    return this.#state;
  }

  /** How often it ran again. */
  get restarts(): number {
    return Math.max(0, this.#starts - 1);
  }

  /** The incarnation that was started and not yet dealt with as gone. */
  get incarnation(): Incarnation | undefined {
    return 'incarnation' in this.#state ? this.#state.incarnation : undefined;
  }

  get started(): StartedChild | undefined {
    const incarnation = this.incarnation;
    if (incarnation === undefined) return undefined;
    return {
      id: this.spec.id,
      path: this.path,
      incarnation: incarnation.number,
      child: incarnation.child,
    };
  }

  starting(): void {
    this.incarnations += 1;
    this.#to({ kind: 'starting' });
  }

  running(incarnation: Incarnation, now: number): void {
    this.#starts += 1;
    this.#to({ kind: 'running', incarnation, since: now });
  }

  stopping(incarnation: Incarnation): void {
    this.#to({ kind: 'stopping', incarnation });
  }

  restarting(delay: Delay | undefined): void {
    this.#to({ kind: 'restarting', delay });
  }

  stopped(now: number): void {
    this.#backoff = this.#backoffAt(now);
    if (this.#state.kind === 'restarting') this.#state.delay?.cancel();
    this.#to({ kind: 'stopped' });
  }

  /** The delay before the next restart; undefined for a child without backoff. `random` is from 0 to 1. */
  nextDelayMs(random: () => number): number | undefined {
    if (this.spec.backoff === undefined) return undefined;
    const { delayMs, state } = nextDelay(this.spec.backoff, this.#backoff, random());
    this.#backoff = state;
    return delayMs;
  }

  /** Delays in a row, as of now. */
  attempts(now: number): number {
    return this.#backoffAt(now).attempt;
  }

  #backoffAt(now: number): BackoffState {
    if (this.#state.kind !== 'running' || this.spec.backoff === undefined) return this.#backoff;
    return afterRunning(this.spec.backoff, this.#backoff, now - this.#state.since);
  }

  #to(next: ChildState): void {
    requireTransition(this.path, TRANSITIONS, this.#state.kind, next.kind);
    this.#state = next;
  }
}
