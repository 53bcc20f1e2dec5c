/**
 * A result as the members `"columns":[...],"data":[...]` of the JSON reply, chunk by chunk.
 *
 * The first chunks are encoded where they are; a result that turns out large goes through a lane, so that the control side of
 * the worker stays free while the next chunk is fetched.
 */
import type { DuckDBResult, DuckDBType } from '@duckdb/node-api';
import { type ChunkSource, type Chunks, chunksOf } from './chunks.ts';
import { type ColumnBatch, readBatch } from './column-batch.ts';
import { columnReader } from './column-reader.ts';
import { type EncodedBatch, encodeBatch, type JsonLayout, type Room } from './json-encoding.ts';
import { Refusal } from './refusal.ts';
import { planType } from './type-plan.ts';

export interface JsonResultOptions extends ChunkSource {
  readonly rowFormat: 'arrays' | 'objects';
  readonly rowLimit: number | undefined;
  /** Bytes of `data` that the result is cut at. */
  readonly byteLimit: number | undefined;
  /** Bytes of `data` that a result may not pass. */
  readonly maxBytes: number;
  /** Encodes a batch in another thread. */
  readonly lane: (batch: ColumnBatch, layout: JsonLayout, room: Room) => Promise<EncodedBatch>;
  /** Takes the bytes; resolves when there is room for more. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
}

export interface JsonResultSummary {
  readonly rows: number;
  readonly truncated: boolean;
}

/** Chunks (of up to 2,048 rows) that are encoded on the spot: below that a lane costs more than it saves. */
const INLINE_CHUNKS = 4;

/** Writes the whole result. Throws a {@link Refusal} `RESULT_TOO_LARGE` where it passes `maxBytes`. */
export async function writeJsonResult(
  result: DuckDBResult,
  options: JsonResultOptions,
): Promise<JsonResultSummary> {
  const chunks = chunksOf(result, options);
  try {
    return await writeChunks(result, chunks, options);
  } finally {
    await chunks.end();
  }
}

async function writeChunks(
  result: DuckDBResult,
  source: Chunks,
  options: JsonResultOptions,
): Promise<JsonResultSummary> {
  const types = result.columnTypes();
  const names = result.columnNames();
  const readers = types.map(columnReader);
  const layout: JsonLayout = {
    plans: types.map(planType),
    names: options.rowFormat === 'objects' ? uniqueNames(names) : null,
  };
  const columns = names.map((name, index) => ({ name, type: typeName(types[index] as DuckDBType) }));
  await options.write(Buffer.from(`"columns":${JSON.stringify(columns)},"data":[`));
  const rowLimit = options.rowLimit ?? Number.POSITIVE_INFINITY;
  const byteLimit = options.byteLimit ?? Number.POSITIVE_INFINITY;
  let rows = 0;
  let bytes = 0;
  let truncated = false;
  for (let chunks = 0; !truncated; chunks += 1) {
    const chunk = await source.next();
    if (chunk === null) break;
    options.checkpoint();
    const separator = rows > 0 ? 1 : 0;
    const room: Room = {
      rows: rowLimit - rows,
      bytes: Math.min(byteLimit, options.maxBytes) - bytes - separator,
    };
    const batch = readBatch(chunk, readers, room);
    const encoded =
      chunks < INLINE_CHUNKS ? encodeBatch(batch, layout, room) : await options.lane(batch, layout, room);
    rows += encoded.rows;
    truncated = encoded.rows < chunk.rowCount;
    if (truncated && rows < rowLimit && options.maxBytes < byteLimit) throw tooLarge(options.maxBytes);
    if (encoded.rows > 0) {
      bytes += encoded.bytes.length + separator;
      if (separator > 0) await options.write(COMMA);
      await options.write(encoded.bytes);
    }
    options.checkpoint();
  }
  await options.write(CLOSE);
  return { rows, truncated };
}

const COMMA = Buffer.from(',');
const CLOSE = Buffer.from(']');

function tooLarge(limit: number): Refusal {
  return new Refusal(
    'RESULT_TOO_LARGE',
    `The result is larger than ${limit} bytes, the most one JSON reply may hold; set row_limit or byte_limit, or select less.`,
    // It is known to be larger, and not by how much.
    { limit, used: limit + 1 },
  );
}

/** Names for the members of an object: one that is taken gets a number, `a:1`, that no other column has. */
export function uniqueNames(names: readonly string[]): string[] {
  const taken = new Set<string>();
  const given = new Set(names);
  return names.map((name) => {
    let unique = name;
    for (let number = 1; taken.has(unique) || (unique !== name && given.has(unique)); number += 1)
      unique = `${name}:${number}`;
    taken.add(unique);
    return unique;
  });
}

function typeName(type: DuckDBType): string {
  return type.alias ?? type.toString();
}
