/**
 * Why a worker process ended, in the words of the supervision tree.
 *
 * | cause          | who                                                      | counts towards the pool's intensity |
 * | -------------- | -------------------------------------------------------- | ----------------------------------- |
 * | `crash`        | nobody asked: a signal, an exit code, a broken protocol  | yes                                 |
 * | `unresponsive` | we did, because it fell silent or did not start          | yes                                 |
 * | `killed`       | the query it ran: deadline, cancel, memory, disk         | no                                  |
 * | `recycled`     | we did, to replace it                                    | no                                  |
 * | `shutdown`     | its supervisor asked it to stop                          | no restart                          |
 */
import type { Phase } from './protocol.ts';
import type { WorkerExit } from './worker-process.ts';

export type WorkerExitCause = 'crash' | 'unresponsive' | 'killed' | 'recycled' | 'shutdown';

/** What a worker that was not asked to stop ends with. */
export class WorkerExitError extends Error {
  override readonly name = 'WorkerExitError';
  readonly exitCause: WorkerExitCause;

  constructor(exitCause: WorkerExitCause, exit: WorkerExit) {
    super(`the worker process ${describeExit(exit)} (${exitCause})`);
    this.exitCause = exitCause;
  }
}

/** Whether an exit reason's error is a worker's own failure. Anything that is no worker's exit counts as well. */
export function isWorkerFailure(error: unknown): boolean {
  if (!(error instanceof WorkerExitError)) return true;
  return error.exitCause === 'crash' || error.exitCause === 'unresponsive';
}

/** The cause of an exit; `asked` is what its actor had asked of it before. */
export function causeOf(exit: WorkerExit, asked: 'recycle' | 'shutdown' | undefined): WorkerExitCause {
  // A limit that was passed with no query at work is the worker's own failure: one that cannot even start must not be started
  // over and over again.
  if (exit.exceeded !== undefined) return isAtWork(exit.flight.phase) ? 'killed' : 'crash';
  switch (exit.killedFor) {
    case 'timeout':
    case 'cancelled':
      return 'killed';
    case 'unresponsive':
    case 'start-timeout':
      return 'unresponsive';
    case 'protocol':
    case 'memory':
    case 'disk':
      return 'crash';
    case 'recycled':
      return 'recycled';
    case 'shutdown':
      return 'shutdown';
    default:
      if (exit.stopped) return asked === 'recycle' ? 'recycled' : 'shutdown';
      return 'crash';
  }
}

function isAtWork(phase: Phase): boolean {
  return phase !== 'starting' && phase !== 'idle';
}

/** `died of SIGSEGV`, `ended with exit code 1`, or what it was killed for. */
export function describeExit(exit: WorkerExit): string {
  const detail = exit.detail === undefined ? '' : ` (${exit.detail})`;
  if (exit.exceeded !== undefined) {
    const { what, limit, used } = exit.exceeded;
    return `passed its limit of ${limit} bytes of ${what} (${used} when it was last looked at)${detail}`;
  }
  switch (exit.killedFor) {
    case 'unresponsive':
      return 'gave no sign of life for the whole heartbeat timeout and was killed';
    case 'start-timeout':
      return 'was not ready within its start timeout and was killed';
    case 'protocol':
      return `broke the protocol and was killed${detail}`;
    default:
      if (exit.signal !== undefined) return `died of ${exit.signal}${detail}`;
      if (exit.exitCode !== undefined) return `ended with exit code ${exit.exitCode}${detail}`;
      return `never started${detail}`;
  }
}
