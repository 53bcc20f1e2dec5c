/**
 * How a column becomes Arrow, as plain data: what it is stored as in DuckDB's vectors, and which Arrow type has all of it.
 * Read by the encoder in a lane, where there is no DuckDB.
 */

/** Types whose Arrow buffer is DuckDB's own, byte for byte. */
export type StoredAs =
  | 'int8'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'uint8'
  | 'uint16'
  | 'uint32'
  | 'uint64'
  | 'float32'
  | 'float64'
  | 'date'
  | 'time-us'
  | 'time-ns'
  | 'timestamp-s'
  | 'timestamp-ms'
  | 'timestamp-us'
  | 'timestamp-ns'
  | 'timestamp-utc';

/** What ends a stream: a message without a length. */
export const END_OF_STREAM = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0);

export const STORED_BYTES: Readonly<Record<StoredAs, number>> = {
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  float32: 4,
  date: 4,
  int64: 8,
  uint64: 8,
  float64: 8,
  'time-us': 8,
  'time-ns': 8,
  'timestamp-s': 8,
  'timestamp-ms': 8,
  'timestamp-us': 8,
  'timestamp-ns': 8,
  'timestamp-utc': 8,
};

export type ArrowPlan =
  | { readonly kind: 'null' | 'bool' | 'interval' | 'uuid' }
  | { readonly kind: 'stored'; readonly as: StoredAs }
  /** `bytes`: of a value in DuckDB. In Arrow each has 128 bits. */
  | {
      readonly kind: 'decimal';
      readonly bytes: 2 | 4 | 8 | 16;
      readonly precision: number;
      readonly scale: number;
    }
  /** HUGEINT and UHUGEINT: up to 39 digits, so a decimal of 256 bits. */
  | { readonly kind: 'huge'; readonly signed: boolean }
  | { readonly kind: 'text' | 'blob' }
  /** No Arrow type has it: its text, made where the value is read. */
  | { readonly kind: 'as-text' }
  /** `id` tells dictionaries of a result apart. */
  | {
      readonly kind: 'enum';
      readonly bytes: 1 | 2 | 4;
      readonly values: readonly string[];
      readonly id: number;
    }
  | { readonly kind: 'list'; readonly child: ArrowPlan }
  | { readonly kind: 'array'; readonly length: number; readonly child: ArrowPlan }
  | { readonly kind: 'map'; readonly key: ArrowPlan; readonly value: ArrowPlan }
  | {
      readonly kind: 'struct' | 'union';
      readonly names: readonly string[];
      readonly children: readonly ArrowPlan[];
    };

export interface ArrowColumn {
  readonly name: string;
  readonly plan: ArrowPlan;
  /** DuckDB's name of the type, for the field's metadata. */
  readonly type: string;
}
