/**
 * Restart intensity: how many restarts a supervisor takes before it gives up (OTP, "Supervisor Behaviour", Maximum
 * Restart Intensity). It gives up at the first restart that makes more than `intensity` of them within `periodMs`;
 * a restart that is exactly `periodMs` old still counts.
 */
import { refuse, requireMilliseconds } from './expected.ts';

export interface RestartIntensity {
  /** Restarts allowed within the period: a whole number from 0, or Infinity for a supervisor that never gives up. */
  readonly intensity: number;
  readonly periodMs: number;
}

/** When the restarts within the period happened, the latest first. */
export type RestartHistory = readonly number[];

export const NO_RESTARTS: RestartHistory = [];

/** Without a limit nothing is decided by the history; it is kept this long for people to look at. */
const UNLIMITED_HISTORY = 1000;

/** Throws {@link InvalidOptionError}; `owner` is what its message begins with. */
export function checkIntensity(owner: string, { intensity, periodMs }: RestartIntensity): void {
  if (intensity !== Number.POSITIVE_INFINITY && !(Number.isInteger(intensity) && intensity >= 0)) {
    refuse(owner, 'intensity', 'a whole number from 0, or Infinity', intensity);
  }
  requireMilliseconds(owner, 'periodMs', periodMs, 1);
}

/** Adds a restart at `now`. `exceeded` tells the supervisor to give up. */
export function addRestart(
  limit: RestartIntensity,
  history: RestartHistory,
  now: number,
): { readonly history: RestartHistory; readonly exceeded: boolean } {
  const added = [now, ...withinPeriod(limit, history, now)];
  if (limit.intensity === Number.POSITIVE_INFINITY) {
    return { history: added.slice(0, UNLIMITED_HISTORY), exceeded: false };
  }
  return { history: added, exceeded: added.length > limit.intensity };
}

/** The restarts that count at `now`. */
export function withinPeriod(limit: RestartIntensity, history: RestartHistory, now: number): RestartHistory {
  return history.filter((at) => at >= now - limit.periodMs);
}
