/**
 * A result as a stream of Arrow. Chunks are gathered to record batches, and a batch is encoded in a lane while the chunks of the
 * next one are fetched, so that the control side of the worker is never at it for long.
 */
import type { DuckDBResult } from '@duckdb/node-api';
import { type ArrowColumn, END_OF_STREAM } from '../arrow/arrow-plan.ts';
import type { EncodedRows, RawChunk } from '../arrow/arrow-stream.ts';
import { type ArrowReader, arrowReader } from './arrow-columns.ts';
import { type ChunkSource, type Chunks, chunksOf } from './chunks.ts';
import type { RowLimits, RowSummary } from './text-rows.ts';

/** Encodes parts of a stream in another thread; the chunks' buffers are the lane's from then on. */
export interface ArrowLane {
  head(columns: readonly ArrowColumn[]): Promise<Uint8Array>;
  rows(
    columns: readonly ArrowColumn[],
    chunks: readonly RawChunk[],
    rows: number,
    byteLimit: number,
  ): Promise<EncodedRows>;
}

export interface ArrowResultOptions extends ChunkSource {
  readonly lane: ArrowLane;
  /** Takes the bytes; resolves when there is room for more. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
}

/** Rows of the first record batch, so that something is there soon, and of the others. */
const FIRST_ROWS = 2_048;
const BATCH_ROWS = 65_536;
/** Bytes past which a record batch is not gathered on. */
const BATCH_BYTES = 8 * 1024 * 1024;

/** Writes the whole result, or as much of it as the limits allow; `byteLimit` is of the record batches. */
export async function writeArrowResult(
  result: DuckDBResult,
  { rowLimit, byteLimit }: RowLimits,
  options: ArrowResultOptions,
): Promise<RowSummary> {
  const chunks = chunksOf(result, options);
  try {
    const reader = arrowReader(result.columnNames(), result.columnTypes());
    await options.write(await options.lane.head(reader.columns));
    const gather = new Gathering(chunks, reader, rowLimit ?? Number.POSITIVE_INFINITY, options.checkpoint);
    const summary = await writeBatches(gather, byteLimit ?? Number.POSITIVE_INFINITY, options);
    await options.write(END_OF_STREAM);
    return summary;
  } finally {
    await chunks.end();
  }
}

async function writeBatches(
  gathering: Gathering,
  byteLimit: number,
  { lane, write, checkpoint }: ArrowResultOptions,
): Promise<RowSummary> {
  let rows = 0;
  let bytes = 0;
  let encoding: { readonly rows: number; readonly encoded: Promise<EncodedRows> } | undefined;
  for (;;) {
    const batch = await gathering.next(rows === 0 && encoding === undefined ? FIRST_ROWS : BATCH_ROWS);
    if (encoding !== undefined) {
      const encoded = await encoding.encoded;
      checkpoint();
      if (encoded.rows > 0) await write(encoded.bytes);
      checkpoint();
      rows += encoded.rows;
      bytes += encoded.bytes.length;
      if (encoded.rows < encoding.rows) return { rows, truncated: true };
    }
    if (batch === undefined) return { rows, truncated: gathering.truncated };
    const encoded = lane.rows(gathering.columns, batch.chunks, batch.rows, byteLimit - bytes);
    // It is awaited, unless the next chunk cannot be had: then that is what went wrong.
    encoded.catch(() => undefined);
    encoding = { rows: batch.rows, encoded };
  }
}

/** Chunks, up to the limit of rows, in batches. */
class Gathering {
  readonly #chunks: Chunks;
  readonly #reader: ArrowReader;
  readonly #checkpoint: () => void;
  #left: number;
  #ended = false;
  #truncated = false;

  constructor(chunks: Chunks, reader: ArrowReader, rowLimit: number, checkpoint: () => void) {
    this.#chunks = chunks;
    this.#reader = reader;
    this.#left = rowLimit;
    this.#checkpoint = checkpoint;
  }

  get columns(): readonly ArrowColumn[] {
    return this.#reader.columns;
  }

  /** Whether there were more rows than the limit. */
  get truncated(): boolean {
    return this.#truncated;
  }

  /** At least so many rows, or all that are left, or as many as are large enough. */
  async next(
    wanted: number,
  ): Promise<{ readonly chunks: readonly RawChunk[]; readonly rows: number } | undefined> {
    const gathered: RawChunk[] = [];
    let rows = 0;
    let bytes = 0;
    while (!this.#ended && rows < wanted && bytes < BATCH_BYTES) {
      const chunk = await this.#chunks.next();
      if (chunk === null) {
        this.#ended = true;
        break;
      }
      this.#checkpoint();
      const count = Math.min(chunk.rowCount, this.#left);
      if (count < chunk.rowCount) {
        this.#ended = true;
        this.#truncated = true;
      }
      if (count === 0) break;
      const raw = this.#reader.read(chunk, count);
      gathered.push(raw);
      this.#left -= count;
      rows += count;
      bytes += bytesOf(raw);
    }
    return rows === 0 ? undefined : { chunks: gathered, rows };
  }
}

function bytesOf(vectors: RawChunk): number {
  let bytes = 0;
  for (const { data, heap, texts, children } of vectors) {
    bytes += (data?.length ?? 0) + bytesOf(children);
    for (const run of heap) bytes += run.bytes.length;
    for (const text of texts ?? []) bytes += text?.length ?? 0;
  }
  return bytes;
}
