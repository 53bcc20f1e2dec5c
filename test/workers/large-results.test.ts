import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MB, until, useRunFolders, useWorker } from './worker-harness.ts';

useRunFolders();
const worker = useWorker();

const SHAPE = "i, i * 3 AS triple, 'row ' || i AS s, CASE WHEN i % 3 = 0 THEN NULL ELSE i / 7 END AS f";
const sql = (count: number) => `SELECT ${SHAPE} FROM range(${count}) t(i)`;

describe('a result of any size', () => {
  it.each([0, 1, 2_047, 2_048, 2_049, 4_096, 8_191, 8_192, 8_193, 10_000, 100_000])(
    'of %i rows has all of them, in order, none twice',
    async (count) => {
      const { columns, data, truncated } = await worker().body(sql(count));
      expect({ columns: columns.length, rows: data.length, truncated }).toEqual({
        columns: 4,
        rows: count,
        truncated: false,
      });
      expect(
        data.every((row, index) => (row as number[])[0] === index && (row as number[])[1] === index * 3),
      ).toBe(true);
      const [[counted, sum, length]] = (await worker().rows(
        `SELECT count(*), sum(f), sum(length(s)) FROM (${sql(count)})`,
      )) as [number[]];
      expect(data).toHaveLength(counted as number);
      const rows = data as [number, number, string, number | null][];
      expect(rows.reduce((total, row) => total + row[2].length, 0)).toBe(length ?? 0);
      expect(rows.reduce((total, row) => total + (row[3] ?? 0), 0)).toBeCloseTo(sum ?? 0, 0);
    },
  );

  it('of a filter that leaves holes in its chunks has the rows that COUNT(*) counts', async () => {
    const where = 'FROM range(300000) t(i) WHERE hash(i) % 5 = 0';
    const [[count]] = (await worker().rows(`SELECT count(*) ${where}`)) as [[number]];
    expect(await worker().rows(`SELECT i ${where}`)).toHaveLength(count);
  });
});

describe('a row limit', () => {
  it.each([
    { rows: 5, limit: 0, delivered: 0, truncated: true },
    { rows: 0, limit: 0, delivered: 0, truncated: false },
    { rows: 5, limit: 4, delivered: 4, truncated: true },
    { rows: 5, limit: 5, delivered: 5, truncated: false },
    { rows: 5, limit: 6, delivered: 5, truncated: false },
    { rows: 2_048, limit: 2_048, delivered: 2_048, truncated: false },
    { rows: 2_049, limit: 2_048, delivered: 2_048, truncated: true },
    { rows: 4_096, limit: 2_048, delivered: 2_048, truncated: true },
    { rows: 20_000, limit: 10_000, delivered: 10_000, truncated: true },
    { rows: 20_000, limit: 20_000, delivered: 20_000, truncated: false },
  ])('of $limit on $rows rows gives $delivered', async ({ rows, limit, delivered, truncated }) => {
    const body = await worker().body(sql(rows), { rowLimit: limit });
    expect({ delivered: body.data.length, truncated: body.truncated }).toEqual({ delivered, truncated });
  });

  it('ends a result that has no end at once, and leaves the worker free', async () => {
    for (let time = 0; time < 20; time += 1) {
      const body = await worker().body('SELECT * FROM range(1000000000000)', { rowLimit: 3 });
      expect(body).toMatchObject({ data: [[0], [1], [2]], truncated: true });
    }
    expect(await worker().rows('SELECT 42')).toEqual([[42]]);
  });
});

describe('a byte limit', () => {
  const exact = (rows: number) =>
    Buffer.byteLength(JSON.stringify(Array.from({ length: rows }, (_, i) => [i, `ü${i}`]))) - 2;
  const query = (rows: number) => `SELECT i, 'ü' || i FROM range(${rows}) t(i)`;

  it.each([10, 2_048, 5_000, 12_000])(
    'of exactly the bytes of %i rows gives them all, one byte less one row less',
    async (rows) => {
      const whole = await worker().body(query(rows), { byteLimit: exact(rows) });
      expect({ rows: whole.data.length, truncated: whole.truncated }).toEqual({ rows, truncated: false });
      const more = await worker().body(query(rows + 1), { byteLimit: exact(rows) });
      expect({ rows: more.data.length, truncated: more.truncated }).toEqual({ rows, truncated: true });
      const less = await worker().body(query(rows), { byteLimit: exact(rows) - 1 });
      expect({ rows: less.data.length, truncated: less.truncated }).toEqual({
        rows: rows - 1,
        truncated: true,
      });
    },
  );

  it('smaller than the first row gives none of it', async () => {
    for (const byteLimit of [0, 1, 100])
      expect(await worker().body("SELECT repeat('x', 1000)", { byteLimit })).toMatchObject({
        data: [],
        truncated: true,
      });
  });

  it('cuts before a cell that is too large to be read at all', async () => {
    const body = await worker().body("SELECT repeat('x', i * 20000000) FROM range(4) t(i)", {
      byteLimit: 1_000,
    });
    expect(body).toMatchObject({ data: [['']], truncated: true });
  });
});

describe('a result that fails on its way', () => {
  const fails = (at: number, count = 1_000_000) =>
    `SELECT CASE WHEN i = ${at} THEN error('at ${at}') ELSE i END AS x FROM range(${count}) t(i)`;

  it.each([0, 1, 2_047, 2_048, 10_000, 123_456, 500_000, 999_999])(
    'at row %i is an error, and never a result with fewer rows',
    async (at) => {
      expect(await worker().failure(fails(at))).toMatchObject({
        code: 'SQL_ERROR',
        detail: `at ${at}`,
        members: { duckdb: { type: 'Invalid Input' } },
      });
      expect(await worker().rows('SELECT 42')).toEqual([[42]]);
    },
  );

  it('is an error with its place in the text, for parameters too', async () => {
    const sql = `SELECT 1;\nSELECT CAST(CASE WHEN i = $1 THEN 'abc' || i ELSE i::VARCHAR END AS INTEGER) FROM range(1000000) t(i)`;
    expect(await worker().failure(sql, { params: [700_000] })).toMatchObject({
      detail: "Could not convert string 'abc700000' to INT32",
      members: { duckdb: { type: 'Conversion', line: 2, position: 17 } },
    });
  });

  it('is an error when it is not the last statement', async () => {
    expect(await worker().failure(`${fails(700_000)}; SELECT 1`)).toMatchObject({ detail: 'at 700000' });
  });

  it('is an error when the text of DuckDB cannot be had', async () => {
    const sql = `CREATE TABLE t (a INTEGER); INSERT INTO t SELECT 1; ${fails(700_000)}`;
    expect(await worker().failure(sql, { write: true })).toMatchObject({ code: 'SQL_ERROR' });
    const random =
      'SELECT CASE WHEN i = 600000 + (random() * 300000)::INTEGER THEN error(i::VARCHAR) ELSE i END FROM range(1000000) t(i)';
    for (let time = 0; time < 5; time += 1) {
      const { finished } = await worker().answer(random, { maxBytes: 1e12 });
      if (finished.verdict.ok) expect(finished.verdict.rows).toBe(1_000_000);
    }
  });

  it('is none when a limit cuts it before', async () => {
    expect(await worker().body(fails(900_000), { rowLimit: 10 })).toMatchObject({ truncated: true });
  });
});

describe('a result that is larger than one reply may be', () => {
  it('is refused, and says what the limit is', async () => {
    expect(await worker().failure(sql(100_000), { maxBytes: 100_000 })).toMatchObject({
      code: 'RESULT_TOO_LARGE',
      members: { limit: 100_000 },
    });
  });

  it('is not refused when a limit of the request cuts it before', async () => {
    expect(await worker().body(sql(100_000), { maxBytes: 100_000, rowLimit: 10 })).toMatchObject({
      truncated: true,
    });
    const cut = await worker().body(sql(100_000), { maxBytes: 100_000, byteLimit: 50_000 });
    expect(cut.truncated).toBe(true);
    const whole = await worker().body('SELECT 1', { maxBytes: 3 });
    expect(whole.truncated).toBe(false);
    expect(await worker().failure('SELECT 10', { maxBytes: 3 })).toMatchObject({ code: 'RESULT_TOO_LARGE' });
  });

  it('is refused before its cells are read, however large they are', async () => {
    expect(
      await worker().failure("SELECT repeat('x', 30000000) FROM range(3)", { maxBytes: MB }),
    ).toMatchObject({ code: 'RESULT_TOO_LARGE' });
  });
});

describe('what a result leaves behind', () => {
  const memory = async () =>
    (
      await worker().rows(
        'SELECT sum(memory_usage_bytes)::BIGINT, sum(temporary_storage_bytes)::BIGINT FROM duckdb_memory()',
      )
    )[0];

  it('is nothing, when it is cut: neither memory nor spilled files', async () => {
    const sorted = 'SELECT * FROM range(8000000) t(i) ORDER BY hash(i)';
    await worker().body(sorted, { rowLimit: 5 });
    expect(await memory()).toEqual([0, 0]);
    await worker().failure(`${sorted}`, { maxBytes: 1_000 });
    expect(await memory()).toEqual([0, 0]);
  });

  it('is no thread but that of one lane, which ends when it is idle', async () => {
    const threads = () =>
      Number(/^Threads:\s+(\d+)$/m.exec(readFileSync(`/proc/${worker().pid}/status`, 'utf8'))?.[1]);
    await worker().body(sql(20_000));
    const before = threads();
    for (let time = 0; time < 5; time += 1) await worker().body(sql(20_000));
    expect(threads()).toBeLessThanOrEqual(before);
  });

  it('is no descriptor', async () => {
    const descriptors = () => readdirSync(`/proc/${worker().pid}/fd`).length;
    await worker().body(sql(20_000));
    const before = descriptors();
    for (let time = 0; time < 5; time += 1) await worker().body(sql(20_000), { rowLimit: 9_000 });
    await until('descriptors as before', () => descriptors() <= before);
  });
});
