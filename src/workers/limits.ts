/** The limits of a worker process in bytes, and what happens at each: docs/configuration.md, "Limits". */

/** A limit that a worker passed. */
export interface Exceeded {
  readonly what: 'memory' | 'disk';
  /** Bytes: what was allowed, and what was found. */
  readonly limit: number;
  readonly used: number;
}

const MIB = 1024 * 1024;
/** At least so much more than the limit; a workspace needs room for a checkpoint, and for what is written before somebody looks. */
const MORE = { spill: 16 * MIB, workspace: 128 * MIB } as const;

/**
 * Bytes that a worker's run folder may take, with its session's, and any one file of it. DuckDB counts its spill itself and stops at
 * `tempLimit` with an error that costs no worker; this is for what it does not count, so it comes a little later.
 */
export function diskQuota(tempLimit: number, holds: keyof typeof MORE = 'spill'): number {
  return tempLimit + Math.max(MORE[holds], Math.ceil(tempLimit / 16));
}
