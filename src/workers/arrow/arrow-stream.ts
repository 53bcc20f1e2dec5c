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
import type { ArrowColumn, ArrowPlan } from './arrow-plan.ts';
import { schemaOf } from './arrow-types.ts';
import { builderOf } from './column-builders.ts';
import type { RawVector } from './raw-vector.ts';
import { range } from './rows.ts';

/** A vector a column, all of them with as many rows. */
export type RawChunk = readonly RawVector[];

export interface EncodedRows {
  readonly bytes: Uint8Array;
  readonly rows: number;
}

/** The schema, and the dictionaries of its enums. */
export function encodeHead(columns: readonly ArrowColumn[]): Uint8Array {
  const schema = schemaOf(columns);
  const writer = new HeadWriter();
  writer.reset(undefined, schema);
  for (const { plan } of columns)
    for (const { id, values } of enumsIn(plan)) writer.writeDictionary(id, values);
  return writer.bytes();
}

/** One record batch of the chunks' rows, or of as many of the first as make no more than `byteLimit` bytes. */
export function encodeRows(
  columns: readonly ArrowColumn[],
  chunks: readonly RawChunk[],
  rows: number,
  byteLimit: number,
): EncodedRows {
  const schema = schemaOf(columns);
  const encode = (count: number) => encodeBatch(schema, columns, chunks, count);
  const whole = encode(rows);
  if (whole.length <= byteLimit) return { bytes: whole, rows };
  let fitting: EncodedRows = { bytes: new Uint8Array(0), rows: 0 };
  for (let low = 1, high = rows - 1; low <= high; ) {
    const middle = (low + high) >> 1;
    const bytes = encode(middle);
    if (bytes.length <= byteLimit) {
      fitting = { bytes, rows: middle };
      low = middle + 1;
    } else high = middle - 1;
  }
  return fitting;
}

function encodeBatch(
  schema: Schema,
  columns: readonly ArrowColumn[],
  chunks: readonly RawChunk[],
  rows: number,
): Uint8Array {
  const children = columns.map(({ plan }, index) => {
    const builder = builderOf(plan, rows);
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
  return writer.bytes();
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

/** A part of a stream: it has no end of its own. */
class PartWriter extends RecordBatchStreamWriter {
  protected override _writeFooter(): this {
    return this;
  }

  bytes(): Uint8Array {
    this.finish();
    return this.toUint8Array(true);
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
