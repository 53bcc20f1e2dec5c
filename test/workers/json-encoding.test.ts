import {
  BIGINT,
  BIGNUM,
  BLOB,
  BOOLEAN,
  blobValue,
  DECIMAL,
  DOUBLE,
  DuckDBDataChunk,
  type DuckDBType,
  type DuckDBValue,
  decimalValue,
  HUGEINT,
  DuckDBTypeId as Id,
  INTEGER,
  LIST,
  listValue,
  MAP,
  mapValue,
  STRUCT,
  structValue,
  TIMESTAMP,
  timestampValue,
  UBIGINT,
  VARCHAR,
} from '@duckdb/node-api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ColumnBatch, readBatch, transferables } from '../../src/workers/duckdb/column-batch.ts';
import { columnReader } from '../../src/workers/duckdb/column-reader.ts';
import { encodeBatch } from '../../src/workers/duckdb/json-encoding.ts';
import { uniqueNames } from '../../src/workers/duckdb/json-result.ts';
import { planType, type TypePlan } from '../../src/workers/duckdb/type-plan.ts';

const EVERYTHING = { rows: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };

function plan(id: Id, scale = 0): TypePlan {
  return { id, scale, children: [], names: [] };
}

function textOf(batch: ColumnBatch, plans: readonly TypePlan[]): string {
  return Buffer.from(encodeBatch(batch, { plans, names: null }, EVERYTHING).bytes).toString('utf8');
}

/** The JSON text of each value of a column of storage. */
function cells(values: BigInt64Array | Float64Array | Int32Array, columnPlan: TypePlan): string[] {
  const text = textOf({ rowCount: values.length, columns: [{ kind: 'fixed', values, validity: null }] }, [
    columnPlan,
  ]);
  return text.slice(1, -1).split('],[');
}

/** A chunk with these columns, as DuckDB would give it. */
function chunkOf(
  types: readonly DuckDBType[],
  columns: readonly (readonly DuckDBValue[])[],
): DuckDBDataChunk {
  const chunk = DuckDBDataChunk.create([...types], columns[0]?.length ?? 0);
  for (const [index, values] of columns.entries()) chunk.setColumnValues(index, values);
  return chunk;
}

describe('JSON encoding', () => {
  it('keeps every 64-bit integer', () => {
    fc.assert(
      fc.property(
        fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), { minLength: 1 }),
        (values) => {
          const texts = cells(BigInt64Array.from(values), plan(Id.BIGINT));
          expect(texts.map((text) => BigInt(String(JSON.parse(text))))).toEqual(values);
        },
      ),
    );
  });

  it('keeps every double, its sign and its last bit', () => {
    fc.assert(
      fc.property(fc.array(fc.double(), { minLength: 1 }), (values) => {
        const texts = cells(Float64Array.from(values), plan(Id.DOUBLE));
        for (const [index, text] of texts.entries()) expect(Number(JSON.parse(text))).toBe(values[index]);
      }),
    );
  });

  it('keeps every digit of a decimal, as a number only where a double has it too', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(10n ** 18n) + 1n, max: 10n ** 18n - 1n }),
        fc.integer({ min: 0, max: 18 }),
        (digits, scale) => {
          const [text = ''] = cells(BigInt64Array.of(digits), plan(Id.DECIMAL, scale));
          const isNumber = !text.startsWith('"');
          const written = text.replaceAll('"', '');
          expect(BigInt(written.replace('.', ''))).toBe(digits);
          expect(written.split('.')[1]?.length ?? 0).toBe(scale);
          if (!isNumber) return;
          const [whole = '', fraction = ''] = Number(text).toFixed(scale).split('.');
          expect(BigInt(whole + fraction)).toBe(digits);
        },
      ),
    );
  });

  it('fills the room there is and not a row or a byte more', () => {
    const batchOf = (values: readonly string[]): ColumnBatch => ({
      rowCount: values.length,
      columns: [{ kind: 'values', values }],
    });
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'grapheme', maxLength: 12 }), { maxLength: 20 }),
        fc.nat(25),
        fc.nat(200),
        (values, rows, bytes) => {
          const layout = { plans: [plan(Id.VARCHAR)], names: ['ü'] };
          const encoded = encodeBatch(batchOf(values), layout, { rows, bytes });
          const text = Buffer.from(encoded.bytes).toString('utf8');
          expect(JSON.parse(`[${text}]`)).toEqual(
            values.slice(0, encoded.rows).map((value) => ({ ü: value })),
          );
          expect(encoded.rows).toBeLessThanOrEqual(rows);
          expect(encoded.bytes.length).toBeLessThanOrEqual(bytes);
          expect(encoded.cut).toBe(encoded.rows < values.length);
          if (!encoded.cut || encoded.rows === rows) return;
          const next = encodeBatch(batchOf(values.slice(0, encoded.rows + 1)), layout, EVERYTHING);
          expect(next.bytes.length).toBeGreaterThan(bytes);
        },
      ),
    );
  });

  it('gives no two members of an object the same name, and keeps those that are unique', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('a', 'b', 'a:1', 'a:2', 'a:1:1', '__proto__', 'constructor')),
        (names) => {
          const unique = uniqueNames(names);
          expect(new Set(unique).size).toBe(names.length);
          for (const [index, name] of names.entries())
            if (names.indexOf(name) === index) expect(unique[index]).toBe(name);
        },
      ),
    );
  });
});

describe('a chunk of DuckDB', () => {
  const nullable = <Value>(values: fc.Arbitrary<Value>) => fc.option(values, { nil: null });
  const bigint = (bits: number, signed: boolean) =>
    fc.bigInt({
      min: signed ? -(2n ** BigInt(bits - 1)) : 0n,
      max: 2n ** BigInt(signed ? bits - 1 : bits) - 1n,
    });
  const exact = (value: bigint) =>
    BigInt(Number(value)) === value && value <= 2n ** 53n - 1n && value >= 1n - 2n ** 53n
      ? Number(value)
      : String(value);

  /** A type, values of it, and what each is in JSON. */
  const COLUMNS: readonly {
    type: DuckDBType;
    values: fc.Arbitrary<DuckDBValue>;
    json: (value: never) => unknown;
  }[] = [
    { type: BOOLEAN, values: fc.boolean(), json: (value: boolean) => value },
    {
      type: INTEGER,
      values: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      json: (value: number) => value,
    },
    { type: BIGINT, values: bigint(64, true), json: exact },
    { type: UBIGINT, values: bigint(64, false), json: exact },
    { type: HUGEINT, values: bigint(128, true), json: exact },
    { type: BIGNUM, values: fc.bigInt(), json: exact },
    {
      type: DOUBLE,
      values: fc.double({ noNaN: true, noDefaultInfinity: true }),
      json: (value: number) => value,
    },
    { type: VARCHAR, values: fc.string({ unit: 'grapheme' }), json: (value: string) => value },
    {
      type: BLOB,
      values: fc.uint8Array({ maxLength: 40 }).map((bytes) => blobValue(bytes)),
      json: (value: { bytes: Uint8Array }) => Buffer.from(value.bytes).toString('base64'),
    },
    {
      type: DECIMAL(38, 10),
      values: fc
        .bigInt({ min: -(10n ** 15n) + 1n, max: 10n ** 15n - 1n })
        .map((digits) => decimalValue(digits, 38, 10)),
      json: (value: { value: bigint }) => Number(value.value) / 1e10,
    },
    {
      type: TIMESTAMP,
      values: fc
        .date({
          noInvalidDate: true,
          min: new Date('0000-01-01T00:00:00Z'),
          max: new Date('9999-12-31T23:59:59.999Z'),
        })
        .map((date) => timestampValue(BigInt(date.getTime()) * 1_000n)),
      json: (value: { micros: bigint }) =>
        new Date(Number(value.micros / 1_000n)).toISOString().replace(/\.?0*Z$/, ''),
    },
    {
      type: LIST(VARCHAR),
      values: fc.array(nullable(fc.string())).map((items) => listValue(items)),
      json: (value: { items: unknown[] }) => value.items,
    },
    {
      type: STRUCT({ a: INTEGER, b: LIST(INTEGER) }),
      values: fc
        .record({
          a: nullable(fc.integer({ min: -9, max: 9 })),
          b: nullable(fc.array(fc.nat(9)).map((items) => listValue(items))),
        })
        .map((entries) => structValue(entries)),
      json: ({ entries }: { entries: { a: unknown; b: { items: unknown[] } | null } }) => ({
        a: entries.a,
        b: entries.b?.items ?? null,
      }),
    },
    {
      type: MAP(VARCHAR, INTEGER),
      values: fc
        .dictionary(fc.string(), fc.nat(9), { noNullPrototype: true })
        .map((object) => mapValue(Object.entries(object).map(([key, value]) => ({ key, value })))),
      json: ({ entries }: { entries: { key: string; value: number }[] }) =>
        Object.fromEntries(entries.map(({ key, value }) => [key, value])),
    },
  ];

  it('is read, moved to a lane and encoded without a change to any value', () => {
    fc.assert(
      fc.property(
        fc.tuple(
          ...COLUMNS.map(({ values }) => fc.array(nullable(values), { minLength: 70, maxLength: 70 })),
        ),
        (columns) => {
          const types = COLUMNS.map(({ type }) => type);
          const plans = types.map(planType);
          const batch = readBatch(chunkOf(types, columns), types.map(columnReader), EVERYTHING);
          const here = textOf(batch, plans);
          const there = textOf(structuredClone(batch, { transfer: transferables(batch) }), plans);
          expect(there).toBe(here);
          const expected = Array.from({ length: 70 }, (_, row) =>
            COLUMNS.map(({ json }, index) => {
              const value = columns[index]?.[row];
              return value === null || value === undefined ? null : json(value as never);
            }),
          );
          expect(JSON.parse(`[${here}]`)).toEqual(expected);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('is read as far as its text can fit, whose length DuckDB tells without reading it', () => {
    const values = ['short', null, 'x'.repeat(100), 'y'.repeat(13), 'ü'];
    const chunk = chunkOf([VARCHAR, INTEGER], [values, [1, 2, 3, 4, 5]]);
    const readers = [VARCHAR, INTEGER].map(columnReader);
    const rowsWithin = (bytes: number, rows = 5) => readBatch(chunk, readers, { rows, bytes }).rowCount;
    expect([4, 5, 104, 105, 117, 118, 119, 120].map((bytes) => rowsWithin(bytes))).toEqual([
      0, 2, 2, 3, 3, 4, 4, 5,
    ]);
    expect(rowsWithin(1_000, 3)).toBe(3);
    expect(rowsWithin(1_000, 0)).toBe(0);
  });
});
