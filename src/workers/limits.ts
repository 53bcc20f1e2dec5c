/** The limits of a worker process in bytes, and what happens at each: docs/configuration.md, "Limits". */

/** A limit that a worker passed. */
export interface Exceeded {
  readonly what: 'memory' | 'disk';
  /** Bytes: what was allowed, and what was found. */
  readonly limit: number;
  readonly used: number;
}

/**
 * Bytes that a worker's run folder may take, and any one file of it. DuckDB counts its spill itself and stops at `tempLimit`
 * with an error that costs no worker; this is for what it does not count, so it comes a little later.
 */
export function diskQuota(tempLimit: number): number {
  return tempLimit + Math.max(16 * 1024 * 1024, Math.ceil(tempLimit / 16));
}
