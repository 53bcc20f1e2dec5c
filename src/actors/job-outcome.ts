/** How a job ended that a live worker has given its verdict on. Pure. */
import { Failure } from '../failures.ts';
import type { FailedVerdict, Finished } from '../workers/protocol.ts';
import type { Job, JobEnd } from './job.ts';
import { cancelled } from './pool-queue.ts';

/** A job that may have been stopped, and why; the first reason stands. */
export interface Stoppable {
  readonly job: Job;
  readonly stopping: 'timeout' | 'cancelled' | undefined;
}

export function outcomeOf(
  held: Stoppable,
  { verdict, body, bytes: piped, keptBytes, runMs, peakMemoryBytes }: Finished,
): JobEnd {
  // Of a stream that was stopped at its very end something is missing all the same.
  const isCut = held.stopping !== undefined && held.job.statement.output !== undefined;
  if (verdict.ok && isCut) return { ok: false, failure: stopFailure(held), runMs, killed: false };
  if (verdict.ok) {
    const { rows, truncated } = verdict;
    const bytes = body === undefined ? (keptBytes ?? piped) : Buffer.byteLength(body);
    return { ok: true, rows, truncated, bytes, runMs, peakMemoryBytes };
  }
  const failure = verdict.code === 'INTERRUPTED' ? stopFailure(held) : failureOf(verdict);
  return { ok: false, failure, runMs, killed: false };
}

/** What a job hears that was stopped. */
export function stopFailure({ job, stopping }: Stoppable): Failure {
  if (stopping !== 'timeout') return cancelled(job.cancelledBy ?? 'unknown');
  const limit = job.timeoutMs;
  const detail = `The query ran for ${limit} ms, as long as it may, and was stopped.`;
  return new Failure('QUERY_TIMEOUT', detail, { members: { limit_ms: limit } });
}

function failureOf({ code, detail, members }: FailedVerdict): Failure {
  return new Failure(code === 'INTERRUPTED' ? 'QUERY_CANCELLED' : code, detail, { members });
}
