/** Queries as `GET /v1/queries` lists and shows them. */
import { z } from 'zod';
import type { QueryView } from '../actors/query.ts';
import { progressMembers } from '../actors/query-feed.ts';
import { poolLabel, sessionOfPool } from '../sessions/session-pool.ts';
import type { QueryDocument } from './documents.ts';
import { pageLimit, readParameters } from './parameters.ts';

/** A query as the contract shows it; what is not known yet is null. */
export function toDocument(view: QueryView): QueryDocument {
  return {
    query_id: view.queryId,
    state: view.state,
    pool: poolLabel(view.pool),
    principal: view.principal,
    session_id: sessionOfPool(view.pool) ?? null,
    submitted_at: view.submittedAt,
    queue_ms: Math.round(view.queueMs),
    run_ms: Math.round(view.runMs),
    rows: view.rows ?? null,
    bytes: view.bytes ?? null,
    attempts: view.attempts,
    worker: view.worker ?? null,
    progress: view.progress === undefined ? null : progressMembers(view.progress),
    error: (view.error?.toProblem(view.queryId) as QueryDocument['error'] | undefined) ?? null,
    result: resultOf(view),
    tags: view.tags,
  };
}

/** Of a result that can be fetched. */
function resultOf({ kept, rows, bytes }: QueryView): QueryDocument['result'] {
  if (kept?.state !== 'kept') return null;
  return {
    rows: rows ?? null,
    bytes: bytes ?? null,
    truncated: kept.truncated,
    expires_at: kept.expiresAt ?? null,
  };
}

export const filterSchema = z.strictObject({
  state: z
    .enum(['queued', 'running', 'succeeded', 'failed', 'cancelled'], {
      error: 'expected queued, running, succeeded, failed or cancelled',
    })
    .optional(),
  pool: z.string().optional(),
  session: z.string().optional(),
  limit: pageLimit(),
  cursor: z.string().optional(),
});

export function parseFilter(querystring: string) {
  const { state, pool, session, limit, cursor } = readParameters(querystring, filterSchema);
  return { state, pool, session, limit, cursor };
}
