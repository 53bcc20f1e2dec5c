/** A lane: a thread of a worker that encodes large results, so that the worker's control side never waits for it. */
import { move, transferableSymbol, valueSymbol } from 'piscina';
import type { ArrowColumn } from './arrow/arrow-plan.ts';
import type { RawChunk } from './arrow/arrow-stream.ts';
import type { ColumnBatch } from './duckdb/column-batch.ts';
import { encodeBatch, type JsonLayout, type Room } from './duckdb/json-encoding.ts';

export interface EncodeJson {
  readonly batch: ColumnBatch;
  readonly layout: JsonLayout;
  readonly room: Room;
}

/** A task piscina runs. Gives an `EncodedBatch`, whose bytes are moved to the caller rather than copied. */
export function encodeJson({ batch, layout, room }: EncodeJson): unknown {
  const encoded = encodeBatch(batch, layout, room);
  return move({ [transferableSymbol]: [encoded.bytes.buffer], [valueSymbol]: encoded });
}

export interface EncodeArrow {
  readonly columns: readonly ArrowColumn[];
  /** None for the head of the stream. */
  readonly batch?: {
    readonly chunks: readonly RawChunk[];
    readonly rows: number;
    readonly byteLimit: number;
  };
}

/** Another one: gives the bytes of a part of a stream, and of how many rows they are. */
export async function encodeArrow({ columns, batch }: EncodeArrow): Promise<unknown> {
  // Only here, and only now: it takes its time to load, and most workers never write Arrow.
  const { encodeHead, encodeRows } = await import('./arrow/arrow-stream.ts');
  const encoded =
    batch === undefined
      ? { bytes: encodeHead(columns), rows: 0 }
      : encodeRows(columns, batch.chunks, batch.rows, batch.byteLimit);
  return move({ [transferableSymbol]: [encoded.bytes.buffer], [valueSymbol]: encoded });
}
