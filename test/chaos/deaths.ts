/** The ways in which a worker can be made to die, and how each of them shows. */
import type { DeadlyFault } from '../../src/workers/protocol.ts';

export interface Death {
  /** What the client hears whose query was at work. */
  readonly code: 'WORKER_CRASHED' | 'MEMORY_LIMIT';
  readonly cause: 'crash' | 'unresponsive' | 'killed';
  readonly signal: string | null;
  readonly exitCode: number | null;
  /** Its process works on for a moment, or until it is given up, and may begin what it finds. */
  readonly lingers: boolean;
}

const crash = { code: 'WORKER_CRASHED', cause: 'crash', lingers: false } as const;
const bySignal = (signal: string): Death => ({ ...crash, signal, exitCode: null });
const byExit = (exitCode: number): Death => ({ ...crash, signal: null, exitCode });
const bySilence: Death = { ...crash, cause: 'unresponsive', signal: 'SIGKILL', exitCode: null };

export const DEATHS: Readonly<Record<DeadlyFault, Death>> = {
  sigsegv: bySignal('SIGSEGV'),
  sigabrt: bySignal('SIGABRT'),
  sigkill: bySignal('SIGKILL'),
  sigstop: bySilence,
  exit: byExit(1),
  'exit-0': byExit(0),
  'exit-1': byExit(1),
  hang: bySilence,
  // At its data-segment limit V8 aborts; where there is no such limit its parent kills it.
  oom: { ...bySignal('SIGABRT'), code: 'MEMORY_LIMIT', cause: 'killed' },
  // What breaks the protocol is killed for it, and without its channel a worker kills itself.
  'channel-garbage': { ...bySignal('SIGKILL'), lingers: true },
  'channel-close': { ...bySignal('SIGKILL'), lingers: true },
  'heartbeat-loss': { ...bySilence, lingers: true },
};

/** Runs until it is stopped, and stops when it is told to. */
export const ENDLESS = 'SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b';
/** Runs for many seconds in one call that hears no interrupt (DuckDB folds constants while it prepares). */
export const DEAF = "SELECT levenshtein(repeat('a', 60000), repeat('b', 60000))";
/** Recurses once a bracket, past the end of its stack. */
export const SEGFAULT = "SELECT json_structure(repeat('[', 100000) || repeat(']', 100000))";
export const HOG = 'SELECT list(range) FROM range(1000000000)';
