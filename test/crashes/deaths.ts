/** Deaths of workers, as their owners would tell of them. */
import type { QueryOrigin, WorkerDeath } from '../../src/crashes/crash-report.ts';

export const ORIGIN: QueryOrigin = {
  queryId: 'q1',
  principal: { name: 'ann', role: 'reader' },
  sessionId: undefined,
  sql: "SELECT * FROM pg1.t WHERE a = 'x' AND b IN (1, 2)",
  params: undefined,
  sources: ['pg1'],
  secrets: [],
  timeoutMs: 60_000,
  attempts: 1,
};

export function death(more: Partial<WorkerDeath> = {}, query: Partial<QueryOrigin> = {}): WorkerDeath {
  return {
    pool: 'interactive',
    worker: 'interactive-1',
    incarnation: 3,
    pid: 4242,
    signal: 'SIGSEGV',
    exitCode: undefined,
    cause: 'crash',
    killedFor: undefined,
    phase: 'running',
    uptimeMs: 1234.5,
    memoryBytes: 1_000,
    peakMemoryBytes: 2_000,
    detail: undefined,
    lastLines: [],
    limits: { memoryLimit: 1e9, memoryHardLimit: 2e9, tempLimit: 4e9, threads: 2 },
    duckdb: 'v1.5.5',
    query: { ...ORIGIN, ...query },
    ...more,
  };
}
