/** What the pool of one of a session is made with: the defaults of every pool, and the session's own limits. Pure. */
import { DEFAULT_POOL, type PoolConfig } from '../config/pools.ts';

/** Bytes that a worker takes beside what DuckDB counts: node, the libraries, threads. */
const BESIDE_DUCKDB = 448_000_000;

/** Its worker is not replaced for its age: what it has in memory would be lost. */
const NEVER = { max_queries: Number.MAX_SAFE_INTEGER, max_age: 365 * 86_400_000 };

/** Half a minute or so of deaths in a row, by the backoff: what ails a worker may pass, as a full disk does, and its tables would not. */
const PATIENT = { intensity: 8, period: 60_000 };

/** DuckDB threads of a session that asks for nothing else. */
export const DEFAULT_THREADS = 2;

/** Sizes in bytes. */
export interface SessionLimits {
  readonly memoryLimit: number;
  readonly diskLimit: number;
  readonly threads: number;
}

export function sessionSettings({ memoryLimit, diskLimit, threads }: SessionLimits): PoolConfig {
  return {
    ...DEFAULT_POOL,
    size: 1,
    reserve: 0,
    dispatch_window: 0,
    threads,
    memory_limit: memoryLimit,
    memory_hard_limit: memoryLimit + Math.max(BESIDE_DUCKDB, Math.ceil(memoryLimit / 2)),
    temp_limit: diskLimit,
    recycle: NEVER,
    restart: { ...DEFAULT_POOL.restart, ...PATIENT },
  };
}

/** Bytes that all workers of these pools may take together. */
export function hardLimits(pools: Iterable<PoolConfig>): number {
  let total = 0;
  for (const { size, reserve, memory_hard_limit } of pools) total += (size + reserve) * memory_hard_limit;
  return total;
}
