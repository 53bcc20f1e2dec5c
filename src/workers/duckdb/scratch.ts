/** A result as a table of another instance, which DuckDB can write in any format. */
import type { DuckDBConnection, DuckDBResult, DuckDBType } from '@duckdb/node-api';
import { type ChunkSource, chunksOf } from './chunks.ts';

const TABLE = 'scratch_result';

export interface Scratch {
  /** Of what is in the table, no more than the limit. */
  readonly rows: number;
  /** Whether the result has more rows than that. */
  readonly truncated: boolean;
  /** The read of the first so many rows. */
  readonly read: (rows: number) => string;
}

export interface ScratchLimits {
  readonly rows: number | undefined;
  /** Asked each time there are twice as many rows as before, with the read of all of them. */
  readonly isEnough?: ((read: string) => Promise<boolean>) | undefined;
}

/** How many rows there are when it is asked for the first time whether that is enough. */
const FIRST_LOOK = 10_000;

/** Puts the result into a table, or as many chunks of it as pass its limits. */
export async function fillScratch(
  connection: DuckDBConnection,
  result: DuckDBResult,
  { rows: rowLimit, isEnough }: ScratchLimits,
  source: ChunkSource,
): Promise<Scratch> {
  const limit = rowLimit ?? Number.POSITIVE_INFINITY;
  const chunks = chunksOf(result, source);
  const types = result.columnTypes();
  const names = result.columnNames().map((name, index) => `c${index} AS "${name.replaceAll('"', '""')}"`);
  const all = `SELECT ${names.join(', ')} FROM ${TABLE}`;
  let rows = 0;
  let look = FIRST_LOOK;
  let cut = false;
  try {
    await connection.run(`CREATE TABLE ${TABLE} (${columnsOf(types)})`);
    const appender = await connection.createAppender(TABLE);
    try {
      while (!cut && rows <= limit) {
        const chunk = await chunks.next();
        if (chunk === null) break;
        source.checkpoint();
        rows += chunk.rowCount;
        appender.appendDataChunk(chunk);
        if (isEnough === undefined || rows < look) continue;
        appender.flushSync();
        cut = await isEnough(all);
        source.checkpoint();
        look = 2 * rows;
      }
      appender.flushSync();
    } finally {
      appender.closeSync();
    }
  } finally {
    await chunks.end();
  }
  return {
    rows: Math.min(rows, limit),
    truncated: cut || rows > limit,
    read: (count) => (count < rows ? `${all} LIMIT ${count}` : all),
  };
}

/** As they stand in CREATE TABLE: named by their numbers, since names may be empty, or the same. */
export function columnsOf(types: readonly DuckDBType[]): string {
  return types.map((type, index) => `c${index} ${nameOf(type)}`).join(', ');
}

function nameOf(type: DuckDBType): string {
  return type.alias ?? type.toString();
}
