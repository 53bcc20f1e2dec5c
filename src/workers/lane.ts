/** A lane: a thread of a worker that encodes large results, so that the worker's control side never waits for it. */
import { move, transferableSymbol, valueSymbol } from 'piscina';
import type { ColumnBatch } from './duckdb/column-batch.ts';
import { encodeBatch, type JsonLayout, type Room } from './duckdb/json-encoding.ts';

export interface EncodeJson {
  readonly batch: ColumnBatch;
  readonly layout: JsonLayout;
  readonly room: Room;
}

/** The task piscina runs. Gives an `EncodedBatch`, whose bytes are moved to the caller rather than copied. */
export function encodeJson({ batch, layout, room }: EncodeJson): unknown {
  const encoded = encodeBatch(batch, layout, room);
  return move({ [transferableSymbol]: [encoded.bytes.buffer], [valueSymbol]: encoded });
}
