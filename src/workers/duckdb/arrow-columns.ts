/** The columns of a result as Arrow is to have them, and a chunk's vectors as plain data. */
import { type DuckDBDataChunk, type DuckDBType, DuckDBVector, DuckDBTypeId as Id } from '@duckdb/node-api';
import duckdb from '@duckdb/node-bindings';
import { type ArrowColumn, type ArrowPlan, STORED_BYTES, type StoredAs } from '../arrow/arrow-plan.ts';
import {
  addressIn,
  type HeapRun,
  INLINE_BYTES,
  isValid,
  type RawVector,
  TEXT_ENTRY_BYTES,
} from '../arrow/raw-vector.ts';
import { columnReader, withPlans } from './column-reader.ts';
import { plainText } from './json-encoding.ts';
import { planType } from './type-plan.ts';

type Vector = ReturnType<typeof duckdb.data_chunk_get_vector>;

/** Gives a copy of memory of DuckDB's. */
export type Copy = (bytes: Uint8Array) => Uint8Array;

/** Reads the first rows of a vector. */
type ReadVector = (vector: Vector, rows: number, copy: Copy) => RawVector;

export interface ArrowReader {
  readonly columns: readonly ArrowColumn[];
  /** The first `rows` rows of a chunk, a vector a column. */
  read(chunk: DuckDBDataChunk, rows: number, copy: Copy): readonly RawVector[];
}

export function arrowReader(names: readonly string[], types: readonly DuckDBType[]): ArrowReader {
  let enums = 0;
  const nextEnum = () => {
    enums += 1;
    return enums;
  };
  const plans = types.map((type) => planOf(type, nextEnum));
  const readers = types.map((type, index) => readerOf(type, plans[index] as ArrowPlan));
  return {
    columns: types.map((type, index) => ({
      name: names[index] as string,
      plan: plans[index] as ArrowPlan,
      type: type.alias ?? type.toString(),
    })),
    read: (chunk, rows, copy) =>
      readers.map((read, index) => read(duckdb.data_chunk_get_vector(chunk.chunk, index), rows, copy)),
  };
}

const STORED: Readonly<Partial<Record<Id, StoredAs>>> = {
  [Id.TINYINT]: 'int8',
  [Id.SMALLINT]: 'int16',
  [Id.INTEGER]: 'int32',
  [Id.BIGINT]: 'int64',
  [Id.UTINYINT]: 'uint8',
  [Id.USMALLINT]: 'uint16',
  [Id.UINTEGER]: 'uint32',
  [Id.UBIGINT]: 'uint64',
  [Id.FLOAT]: 'float32',
  [Id.DOUBLE]: 'float64',
  [Id.DATE]: 'date',
  [Id.TIME]: 'time-us',
  [Id.TIME_NS]: 'time-ns',
  [Id.TIMESTAMP_S]: 'timestamp-s',
  [Id.TIMESTAMP_MS]: 'timestamp-ms',
  [Id.TIMESTAMP]: 'timestamp-us',
  [Id.TIMESTAMP_NS]: 'timestamp-ns',
  [Id.TIMESTAMP_TZ]: 'timestamp-utc',
};

function planOf(type: DuckDBType, nextEnum: () => number): ArrowPlan {
  const inner = (child: DuckDBType) => planOf(child, nextEnum);
  switch (type.typeId) {
    case Id.SQLNULL:
      return { kind: 'null' };
    case Id.BOOLEAN:
      return { kind: 'bool' };
    case Id.INTERVAL:
      return { kind: 'interval' };
    case Id.UUID:
      return { kind: 'uuid' };
    case Id.HUGEINT:
    case Id.UHUGEINT:
      return { kind: 'huge', signed: type.typeId === Id.HUGEINT };
    case Id.DECIMAL:
      return {
        kind: 'decimal',
        bytes: decimalBytes(type.width),
        precision: type.width,
        scale: type.scale,
      };
    case Id.VARCHAR:
      return { kind: 'text' };
    case Id.BLOB:
      return { kind: 'blob' };
    case Id.ENUM:
      return {
        kind: 'enum',
        bytes: type.values.length < 2 ** 8 ? 1 : type.values.length < 2 ** 16 ? 2 : 4,
        values: type.values,
        id: nextEnum(),
      };
    case Id.LIST:
      return { kind: 'list', child: inner(type.valueType) };
    case Id.ARRAY:
      return { kind: 'array', length: type.length, child: inner(type.valueType) };
    case Id.MAP:
      return { kind: 'map', key: inner(type.keyType), value: inner(type.valueType) };
    case Id.STRUCT:
      return { kind: 'struct', names: type.entryNames, children: type.entryTypes.map(inner) };
    case Id.UNION:
      return { kind: 'union', names: type.memberTags, children: type.memberTypes.map(inner) };
    default: {
      const as = STORED[type.typeId];
      return as === undefined ? { kind: 'as-text' } : { kind: 'stored', as };
    }
  }
}

/** The storage of a DECIMAL by its digits (duckdb.h, duckdb_decimal_internal_type). */
function decimalBytes(width: number): 2 | 4 | 8 | 16 {
  if (width <= 4) return 2;
  if (width <= 9) return 4;
  return width <= 18 ? 8 : 16;
}

function readerOf(type: DuckDBType, plan: ArrowPlan): ReadVector {
  switch (plan.kind) {
    case 'null':
      return (_, rows) => raw(rows, null);
    case 'as-text':
      return textReader(type);
    case 'text':
    case 'blob':
      return readText;
    case 'list':
    case 'map':
      return listReader(type, plan);
    case 'array': {
      if (type.typeId !== Id.ARRAY) throw new TypeError(`${type} is no ARRAY`);
      const read = readerOf(type.valueType, plan.child);
      return (vector, rows, copy) => ({
        ...raw(rows, validityOf(vector, rows, copy)),
        children: [read(duckdb.array_vector_get_child(vector), rows * plan.length, copy)],
      });
    }
    case 'struct':
    case 'union':
      return memberReader(type, plan);
    default: {
      const bytes = storedBytes(plan);
      return (vector, rows, copy) => {
        const data = rows === 0 ? null : copy(duckdb.vector_get_data(vector, rows * bytes));
        return raw(rows, validityOf(vector, rows, copy), data);
      };
    }
  }
}

function storedBytes(plan: ArrowPlan): number {
  switch (plan.kind) {
    case 'bool':
      return 1;
    case 'stored':
      return STORED_BYTES[plan.as];
    case 'decimal':
    case 'enum':
      return plan.bytes;
    default:
      return 16;
  }
}

function listReader(type: DuckDBType, plan: Extract<ArrowPlan, { kind: 'list' | 'map' }>): ReadVector {
  const read = elementReader(type, plan);
  return (vector, rows, copy) => {
    const elements = duckdb.list_vector_get_child(vector);
    return {
      ...raw(rows, validityOf(vector, rows, copy)),
      data: rows === 0 ? null : copy(duckdb.vector_get_data(vector, rows * 16)),
      children: [read(elements, duckdb.list_vector_get_size(vector), copy)],
    };
  };
}

function elementReader(type: DuckDBType, plan: Extract<ArrowPlan, { kind: 'list' | 'map' }>): ReadVector {
  if (type.typeId === Id.LIST && plan.kind === 'list') return readerOf(type.valueType, plan.child);
  if (type.typeId !== Id.MAP || plan.kind !== 'map') throw new TypeError(`${type} is no ${plan.kind}`);
  return membersOf([readerOf(type.keyType, plan.key), readerOf(type.valueType, plan.value)]);
}

function memberReader(type: DuckDBType, plan: Extract<ArrowPlan, { kind: 'struct' | 'union' }>): ReadVector {
  const member = (child: DuckDBType, index: number) => readerOf(child, plan.children[index] as ArrowPlan);
  if (type.typeId === Id.STRUCT) return membersOf(type.entryTypes.map(member));
  if (type.typeId !== Id.UNION) throw new TypeError(`${type} is no ${plan.kind}`);
  const tags: ReadVector = (vector, rows, copy) => ({
    ...raw(rows, validityOf(vector, rows, copy)),
    data: rows === 0 ? null : copy(duckdb.vector_get_data(vector, rows)),
  });
  return membersOf([tags, ...type.memberTypes.map(member)]);
}

function membersOf(members: readonly ReadVector[]): ReadVector {
  return (vector, rows, copy) => ({
    ...raw(rows, validityOf(vector, rows, copy)),
    children: members.map((read, index) => read(duckdb.struct_vector_get_child(vector, index), rows, copy)),
  });
}

/** Values that no Arrow type has are read by the binding, and told as the JSON reply tells them. */
function textReader(type: DuckDBType): ReadVector {
  const { positional } = columnReader(type);
  const plan = planType(type);
  const encode = plainText(plan);
  return (vector, rows) => {
    const values = rows === 0 ? [] : DuckDBVector.create(vector, rows, positional).toArray();
    const texts = values.map((value) => {
      const plain = withPlans(value, positional);
      return plain === null ? null : encode(plain);
    });
    return { ...raw(rows, null), texts };
  };
}

function readText(vector: Vector, rows: number, copy: Copy): RawVector {
  if (rows === 0) return raw(0, null);
  const validity = validityOf(vector, rows, copy);
  const data = copy(duckdb.vector_get_data(vector, rows * TEXT_ENTRY_BYTES));
  return { ...raw(rows, validity, data), heap: heapOf(data, validity, rows, copy) };
}

/** No two addresses that are that near have a page between them that may not be read (getpagesize(2)). */
const NEAR_BYTES = 4_096;

/**
 * The memory that longer texts are in. Those of a vector mostly lie behind each other: runs of them are copied at once, the few
 * bytes between them too, since a call for each costs more than all the rest.
 */
function heapOf(entries: Uint8Array, validity: Uint8Array | null, rows: number, copy: Copy): HeapRun[] {
  const view = new DataView(entries.buffer, entries.byteOffset, entries.byteLength);
  const texts: { readonly row: number; readonly address: number; readonly length: number }[] = [];
  let isSorted = true;
  for (let row = 0; row < rows; row += 1) {
    if (!isValid(validity, row)) continue;
    const length = view.getUint32(row * TEXT_ENTRY_BYTES, true);
    if (length <= INLINE_BYTES) continue;
    const address = addressIn(view, row);
    isSorted &&= address >= (texts.at(-1)?.address ?? 0);
    texts.push({ row, address, length });
  }
  if (!isSorted) texts.sort((one, other) => one.address - other.address);
  const runs: HeapRun[] = [];
  for (let index = 0; index < texts.length; ) {
    const { row, address } = texts[index] as (typeof texts)[number];
    let end = address;
    for (
      let next = texts[index];
      next !== undefined && next.address - end < NEAR_BYTES;
      next = texts[index]
    ) {
      end = Math.max(end, next.address + next.length);
      index += 1;
    }
    const pointer = entries.byteOffset + row * TEXT_ENTRY_BYTES + 8;
    const bytes = copy(duckdb.get_data_from_pointer(entries.buffer as ArrayBuffer, pointer, end - address));
    runs.push({ address, bytes });
  }
  return runs;
}

function raw(rows: number, validity: Uint8Array | null, data: Uint8Array | null = null): RawVector {
  return { rows, validity, data, heap: NONE, texts: null, children: NONE };
}

const NONE: readonly never[] = [];

/** An array of 64-bit words in DuckDB (duckdb.h, duckdb_vector_get_validity), or none at all. */
function validityOf(vector: Vector, rows: number, copy: Copy): Uint8Array | null {
  if (rows === 0) return null;
  const validity = duckdb.vector_get_validity(vector, Math.ceil(rows / 64) * 8) as Uint8Array | null;
  return validity === null ? null : copy(validity);
}
