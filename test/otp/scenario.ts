/**
 * Scenarios: what a supervisor's children do and what is asked of it, in a form that two players understand: `play.ts`
 * on our supervisor, `player.escript` on the one of Erlang/OTP. What they saw is a trace; the traces have to be equal.
 */
import type { Strategy } from '../../src/supervisors/supervisor-handle.ts';

export interface Scenario {
  /** A sentence about behaviour. */
  readonly name: string;
  /** The root; its path is `root`. */
  readonly supervisor: SupervisorPlan;
  /** A step whose supervisor is gone is skipped. */
  readonly steps: readonly Step[];
}

/** The period is an hour in all scenarios: time plays no part in them. */
export interface SupervisorPlan {
  readonly strategy: Strategy;
  readonly intensity: number;
  readonly children: readonly ChildPlan[];
}

interface AnyChildPlan {
  readonly id: string;
  readonly restart: 'permanent' | 'transient' | 'temporary';
  readonly shutdown: 'brutal_kill' | 'infinity' | number;
}

export interface WorkerPlan extends AnyChildPlan {
  readonly type: 'worker';
  /** What its n-th start does, counted by path throughout the scenario; `ok` after the last. */
  readonly starts?: readonly StartPlan[];
  /** What it does when it is asked to stop; `exit` by default. */
  readonly on_shutdown?: ShutdownPlan;
}

export interface NestedPlan extends AnyChildPlan {
  readonly type: 'supervisor';
  readonly starts?: readonly ('ok' | 'ignore' | 'fail')[];
  readonly supervisor: SupervisorPlan;
}

export type ChildPlan = WorkerPlan | NestedPlan;

export type StartPlan =
  | 'ok'
  | 'ignore'
  /** Gives an error. */
  | 'fail'
  /** Throws. */
  | 'raise'
  /** The child is dead before its start is over. */
  | { readonly dies: Reason }
  /** Another child of the same supervisor ends meanwhile. */
  | { readonly ends: readonly [id: string, reason: Reason] };

export type ShutdownPlan =
  | 'exit'
  /** Does nothing, and has to be killed. */
  | 'ignore'
  /** Ends for a reason of its own. */
  | { readonly exit: Exclude<Reason, 'kill'> }
  /** Another child of the same supervisor ends first. */
  | { readonly ends: readonly [id: string, reason: Reason] };

export type Reason =
  | 'normal'
  | 'shutdown'
  | { readonly shutdown: string }
  | { readonly error: string }
  | 'kill';

/** What happens while the supervisor is busy: it finds all of it in its queue, in this order. */
export interface Step {
  /** The path of a supervisor. */
  readonly at: string;
  readonly ops: readonly Op[];
}

export type Op =
  /** One of its children, a worker, ends by itself. */
  | { readonly op: 'exit'; readonly id: string; readonly reason: Reason }
  | { readonly op: 'start_child'; readonly child: ChildPlan }
  | { readonly op: 'restart_child' | 'terminate_child' | 'delete_child'; readonly id: string }
  | { readonly op: 'which_children' | 'count_children' }
  /** Its parent tells it to stop; the root only. */
  | { readonly op: 'stop' };

/** What a player saw, as JSON: `start`, `stop` and `exit` events in their order, answers, and what is there after. */
export interface Trace {
  readonly name: string;
  /** The first is the start of the root. */
  readonly steps: readonly (Observation | { readonly skipped: true })[];
}

export interface Observation {
  readonly events: readonly unknown[];
  readonly results: readonly unknown[];
  /** which_children and count_children of every supervisor, by path. */
  readonly tree: readonly unknown[];
}
