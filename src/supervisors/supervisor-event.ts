import type { ExitReason } from './exit-reason.ts';

/** What a supervisor tells of itself, in the order in which it happens. */
export type SupervisorEvent = {
  /** The supervisor's own path. */
  readonly supervisor: string;
  /** The child's path, id and incarnation. */
  readonly path: string;
  readonly id: string;
  readonly incarnation: number;
} & SupervisorEventDetail;

export type SupervisorEventDetail =
  | { readonly type: 'child_started' }
  /** `reason` is what the child's `start` threw. */
  | { readonly type: 'child_start_failed'; readonly reason: unknown }
  /** The child ended, and its supervisor had not asked for it. */
  | { readonly type: 'child_exited'; readonly reason: ExitReason }
  /** The supervisor ended the child, or found it dead when it was about to; `killed` if force was used. */
  | { readonly type: 'child_stopped'; readonly reason: ExitReason; readonly killed: boolean }
  /** The child waits out its backoff; `attempt` counts from 1. */
  | { readonly type: 'restart_scheduled'; readonly delayMs: number; readonly attempt: number }
  /** A restart counted: `used` of `allowed` within the period. */
  | { readonly type: 'intensity'; readonly used: number; readonly allowed: number }
  /** The restart of this child was one too many. The children are stopped next, then the supervisor. */
  | { readonly type: 'supervisor_gave_up'; readonly used: number; readonly allowed: number };
