/** What the sender of a query hears of its failure, by what became of it before. Pure. */
import { Failure } from '../failures.ts';
import type { QueryState } from './query-state.ts';
import type { QueryRecord } from './query-table.ts';

/** A query that may have begun is not to be sent again without a thought. */
export function lostRouter(): Failure {
  return new Failure('INTERNAL', 'The query router was restarted while it had the query.');
}

/** A second attempt that never began is not what became of the query: its first one is. */
export function failureToTell(
  { crash, startedAt, attempts }: QueryRecord,
  state: QueryState,
  failure: Failure,
): Failure {
  if (crash !== undefined && startedAt === undefined && state === 'failed') {
    return withAttempts(crash, attempts);
  }
  return withAttempts(failure, attempts);
}

function withAttempts(failure: Failure, attempts: number): Failure {
  if (failure.code !== 'WORKER_CRASHED') return failure;
  return new Failure(failure.code, failure.message, {
    members: { ...failure.members, attempts },
    cause: failure.cause,
  });
}
