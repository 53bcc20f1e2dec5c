/** A result as a table of another instance, which DuckDB can write in any format. */
import type { DuckDBConnection, DuckDBResult, DuckDBType } from '@duckdb/node-api';
import { type ChunkSource, chunksOf } from './chunks.ts';

const TABLE = 'scratch_result';

/**
 * Puts the result, or as many chunks of it as hold more than `rowLimit` rows, into a table. Gives the read of its
 * rows up to that limit, and whether there were more.
 */
export async function fillScratch(
  connection: DuckDBConnection,
  result: DuckDBResult,
  rowLimit: number | undefined,
  source: ChunkSource,
): Promise<{ readonly sql: string; readonly truncated: boolean }> {
  const limit = rowLimit ?? Number.POSITIVE_INFINITY;
  const chunks = chunksOf(result, source);
  const types = result.columnTypes();
  let rows = 0;
  try {
    await connection.run(`CREATE TABLE ${TABLE} (${columnsOf(types)})`);
    const appender = await connection.createAppender(TABLE);
    try {
      while (rows <= limit) {
        const chunk = await chunks.next();
        if (chunk === null) break;
        source.checkpoint();
        rows += chunk.rowCount;
        appender.appendDataChunk(chunk);
      }
      appender.flushSync();
    } finally {
      appender.closeSync();
    }
  } finally {
    await chunks.end();
  }
  const names = result.columnNames().map((name, index) => `c${index} AS "${name.replaceAll('"', '""')}"`);
  const read = `SELECT ${names.join(', ')} FROM ${TABLE}`;
  return { sql: rows > limit ? `${read} LIMIT ${limit}` : read, truncated: rows > limit };
}

/** As they stand in CREATE TABLE: named by their numbers, since names may be empty, or the same. */
export function columnsOf(types: readonly DuckDBType[]): string {
  return types.map((type, index) => `c${index} ${nameOf(type)}`).join(', ');
}

function nameOf(type: DuckDBType): string {
  return type.alias ?? type.toString();
}
