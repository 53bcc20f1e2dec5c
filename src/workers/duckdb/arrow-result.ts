/**
 * A result as a stream of Arrow. Chunks are gathered to record batches, and a batch is encoded in a lane while the chunks of the
 * next one are fetched, so that the control side of the worker is never at it for long. What is more than one batch the lane itself
 * writes to the pipe that the parent reads: those bytes never come back to this thread.
 */
import { write } from 'node:fs';
import { promisify } from 'node:util';
import type { DuckDBResult } from '@duckdb/node-api';
import { type ArrowColumn, END_OF_STREAM } from '../arrow/arrow-plan.ts';
import type { RawChunk } from '../arrow/arrow-stream.ts';
import type { EncodeArrow, EncodedArrow } from '../lane.ts';
import { Slab } from '../slab.ts';
import { type ArrowReader, arrowReader } from './arrow-columns.ts';
import { type ChunkSource, type Chunks, chunksOf } from './chunks.ts';
import type { RowLimits, RowSummary } from './text-rows.ts';

/** Encodes a part of a stream in another thread. */
export type ArrowLane = (part: EncodeArrow) => Promise<EncodedArrow>;

/** The pipe to the parent. */
export interface ArrowPipe {
  /** The file descriptor to write to; undefined where there is no pipe. */
  open(): Promise<number | undefined>;
  /** Nobody writes to it any more. Resolves once all that was written has been read. */
  close(descriptor: number): Promise<void>;
}

export interface ArrowResultOptions extends ChunkSource {
  readonly lane: ArrowLane;
  readonly pipe: ArrowPipe;
  /** Takes bytes that go another way than by the pipe; resolves when there is room for more. */
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
    const gathering = new Gathering(chunks, reader, rowLimit ?? Number.POSITIVE_INFINITY, options.checkpoint);
    const first = await gathering.next(FIRST_ROWS);
    const descriptor = gathering.ended ? undefined : await options.pipe.open();
    const writing = new Writing(gathering, byteLimit ?? Number.POSITIVE_INFINITY, descriptor, options);
    try {
      return await writing.all(first);
    } finally {
      // A lane that is still writing has a descriptor that may be another file's once it is closed here.
      await writing.idle();
      if (descriptor !== undefined) await options.pipe.close(descriptor);
    }
  } finally {
    await chunks.end();
  }
}

/** Rows that are together in a record batch. */
interface Batch {
  readonly chunks: readonly RawChunk[];
  readonly rows: number;
  readonly buffers: readonly ArrayBuffer[];
}

const NO_ROWS: Batch = { chunks: [], rows: 0, buffers: [] };

/** A stream on its way out: to the file descriptor `to`, or as bytes that are handed on. */
class Writing {
  readonly #gathering: Gathering;
  readonly #byteLimit: number;
  readonly #to: number | undefined;
  readonly #options: ArrowResultOptions;
  /** What the lane is at. */
  #encoding: Promise<EncodedArrow> | undefined;

  constructor(gathering: Gathering, byteLimit: number, to: number | undefined, options: ArrowResultOptions) {
    this.#gathering = gathering;
    this.#byteLimit = byteLimit;
    this.#to = to;
    this.#options = options;
  }

  async all(first: Batch | undefined): Promise<RowSummary> {
    const { lane, checkpoint } = this.#options;
    const { columns } = this.#gathering;
    let rows = 0;
    let bytes = 0;
    let batch = first ?? NO_ROWS;
    for (let isHead = true; ; isHead = false) {
      const { chunks, buffers } = batch;
      const toEncode = { chunks, rows: batch.rows, byteLimit: this.#byteLimit - bytes };
      this.#encoding = lane({ columns, isHead, batch: toEncode, buffers, to: this.#to });
      // It is awaited, unless the next chunk cannot be had: then that is what went wrong.
      this.#encoding.catch(() => undefined);
      const next = await this.#gathering.next(BATCH_ROWS);
      const encoded = await this.#encoding;
      checkpoint();
      if (encoded.bytes !== undefined) await this.#options.write(encoded.bytes);
      checkpoint();
      this.#gathering.reuse(encoded.buffers);
      rows += encoded.rows;
      bytes += encoded.batchBytes;
      const isCut = encoded.rows < batch.rows;
      if (isCut || next === undefined) {
        await this.#write(END_OF_STREAM);
        return { rows, truncated: isCut || this.#gathering.truncated };
      }
      batch = next;
    }
  }

  /** Resolves when the lane is at nothing of this stream any more. */
  async idle(): Promise<void> {
    await this.#encoding?.catch(() => undefined);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    if (this.#to === undefined) await this.#options.write(bytes);
    else await promisify(write)(this.#to, bytes);
  }
}

/** Chunks, up to the limit of rows, in batches. */
class Gathering {
  readonly #chunks: Chunks;
  readonly #reader: ArrowReader;
  readonly #checkpoint: () => void;
  readonly #slab = new Slab();
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

  /** Whether all rows have been given. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Whether there were more rows than the limit. */
  get truncated(): boolean {
    return this.#truncated;
  }

  /** Takes back the buffers of a batch that has been encoded. */
  reuse(buffers: readonly ArrayBuffer[]): void {
    this.#slab.reuse(buffers);
  }

  /** At least so many rows, or all that are left, or as many as are large enough. */
  async next(wanted: number): Promise<Batch | undefined> {
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
      const raw = this.#reader.read(chunk, count, this.#slab.copy);
      gathered.push(raw);
      this.#left -= count;
      rows += count;
      bytes += bytesOf(raw);
    }
    return rows === 0 ? undefined : { chunks: gathered, rows, buffers: this.#slab.take() };
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
