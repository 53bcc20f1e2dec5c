/**
 * What a supervisor knows of a child before it runs: plain data and a function, checked before anything starts.
 *
 * ```ts
 * const worker: ChildSpec = {
 *   id: 'worker-1',
 *   restart: 'permanent',
 *   shutdown: 5_000,
 *   backoff: { initialMs: 100, maxMs: 30_000 },
 *   start({ exited }) {
 *     const child = fork('worker.js');
 *     child.once('exit', (code, signal) => exited(code === 0 ? NORMAL : { kind: 'error', error: { code, signal } }));
 *     return { stop: () => child.send('stop'), kill: () => child.kill('SIGKILL') };
 *   },
 * };
 * ```
 */
import type { ActorContext } from '../actors/actor.ts';
import { type Backoff, type BackoffOptions, checkBackoff } from './backoff.ts';
import type { ExitReason } from './exit-reason.ts';
import {
  InvalidOptionError,
  refuse,
  refuseUnknownKeys,
  requireMilliseconds,
  requireOneOf,
  requirePathSegment,
  show,
} from './expected.ts';
import type { SupervisorHandle } from './supervisor-handle.ts';

/** permanent: always restarted. transient: only after a failure. temporary: never, and forgotten when it ends. */
export type RestartType = 'permanent' | 'transient' | 'temporary';

/**
 * How a child is ended: asked to stop and killed after so many milliseconds, never killed (`infinity`), or killed
 * without being asked.
 */
export type Shutdown = 'brutal-kill' | 'infinity' | number;

export type ChildType = 'worker' | 'supervisor';

/** A child that runs: what its supervisor can do to it. Neither call waits; the exit is the only truth about death. */
export interface Child {
  /** Asks it to end in order. Called at most once. */
  stop(): void;
  /** Ends it at once, whether it was asked to stop or not. Called at most once. */
  kill(): void;
  /** Its own supervisor's handle, if it is one. */
  readonly supervisor?: SupervisorHandle;
}

/** What a child is started with. */
export interface StartContext {
  readonly id: string;
  /** The supervisor's path, `/`, the id. */
  readonly path: string;
  /** Counts the starts of this child, failed ones too, from 1. */
  readonly incarnation: number;
  /** The supervisor's side of the actor world: what is spawned here lives under the supervisor. */
  readonly actor: Pick<ActorContext<never>, 'spawn' | 'system'>;
  /** To be told once, when the child is really gone. Later calls, and those of an earlier incarnation, are dropped. */
  readonly exited: (reason: ExitReason) => void;
}

export interface ChildSpec {
  /** Unique under its supervisor; a segment of its path. */
  readonly id: string;
  /**
   * Starts the child, or says `'ignore'` when there is nothing to start. What it throws or rejects with is the reason
   * of the failed start. The supervisor does nothing else until it settles (OTP, `start_link` is synchronous), so a
   * start that can hang needs a time limit of its own.
   */
  readonly start: (context: StartContext) => Child | 'ignore' | Promise<Child | 'ignore'>;
  /** Default `permanent`. */
  readonly restart?: RestartType;
  /** Default 5000 for a worker, `infinity` for a supervisor. */
  readonly shutdown?: Shutdown;
  /** Default `worker`. */
  readonly type?: ChildType;
  /** Delays its restarts. Default: restarted at once, as in OTP. */
  readonly backoff?: BackoffOptions;
  /**
   * Whether an exit counts as a failure. One that does not is followed by a restart at once, without backoff and
   * without using up restart intensity. Default: every exit counts, as in OTP.
   */
  readonly countsTowardsIntensity?: (reason: ExitReason) => boolean;
}

/** A child spec that was checked, its defaults filled in. */
export interface CheckedChildSpec {
  readonly id: string;
  readonly start: ChildSpec['start'];
  readonly restart: RestartType;
  readonly shutdown: Shutdown;
  readonly type: ChildType;
  readonly backoff: Backoff | undefined;
  readonly countsTowardsIntensity: (reason: ExitReason) => boolean;
}

const KEYS = ['id', 'start', 'restart', 'shutdown', 'type', 'backoff', 'countsTowardsIntensity'];
const DEFAULTS = { restart: 'permanent', type: 'worker' } satisfies Partial<ChildSpec>;
const DEFAULT_SHUTDOWN = { worker: 5_000, supervisor: 'infinity' } satisfies Record<ChildType, Shutdown>;

/** Throws {@link InvalidOptionError} for the first option that is not what it has to be. */
export function checkChildSpec(spec: ChildSpec): CheckedChildSpec {
  if (typeof spec !== 'object' || spec === null) refuse('child spec', 'it', 'an object', spec);
  requirePathSegment('child spec', 'id', spec.id);
  const owner = `child spec ${show(spec.id)}`;
  refuseUnknownKeys(owner, spec, KEYS);
  const { id, start, backoff, countsTowardsIntensity = () => true } = spec;
  const { restart = DEFAULTS.restart, type = DEFAULTS.type } = spec;
  if (typeof start !== 'function') refuse(owner, 'start', 'a function', start);
  requireOneOf(owner, 'restart', restart, ['permanent', 'transient', 'temporary']);
  requireOneOf(owner, 'type', type, ['worker', 'supervisor']);
  const { shutdown = DEFAULT_SHUTDOWN[type] } = spec;
  if (typeof shutdown === 'number') {
    requireMilliseconds(owner, 'shutdown', shutdown, 0);
  } else if (shutdown !== 'brutal-kill' && shutdown !== 'infinity') {
    refuse(owner, 'shutdown', 'brutal-kill, infinity or milliseconds', shutdown);
  }
  if (typeof countsTowardsIntensity !== 'function') {
    refuse(owner, 'countsTowardsIntensity', 'a function', countsTowardsIntensity);
  }
  return {
    id,
    start,
    restart,
    shutdown,
    type,
    backoff: backoff === undefined ? undefined : checkBackoff(owner, backoff),
    countsTowardsIntensity,
  };
}

/** Checks the specs a supervisor starts with. Throws for an id that comes twice, too. */
export function checkChildSpecs(owner: string, specs: readonly ChildSpec[]): readonly CheckedChildSpec[] {
  if (!Array.isArray(specs)) refuse(owner, 'children', 'an array of child specs', specs);
  const ids = new Set<string>();
  return specs.map((spec: ChildSpec) => {
    const checked = checkChildSpec(spec);
    if (ids.has(checked.id)) {
      throw new InvalidOptionError(
        `${owner}: expected child ids to be unique, got ${show(checked.id)} twice`,
      );
    }
    ids.add(checked.id);
    return checked;
  });
}
