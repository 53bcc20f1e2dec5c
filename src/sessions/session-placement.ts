/** Where a query of a session runs, and within which limits. Pure. */
import { type Placement, type PlacementConfig, placeQuery } from '../actors/placement.ts';
import type { QueryRequest } from '../actors/query.ts';
import { Failure } from '../failures.ts';
import { invalidRequest } from '../http/invalid-request.ts';
import type { Session } from './session.ts';
import { poolOfSession } from './session-pool.ts';

/**
 * Throws `INVALID_REQUEST` for what a session does not take, and `SESSION_BUSY` where the query would have to wait and does
 * not say that it will.
 */
export function placeInSession(request: QueryRequest, session: Session, config: PlacementConfig): Placement {
  const { id, sources, pending, slot } = session;
  if (request.pool !== undefined)
    throw invalidRequest([{ path: 'pool', message: 'a session has a worker of its own' }]);
  if (request.inline !== undefined && request.inline.length > 0)
    throw invalidRequest([{ path: 'sources', message: 'a session takes no inline sources' }]);
  const foreign = request.sources.findIndex((alias) => !sources.includes(alias));
  if (foreign !== -1)
    throw invalidRequest([
      { path: `sources[${foreign}]`, message: 'is none of the session; PATCH the session to add it' },
    ]);
  if (pending > 0 && request.queueTimeoutMs === undefined) {
    const detail = `Session ${id} is at another query; try again, or wait in line with queue_timeout_ms.`;
    throw new Failure('SESSION_BUSY', detail, { retryAfter: 1 });
  }
  const pool = poolOfSession(id);
  const principal = { ...request.principal, pools: undefined };
  // The limits of the session's one instance are those of the session.
  const own = { ...request, principal, pool, sources, memoryLimit: undefined, threads: undefined };
  const placement = placeQuery(own, { ...config, pools: { [pool]: slot.settings } });
  // Its workspace is its own to write to; to write to a source takes what it always takes (placement.ts).
  return { ...placement, statement: { ...placement.statement, write: !request.readOnly } };
}
