/**
 * Columns of Arrow, built from vectors of DuckDB's: a builder a column, and one for what is nested in it. Each takes rows of one
 * vector after another, and gives their buffers in the end (Arrow columnar format, "Physical memory layout").
 */
import { type Data, type DataType, makeData } from 'apache-arrow';
import type { Arena } from './arena.ts';
import { type ArrowPlan, STORED_BYTES } from './arrow-plan.ts';
import { typeOf } from './arrow-types.ts';
import { Bitmap, GrowingBytes } from './growing-bytes.ts';
import { hiddenWith, isValid, type RawVector } from './raw-vector.ts';
import { ordered, type Rows, range, rowAt } from './rows.ts';
import { TextBuilder } from './text-builder.ts';

export interface ColumnBuilder {
  append(vector: RawVector, rows: Rows): void;
  finish(): Data;
}

/** `capacity`: rows that are expected. The arrays are in the `arena`. */
export function builderOf(plan: ArrowPlan, capacity: number, arena: Arena): ColumnBuilder {
  const type = typeOf(plan);
  switch (plan.kind) {
    case 'null':
      return new NullBuilder(type);
    case 'bool':
      return new BoolBuilder(type, capacity, arena);
    case 'stored':
      return new FixedBuilder(type, STORED_BYTES[plan.as], capacity, arena);
    case 'enum':
      return new FixedBuilder(type, plan.bytes, capacity, arena);
    case 'decimal':
      return plan.bytes === 16
        ? new FixedBuilder(type, 16, capacity, arena)
        : new DecimalBuilder(type, plan.bytes, capacity, arena);
    case 'huge':
      return new ConvertingBuilder(type, 16, 32, plan.signed ? widenHuge : copyHuge, capacity, arena);
    case 'interval':
      return new ConvertingBuilder(type, 16, 16, toNanoseconds, capacity, arena);
    case 'uuid':
      return new ConvertingBuilder(type, 16, 16, toNetworkOrder, capacity, arena);
    case 'text':
    case 'blob':
    case 'as-text':
      return new TextBuilder(type, capacity, arena);
    case 'list':
      return new ListBuilder(type, builderOf(plan.child, capacity, arena), capacity, arena);
    case 'map': {
      const entries: ArrowPlan = {
        kind: 'struct',
        names: ['key', 'value'],
        children: [plan.key, plan.value],
      };
      return new ListBuilder(type, builderOf(entries, capacity, arena), capacity, arena);
    }
    case 'array':
      return new ArrayBuilder(
        type,
        plan.length,
        builderOf(plan.child, capacity * plan.length, arena),
        capacity,
        arena,
      );
    case 'struct':
      return new StructBuilder(
        type,
        plan.children.map((child) => builderOf(child, capacity, arena)),
        capacity,
        arena,
      );
    case 'union':
      return new UnionBuilder(
        type,
        plan.children.map((child) => builderOf(child, capacity, arena)),
        arena,
      );
    default:
      return plan satisfies never;
  }
}

/** What every array but that of a union has. */
function nullsOf(nulls: Bitmap): { length: number; nullCount: number; nullBitmap?: Uint8Array } {
  const { length } = nulls;
  return nulls.hasZeros ? { length, nullCount: -1, nullBitmap: nulls.take() } : { length, nullCount: 0 };
}

class NullBuilder implements ColumnBuilder {
  readonly #type: DataType;
  #length = 0;

  constructor(type: DataType) {
    this.#type = type;
  }

  append(_vector: RawVector, { count }: Rows): void {
    this.#length += count;
  }

  finish(): Data {
    return makeData({ type: this.#type, length: this.#length, nullCount: this.#length } as never);
  }
}

class BoolBuilder implements ColumnBuilder {
  readonly #type: DataType;
  readonly #nulls: Bitmap;
  readonly #values: Bitmap;

  constructor(type: DataType, capacity: number, arena: Arena) {
    this.#type = type;
    this.#nulls = new Bitmap(capacity, arena);
    this.#values = new Bitmap(capacity, arena);
  }

  append({ validity, data }: RawVector, rows: Rows): void {
    this.#nulls.appendBits(validity, rows);
    this.#values.append(rows.count, (index) => {
      const row = rowAt(rows, index);
      return isValid(validity, row) && data?.[row] === 1;
    });
  }

  finish(): Data {
    return makeData({ type: this.#type, data: this.#values.take(), ...nullsOf(this.#nulls) } as never);
  }
}

/** Values that are in Arrow what they are in DuckDB. */
class FixedBuilder implements ColumnBuilder {
  readonly #type: DataType;
  readonly #bytes: number;
  readonly #nulls: Bitmap;
  readonly #values: GrowingBytes;

  constructor(type: DataType, bytes: number, capacity: number, arena: Arena) {
    this.#type = type;
    this.#bytes = bytes;
    this.#nulls = new Bitmap(capacity, arena);
    this.#values = new GrowingBytes(bytes * capacity, arena);
  }

  append({ validity, data }: RawVector, rows: Rows): void {
    this.#nulls.appendBits(validity, rows);
    const bytes = this.#bytes;
    if (data === null) {
      this.#values.extend(rows.count * bytes);
      return;
    }
    if (rows.order === undefined && validity === null) {
      this.#values.append(data.subarray(rows.start * bytes, (rows.start + rows.count) * bytes));
      return;
    }
    // A row that is NULL stays zero: what DuckDB has there may be another query's.
    const { into, at } = this.#values.extend(rows.count * bytes);
    for (let index = 0; index < rows.count; index += 1) {
      const row = rowAt(rows, index);
      if (!isValid(validity, row)) continue;
      const to = at + index * bytes;
      for (let byte = 0; byte < bytes; byte += 1) into[to + byte] = data[row * bytes + byte] as number;
    }
  }

  finish(): Data {
    return makeFixed(this.#type, this.#values, this.#nulls);
  }
}

/** Writes the value that begins at `from` in the one view to `to` in the other. */
type Convert = (from: DataView, at: number, to: DataView, target: number) => void;

class ConvertingBuilder implements ColumnBuilder {
  readonly #type: DataType;
  readonly #from: number;
  readonly #to: number;
  readonly #convert: Convert;
  readonly #nulls: Bitmap;
  readonly #values: GrowingBytes;

  constructor(type: DataType, from: number, to: number, convert: Convert, capacity: number, arena: Arena) {
    this.#type = type;
    this.#from = from;
    this.#to = to;
    this.#convert = convert;
    this.#nulls = new Bitmap(capacity, arena);
    this.#values = new GrowingBytes(to * capacity, arena);
  }

  append({ validity, data }: RawVector, rows: Rows): void {
    this.#nulls.appendBits(validity, rows);
    const { into, at } = this.#values.extend(rows.count * this.#to);
    if (data === null) return;
    const source = viewOf(data);
    const target = viewOf(into);
    const convert = this.#convert;
    for (let index = 0; index < rows.count; index += 1) {
      const row = rowAt(rows, index);
      if (isValid(validity, row)) convert(source, row * this.#from, target, at + index * this.#to);
    }
  }

  finish(): Data {
    return makeFixed(this.#type, this.#values, this.#nulls);
  }
}

/** Decimals of fewer digits, which are smaller integers in DuckDB, as integers of 128 bits. */
class DecimalBuilder implements ColumnBuilder {
  readonly #type: DataType;
  readonly #from: 2 | 4 | 8;
  readonly #nulls: Bitmap;
  readonly #values: GrowingBytes;

  constructor(type: DataType, from: 2 | 4 | 8, capacity: number, arena: Arena) {
    this.#type = type;
    this.#from = from;
    this.#nulls = new Bitmap(capacity, arena);
    this.#values = new GrowingBytes(16 * capacity, arena);
  }

  append({ validity, data }: RawVector, rows: Rows): void {
    this.#nulls.appendBits(validity, rows);
    const { into, at } = this.#values.extend(rows.count * 16);
    if (data === null) return;
    const to = new Int32Array(into.buffer, into.byteOffset + at, rows.count * 4);
    const from = wordsOf(data, this.#from);
    const step = this.#from === 8 ? 2 : 1;
    for (let index = 0; index < rows.count; index += 1) {
      const row = rowAt(rows, index);
      if (!isValid(validity, row)) continue;
      const low = from[row * step] as number;
      const high = step === 2 ? (from[row * 2 + 1] as number) : low >> 31;
      to[index * 4] = low;
      to[index * 4 + 1] = high;
      to[index * 4 + 2] = high >> 31;
      to[index * 4 + 3] = high >> 31;
    }
  }

  finish(): Data {
    return makeFixed(this.#type, this.#values, this.#nulls);
  }
}

/** The integers, in two words where they have eight bytes. */
function wordsOf({ buffer, byteOffset, byteLength }: Uint8Array, bytes: 2 | 4 | 8): Int16Array | Int32Array {
  return bytes === 2
    ? new Int16Array(buffer, byteOffset, byteLength / 2)
    : new Int32Array(buffer, byteOffset, byteLength / 4);
}

function makeFixed(type: DataType, values: GrowingBytes, nulls: Bitmap): Data {
  const { buffer, byteOffset, byteLength } = values.take();
  const Values = ('indices' in type ? (type.indices as DataType) : type).ArrayType as unknown as {
    readonly BYTES_PER_ELEMENT: number;
    new (buffer: ArrayBuffer, offset: number, length: number): ArrayBufferView;
  };
  const data = new Values(buffer, byteOffset, byteLength / Values.BYTES_PER_ELEMENT);
  return makeData({ type, data, ...nullsOf(nulls) } as never);
}

export function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

const copyHuge: Convert = (from, at, to, target) => {
  for (let offset = 0; offset < 16; offset += 4)
    to.setInt32(target + offset, from.getInt32(at + offset, true), true);
};

const widenHuge: Convert = (from, at, to, target) => {
  copyHuge(from, at, to, target);
  const sign = from.getInt32(at + 12, true) >> 31;
  for (let offset = 16; offset < 32; offset += 4) to.setInt32(target + offset, sign, true);
};

const DAY_US = 86_400_000_000n;
/** More microseconds than that are no 64 bits of nanoseconds. */
const MOST_US = 9_223_372_036_854_775n;

/** Months and days as they are; microseconds as nanoseconds, and where those would not fit, whole days of them as days. */
const toNanoseconds: Convert = (from, at, to, target) => {
  const micros = from.getBigInt64(at + 8, true);
  const days = micros > MOST_US || micros < -MOST_US ? micros / DAY_US : 0n;
  to.setInt32(target, from.getInt32(at, true), true);
  to.setInt32(target + 4, from.getInt32(at + 4, true) + Number(days), true);
  to.setBigInt64(target + 8, (micros - days * DAY_US) * 1_000n, true);
};

/** DuckDB keeps it as an integer with its highest bit flipped, so that it sorts as one; the bytes of RFC 9562 are the other way round. */
const toNetworkOrder: Convert = (from, at, to, target) => {
  for (let index = 0; index < 16; index += 1) to.setUint8(target + index, from.getUint8(at + 15 - index));
  to.setUint8(target, to.getUint8(target) ^ 0x80);
};

/** Bytes of an entry of a list in DuckDB: where its elements begin, and how many they are, with 64 bits each. */
const LIST_ENTRY_BYTES = 16;

class ListBuilder implements ColumnBuilder {
  readonly #type: DataType;
  readonly #nulls: Bitmap;
  readonly #offsets: number[] = [0];
  readonly #child: ColumnBuilder;

  constructor(type: DataType, child: ColumnBuilder, capacity: number, arena: Arena) {
    this.#type = type;
    this.#child = child;
    this.#nulls = new Bitmap(capacity, arena);
  }

  append({ validity, data, children: [elements] }: RawVector, rows: Rows): void {
    this.#nulls.appendBits(validity, rows);
    let end = this.#offsets.at(-1) as number;
    const before = end;
    const starts: number[] = [];
    const entries = data === null ? undefined : viewOf(data);
    for (let index = 0; index < rows.count; index += 1) {
      const row = rowAt(rows, index);
      const at = row * LIST_ENTRY_BYTES;
      const length = entries !== undefined && isValid(validity, row) ? entries.getUint32(at + 8, true) : 0;
      starts.push(length === 0 ? 0 : (entries as DataView).getUint32(at, true));
      end += length;
      this.#offsets.push(end);
    }
    if (elements !== undefined && end > before)
      this.#child.append(elements, this.#elementRows(starts, before));
  }

  /** The elements of the rows just added, in their order. */
  #elementRows(starts: readonly number[], before: number): Rows {
    const first = this.#offsets.length - 1 - starts.length;
    const lengthOf = (index: number) =>
      (this.#offsets[first + index + 1] as number) - (this.#offsets[first + index] as number);
    let expected: number | undefined;
    let start = 0;
    const isOneRun = starts.every((from, index) => {
      const length = lengthOf(index);
      if (length === 0) return true;
      if (expected === undefined) start = from;
      const follows = expected === undefined || from === expected;
      expected = from + length;
      return follows;
    });
    const count = (this.#offsets.at(-1) as number) - before;
    if (isOneRun) return range(start, count);
    const order = new Int32Array(count);
    let at = 0;
    for (const [index, from] of starts.entries()) {
      for (let element = 0; element < lengthOf(index); element += 1, at += 1) order[at] = from + element;
    }
    return ordered(order);
  }

  finish(): Data {
    const valueOffsets = Int32Array.from(this.#offsets);
    return makeData({
      type: this.#type,
      valueOffsets,
      child: this.#child.finish(),
      ...nullsOf(this.#nulls),
    } as never);
  }
}

class ArrayBuilder implements ColumnBuilder {
  readonly #type: DataType;
  readonly #size: number;
  readonly #nulls: Bitmap;
  readonly #child: ColumnBuilder;

  constructor(type: DataType, size: number, child: ColumnBuilder, capacity: number, arena: Arena) {
    this.#type = type;
    this.#size = size;
    this.#child = child;
    this.#nulls = new Bitmap(capacity, arena);
  }

  append({ validity, children: [child] }: RawVector, rows: Rows): void {
    this.#nulls.appendBits(validity, rows);
    if (child === undefined) return;
    const size = this.#size;
    const elements = hiddenWith(validity, size, child);
    if (rows.order === undefined) {
      this.#child.append(elements, range(rows.start * size, rows.count * size));
      return;
    }
    const order = new Int32Array(rows.count * size);
    for (let at = 0; at < order.length; at += 1)
      order[at] = rowAt(rows, Math.floor(at / size)) * size + (at % size);
    this.#child.append(elements, ordered(order));
  }

  finish(): Data {
    return makeData({ type: this.#type, child: this.#child.finish(), ...nullsOf(this.#nulls) } as never);
  }
}

class StructBuilder implements ColumnBuilder {
  readonly #type: DataType;
  readonly #nulls: Bitmap;
  readonly #children: readonly ColumnBuilder[];

  constructor(type: DataType, children: readonly ColumnBuilder[], capacity: number, arena: Arena) {
    this.#type = type;
    this.#children = children;
    this.#nulls = new Bitmap(capacity, arena);
  }

  append({ validity, children }: RawVector, rows: Rows): void {
    this.#nulls.appendBits(validity, rows);
    for (const [index, builder] of this.#children.entries()) {
      builder.append(hiddenWith(validity, 1, children[index] as RawVector), rows);
    }
  }

  finish(): Data {
    const children = this.#children.map((child) => child.finish());
    return makeData({ type: this.#type, children, ...nullsOf(this.#nulls) } as never);
  }
}

/** Sparse: every member has as many rows as the union. It has no nulls of its own; those of DuckDB are its members'. */
class UnionBuilder implements ColumnBuilder {
  readonly #type: DataType;
  readonly #tags: GrowingBytes;
  readonly #children: readonly ColumnBuilder[];

  constructor(type: DataType, children: readonly ColumnBuilder[], arena: Arena) {
    this.#type = type;
    this.#tags = new GrowingBytes(0, arena);
    this.#children = children;
  }

  append({ children: [tags, ...members] }: RawVector, rows: Rows): void {
    const { into, at } = this.#tags.extend(rows.count);
    for (let index = 0; index < rows.count; index += 1) {
      const row = rowAt(rows, index);
      // Without a tag it is NULL, and so are all members.
      into[at + index] = isValid(tags?.validity ?? null, row) ? (tags?.data?.[row] ?? 0) : 0;
    }
    for (const [index, builder] of this.#children.entries())
      builder.append(members[index] as RawVector, rows);
  }

  finish(): Data {
    const tags = this.#tags.take();
    return makeData({
      type: this.#type,
      length: tags.length,
      nullCount: 0,
      typeIds: new Int8Array(tags.buffer, tags.byteOffset, tags.length),
      children: this.#children.map((child) => child.finish()),
    } as never);
  }
}
