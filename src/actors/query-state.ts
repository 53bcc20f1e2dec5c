/**
 * The states of a query, and the only ways between them.
 *
 * ```
 *  received -> admitted -> queued -> dispatched -> running -> streaming -> succeeded
 *      |           |         |  ^        |          |  |          |
 *      |           |         |  +--------+----------+  |          |
 *      |           |         |    it had not begun, or is tried once more
 *      +-----------+---------+-------------------------+----------+------> failed | cancelled
 * ```
 *
 * `dispatched` is in a worker's window; `running` is first in line there and covers what the worker calls attaching, preparing
 * and running (its own phases, protocol.ts); `streaming` begins with the first byte of the result. A query goes back to
 * `queued` when it was taken back, when its worker died before it had read of it, and, a read, when its worker died of it.
 */
import type { QueryPublicState } from './query.ts';

export type QueryState =
  | 'received'
  | 'admitted'
  | 'queued'
  | 'dispatched'
  | 'running'
  | 'streaming'
  | 'succeeded'
  | 'failed'
  | 'cancelled';

const TRANSITIONS: Readonly<Record<QueryState, readonly QueryState[]>> = {
  received: ['admitted', 'failed'],
  admitted: ['queued', 'failed', 'cancelled'],
  queued: ['dispatched', 'failed', 'cancelled'],
  dispatched: ['running', 'queued', 'failed', 'cancelled'],
  running: ['streaming', 'queued', 'succeeded', 'failed', 'cancelled'],
  streaming: ['queued', 'succeeded', 'failed', 'cancelled'],
  succeeded: [],
  failed: [],
  cancelled: [],
};

export function mayBecome(from: QueryState, to: QueryState): boolean {
  return TRANSITIONS[from].includes(to);
}

export function isFinal(state: QueryState): boolean {
  return TRANSITIONS[state].length === 0;
}

const PUBLIC: Readonly<Record<QueryState, QueryPublicState>> = {
  received: 'queued',
  admitted: 'queued',
  queued: 'queued',
  dispatched: 'queued',
  running: 'running',
  streaming: 'running',
  succeeded: 'succeeded',
  failed: 'failed',
  cancelled: 'cancelled',
};

/** What the client is told. */
export function publicState(state: QueryState): QueryPublicState {
  return PUBLIC[state];
}
