/**
 * A result as a stream of Arrow (Arrow columnar format, "IPC Streaming Format"): the schema and the dictionaries, then record
 * batches, then the end. Each part is made by itself, so that it can be made in a lane, which remembers nothing.
 */
import {
  makeData,
  RecordBatch,
  RecordBatchStreamWriter,
  type Schema,
  Struct,
  Utf8,
  Vector,
} from 'apache-arrow';
import type { Arena } from './arena.ts';
import type { ArrowColumn, ArrowPlan } from './arrow-plan.ts';
import { schemaOf } from './arrow-types.ts';
import { builderOf } from './column-builders.ts';
import type { RawVector } from './raw-vector.ts';
import { range } from './rows.ts';

/** A vector a column, all of them with as many rows. */
export type RawChunk = readonly RawVector[];

/** A part of a stream: its bytes one piece after the other, and how many rows they are. */
export interface EncodedPart {
  readonly pieces: readonly Uint8Array[];
  readonly bytes: number;
  readonly rows: number;
}

const NOTHING: EncodedPart = { pieces: [], bytes: 0, rows: 0 };

/** The schema, and the dictionaries of its enums. */
export function encodeHead(columns: readonly ArrowColumn[]): readonly Uint8Array[] {
  const schema = schemaOf(columns);
  const writer = new HeadWriter();
  writer.reset(undefined, schema);
  for (const { plan } of columns)
    for (const { id, values } of enumsIn(plan)) writer.writeDictionary(id, values);
  return writer.part(0).pieces;
}

/**
 * One record batch of the chunks' rows, or of as many of the first as make no more than `byteLimit` bytes. The pieces are in the
 * `arena`, until that is reset.
 */
export function encodeRows(
  columns: readonly ArrowColumn[],
  { chunks, rows, byteLimit }: RowsToEncode,
  arena: Arena,
): EncodedPart {
  const schema = schemaOf(columns);
  const encode = (count: number) => {
    arena.reset();
    return encodeBatch(schema, columns, chunks, count, arena);
  };
  if (rows === 0) return NOTHING;
  const whole = encode(rows);
  if (whole.bytes <= byteLimit) return whole;
  let fitting = 0;
  for (let low = 1, high = rows - 1; low <= high; ) {
    const middle = (low + high) >> 1;
    if (encode(middle).bytes <= byteLimit) {
      fitting = middle;
      low = middle + 1;
    } else high = middle - 1;
  }
  return fitting === 0 ? NOTHING : encode(fitting);
}

export interface RowsToEncode {
  readonly chunks: readonly RawChunk[];
  readonly rows: number;
  /** Of the record batch. */
  readonly byteLimit: number;
}

function encodeBatch(
  schema: Schema,
  columns: readonly ArrowColumn[],
  chunks: readonly RawChunk[],
  rows: number,
  arena: Arena,
): EncodedPart {
  const children = columns.map(({ plan }, index) => {
    const builder = builderOf(plan, rows, arena);
    let left = rows;
    for (const chunk of chunks) {
      const vector = chunk[index] as RawVector;
      const count = Math.min(left, vector.rows);
      if (count > 0) builder.append(vector, range(0, count));
      left -= count;
    }
    return builder.finish();
  });
  const type = new Struct(schema.fields);
  const batch = new RecordBatch(schema, makeData({ type, length: rows, nullCount: 0, children }));
  const writer = new BatchWriter();
  writer.reset(undefined, schema);
  writer.write(batch);
  return writer.part(rows);
}

type EnumPlan = Extract<ArrowPlan, { kind: 'enum' }>;

function enumsIn(plan: ArrowPlan): readonly EnumPlan[] {
  switch (plan.kind) {
    case 'enum':
      return [plan];
    case 'list':
    case 'array':
      return enumsIn(plan.child);
    case 'map':
      return [...enumsIn(plan.key), ...enumsIn(plan.value)];
    case 'struct':
    case 'union':
      return plan.children.flatMap(enumsIn);
    default:
      return [];
  }
}

/** Writes a part of a stream, which has no end of its own, to pieces that nothing has been copied to. */
class PartWriter extends RecordBatchStreamWriter {
  readonly #pieces: Uint8Array[] = [];
  #bytes = 0;

  protected override _writeFooter(): this {
    return this;
  }

  protected override _write(chunk: ArrayBufferView): this {
    const { buffer, byteOffset, byteLength } = chunk;
    if (!this._started || byteLength === 0) return this;
    this.#pieces.push(new Uint8Array(buffer, byteOffset, byteLength));
    this.#bytes += byteLength;
    return this;
  }

  part(rows: number): EncodedPart {
    this.finish();
    return { pieces: this.#pieces, bytes: this.#bytes, rows };
  }
}

class HeadWriter extends PartWriter {
  writeDictionary(id: number, values: readonly string[]): void {
    const texts = values.map((text) => Buffer.from(text));
    const valueOffsets = new Int32Array(texts.length + 1);
    for (const [index, { length }] of texts.entries())
      valueOffsets[index + 1] = (valueOffsets[index] as number) + length;
    const data = new Uint8Array(Buffer.concat(texts));
    const words = makeData({ type: new Utf8(), length: texts.length, nullCount: 0, valueOffsets, data });
    this._writeDictionaryBatch(new Vector([words]).data[0] as never, id);
  }
}

class BatchWriter extends PartWriter {
  protected override _writeSchema(): this {
    return this;
  }

  protected override _writeDictionaries(): this {
    return this;
  }
}
