/**
 * A chunk of a result as plain data: what an encoder needs, and what can be posted to a lane.
 *
 * Fixed-width columns are copied as typed arrays straight from DuckDB's vectors (a memcpy, and free to transfer);
 * everything else is read value by value. The value objects of the binding survive a structured clone as plain
 * objects, so encoders use their fields and never their methods.
 */
import { type DuckDBDataChunk, type DuckDBType, DuckDBVector, DuckDBTypeId as Id } from '@duckdb/node-api';
import duckdb from '@duckdb/node-bindings';
import { type ColumnReader, withPlans } from './column-reader.ts';

export type FixedArray =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array;

export type ColumnData =
  | {
      readonly kind: 'fixed';
      readonly values: FixedArray /** A bit a row; null when all are valid. */;
      readonly validity: Uint8Array | null;
    }
  | { readonly kind: 'values'; readonly values: readonly unknown[] };

export interface ColumnBatch {
  readonly rowCount: number;
  readonly columns: readonly ColumnData[];
}

/** As much of a chunk as can fit: the rows of the batch that is read from it may be fewer. */
export interface ReadLimit {
  readonly rows: number;
  /** Bytes. Text is never shorter as JSON: rows that are longer than this already are not read. */
  readonly bytes: number;
}

/** The chunk's columns as plain data. */
export function readBatch(
  chunk: DuckDBDataChunk,
  readers: readonly ColumnReader[],
  limit: ReadLimit,
): ColumnBatch {
  const vectors = readers.map((_, index) => duckdb.data_chunk_get_vector(chunk.chunk, index));
  const rowCount = fittingRows(vectors, readers, Math.min(chunk.rowCount, limit.rows), limit.bytes);
  const columns = readers.map((reader, index) => {
    const vector = vectors[index] as Vector;
    return readFixed(vector, reader.type, rowCount) ?? readValues(vector, reader, rowCount);
  });
  return { rowCount, columns };
}

type Vector = ReturnType<typeof duckdb.data_chunk_get_vector>;

/** How many of the first `rows` rows have text that is not alone longer than `bytes`. */
function fittingRows(
  vectors: readonly Vector[],
  readers: readonly ColumnReader[],
  rows: number,
  bytes: number,
): number {
  const lengths = vectors.flatMap((vector, index) => {
    const id = (readers[index] as ColumnReader).type.typeId;
    return id === Id.VARCHAR || id === Id.BLOB ? [textLengths(vector, rows)] : [];
  });
  if (lengths.length === 0) return rows;
  let total = 0;
  for (let row = 0; row < rows; row += 1) {
    for (const column of lengths) total += column(row);
    if (total > bytes) return row;
  }
  return rows;
}

/** The lengths in bytes of a column's text: the first four bytes of each entry of sixteen (duckdb.h, duckdb_string_t). */
function textLengths(vector: Vector, rows: number): (row: number) => number {
  const data = duckdb.vector_get_data(vector, rows * 16);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const validity = duckdb.vector_get_validity(vector, Math.ceil(rows / 64) * 8) as Uint8Array | null;
  return (row) => (isValid(validity, row) ? view.getUint32(row * 16, true) : 0);
}

function isValid(validity: Uint8Array | null, row: number): boolean {
  return validity === null || (((validity[row >> 3] as number) >> (row & 7)) & 1) === 1;
}

/** The buffers of a batch that can be handed to another thread without a copy. */
export function transferables(batch: ColumnBatch): ArrayBuffer[] {
  return batch.columns.flatMap((column) =>
    column.kind === 'fixed'
      ? [
          column.values.buffer as ArrayBuffer,
          ...(column.validity === null ? [] : [column.validity.buffer as ArrayBuffer]),
        ]
      : [],
  );
}

function readValues(vector: Vector, reader: ColumnReader, rows: number): ColumnData {
  const values = DuckDBVector.create(vector, rows, reader.positional).toArray();
  if (!reader.hasVariants) return { kind: 'values', values };
  return { kind: 'values', values: values.map((value) => withPlans(value, reader.positional)) };
}

type FixedArrayConstructor = {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer): FixedArray;
};

function readFixed(vector: Vector, type: DuckDBType, rows: number): ColumnData | undefined {
  const Fixed = fixedArrayOf(type);
  if (Fixed === undefined) return undefined;
  const data = duckdb.vector_get_data(vector, rows * Fixed.BYTES_PER_ELEMENT);
  // The validity mask is an array of 64-bit words (duckdb.h, duckdb_vector_get_validity), or none at all.
  const validity = duckdb.vector_get_validity(vector, Math.ceil(rows / 64) * 8) as Uint8Array | null;
  return {
    kind: 'fixed',
    values: new Fixed(copy(data)),
    validity: validity === null ? null : new Uint8Array(copy(validity)),
  };
}

function copy(bytes: Uint8Array): ArrayBuffer {
  const buffer = new ArrayBuffer(bytes.byteLength);
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

/** The storage of a fixed-width type (duckdb.h, "Vector interface"). */
function fixedArrayOf(type: DuckDBType): FixedArrayConstructor | undefined {
  switch (type.typeId) {
    case Id.BOOLEAN:
    case Id.UTINYINT:
      return Uint8Array;
    case Id.TINYINT:
      return Int8Array;
    case Id.SMALLINT:
      return Int16Array;
    case Id.USMALLINT:
      return Uint16Array;
    case Id.INTEGER:
    case Id.DATE:
      return Int32Array;
    case Id.UINTEGER:
      return Uint32Array;
    case Id.FLOAT:
      return Float32Array;
    case Id.DOUBLE:
      return Float64Array;
    case Id.BIGINT:
    case Id.TIME:
    case Id.TIME_NS:
    case Id.TIMESTAMP:
    case Id.TIMESTAMP_TZ:
    case Id.TIMESTAMP_S:
    case Id.TIMESTAMP_MS:
    case Id.TIMESTAMP_NS:
      return BigInt64Array;
    case Id.UBIGINT:
      return BigUint64Array;
    case Id.DECIMAL:
      if (type.width <= 4) return Int16Array;
      if (type.width <= 9) return Int32Array;
      return type.width <= 18 ? BigInt64Array : undefined;
    default:
      return undefined;
  }
}
