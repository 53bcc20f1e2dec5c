/** Results as CSV, NDJSON and Parquet, read again by DuckDB: what was sent is what comes out. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { describe, expect, test } from 'vitest';
import type { ResultOutput } from '../../src/workers/protocol.ts';
import { temporaryFolder } from '../support/temp.ts';
import { type Answer, at, LONG, type RunOptions, until, useWorker } from './worker-harness.ts';

const worker = useWorker();

const CSV: ResultOutput = { format: 'csv', header: true, delimiter: ',', null: '' };
const NDJSON: ResultOutput = { format: 'ndjson', rows: 'objects' };
const ARRAYS: ResultOutput = { format: 'ndjson', rows: 'arrays' };
const PARQUET: ResultOutput = { format: 'parquet' };
const STREAMS: readonly ResultOutput[] = [CSV, NDJSON, ARRAYS, PARQUET];

async function result(sql: string, output: ResultOutput, more: RunOptions = {}): Promise<Answer> {
  const answer = await worker().answer(sql, { output, ...more });
  const { verdict } = answer.finished;
  if (!verdict.ok) throw new Error(`${sql}: ${verdict.detail}`);
  return answer;
}

/** Runs SQL in this process, where `FILE` stands for the bytes in a file. */
async function reread(bytes: Uint8Array, extension: string, sql: string): Promise<unknown[][]> {
  const file = join(await temporaryFolder(), `result.${extension}`);
  await writeFile(file, bytes);
  const instance = await DuckDBInstance.create(':memory:');
  try {
    const connection = await instance.connect();
    const reader = await connection.runAndReadAll(sql.replaceAll('FILE', `'${file}'`));
    connection.closeSync();
    return reader.getRowsJson() as unknown[][];
  } finally {
    instance.closeSync();
  }
}

const MANY = `SELECT i, i * 2 AS twice, i::DOUBLE / 3 AS third, 'text ' || i AS text, DATE '2020-01-01' + (i % 1000)::INT AS day,
  CASE WHEN i % 7 = 0 THEN NULL ELSE i % 2 = 0 END AS even FROM range(100000) r(i)`;
const CHECKSUM = 'count(*), sum(i), sum(twice), sum(third), sum(hash(text)), sum(hash(day)), count(even)';

describe('100,000 rows', () => {
  test.each([
    { output: CSV, extension: 'csv', read: 'read_csv(FILE)' },
    { output: NDJSON, extension: 'ndjson', read: 'read_ndjson(FILE)' },
    { output: PARQUET, extension: 'parquet', read: 'read_parquet(FILE)' },
  ])('are the same when they are read again from $extension', async ({ output, extension, read }) => {
    const { bytes, finished } = await result(MANY, output);
    expect(finished.verdict).toEqual({ ok: true, rows: 100_000, truncated: false });
    expect(finished.bytes).toBe(bytes.length);
    const sql = `SELECT ${CHECKSUM} FROM ${read} UNION ALL SELECT ${CHECKSUM} FROM (${MANY})`;
    const [again, original] = await reread(bytes, extension, sql);
    expect(again).toEqual(original);
  });

  test('are in their order', async () => {
    const { text } = await result('SELECT i FROM range(100000) r(i) ORDER BY i DESC', CSV);
    expect(text.split('\n').slice(1, -1).map(Number)).toEqual(
      Array.from({ length: 100_000 }, (_, i) => 99_999 - i),
    );
  });
});

describe('every type', () => {
  test('is in Parquet what it was', async () => {
    const { bytes } = await result('SELECT * FROM test_all_types()', PARQUET);
    const copied = await reread(Buffer.of(), 'none', 'SELECT count(*) FROM (DESCRIBE FROM test_all_types())');
    const columns = await reread(bytes, 'parquet', 'SELECT count(*) FROM (DESCRIBE FROM read_parquet(FILE))');
    expect(columns).toEqual(copied);
    const kept =
      'SELECT bool, bigint, ubigint, dec38_10, date, timestamp, timestamp_tz, uuid, varchar, blob, int_array, struct, map';
    const sql = `(${kept} FROM read_parquet(FILE)) EXCEPT ALL (${kept} FROM test_all_types())`;
    expect(await reread(bytes, 'parquet', sql)).toEqual([]);
  });

  // With a limit the rows are counted here, and their text made by DuckDB as COPY makes it.
  test.each([CSV, { ...CSV, delimiter: '|', null: 'NULL', header: false } as const])(
    'is the same CSV with a limit and without: %o',
    async (output) => {
      const sql = 'SELECT * FROM test_all_types()';
      const whole = await result(sql, output);
      expect((await result(sql, output, { rowLimit: 1_000 })).text).toBe(whole.text);
    },
  );

  test('is JSON that everybody can read, with a limit and without', async () => {
    const sql = 'SELECT * FROM test_all_types()';
    const whole = await result(sql, NDJSON);
    const rows = whole.text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(rows).toHaveLength(3);
    expect(rows[0].double_array).toEqual([]);
    expect(rows[1].double_array).toContain('NaN');
    expect((await result(sql, NDJSON, { rowLimit: 3 })).text).toBe(whole.text);
  });

  test.each([NDJSON, { ...NDJSON, rows: 'arrays' } as const])(
    'has no number that is none: %o',
    async (output) => {
      const sql = `SELECT 'nan'::DOUBLE AS n, 'inf'::FLOAT AS i, '-inf'::DOUBLE AS m, 1.5::DOUBLE AS x, NULL::DOUBLE AS z, 'NaN "Infinity' AS t, ['nan'::DOUBLE] AS l`;
      const expected = ['NaN', 'Infinity', '-Infinity', 1.5, null, 'NaN "Infinity'];
      for (const text of [sql, sql.replace(/, \['nan.*/, '')]) {
        const row = JSON.parse((await result(text, output)).text);
        expect(Object.values(row).slice(0, 6)).toEqual(expected);
      }
    },
  );
});

describe('text with everything in it', () => {
  const NASTY = `SELECT * FROM (VALUES ('a,b'), ('say "hi"'), ('two
lines'), (''), (NULL), (' space '), ('#hash'), ('a#b'), ('NULL'), (chr(13)), ('ünï'), ('tab' || chr(9)), ('''')) t(v)`;
  test.each([
    CSV,
    { ...CSV, null: 'NULL' } as const,
    { ...CSV, delimiter: '\t' } as const,
    { ...CSV, delimiter: '#' } as const,
  ])('is the same CSV with a limit and without: %o', async (output) => {
    const whole = await result(NASTY, output);
    expect((await result(NASTY, output, { rowLimit: 100 })).text).toBe(whole.text);
  });
});

describe('names', () => {
  test('that are there twice make members of their own', async () => {
    const { text } = await result('SELECT 1 AS a, 2 AS a, 3 AS "A", 4 AS "a:1"', NDJSON);
    expect(Object.values(JSON.parse(text))).toEqual([1, 2, 3, 4]);
  });
});

describe('limits', () => {
  test.each([
    [CSV, 'i\n0\n1\n2\n'],
    [NDJSON, '{"i":0}\n{"i":1}\n{"i":2}\n'],
    [ARRAYS, '[0]\n[1]\n[2]\n'],
  ] as const)('cut at a row: %o', async (output, expected) => {
    const sql = 'SELECT i FROM range(1000000000) r(i)';
    const byRows = await result(sql, output, { rowLimit: 3 });
    expect([byRows.text, byRows.finished.verdict]).toEqual([
      expected,
      { ok: true, rows: 3, truncated: true },
    ]);
    const bytes = expected.length - (output.format === 'csv' ? 2 : 0);
    const byBytes = await result(sql, output, { byteLimit: bytes + 1 });
    expect([byBytes.text, byBytes.finished.verdict]).toEqual([
      expected,
      { ok: true, rows: 3, truncated: true },
    ]);
  });

  test('that are not reached cut nothing', async () => {
    const { finished } = await result('SELECT i FROM range(3) r(i)', CSV, { rowLimit: 3 });
    expect(finished.verdict).toEqual({ ok: true, rows: 3, truncated: false });
  });

  test('cut a Parquet file at a row', async () => {
    const { bytes, finished } = await result('SELECT i FROM range(10000) r(i)', PARQUET, { rowLimit: 5_000 });
    expect(finished.verdict).toEqual({ ok: true, rows: 5_000, truncated: true });
    expect(await reread(bytes, 'parquet', 'SELECT count(*)::INT, max(i)::INT FROM FILE')).toEqual([
      [5_000, 4_999],
    ]);
  });
});

describe('a limit of bytes cuts a Parquet file', () => {
  const sql = "SELECT i, hash(i) AS h, 'customer ' || i % 1000 AS name FROM range(1000000000) r(i)";

  test('at the last row with which it is no longer', async () => {
    const byteLimit = 200_000;
    const { bytes, finished } = await result(sql, PARQUET, { byteLimit });
    expect(bytes.length).toBeLessThanOrEqual(byteLimit);
    const { rows } = finished.verdict as { rows: number };
    expect(finished.verdict).toEqual({ ok: true, rows, truncated: true });
    expect(await reread(bytes, 'parquet', 'SELECT count(*)::INT, max(i)::INT FROM FILE')).toEqual([
      [rows, rows - 1],
    ]);
    const longer = await result(sql, PARQUET, { rowLimit: rows + 1 });
    expect(longer.bytes.length).toBeGreaterThan(byteLimit);
  });

  test('not at all where it is short enough', async () => {
    const { finished } = await result('SELECT 1', PARQUET, { byteLimit: 10_000 });
    expect(finished.verdict).toEqual({ ok: true, rows: 1, truncated: false });
  });

  test('unless there is no such file', async () => {
    const answer = await worker().answer('SELECT 1 AS a', { output: PARQUET, byteLimit: 10 });
    expect(answer.finished.verdict).toMatchObject({
      ok: false,
      code: 'RESULT_TOO_LARGE',
      members: { limit: 10 },
    });
  });
});

describe('what COPY does not take', () => {
  const OTHERS = [
    ['DESCRIBE SELECT 1 AS a', 1],
    ['SUMMARIZE SELECT 1 AS a', 1],
    ['SHOW TABLES', 0],
    ['EXPLAIN SELECT 1', 1],
    ['SELECT 1; SELECT 2 AS b UNION ALL SELECT 3', 2],
    ["PIVOT (SELECT 'x' AS k, 1 AS v) ON k USING sum(v)", 1],
    ["SELECT current_setting('threads') AS threads", 1],
  ] as const;
  test.each(OTHERS)('%s: has every format all the same', async (sql, rows) => {
    for (const output of STREAMS) {
      const { finished, text, bytes } = await result(sql, output);
      expect(finished.verdict).toEqual({ ok: true, rows, truncated: false });
      if (output.format === 'ndjson') expect(text.split('\n')).toHaveLength(rows + 1);
      if (output.format === 'parquet') {
        expect(await reread(bytes, 'parquet', 'SELECT count(*)::INT FROM FILE')).toEqual([[rows]]);
      }
    }
  });

  test('is written with its parameters', async () => {
    for (const output of STREAMS) {
      expect((await result('SELECT $a::INT AS a', output, { params: { a: 5 } })).finished.verdict.ok).toBe(
        true,
      );
    }
    expect((await result('SELECT ?::INT AS a', CSV, { params: [5] })).text).toBe('a\n5\n');
  });

  test('RETURNING gives its rows where writing is allowed', async () => {
    const sql = 'CREATE TABLE t (i INT); INSERT INTO t VALUES (1), (2) RETURNING i';
    expect((await result(sql, CSV, { write: true })).text).toBe('i\n1\n2\n');
  });
});

describe('a failure', () => {
  test.each(STREAMS)('is that of the statement, and where it is in its text: %o', async (output) => {
    const failed = await worker().failure('SELECT 1;\nSELECT nope', { output });
    expect(failed).toMatchObject({ code: 'SQL_ERROR', members: { duckdb: { type: 'Binder', line: 2 } } });
    const late = await worker().failure(
      "SELECT 'x',\n CASE WHEN i = 99999 THEN 'abc' ELSE '1' END::INT FROM range(100000) r(i)",
      { output },
    );
    expect(late).toMatchObject({ code: 'SQL_ERROR', members: { duckdb: { type: 'Conversion' } } });
    expect((await result('SELECT 1 AS a', CSV)).text).toBe('a\n1\n');
  });

  test.each(STREAMS)('is what is forbidden otherwise: %o', async (output) => {
    for (const sql of [
      "COPY (SELECT 1) TO 'x'",
      'CREATE TABLE t (i INT)',
      "SELECT 1) TO 'x' (FORMAT csv); --",
      "SELECT * FROM sqlite_scan('a', 'b')",
    ]) {
      const { code } = await worker().failure(sql, { output });
      expect(['FORBIDDEN', 'SQL_ERROR']).toContain(code);
    }
  });

  test.each(STREAMS)('is an interruption: %o', async (output) => {
    const sent = worker().send(LONG.replace('count(*)', 'i'), { output });
    await until('it is stopped', () => {
      worker().process.interrupt(sent.seq);
      return worker().log.includes(`finished ${sent.seq}`);
    });
    const end = (await sent.end) as Answer;
    expect(end.finished.verdict).toMatchObject({ ok: false, code: 'INTERRUPTED' });
  });
});

describe('the pipe', () => {
  const PATHS = "(SELECT value FROM duckdb_settings() WHERE name = 'allowed_paths')";
  test.each([
    "SELECT * FROM read_text((getenv('PWD') || '/result'))",
    `SELECT * FROM query_table('x')`,
    `SELECT content FROM read_text('result')`,
    `SELECT content FROM read_text(current_setting('allowed_paths')[1])`,
    `SELECT * FROM glob(current_setting('allowed_paths')[1])`,
    `SELECT * FROM READ_CSV(current_setting('allowed_paths')[1])`,
    `SET VARIABLE p = ${PATHS}; SELECT * FROM read_blob(getvariable('p'))`,
  ])('cannot be read by a statement: %s', async (sql) => {
    for (const output of STREAMS) {
      const end = await worker().answer(sql, { output });
      expect(end.finished.verdict.ok).toBe(false);
    }
  });
});

test('while nobody takes its bytes a statement waits, and can be stopped', async () => {
  worker().process.pause();
  const sent = worker().send(MANY.replace('100000', '10000000'), { output: CSV });
  await at(worker(), 'running');
  worker().process.interrupt(sent.seq);
  worker().process.resume();
  const end = (await sent.end) as Answer;
  expect(end.finished.verdict).toMatchObject({ ok: false, code: 'INTERRUPTED' });
  expect(end.finished.bytes).toBeLessThan(50_000_000);
});
