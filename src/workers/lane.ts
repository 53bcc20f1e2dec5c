/** A lane: a thread of a worker that encodes large results, so that the worker's control side never waits for it. */
import { writevSync } from 'node:fs';
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { Arena } from './arrow/arena.ts';
import type { ArrowColumn } from './arrow/arrow-plan.ts';
import type { RowsToEncode } from './arrow/arrow-stream.ts';
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
  /** Whether the schema comes before the rows. */
  readonly isHead: boolean;
  readonly batch: RowsToEncode;
  /** Buffers that the rows are in: they are handed back. */
  readonly buffers: readonly ArrayBuffer[];
  /** File descriptor that the bytes are written to; without one they are handed back. */
  readonly to: number | undefined;
}

/** What has become of it. */
export interface EncodedArrow {
  /** Of the batch: how many of the first rows, and in how many bytes. */
  readonly rows: number;
  readonly batchBytes: number;
  /** All bytes, where they have not been written. */
  readonly bytes: Uint8Array | undefined;
  readonly buffers: readonly ArrayBuffer[];
}

const arena = new Arena();

/** Another one: gives an {@link EncodedArrow}. It ends when the last byte has been written, which may be when somebody has read it. */
export async function encodeArrow({ columns, isHead, batch, buffers, to }: EncodeArrow): Promise<unknown> {
  // Only here, and only now: it takes its time to load, and most workers never write Arrow.
  const { encodeHead, encodeRows } = await import('./arrow/arrow-stream.ts');
  const head = isHead ? encodeHead(columns) : [];
  const { pieces, bytes: batchBytes, rows } = encodeRows(columns, batch, arena);
  const all = [...head, ...pieces];
  const bytes = to === undefined ? joined(all) : undefined;
  if (to !== undefined) writePieces(to, all);
  const encoded: EncodedArrow = { rows, batchBytes, bytes, buffers };
  const moved = bytes === undefined ? buffers : [bytes.buffer, ...buffers];
  return move({ [transferableSymbol]: moved, [valueSymbol]: encoded });
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** The system takes no more at once (IOV_MAX, writev(2)). */
const MOST_PIECES = 1_024;

function writePieces(to: number, pieces: readonly Uint8Array[]): void {
  for (let start = 0; start < pieces.length; start += MOST_PIECES) {
    let left = pieces.slice(start, start + MOST_PIECES);
    while (left.length > 0) left = after(left, writevSync(to, left));
  }
}

/** What is left of the pieces when so many bytes of them have been written. */
function after(pieces: readonly Uint8Array[], written: number): Uint8Array[] {
  let done = written;
  let index = 0;
  for (let piece = pieces[0]; piece !== undefined && done >= piece.length; piece = pieces[index]) {
    done -= piece.length;
    index += 1;
  }
  const left = pieces.slice(index);
  if (done > 0) left[0] = (left[0] as Uint8Array).subarray(done);
  return left;
}
