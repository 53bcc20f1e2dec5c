/**
 * How long to wait before a child is started again.
 *
 * The n-th delay in a row is `initialMs * factor ** n`, never above `maxMs`, of which `jitter` takes away a random
 * part so that children that failed together do not come back together. A child that ran for `resetAfterMs` begins
 * anew. With `{ initialMs: 100, maxMs: 1000, factor: 2, jitter: 0, resetAfterMs: 60_000 }`:
 * 100, 200, 400, 800, 1000, 1000, ...
 */
import { refuse, refuseUnknownKeys, requireMilliseconds } from './expected.ts';

export interface BackoffOptions {
  /** The first delay; at least 1. */
  readonly initialMs: number;
  /** The longest delay; at least `initialMs`. */
  readonly maxMs: number;
  /** What a delay is multiplied by for the next one; at least 1. Default 2. */
  readonly factor?: number;
  /** The share of a delay that chance may take away, from 0 (nothing) to 1 (all of it). Default 0.2. */
  readonly jitter?: number;
  /** The running time after which a child's delays begin at `initialMs` again. Default 60 000. */
  readonly resetAfterMs?: number;
}

export type Backoff = Required<BackoffOptions>;

export interface BackoffState {
  /** Delays in a row so far. */
  readonly attempt: number;
}

export const NO_ATTEMPTS: BackoffState = { attempt: 0 };

const DEFAULTS = { factor: 2, jitter: 0.2, resetAfterMs: 60_000 } satisfies Partial<BackoffOptions>;
const KEYS = ['initialMs', 'maxMs', 'factor', 'jitter', 'resetAfterMs'];

/** Fills in the defaults. Throws {@link InvalidOptionError}; `owner` is what its message begins with. */
export function checkBackoff(owner: string, options: BackoffOptions): Backoff {
  if (typeof options !== 'object' || options === null) refuse(owner, 'backoff', 'an object', options);
  refuseUnknownKeys(`${owner}, backoff`, options, KEYS);
  const backoff = { ...DEFAULTS, ...options };
  requireMilliseconds(owner, 'backoff.initialMs', backoff.initialMs, 0);
  requireMilliseconds(owner, 'backoff.maxMs', backoff.maxMs, 0);
  requireMilliseconds(owner, 'backoff.resetAfterMs', backoff.resetAfterMs, 0);
  if (backoff.maxMs < backoff.initialMs) {
    refuse(owner, 'backoff.maxMs', `at least backoff.initialMs (${backoff.initialMs})`, backoff.maxMs);
  }
  if (!Number.isFinite(backoff.factor) || backoff.factor < 1) {
    refuse(owner, 'backoff.factor', 'a number from 1', backoff.factor);
  }
  if (!Number.isFinite(backoff.jitter) || backoff.jitter < 0 || backoff.jitter > 1) {
    refuse(owner, 'backoff.jitter', 'a number from 0 to 1', backoff.jitter);
  }
  return backoff;
}

/** The state of a child that has run for `ranMs`: the same, or as new. */
export function afterRunning(backoff: Backoff, state: BackoffState, ranMs: number): BackoffState {
  return ranMs >= backoff.resetAfterMs ? NO_ATTEMPTS : state;
}

/** The next delay, in whole milliseconds, and the state after it. `random` is from 0 to 1. */
export function nextDelay(
  backoff: Backoff,
  state: BackoffState,
  random: number,
): { readonly delayMs: number; readonly state: BackoffState } {
  // Without a first delay there is none: what the factor grows to without end must not be multiplied by 0.
  const grown = backoff.initialMs === 0 ? 0 : backoff.initialMs * backoff.factor ** state.attempt;
  const full = Math.min(backoff.maxMs, grown);
  const delayMs = Math.round(full * (1 - backoff.jitter * random));
  return { delayMs, state: { attempt: state.attempt + 1 } };
}
