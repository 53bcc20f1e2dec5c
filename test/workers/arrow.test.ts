/** Results as Arrow, read by the library that everybody in JavaScript reads it with, and by pyarrow. */
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { type Data, type Table, tableFromIPC } from 'apache-arrow';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../support/temp.ts';
import { type Answer, LONG, type RunOptions, until, useWorker } from './worker-harness.ts';

const worker = useWorker();

async function result(sql: string, more: RunOptions = {}): Promise<Answer & { readonly table: Table }> {
  const answer = await worker().answer(sql, { output: { format: 'arrow' }, ...more });
  const { verdict } = answer.finished;
  if (!verdict.ok) throw new Error(`${sql}: ${verdict.detail}`);
  expect(answer.finished.bytes).toBe(answer.bytes.length);
  const table = tableFromIPC(answer.bytes);
  expect(table.numRows).toBe(verdict.rows);
  return { ...answer, table };
}

/** The values of a column, as plain data. */
async function values(sql: string): Promise<unknown[]> {
  const { table } = await result(`SELECT value FROM (${sql}) AS t(value)`);
  return Array.from({ length: table.numRows }, (_, row) => plain(table.getChildAt(0)?.get(row)));
}

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return JSON.parse(
    JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? String(inner) : inner)) ?? 'null',
  );
}

const MANY = `SELECT i, i::DOUBLE / 3 AS third, 'a text that is longer than twelve bytes, ' || i AS text, 't' || i % 5 AS short,
  DATE '2020-01-01' + (i % 1000)::INT AS day, (i / 7)::DECIMAL(18, 3) AS amount, CASE WHEN i % 7 = 0 THEN NULL ELSE i % 2 = 0 END AS even,
  TIMESTAMPTZ '2020-01-01 00:00:00+00' + to_seconds(i) AS moment, [i, NULL, i + 1] AS list, {'a': i, 'b': ['x', NULL]} AS struct
  FROM range(200000) r(i) WHERE hash(i) % 10 < 7`;

describe('100,000 rows and more', () => {
  test('are all there, with their values and in their order', async () => {
    const { table } = await result(MANY);
    const counted = await worker().rows(`SELECT count(*), sum(i)::BIGINT, count(even) FROM (${MANY})`);
    const numbers = table.getChild('i')?.toArray() as BigInt64Array;
    const even = table.getChild('even');
    expect([
      numbers.length,
      Number(numbers.reduce((sum, i) => sum + i, 0n)),
      numbers.length - (even?.nullCount ?? 0),
    ]).toEqual(counted[0]);
    expect(numbers.every((i, row) => row === 0 || i > (numbers[row - 1] as bigint))).toBe(true);
    for (const row of [0, 2_047, 2_048, 70_000, numbers.length - 1]) {
      const i = numbers[row] as bigint;
      expect(table.get(row)?.toJSON()).toMatchObject({
        text: `a text that is longer than twelve bytes, ${i}`,
        short: `t${i % 5n}`,
        even: i % 7n === 0n ? null : i % 2n === 0n,
      });
      expect(plain(table.getChild('list')?.get(row))).toEqual([String(i), null, String(i + 1n)]);
      expect(plain(table.getChild('struct')?.get(row))).toEqual({ a: String(i), b: ['x', null] });
    }
  });
});

describe('every type', () => {
  test('has the Arrow type that holds all of its values', async () => {
    const { table } = await result('SELECT * EXCLUDE (geometry) FROM test_all_types()');
    const types = Object.fromEntries(table.schema.fields.map(({ name, type }) => [name, String(type)]));
    expect(types).toMatchSnapshot();
  });

  test.each<[string, unknown[]]>([
    ['SELECT unnest([true, NULL, false])', [true, null, false]],
    // The library's own text of a decimal: its digits, without the point.
    ["SELECT unnest([DECIMAL '-1.25', NULL, 99.99])::DECIMAL(4, 2)", ['"-125"', null, '"9999"']],
    ['SELECT (-2)::HUGEINT', ['"-2"']],
    ["SELECT unnest(['a'::ENUM('b', 'a'), NULL])", ['a', null]],
    ["SELECT '12345678-9abc-def0-1234-56789abcdef0'::UUID", ['123456789abcdef0123456789abcdef0']],
    ["SELECT '\\x00\\xFF'::BLOB", ['00ff']],
    ["SELECT unnest(['0101'::BIT, NULL])", ['0101', null]],
    ["SELECT '12:00:00+02:30'::TIMETZ", ['12:00:00+02:30']],
    ['SELECT 123456789012345678901234567890::BIGNUM', ['123456789012345678901234567890']],
    ["SELECT MAP {'a': 1, 'b': NULL}", [{ a: 1, b: null }]],
    ['SELECT unnest([[[1], NULL], [], [[2, 3]]])', [[[1], null], [], [[2, 3]]]],
    ['SELECT [1, NULL, 3]::INTEGER[3]', [[1, null, 3]]],
    ['SELECT union_value(n := 5)::UNION(n INTEGER, t VARCHAR)', [5]],
    ['SELECT NULL WHERE false', []],
  ])('%s', async (sql, expected) => expect(await values(sql)).toEqual(expected));

  test('of lists is right where their elements are not in the order of the rows', async () => {
    const sql = 'SELECT list(i ORDER BY i) FROM range(5000) r(i) GROUP BY i % 7 ORDER BY min(-i)';
    const expected = (await worker().rows(sql)) as [number[]][];
    expect((await values(sql)).map((list) => (list as string[]).map(Number))).toEqual(
      expected.map(([list]) => list),
    );
  });
});

test('of what stands in the place of a NULL nothing is sent', async () => {
  // Every row is NULL, made of a value that is not.
  const hidden = (value: string) => `CASE WHEN i >= 0 THEN NULL ELSE ${value} END`;
  const secrets = [
    'i + 7',
    'i::DOUBLE + 7',
    "{'a': i + 7, 'b': [i + 7]}",
    '[i + 7, i + 8]::BIGINT[2]',
    'true',
  ];
  const sql = `SELECT ${secrets.map((value, index) => `${hidden(value)} AS c${index}`).join(', ')} FROM range(3000) r(i)`;
  const { table } = await result(sql);
  const buffers = (data: Data): Uint8Array[] =>
    [data.values, ...data.children.flatMap(buffers)].flatMap((values) =>
      ArrayBuffer.isView(values) ? [new Uint8Array(values.buffer, values.byteOffset, values.byteLength)] : [],
    ) as Uint8Array[];
  for (const batch of table.batches)
    for (const buffer of buffers(batch.data)) expect(buffer.every((byte) => byte === 0)).toBe(true);
});

describe('a limit', () => {
  test.each([0, 1, 2_047, 2_048, 2_049, 99_999, 100_000, 100_001])(
    'of %i rows cuts there, and says so',
    async (rowLimit) => {
      const { finished } = await result('SELECT i FROM range(100000) r(i)', { rowLimit });
      expect(finished.verdict).toEqual({
        ok: true,
        rows: Math.min(rowLimit, 100_000),
        truncated: rowLimit < 100_000,
      });
    },
  );

  test('of bytes leaves out the first row that is too much', async () => {
    const sql = "SELECT i, 'text ' || i AS text FROM range(100000) r(i)";
    const { finished, bytes } = await result(sql, { byteLimit: 100_000 });
    const head = (await result(sql, { rowLimit: 0 })).bytes.length;
    expect(finished.verdict).toMatchObject({ ok: true, truncated: true });
    expect(bytes.length - head).toBeLessThanOrEqual(100_000);
    const all = finished.verdict.ok ? finished.verdict.rows : 0;
    // A row has about twenty bytes; a record batch begins with some hundreds of its own.
    expect(all).toBeGreaterThan(4_000);
  });
});

test.each([
  ['DESCRIBE SELECT 1 AS a', 1],
  ['SHOW TABLES', 0],
  ['EXPLAIN SELECT 1', 1],
  ['SELECT 1; SELECT * FROM range(3)', 3],
  ["SUMMARIZE SELECT 1 AS a, 'b' AS b", 2],
])('%s is answered as well', async (sql, rows) => {
  expect((await result(sql)).table.numRows).toBe(rows);
});

test('what fails in the middle has no end of its stream', async () => {
  const sql = "SELECT CASE WHEN i = 150000 THEN error('enough') ELSE i END AS i FROM range(200000) r(i)";
  const { finished, bytes } = await worker().answer(sql, { output: { format: 'arrow' } });
  expect(finished.verdict).toMatchObject({
    ok: false,
    code: 'SQL_ERROR',
    detail: expect.stringContaining('enough'),
  });
  expect([...bytes.subarray(-8)]).not.toEqual([255, 255, 255, 255, 0, 0, 0, 0]);
});

test('is stopped while it runs, and the worker goes on', async () => {
  const sent = worker().send(LONG.replace('count(*)', 'i'), { output: { format: 'arrow' } });
  await until('it is stopped', () => {
    worker().process.interrupt(sent.seq);
    return worker().log.includes(`finished ${sent.seq}`);
  });
  expect(await sent.end).toMatchObject({ finished: { verdict: { ok: false, code: 'INTERRUPTED' } } });
  expect(await values('SELECT 1')).toEqual([1]);
});

const PYTHON = process.env.DUCKCOOP_PYTHON ?? 'python3';
const hasPyarrow = ((): boolean => {
  try {
    execFileSync(PYTHON, ['-c', 'import pyarrow.parquet'], { stdio: 'ignore' });
    return true;
  } catch (error) {
    if (process.env.CI === 'true') throw new Error('CI needs pyarrow: see .ci/run', { cause: error });
    process.stderr.write('pyarrow is not installed: what it reads of our Arrow is not tested\n');
    return false;
  }
})();

/** Reads both files, holds their tables against each other, and writes the Arrow one as Parquet. */
const REREAD = `
import json, sys
import pyarrow.ipc as ipc, pyarrow.parquet as pq
arrow, parquet, again = sys.argv[1:]
table = ipc.open_stream(open(arrow, 'rb')).read_all()
table.validate(full=True)
other = pq.read_table(parquet)
pq.write_table(table, again)
print(json.dumps({
  'rows': [table.num_rows, other.num_rows],
  'types': {field.name: str(field.type) for field in table.schema},
  'different': [name for name in table.column_names if table[name].cast(other[name].type) != other[name]],
}))
`;

test.skipIf(!hasPyarrow)('is what Parquet is to pyarrow, and to DuckDB what it was', async () => {
  const folder = await temporaryFolder();
  const [arrow, parquet, again] = ['a.arrows', 'b.parquet', 'c.parquet'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  const { bytes } = await result(MANY);
  await writeFile(arrow, bytes);
  await writeFile(parquet, (await worker().answer(MANY, { output: { format: 'parquet' } })).bytes);
  const read = JSON.parse(execFileSync(PYTHON, ['-c', REREAD, arrow, parquet, again], { encoding: 'utf8' }));
  expect(read).toMatchObject({
    different: [],
    types: {
      i: 'int64',
      third: 'double',
      text: 'string',
      day: 'date32[day]',
      amount: 'decimal128(18, 3)',
      even: 'bool',
      moment: 'timestamp[us, tz=UTC]',
      list: 'list<item: int64>',
      struct: 'struct<a: int64, b: list<item: string>>',
    },
  });
  expect(read.rows[0]).toBe(read.rows[1]);
  const instance = await DuckDBInstance.create(':memory:');
  try {
    const connection = await instance.connect();
    const sum =
      'count(*), sum(hash(i)), sum(hash(third)), sum(hash(text)), sum(hash(short)), sum(hash(day)), sum(hash(amount)), sum(hash(even)), sum(hash(moment)), sum(hash(list)), sum(hash(struct))';
    const reader = await connection.runAndReadAll(
      `SELECT ${sum} FROM read_parquet('${again}') UNION ALL SELECT ${sum} FROM (${MANY})`,
    );
    const [reread, original] = reader.getRowsJson();
    expect(reread).toEqual(original);
    connection.closeSync();
  } finally {
    instance.closeSync();
  }
});
