/**
 * A result that is kept for later, as a table of a DuckDB database of its own: every type as it is, any page of it at hand.
 *
 * ```
 *   rows of any statement -> batch (a table in memory) -> INSERT -> result.duckdb -> page -> as a read of any other table
 * ```
 * The statement of the client runs where it always does, and never sees the file. Rows go by way of memory because only whole
 * statements run on DuckDB's own threads: a slow disk holds up no heartbeat.
 */
import { statSync } from 'node:fs';
import type { DuckDBConnection, DuckDBResult, DuckDBType } from '@duckdb/node-api';
import type { Run } from '../protocol.ts';
import { type ChunkSource, chunksOf } from './chunks.ts';
import type { Instances } from './instances.ts';
import { KEPT } from './kept-database.ts';
import { literal } from './quote.ts';
import { Refusal } from './refusal.ts';
import { columnsOf } from './scratch.ts';
import type { RowSummary } from './text-rows.ts';

const RESULT = `${KEPT}.main.result`;
const NAMES = `${KEPT}.main.names`;
const BATCH = 'batch';
/** Of up to 2,048 rows each: a row group of DuckDB's. */
const BATCH_CHUNKS = 60;

export interface KeepOptions {
  readonly instances: Instances;
  readonly keep: NonNullable<Run['keep']>;
  readonly rowLimit: number | undefined;
  readonly source: ChunkSource;
  /** Told which connection works, to be interrupted; undefined for that of the statement itself. */
  readonly onConnection: (connection: DuckDBConnection | undefined) => void;
  /** Before the first bytes are written. */
  readonly replying: () => void;
  /** Told the size of the file as it grows. */
  readonly onBytes: (bytes: number) => void;
}

export interface KeptSummary extends RowSummary {
  /** Of the file. */
  readonly keptBytes: number;
}

/** Writes the whole result. Throws a {@link Refusal} `DISK_LIMIT` where it needs more than `maxBytes`. */
export async function keepResult(result: DuckDBResult, options: KeepOptions): Promise<KeptSummary> {
  const { instances, keep, source, onConnection, onBytes } = options;
  const limit = options.rowLimit ?? Number.POSITIVE_INFINITY;
  const chunks = chunksOf(result, source);
  const lease = await instances.leaseScratch({ path: keep.path, readOnly: false });
  const { connection } = lease;
  const grown = (): number => {
    const bytes = sizeOf(keep.path) + sizeOf(`${keep.path}.wal`);
    onBytes(bytes);
    if (bytes <= keep.maxBytes) return bytes;
    const detail = `The result needs more than the ${keep.maxBytes} bytes that kept results have left; delete some, set row_limit, or select less.`;
    throw new Refusal('DISK_LIMIT', detail, { limit: keep.maxBytes, used: bytes });
  };
  let rows = 0;
  try {
    options.replying();
    await createTables(connection, result);
    let ended = false;
    while (!ended && rows <= limit) {
      const appender = await connection.createAppender(BATCH);
      try {
        for (let count = 0; count < BATCH_CHUNKS && rows <= limit; count += 1) {
          const chunk = await chunks.next();
          ended = chunk === null;
          if (chunk === null) break;
          source.checkpoint();
          rows += chunk.rowCount;
          appender.appendDataChunk(chunk);
        }
        appender.flushSync();
      } finally {
        appender.closeSync();
      }
      onConnection(connection);
      await connection.run(`INSERT INTO ${RESULT} FROM ${BATCH}`);
      await connection.run(`TRUNCATE ${BATCH}`);
      onConnection(undefined);
      source.checkpoint();
      grown();
    }
    await connection.run(`DETACH ${KEPT}`);
    return { rows: Math.min(rows, limit), truncated: rows > limit, keptBytes: grown() };
  } finally {
    onConnection(undefined);
    await chunks.end();
    lease.release('instance');
  }
}

/** The read of a page, in the order in which the rows were written. The names of its columns are those of the result. */
export async function pageOf(
  connection: DuckDBConnection,
  { offset, limit }: NonNullable<Run['kept']>,
): Promise<string> {
  const names = await connection.runAndReadAll(`SELECT name FROM ${NAMES} ORDER BY rowid`);
  const columns = names
    .getRows()
    .map(([name], index) => `c${index} AS "${String(name).replaceAll('"', '""')}"`);
  return `SELECT ${columns.join(', ')} FROM ${RESULT} LIMIT ${limit} OFFSET ${offset}`;
}

async function createTables(connection: DuckDBConnection, result: DuckDBResult): Promise<void> {
  const columns = columnsOf(result.columnTypes() as readonly DuckDBType[]);
  const names = result.columnNames().map(literal).join(', ');
  await connection.run(`CREATE TABLE ${RESULT} (${columns})`);
  await connection.run(`CREATE TABLE ${NAMES} AS SELECT unnest([${names}]::VARCHAR[]) AS name`);
  await connection.run(`CREATE TABLE ${BATCH} (${columns})`);
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
