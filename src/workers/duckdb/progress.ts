/** How far a statement is, as DuckDB estimates it. */
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Progress } from '../protocol.ts';

/**
 * Has DuckDB keep count on this connection, and print nothing. By PRAGMA: these are settings of a connection, and a locked
 * instance takes no SET. It costs a statement nothing that can be measured.
 */
export const KEEPS_COUNT = 'PRAGMA disable_print_progress_bar; PRAGMA enable_progress_bar';

/** Safe while a statement runs on it, and of one that has been closed. */
export function progressOf(connection: DuckDBConnection | undefined): Pick<Progress, 'percentage' | 'rows'> {
  if (connection === undefined) return { rows: 0 };
  const { percentage, rows_processed } = connection.progress;
  // -1 where it cannot tell; its estimates of a join may pass the whole.
  const known = percentage >= 0 ? { percentage: Math.min(100, percentage) } : {};
  return { ...known, rows: Number(rows_processed) };
}
