/** Results that nobody wants any more. */
import type { DuckDBConnection, DuckDBResult } from '@duckdb/node-api';

/**
 * Ends a result before its last row, so that DuckDB gives back what the query holds (sorted rows, hash tables, spilled files).
 * Closing the connection does not: a result keeps them until it is collected, which may be never.
 */
export async function abandon(connection: DuckDBConnection, result: DuckDBResult): Promise<void> {
  try {
    do connection.interrupt();
    while (((await result.fetchChunk())?.rowCount ?? 0) > 0);
  } catch {
    // The interruption, or the error that the result ended with before.
  }
}
