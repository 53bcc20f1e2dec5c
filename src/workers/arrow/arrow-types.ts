/** Plans as the types and the schema of Arrow (Arrow columnar format, "Logical types"; Schema.fbs). */
import {
  Binary,
  Bool,
  type DataType,
  DateDay,
  Decimal,
  Dictionary,
  Field,
  FixedSizeBinary,
  FixedSizeList,
  Float32,
  Float64,
  Int8,
  Int16,
  Int32,
  Int64,
  IntervalMonthDayNano,
  List,
  Map_,
  Null,
  Schema,
  SparseUnion,
  Struct,
  TimeMicrosecond,
  TimeNanosecond,
  TimestampMicrosecond,
  TimestampMillisecond,
  TimestampNanosecond,
  TimestampSecond,
  Uint8,
  Uint16,
  Uint32,
  Uint64,
  Utf8,
} from 'apache-arrow';
import type { ArrowColumn, ArrowPlan, StoredAs } from './arrow-plan.ts';

/** The most digits of 128 bits. */
const HUGE_DIGITS = 39;

export function schemaOf(columns: readonly ArrowColumn[]): Schema {
  return new Schema(
    columns.map(({ name, plan, type }) => {
      const metadata = new Map([['duckdb.type', type], ...extensionOf(plan)]);
      return new Field(name, typeOf(plan), true, metadata);
    }),
  );
}

/** An extension type is told by the metadata of its field (Arrow, "Canonical extension types"). */
function extensionOf({ kind }: ArrowPlan): readonly (readonly [string, string])[] {
  if (kind !== 'uuid') return [];
  return [
    ['ARROW:extension:name', 'arrow.uuid'],
    ['ARROW:extension:metadata', ''],
  ];
}

export function typeOf(plan: ArrowPlan): DataType {
  switch (plan.kind) {
    case 'null':
      return new Null();
    case 'bool':
      return new Bool();
    case 'interval':
      return new IntervalMonthDayNano();
    case 'uuid':
      return new FixedSizeBinary(16);
    case 'stored':
      return STORED[plan.as]();
    case 'decimal':
      return new Decimal(plan.scale, plan.precision, 128);
    case 'huge':
      return new Decimal(0, HUGE_DIGITS, 256);
    case 'text':
    case 'as-text':
      return new Utf8();
    case 'blob':
      return new Binary();
    case 'enum':
      return new Dictionary(new Utf8(), indexType(plan.bytes), plan.id, true);
    case 'list':
      return new List(member('item', plan.child));
    case 'array':
      return new FixedSizeList(plan.length, member('item', plan.child));
    case 'map': {
      const key = new Field('key', typeOf(plan.key), false, new Map(extensionOf(plan.key)));
      const entries = new Struct<{ key: DataType; value: DataType }>([key, member('value', plan.value)]);
      return new Map_(new Field('entries', entries, false));
    }
    case 'struct':
      return new Struct(plan.children.map((child, index) => member(plan.names[index] as string, child)));
    case 'union': {
      const members = plan.children.map((child, index) => member(plan.names[index] as string, child));
      return new SparseUnion(Int32Array.from(members.keys()), members);
    }
    default:
      return plan satisfies never;
  }
}

function member(name: string, plan: ArrowPlan): Field {
  return new Field(name, typeOf(plan), true, new Map(extensionOf(plan)));
}

function indexType(bytes: 1 | 2 | 4): Uint8 | Uint16 | Uint32 {
  return bytes === 1 ? new Uint8() : bytes === 2 ? new Uint16() : new Uint32();
}

const STORED: Readonly<Record<StoredAs, () => DataType>> = {
  int8: () => new Int8(),
  int16: () => new Int16(),
  int32: () => new Int32(),
  int64: () => new Int64(),
  uint8: () => new Uint8(),
  uint16: () => new Uint16(),
  uint32: () => new Uint32(),
  uint64: () => new Uint64(),
  float32: () => new Float32(),
  float64: () => new Float64(),
  date: () => new DateDay(),
  'time-us': () => new TimeMicrosecond(),
  'time-ns': () => new TimeNanosecond(),
  'timestamp-s': () => new TimestampSecond(),
  'timestamp-ms': () => new TimestampMillisecond(),
  'timestamp-us': () => new TimestampMicrosecond(),
  'timestamp-ns': () => new TimestampNanosecond(),
  'timestamp-utc': () => new TimestampMicrosecond('UTC'),
};
