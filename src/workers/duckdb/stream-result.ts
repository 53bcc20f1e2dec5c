/**
 * A result as a stream of bytes in the format that was asked for.
 *
 * ```
 *   a read                -- COPY to the pipe ------------------------> bytes      CSV, NDJSON, Parquet
 *   a read, with limits   -- its rows as texts -----------------------> bytes      CSV, NDJSON
 *   anything              -- its chunks, encoded in a lane ------------> bytes     Arrow, to the pipe as well where it is large
 *   anything else         -- a table of an instance of its own -- and from there as a read
 * ```
 */
import type { DuckDBConnection, DuckDBResult } from '@duckdb/node-api';
import type { ResultOutput, Run } from '../protocol.ts';
import { abandon } from './abandon.ts';
import { type ArrowLane, type ArrowPipe, writeArrowResult } from './arrow-result.ts';
import type { ChunkSource } from './chunks.ts';
import type { Instances, Lease } from './instances.ts';
import { mostWithin, parquetBytes } from './parquet-limit.ts';
import { Refusal } from './refusal.ts';
import { copyTo, rowTexts } from './result-text.ts';
import { fillScratch, type Scratch } from './scratch.ts';
import { type Outcome, type Rewrite, runStatements, type StatementSteps } from './statement.ts';
import { type RowSummary, writeTextRows } from './text-rows.ts';

export interface StreamOptions {
  readonly instances: Instances;
  readonly statement: Run;
  readonly output: ResultOutput;
  readonly steps: StatementSteps;
  readonly arrow: ArrowLane;
  /** Takes the bytes; resolves when there is room for more. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
  readonly pipe: ArrowPipe & {
    /** Told before a COPY may write to the pipe. */
    begin(): void;
    /** Told when it does no more. Resolves once all that it wrote has been read. */
    end(): Promise<void>;
  };
  /** Told each connection that may have to be interrupted. Never throws. */
  readonly onConnection: (connection: DuckDBConnection) => void;
}

export interface StreamSummary extends RowSummary {
  /** Whether the leased instance is as it was. */
  readonly clean: boolean;
}

/** Runs the statements and writes the result of the last one. */
export async function streamStatements(lease: Lease, options: StreamOptions): Promise<StreamSummary> {
  return await stream(lease, options, false);
}

/** `isScratch`: what is read is a table already. */
async function stream(lease: Lease, options: StreamOptions, isScratch: boolean): Promise<StreamSummary> {
  const { statement, output } = options;
  const unlimited = statement.rowLimit === undefined && statement.byteLimit === undefined;
  const copy =
    unlimited && lease.pipe !== undefined
      ? copyTo(lease.pipe, output, isScratch && output.format === 'parquet')
      : undefined;
  const texts = rowTexts(output);
  // DuckDB is asked for the first form that it takes.
  const rewrite: Rewrite = (text, columns) => copy?.(text, columns) ?? texts?.(text, columns);
  const { outcome, rows } = await run(lease, rewrite, copy !== undefined, options);
  const { clean } = outcome;
  if (rows !== undefined) return { rows, truncated: false, clean };
  const written = await writeOutcome(lease, outcome, options);
  return { ...written, clean };
}

/** Runs the statements, which may write to the pipe if it `copies`: how many rows have gone through it, if any have. */
async function run(
  { connection }: Pick<Lease, 'connection'>,
  rewrite: Rewrite | undefined,
  copies: boolean,
  { instances, statement, steps, pipe }: StreamOptions,
): Promise<{ readonly outcome: Outcome; readonly rows: number | undefined }> {
  if (copies) pipe.begin();
  let outcome: Outcome;
  try {
    const lease = { connection, kept: undefined };
    outcome = await runStatements(lease, instances.guard, statement, steps, rewrite);
  } finally {
    if (copies) await pipe.end();
  }
  if (outcome.rewritten?.whole !== true) return { outcome, rows: undefined };
  steps.checkpoint();
  const [count] = (await outcome.result.fetchChunk())?.getColumnValues(0) ?? [];
  return { outcome, rows: Number(count ?? 0) };
}

async function writeOutcome(
  { connection }: Pick<Lease, 'connection'>,
  outcome: Outcome,
  options: StreamOptions,
): Promise<RowSummary> {
  const { output, statement, write, steps } = options;
  const source: ChunkSource = {
    checkpoint: steps.checkpoint,
    failure: outcome.failure,
    abandon: (abandoned: DuckDBResult) => abandon(connection, abandoned),
  };
  if (outcome.rewritten !== undefined && (output.format === 'csv' || output.format === 'ndjson')) {
    return await writeTextRows(outcome.result, output, outcome.rewritten.names, statement, {
      ...source,
      write,
    });
  }
  if (output.format === 'arrow') {
    const { arrow: lane, pipe } = options;
    return await writeArrowResult(outcome.result, statement, { ...source, lane, pipe, write });
  }
  return await throughScratch(connection, outcome.result, source, options);
}

/** By way of a table: for results of statements that stand in no other, and for Parquet with a limit. */
async function throughScratch(
  connection: DuckDBConnection,
  result: DuckDBResult,
  source: ChunkSource,
  options: StreamOptions,
): Promise<RowSummary> {
  const { instances, statement, output, steps, onConnection } = options;
  const lease = await instances.leaseScratch();
  const scratch = lease.connection;
  try {
    const { params: _, rowLimit, byteLimit, ...rest } = statement;
    if (output.format !== 'parquet') {
      const table = await fillScratch(scratch, result, { rows: undefined }, source);
      onConnection(scratch);
      steps.checkpoint();
      const limits = {
        ...(rowLimit === undefined ? {} : { rowLimit }),
        ...(byteLimit === undefined ? {} : { byteLimit }),
      };
      return await read(lease, table, table.rows, { ...options, statement: { ...rest, ...limits } });
    }
    if (lease.pipe === undefined)
      throw Refusal.invalid(
        'format',
        'parquet is not available here: the server could not make a named pipe',
      );
    const bytesOf = async (sql: string): Promise<number> => {
      onConnection(scratch);
      steps.checkpoint();
      const bytes = await parquetBytes(scratch, sql);
      onConnection(connection);
      return bytes;
    };
    const isEnough =
      byteLimit === undefined ? undefined : async (sql: string) => (await bytesOf(sql)) > byteLimit;
    const table = await fillScratch(scratch, result, { rows: rowLimit, isEnough }, source);
    const fitting =
      byteLimit === undefined
        ? table.rows
        : await mostWithin(byteLimit, table.rows, (rows) => bytesOf(table.read(rows)));
    if (fitting === undefined) throw tooSmall(byteLimit as number, await bytesOf(table.read(0)));
    onConnection(scratch);
    steps.checkpoint();
    return await read(lease, table, fitting, { ...options, statement: rest });
  } finally {
    onConnection(connection);
    lease.release('instance');
  }
}

/** The first rows of the table, in the format that is wanted. */
async function read(
  lease: Lease,
  table: Scratch,
  rows: number,
  options: Omit<StreamOptions, 'statement'> & { readonly statement: Omit<Run, 'params'> },
): Promise<RowSummary> {
  const statement: Run = { ...options.statement, sql: table.read(rows) };
  const { clean: _, ...summary } = await stream(lease, { ...options, statement }, true);
  return { ...summary, truncated: summary.truncated || table.truncated || rows < table.rows };
}

function tooSmall(limit: number, used: number): Refusal {
  const detail = `A Parquet file of these columns has ${used} bytes without any rows; byte_limit is ${limit}.`;
  return new Refusal('RESULT_TOO_LARGE', detail, { limit, used });
}
