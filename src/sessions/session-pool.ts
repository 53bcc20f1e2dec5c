/**
 * A session's worker and queue are a pool of one, whose name no configured pool can have: theirs hold no point. Pure.
 */
const PREFIX = 'session.';

export function poolOfSession(sessionId: string): string {
  return `${PREFIX}${sessionId}`;
}

/** Undefined for a pool that is configured. */
export function sessionOfPool(pool: string): string | undefined {
  return pool.startsWith(PREFIX) ? pool.slice(PREFIX.length) : undefined;
}

/** What metrics call it: there are few pools, and as many sessions as clients open. */
export function poolLabel(pool: string): string {
  return pool.startsWith(PREFIX) ? 'sessions' : pool;
}
