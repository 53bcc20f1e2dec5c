/**
 * Rows as JSON text, without loss: a number only where a double holds it exactly, a string where it does not.
 * Works on plain data, in the worker's main thread for small results and in a lane for large ones.
 */
import { DuckDBTypeId as Id } from '@duckdb/node-api/lib/DuckDBTypeId.js';
import type { ColumnBatch, ColumnData } from './column-batch.ts';
import { isoDate, isoInterval, isoTime, isoTimestamp, isoTimeWithOffset } from './iso8601.ts';
import type { TypePlan } from './type-plan.ts';

/** The JSON text of one value. */
type Encode = (value: never) => string;

export interface JsonLayout {
  readonly plans: readonly TypePlan[];
  /** The members of each row's object; null for rows as arrays. */
  readonly names: readonly string[] | null;
}

/** What still fits into the result. */
export interface Room {
  readonly rows: number;
  readonly bytes: number;
}

export interface EncodedBatch {
  /** The rows that fit, separated by commas. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly rows: number;
  /** Not every row of the batch did fit. */
  readonly cut: boolean;
}

/** The rows of a batch as JSON text, as far as there is room. */
export function encodeBatch(batch: ColumnBatch, layout: JsonLayout, room: Room): EncodedBatch {
  const rows = encodeRows(batch, layout);
  const wanted = rows.length > room.rows ? rows.slice(0, room.rows) : rows;
  const bytes = encodeText(wanted.join(','));
  if (bytes.length <= room.bytes) return { bytes, rows: wanted.length, cut: wanted.length < rows.length };
  let size = -1;
  let fitting = 0;
  for (const row of wanted) {
    size += Buffer.byteLength(row) + 1;
    if (size > room.bytes) break;
    fitting += 1;
  }
  return { bytes: encodeText(wanted.slice(0, fitting).join(',')), rows: fitting, cut: true };
}

const encoder = new TextEncoder();

function encodeText(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text) as Uint8Array<ArrayBuffer>;
}

/** The JSON text of each row of the batch. */
function encodeRows(batch: ColumnBatch, layout: JsonLayout): string[] {
  const columns = batch.columns.map((column, index) =>
    encodeColumn(column, layout.plans[index] as TypePlan, batch.rowCount),
  );
  const prefixes = layout.names?.map((name, index) => `${index === 0 ? '{' : ','}${JSON.stringify(name)}:`);
  const rows = new Array<string>(batch.rowCount);
  for (let row = 0; row < batch.rowCount; row += 1) {
    let text = prefixes === undefined ? '[' : prefixes.length === 0 ? '{' : '';
    for (let index = 0; index < columns.length; index += 1) {
      if (prefixes !== undefined) text += prefixes[index];
      else if (index > 0) text += ',';
      text += (columns[index] as string[])[row];
    }
    rows[row] = `${text}${prefixes === undefined ? ']' : '}'}`;
  }
  return rows;
}

function encodeColumn(column: ColumnData, plan: TypePlan, rowCount: number): string[] {
  const encode = encoderOf(plan) as (value: unknown) => string;
  const cells = new Array<string>(rowCount);
  if (column.kind === 'values') {
    for (let row = 0; row < rowCount; row += 1) {
      const value = column.values[row];
      cells[row] = value === null || value === undefined ? 'null' : encode(value);
    }
    return cells;
  }
  const { values, validity } = column;
  const convert = fixedEncoderOf(plan) ?? encode;
  for (let row = 0; row < rowCount; row += 1) {
    const valid = validity === null || (((validity[row >> 3] as number) >> (row & 7)) & 1) === 1;
    cells[row] = valid ? convert(values[row]) : 'null';
  }
  return cells;
}

/** Values of fixed columns are storage (days, units, digits) rather than the binding's value objects. */
function fixedEncoderOf(plan: TypePlan): ((value: unknown) => string) | undefined {
  const of = (encode: Encode) => encode as (value: unknown) => string;
  switch (plan.id) {
    case Id.BOOLEAN:
      return of((bit: number) => (bit === 0 ? 'false' : 'true'));
    case Id.DATE:
      return of((days: number) => quoted(isoDate(days)));
    case Id.TIME:
      return of((micros: bigint) => quoted(isoTime(micros)));
    case Id.TIME_NS:
      return of((nanos: bigint) => quoted(isoTime(nanos, 9)));
    case Id.TIMESTAMP:
      return of((micros: bigint) => quoted(isoTimestamp(micros, 6)));
    case Id.TIMESTAMP_TZ:
      return of((micros: bigint) => quoted(utc(isoTimestamp(micros, 6))));
    case Id.TIMESTAMP_S:
      return of((seconds: bigint) => quoted(isoTimestamp(seconds, 0)));
    case Id.TIMESTAMP_MS:
      return of((millis: bigint) => quoted(isoTimestamp(millis, 3)));
    case Id.TIMESTAMP_NS:
      return of((nanos: bigint) => quoted(isoTimestamp(nanos, 9)));
    case Id.DECIMAL:
      return of((digits: number | bigint) => decimal(BigInt(digits), plan.scale));
    default:
      return undefined;
  }
}

function encoderOf(plan: TypePlan): Encode {
  switch (plan.id) {
    case Id.BOOLEAN:
      return (value: boolean) => String(value);
    case Id.TINYINT:
    case Id.SMALLINT:
    case Id.INTEGER:
    case Id.UTINYINT:
    case Id.USMALLINT:
    case Id.UINTEGER:
      return (value: number) => String(value);
    case Id.BIGINT:
    case Id.UBIGINT:
    case Id.HUGEINT:
    case Id.UHUGEINT:
    case Id.BIGNUM:
      return (value: bigint) => integer(value);
    case Id.FLOAT:
    case Id.DOUBLE:
      return (value: number) => float(value);
    case Id.DECIMAL:
      return (value: { value: bigint }) => decimal(value.value, plan.scale);
    case Id.DATE:
      return (value: { days: number }) => quoted(isoDate(value.days));
    case Id.TIME:
      return (value: { micros: bigint }) => quoted(isoTime(value.micros));
    case Id.TIME_NS:
      return (value: { nanos: bigint }) => quoted(isoTime(value.nanos, 9));
    case Id.TIME_TZ:
      // `bits` holds the microseconds in its upper 40 bits, and the offset below them (DuckDB, dtime_tz_t).
      return (value: { bits: bigint }) =>
        quoted(isoTimeWithOffset(value.bits >> 24n, 57_599 - Number(value.bits & 0xffffffn)));
    case Id.TIMESTAMP:
      return (value: { micros: bigint }) => quoted(isoTimestamp(value.micros, 6));
    case Id.TIMESTAMP_TZ:
      return (value: { micros: bigint }) => quoted(utc(isoTimestamp(value.micros, 6)));
    case Id.TIMESTAMP_S:
      return (value: { seconds: bigint }) => quoted(isoTimestamp(value.seconds, 0));
    case Id.TIMESTAMP_MS:
      return (value: { millis: bigint }) => quoted(isoTimestamp(value.millis, 3));
    case Id.TIMESTAMP_NS:
      return (value: { nanos: bigint }) => quoted(isoTimestamp(value.nanos, 9));
    case Id.INTERVAL:
      return (value: { months: number; days: number; micros: bigint }) =>
        quoted(isoInterval(value.months, value.days, value.micros));
    case Id.BLOB:
    case Id.GEOMETRY:
      return (value: { bytes: Uint8Array }) => quoted(base64(value.bytes));
    case Id.BIT:
      return (value: { data: Uint8Array }) => quoted(bits(value.data));
    case Id.UUID:
      return (value: { hugeint: bigint }) => quoted(uuid(value.hugeint));
    case Id.LIST:
    case Id.ARRAY: {
      const item = nullable(plan.children[0] as TypePlan);
      return (value: { items: readonly unknown[] }) => `[${value.items.map(item).join(',')}]`;
    }
    case Id.STRUCT:
      return structEncoder(plan);
    case Id.MAP:
      return mapEncoder(plan);
    case Id.UNION: {
      const members = plan.children.map(nullable);
      const names = plan.names.map((name) => JSON.stringify(name));
      return ({ tag, value }: { tag: string; value: unknown }) =>
        `{${names[Number(tag)]}:${members[Number(tag)]?.(value) ?? 'null'}}`;
    }
    case Id.VARIANT:
      return (variant: { plan: TypePlan; value: unknown }) => nullable(variant.plan)(variant.value);
    case Id.SQLNULL:
      return () => 'null';
    default:
      // VARCHAR, ENUM, and whatever a newer DuckDB brings.
      return (value: unknown) => JSON.stringify(String(value));
  }
}

/** A value as the JSON reply has it, without the quotes of a text: for what can be told no better way. Never of NULL. */
export function plainText(plan: TypePlan): (value: unknown) => string {
  const encode = encoderOf(plan) as (value: unknown) => string;
  if (plan.id === Id.VARIANT) return encode;
  return (value) => {
    const text = encode(value);
    return text.startsWith('"') ? (JSON.parse(text) as string) : text;
  };
}

function nullable(plan: TypePlan): (value: unknown) => string {
  const encode = encoderOf(plan) as (value: unknown) => string;
  return (value) => (value === null || value === undefined ? 'null' : encode(value));
}

/** An object; a struct without names, as `row(1, 2)` makes them, is a list. */
function structEncoder(plan: TypePlan): Encode {
  const members = plan.children.map(nullable);
  type Entries = { entries: Readonly<Record<number, unknown>> };
  if (plan.names.every((name) => name === ''))
    return ({ entries }: Entries) => `[${members.map((member, index) => member(entries[index])).join(',')}]`;
  const names = plan.names.map((name) => `${JSON.stringify(name)}:`);
  return ({ entries }: Entries) =>
    `{${members.map((member, index) => `${names[index]}${member(entries[index])}`).join(',')}}`;
}

/** An object where the keys are text; else a list of `{"key","value"}`, since a JSON name can only be text. */
function mapEncoder(plan: TypePlan): Encode {
  const [keyPlan, valuePlan] = plan.children as [TypePlan, TypePlan];
  const key = nullable(keyPlan);
  const value = nullable(valuePlan);
  type Entries = { entries: readonly { key: unknown; value: unknown }[] };
  if (keyPlan.id === Id.VARCHAR || keyPlan.id === Id.ENUM || keyPlan.id === Id.UUID) {
    return (map: Entries) =>
      `{${map.entries.map((entry) => `${key(entry.key)}:${value(entry.value)}`).join(',')}}`;
  }
  return (map: Entries) =>
    `[${map.entries.map((entry) => `{"key":${key(entry.key)},"value":${value(entry.value)}}`).join(',')}]`;
}

const EXACT = BigInt(Number.MAX_SAFE_INTEGER);

function integer(value: bigint): string {
  return value <= EXACT && value >= -EXACT ? String(value) : quoted(String(value));
}

function float(value: number): string {
  if (Number.isFinite(value)) return Object.is(value, -0) ? '-0.0' : String(value);
  if (Number.isNaN(value)) return '"NaN"';
  return value > 0 ? '"Infinity"' : '"-Infinity"';
}

/** Up to 15 significant digits survive the way through a double (IEEE 754, decimal to binary64 and back). */
const EXACT_DIGITS = 10n ** 15n;

function decimal(value: bigint, scale: number): string {
  const negative = value < 0n;
  const digits = (negative ? -value : value).toString().padStart(scale + 1, '0');
  const point = digits.length - scale;
  const text = `${negative ? '-' : ''}${digits.slice(0, point)}${scale === 0 ? '' : `.${digits.slice(point)}`}`;
  return value < EXACT_DIGITS && value > -EXACT_DIGITS ? text : quoted(text);
}

function utc(timestamp: string): string {
  return timestamp.endsWith('infinity') ? timestamp : `${timestamp}Z`;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/** The first byte counts the padding bits at the front of the second (DuckDB, bit type). */
function bits(data: Uint8Array): string {
  const all = [...data.subarray(1)].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return all.slice(data[0] ?? 0);
}

/** Stored with its highest bit flipped, so that it sorts as a number. */
function uuid(stored: bigint): string {
  const hex = BigInt.asUintN(128, stored ^ (1n << 127n))
    .toString(16)
    .padStart(32, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** Text that needs no escapes. */
function quoted(text: string): string {
  return `"${text}"`;
}
