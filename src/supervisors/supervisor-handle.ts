import type { AnyActorRef } from '../actors/actor.ts';
import type { Child, ChildSpec, ChildType, RestartType } from './child-spec.ts';
import type { ExitReason } from './exit-reason.ts';
import type { SupervisorChanges } from './supervisor-options.ts';

export type Strategy = 'one_for_one' | 'one_for_all' | 'rest_for_one';

/**
 * A supervisor that has started, as others see it. The operations are OTP's (`supervisor(3)`) and take their turn
 * behind whatever the supervisor is doing. Each rejects with `ActorGoneError` if the supervisor ends before its answer.
 */
export interface SupervisorHandle {
  readonly path: string;
  /** Its actor. Stopping that directly skips the order of its children; {@link stop} keeps it. */
  readonly ref: AnyActorRef;
  /** Resolves once it and everything under it is gone. */
  readonly exited: Promise<ExitReason>;

  /**
   * Adds a child after the others and starts it. Undefined if its start said `'ignore'`; the spec is kept then, unless
   * it is a temporary one. Rejects with `InvalidOptionError`, `ChildCallError` (`already_started`, `already_present`),
   * or `ChildStartError`, in which case the spec is not kept.
   */
  startChild(spec: ChildSpec): Promise<StartedChild | undefined>;
  /** Stops a child, if it runs, and forgets it if it is temporary. Rejects with `ChildCallError` (`not_found`). */
  terminateChild(id: string): Promise<void>;
  /** Starts a child that was stopped. Rejects with `ChildCallError` (`running`, `restarting`, `not_found`) or `ChildStartError`. */
  restartChild(id: string): Promise<StartedChild | undefined>;
  /**
   * Forgets a child that was stopped, or that waits out its backoff. Rejects with `ChildCallError` (`running`,
   * `restarting`, `not_found`).
   */
  deleteChild(id: string): Promise<void>;
  /**
   * Changes strategy, intensity and period, and the specs of children, in place (OTP, `code_change/3`): nothing is
   * started or ended, and what it decides from now on it decides by these. Restarts that have happened still count.
   * Rejects with `InvalidOptionError`, or with `ChildCallError` (`not_found`) for a spec of a child that is not there;
   * nothing has changed then.
   */
  reconfigure(changes: SupervisorChanges): Promise<void>;
  /** The children, the last one first. */
  whichChildren(): Promise<readonly ChildInfo[]>;
  countChildren(): Promise<ChildCounts>;
  /** Stops the children from the last to the first, then the supervisor. Safe to call again. */
  stop(): Promise<ExitReason>;
  /** The tree from here down at this moment; never waits, so it also shows a supervisor that does. */
  snapshot(): SupervisionNode;
}

/** An incarnation of a child. */
export interface StartedChild {
  readonly id: string;
  readonly path: string;
  readonly incarnation: number;
  readonly child: Child;
}

export interface ChildInfo {
  readonly id: string;
  readonly type: ChildType;
  /** Undefined if the child does not run. One that has just died is here until its supervisor has dealt with it. */
  readonly child: StartedChild | 'restarting' | undefined;
}

export interface ChildCounts {
  /** All children. */
  readonly specs: number;
  /** Those that are alive. */
  readonly active: number;
  readonly supervisors: number;
  readonly workers: number;
}

/** `GET /v1/supervision`: one node of the tree, its children in the order of their start. */
export interface SupervisionNode {
  readonly path: string;
  readonly kind: ChildType;
  readonly state: 'starting' | 'running' | 'stopping' | 'stopped' | 'restarting';
  /** Null for a worker. */
  readonly strategy: Strategy | null;
  /** Null for the root. */
  readonly restart: RestartType | null;
  readonly incarnation: number;
  /** Worker: how often it was restarted. Supervisor: restarts of its children within the period. */
  readonly restarts: number;
  /** Null for a worker, and for a supervisor without a limit. */
  readonly intensity: number | null;
  /** Null for a worker. */
  readonly period_ms: number | null;
  /** Null without backoff. `delay_ms` is 0 unless the child is waiting. */
  readonly backoff: { readonly attempt: number; readonly delay_ms: number } | null;
  /** `spare`: a session's part of the tree that waits for a session. */
  readonly note?: 'spare';
  readonly children: readonly SupervisionNode[];
}
