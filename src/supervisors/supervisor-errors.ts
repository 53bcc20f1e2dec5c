import type { StartedChild } from './supervisor-handle.ts';

/** A call that the state of the child does not allow. The codes are OTP's. */
export type ChildCallCode = 'already_started' | 'already_present' | 'not_found' | 'running' | 'restarting';

export class ChildCallError extends Error {
  override readonly name = 'ChildCallError';
  readonly code: ChildCallCode;
  readonly id: string;
  /** The child that runs under the id already; with `already_started` only. */
  readonly started: StartedChild | undefined;

  constructor(path: string, id: string, code: ChildCallCode, started?: StartedChild) {
    super(`${path}: child ${JSON.stringify(id)}: ${code.replace('_', ' ')}`);
    this.code = code;
    this.id = id;
    this.started = started;
  }
}

/** A child that a call was to start did not start; `cause` is what its `start` threw. */
export class ChildStartError extends Error {
  override readonly name = 'ChildStartError';
  readonly code = 'failed_to_start_child';
  readonly id: string;

  constructor(path: string, id: string, cause: unknown) {
    super(`${path}/${id} did not start: ${describe(cause)}`, { cause });
    this.id = id;
  }
}

/** A supervisor did not start because one of its children did not; `cause` is what the child's `start` threw. */
export class SupervisorStartError extends Error {
  override readonly name = 'SupervisorStartError';
  readonly code = 'failed_to_start_child';
  readonly path: string;
  /** The child that did not start. */
  readonly id: string;

  constructor(path: string, id: string, cause: unknown) {
    super(`${path} did not start, because its child ${id} did not: ${describe(cause)}`, { cause });
    this.path = path;
    this.id = id;
  }
}

/** More restarts than allowed: what a supervisor's actor ends with when the supervisor has given up. */
export class RestartIntensityError extends Error {
  override readonly name = 'RestartIntensityError';
  readonly code = 'reached_max_restart_intensity';
  readonly path: string;

  constructor(path: string, used: number, allowed: number, periodMs: number) {
    super(`${path} gave up: ${used} restarts within ${periodMs} ms, ${allowed} allowed`);
    this.path = path;
  }
}

function describe(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
