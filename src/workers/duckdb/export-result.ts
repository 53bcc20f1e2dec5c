/**
 * A result as files in a folder: DuckDB's COPY writes them, on an instance to which that folder is open beside the statement's own
 * sources. Afterwards the files are read again, for the number of their rows.
 */
import type { DuckDBConnection } from '@duckdb/node-api';
import { fileBytes } from '../folder-size.ts';
import type { ExportSpec, Run } from '../protocol.ts';
import { abandon } from './abandon.ts';
import { readDuckDBError } from './duckdb-error.ts';
import { exportTo, rowsOf } from './export-text.ts';
import type { Guard } from './guard.ts';
import type { Lease } from './instances.ts';
import { Refusal } from './refusal.ts';
import { isRemotePath } from './remote-paths.ts';
import { runStatements, type StatementSteps } from './statement.ts';

export interface ExportOptions {
  readonly guard: Guard;
  readonly statement: Run;
  readonly spec: ExportSpec;
  readonly steps: StatementSteps;
  /** Before the files are read again. */
  readonly replying: () => void;
  /** Told the size of the files as they grow. */
  readonly onBytes: (bytes: number) => void;
}

export interface ExportSummary {
  readonly rows: number;
  readonly truncated: false;
  /** Of all files. */
  readonly bytes: number;
}

/** Milliseconds from one look at the folder to the next. */
const LOOK_MS = 250;

/**
 * Writes the result of the last statement. Throws DuckDB's errors, a {@link Refusal} `DISK_LIMIT` where the files need more than
 * `maxBytes`, `INVALID_REQUEST` for a statement that is no read, and an error where they have other rows than were written.
 */
export async function exportStatements(lease: Lease, options: ExportOptions): Promise<ExportSummary> {
  const { guard, statement, spec, steps, replying } = options;
  const { connection } = lease;
  const size = new GrowingFiles(connection, options);
  let names: readonly string[] = [];
  let isPrepared = false;
  let rows: number;
  try {
    const outcome = await runStatements(
      { connection, kept: undefined },
      guard,
      statement,
      steps,
      (text, columns) => {
        names = columns.names;
        isPrepared = true;
        const copy = exportTo(spec, text, columns);
        if (copy === undefined) throw noJson();
        return copy;
      },
    );
    if (outcome.rewritten === undefined) {
      await abandon(connection, outcome.result);
      throw noRead();
    }
    const [written] = (await outcome.result.fetchChunk())?.getColumnValues(0) ?? [];
    rows = Number(written ?? 0);
  } catch (error) {
    // The statement by itself is well: what does not stand inside of a COPY is no read.
    const isNoRead = isPrepared && readDuckDBError(error).type === 'Parser';
    throw size.exceeded() ?? (isNoRead ? noRead() : error);
  } finally {
    size.end();
  }
  replying();
  const bytes = await size.now();
  const exceeded = size.exceeded();
  if (exceeded !== undefined) throw exceeded;
  const read = await countRows(connection, spec, names, rows);
  if (read !== undefined && read !== rows)
    throw new Error(`The files have ${read} rows, and ${rows} were written: they are not whole.`);
  return { rows, truncated: false, bytes };
}

function noRead(): Refusal {
  return Refusal.invalid('sql', 'an export takes a statement whose rows can become files: a SELECT');
}

function noJson(): Refusal {
  const message =
    'numbers inside of lists, structs or maps may be NaN or infinite, which JSON has no word for: cast them to DECIMAL, or export as parquet or csv';
  return Refusal.invalid('format', message);
}

const TOO_LONG = /maximum line size/i;

/** What the files say; undefined for text with lines that DuckDB does not read. */
async function countRows(
  connection: DuckDBConnection,
  spec: ExportSpec,
  names: readonly string[],
  written: number,
): Promise<number | undefined> {
  // Of nothing, in partitions, there are no files; and text is not fetched back from where it was sent.
  if (spec.partitionBy.length > 0 && written === 0) return 0;
  if (isRemotePath(spec.folder) && spec.format !== 'parquet') return undefined;
  const sql = rowsOf(spec, names);
  try {
    const [count] = (await connection.runAndReadAll(sql)).getRows()[0] ?? [];
    return Number(count ?? 0);
  } catch (error) {
    // Such a line can be written, and not be read again within the memory that reading text takes.
    if (TOO_LONG.test(readDuckDBError(error).message)) return undefined;
    throw error;
  }
}

/** Looks after what the folder takes of the disk while the statement runs, and stops that where it is too much. */
class GrowingFiles {
  readonly #connection: DuckDBConnection;
  readonly #options: Pick<ExportOptions, 'spec' | 'onBytes'>;
  readonly #timer: NodeJS.Timeout;
  #bytes = 0;
  #looking = false;

  constructor(connection: DuckDBConnection, options: Pick<ExportOptions, 'spec' | 'onBytes'>) {
    this.#connection = connection;
    this.#options = options;
    this.#timer = setInterval(() => void this.#look(), LOOK_MS);
  }

  end(): void {
    clearInterval(this.#timer);
  }

  async now(): Promise<number> {
    const { spec, onBytes } = this.#options;
    if (isRemotePath(spec.folder)) return 0;
    this.#bytes = await fileBytes(spec.folder);
    onBytes(this.#bytes);
    return this.#bytes;
  }

  exceeded(): Refusal | undefined {
    const { maxBytes: limit } = this.#options.spec;
    const used = this.#bytes;
    if (used <= limit) return undefined;
    const detail = `The files need more than the ${limit} bytes that exports have left (exports.disk_limit); delete some, or select less.`;
    return new Refusal('DISK_LIMIT', detail, { limit, used });
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    await this.now();
    this.#looking = false;
    if (this.exceeded() !== undefined) this.#connection.interrupt();
  }
}
