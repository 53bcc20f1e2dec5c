/** What a dead worker leaves behind: whose fault it was, what each of its jobs hears, and what is put on record. Pure. */
import type { WorkerDeath } from '../crashes/crash-report.ts';
import { Failure } from '../failures.ts';
import { sessionOfPool } from '../sessions/session-pool.ts';
import { attachmentSecrets } from '../workers/attachment-secrets.ts';
import type { Phase } from '../workers/protocol.ts';
import { causeOf, describeExit, type WorkerExitCause } from '../workers/worker-exit.ts';
import type { WorkerExit } from '../workers/worker-process.ts';
import type { Job } from './job.ts';
import { limitFailure } from './limit-failure.ts';

/** A job as its dead worker had it. */
export interface JobAtDeath {
  readonly seq: number;
  readonly job: Job;
  /** Why it was being stopped. */
  readonly stopping: 'timeout' | 'cancelled' | undefined;
}

export interface WorkerIdentity {
  readonly id: string;
  readonly pool: string;
  readonly incarnation: number;
}

export interface Judgement<Held extends JobAtDeath> {
  readonly cause: WorkerExitCause;
  readonly phase: Phase;
  /** Those that had begun, in their order; the worker died of the last one, if there is one. */
  readonly begun: readonly Held[];
  /** Those that run elsewhere as if nothing had happened. */
  readonly waiting: readonly Held[];
}

/** `asked` is what its actor had asked of the worker; `served` whether it was ever ready. `held` in the order it had them. */
export function judgeDeath<Held extends JobAtDeath>(
  exit: WorkerExit,
  {
    asked,
    served,
    held,
  }: { asked: 'recycle' | 'shutdown' | undefined; served: boolean; held: readonly Held[] },
): Judgement<Held> {
  const cause = causeOf(exit, asked);
  // A record that cannot be read, of a worker that served: the first job may have begun, and so may any write.
  const lost = served && exit.flight.seq === undefined && exit.flight.phase === 'starting';
  const atDeath = lost ? held[0]?.seq : exit.flight.seq;
  const hasBegun = ({ seq, job }: Held) =>
    atDeath !== undefined && (seq <= atDeath || (lost && job.statement.write));
  // It passed a limit: the kill was for it.
  const isCulprit = ({ seq }: Held) => exit.exceeded !== undefined && seq === atDeath;
  // It began when the kill for the one before it was under way.
  const isBystander = (one: Held) => cause === 'killed' && !isCulprit(one);
  // It was over before another one killed the worker, and only its verdict was lost on the way.
  const isDone = ({ seq }: Held) => !lost && atDeath !== undefined && seq < atDeath;
  // A read that nobody is stopping, and of which no byte has left, does no harm when it is done again.
  const mayRunAgain = ({ stopping, job }: Held) =>
    stopping === undefined && !job.statement.write && !job.sink.committed;
  const begun = held.filter(
    (one) => hasBegun(one) && !(mayRunAgain(one) && (isBystander(one) || isDone(one))),
  );
  return {
    cause,
    begun,
    waiting: held.filter((one) => !begun.includes(one)),
    // Done with it, but its verdict never came.
    phase: exit.flight.phase === 'idle' && begun.length > 0 ? 'replying' : exit.flight.phase,
  };
}

/** Whether a job that had begun may be done again, and nothing is done twice by it. */
export function mayBeRetried({ seq, job: { statement } }: JobAtDeath, { flight }: WorkerExit): boolean {
  // The recorder speaks of the last one that began, and of no other.
  const mayHaveWritten = seq === flight.seq ? flight.wrote : true;
  return !(statement.write && mayHaveWritten);
}

const AT_WORK: Record<Phase, string> = {
  starting: 'starting',
  idle: 'idle',
  attaching: "attaching the query's sources",
  preparing: 'preparing the query',
  running: 'running the query',
  replying: 'replying to the query',
  cancelling: 'cancelling the query',
};

/** What a job hears that had begun, and was not being stopped. */
export function deathFailure(
  { id, incarnation }: WorkerIdentity,
  exit: WorkerExit,
  { cause, phase }: Pick<Judgement<JobAtDeath>, 'cause' | 'phase'>,
  crashId: string | undefined,
): Failure {
  if (cause === 'killed' && exit.exceeded !== undefined) return limitFailure(exit.exceeded);
  const { pid = null, signal = null, exitCode: exit_code = null } = exit;
  return new Failure(
    'WORKER_CRASHED',
    // Not what the worker itself said: that is for the record.
    `The worker ${id} ${describeExit({ ...exit, detail: undefined })} while it was ${AT_WORK[phase]}. The server goes on; the same query may crash again.`,
    {
      members: {
        worker: { id, incarnation, pid, signal, exit_code, phase },
        cause,
        ...(crashId === undefined ? {} : { crash_id: crashId }),
      },
    },
  );
}

/** For the record; undefined for an end that nobody has to answer for. */
export function deathOnRecord(
  identity: WorkerIdentity,
  exit: WorkerExit,
  { cause, phase, begun }: Judgement<JobAtDeath>,
  known: Pick<WorkerDeath, 'uptimeMs' | 'limits' | 'duckdb'>,
): WorkerDeath | undefined {
  if (cause === 'shutdown' || cause === 'recycled') return undefined;
  const { id: worker, pool, incarnation } = identity;
  const { pid, signal, exitCode, memoryBytes, peakMemoryBytes, detail, lastLines } = exit;
  const job = begun.at(-1)?.job;
  return {
    ...{ pool, worker, incarnation, pid, signal, exitCode, cause, phase },
    killedFor: exit.killedFor ?? exit.exceeded?.what,
    ...{ memoryBytes, peakMemoryBytes, detail, lastLines },
    ...known,
    query: job && {
      queryId: job.queryId,
      principal: job.origin.principal,
      sessionId: sessionOfPool(pool),
      sql: job.statement.sql,
      params: job.statement.params,
      sources: job.origin.sources,
      secrets: job.statement.attachments.flatMap(attachmentSecrets),
      timeoutMs: job.timeoutMs,
      attempts: job.attempt,
    },
  };
}

/** What of a process's end everybody is told who listens. */
export function toldOf({
  pid,
  signal,
  exitCode,
  memoryBytes,
  peakMemoryBytes,
  detail,
  damagedWorkspace,
  lastLines,
}: WorkerExit) {
  return { pid, signal, exitCode, memoryBytes, peakMemoryBytes, detail, damagedWorkspace, lastLines };
}
