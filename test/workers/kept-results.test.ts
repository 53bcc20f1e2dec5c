/** Results that are kept in a file and read again, by real workers: what is fetched is what would have been sent. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { tableFromIPC } from 'apache-arrow';
import { describe, expect, test } from 'vitest';
import type { ResultOutput } from '../../src/workers/protocol.ts';
import { temporaryFolder } from '../support/temp.ts';
import { LONG, type RunOptions, until, useWorker } from './worker-harness.ts';

const worker = useWorker();

const OUTPUTS: readonly (ResultOutput | undefined)[] = [
  undefined,
  { format: 'csv', header: true, delimiter: ',', null: '' },
  { format: 'ndjson', rows: 'objects' },
  { format: 'parquet' },
  { format: 'arrow' },
];

/** Keeps the result; gives the file and the verdict's rows. */
async function kept(sql: string, more: RunOptions = {}, maxBytes = 1_000_000_000) {
  const path = join(await temporaryFolder(), 'result.duckdb');
  const { finished } = await worker().answer(sql, { keep: { path, maxBytes }, ...more });
  return { path, finished };
}

/** The page's bytes; a `text` of JSON without what differs from one answer to the next. */
async function page(path: string, output: ResultOutput | undefined, offset = 0, limit = 1_000_000) {
  const { finished, bytes, text } = await worker().answer('FROM kept', {
    kept: { path, offset, limit },
    ...(output && { output }),
  });
  if (!finished.verdict.ok) throw new Error(finished.verdict.detail);
  return { bytes, text, rows: finished.verdict.rows };
}

/** What an Arrow stream says, which is not all of its bytes: those of a value that is null may be any. */
function told(bytes: Uint8Array, withValues: boolean) {
  const table = tableFromIPC(bytes);
  const { schema, numRows, batches } = table;
  return [
    withValues ? table.toArray().map(String) : [],
    schema.toString(),
    numRows,
    batches.map(({ data }) => data.children.map(({ nullCount }) => nullCount)),
  ];
}

describe('a kept result', () => {
  test.each([
    'SELECT * FROM test_all_types()',
    'SELECT 1 AS a, 2 AS a, NULL AS n, [] AS "a""b", {\'x\': [1.5::DECIMAL(10, 2)]} AS "nested.name"',
    "SELECT 'small'::ENUM('small', 'large') AS e, '{\"a\": 1}'::JSON AS j, MAP {'k': 1::UHUGEINT} AS m, 1::BIGNUM AS b",
    'SELECT i FROM range(0) r(i)',
    'SELECT i, i::VARCHAR AS t FROM range(300000) r(i) ORDER BY hash(i)',
    "DESCRIBE SELECT 1 AS a, DATE '2020-01-01' AS d",
    'SUMMARIZE SELECT i FROM range(10) r(i)',
    'SHOW TABLES',
    'SELECT 1; SELECT 2 AS last',
    'PIVOT (SELECT i % 2 AS k, i FROM range(10) r(i)) ON k USING sum(i)',
  ])('is what would have been sent, in every format: %s', async (sql) => {
    const { path, finished } = await kept(sql);
    if (!finished.verdict.ok) throw new Error(finished.verdict.detail);
    expect(finished.body).toBeUndefined();
    expect(finished.keptBytes).toBeGreaterThan(0);
    for (const output of OUTPUTS) {
      const direct = await worker().answer(sql, output ? { output } : {});
      if (!direct.finished.verdict.ok) continue;
      const again = await page(path, output);
      expect(again.rows, JSON.stringify(output)).toBe(finished.verdict.rows);
      // Some of all values are more than apache-arrow can read.
      const readable = !sql.includes('test_all_types') && again.rows < 1_000;
      if (output?.format === 'arrow')
        expect(told(again.bytes, readable)).toEqual(told(direct.bytes, readable));
      else expect(again.bytes.equals(direct.bytes), JSON.stringify(output)).toBe(true);
    }
  });

  test('comes page by page in the order of its rows', async () => {
    const { path } = await kept('SELECT i FROM range(250000) r(i) ORDER BY i DESC');
    const csv: ResultOutput = { format: 'csv', header: false, delimiter: ',', null: '' };
    let text = '';
    for (let offset = 0; offset < 250_000; offset += 70_000)
      text += (await page(path, csv, offset, 70_000)).text;
    expect(text).toBe(Array.from({ length: 250_000 }, (_, index) => `${249_999 - index}\n`).join(''));
    expect((await page(path, csv, 250_000, 10)).rows).toBe(0);
  });

  test('stops at its row_limit, and says that there was more', async () => {
    const { path, finished } = await kept('SELECT i FROM range(5000000) r(i)', { rowLimit: 3 });
    expect(finished.verdict).toEqual({ ok: true, rows: 3, truncated: true });
    expect((await page(path, undefined, 0, 3)).text).toContain('"data":[[0],[1],[2]]');
    // The worker goes on as before.
    expect((await worker().answer('SELECT 1')).text).toContain('[[1]]');
  });

  test('that needs more room than there is fails with DISK_LIMIT', async () => {
    const { finished } = await kept('SELECT hash(i) AS h FROM range(3000000) r(i)', {}, 2_000_000);
    expect(finished.verdict).toMatchObject({ ok: false, code: 'DISK_LIMIT', members: { limit: 2_000_000 } });
    expect((await worker().answer('SELECT 1')).text).toContain('[[1]]');
  });

  test('fails as its statement does, also after some of its rows', async () => {
    const late = await kept(
      "SELECT (CASE WHEN i = 200000 THEN 'x' ELSE '1' END)::INT FROM range(300000) r(i)",
    );
    expect(late.finished.verdict).toMatchObject({ ok: false, code: 'SQL_ERROR' });
    const refused = await kept('CREATE TABLE t AS SELECT 1');
    expect(refused.finished.verdict).toMatchObject({ ok: false, code: 'FORBIDDEN' });
    expect(existsSync(refused.path)).toBe(false);
  });

  test('is neither seen nor reached by the statement it is the result of', async () => {
    const { finished } = await kept('SELECT database_name FROM duckdb_databases() WHERE NOT internal');
    expect(finished.verdict).toMatchObject({ ok: true, rows: 1 });
  });

  test.each(['running', 'replying'])('ends at once when it is interrupted while %s', async (when) => {
    const path = join(await temporaryFolder(), 'result.duckdb');
    const sql = when === 'running' ? LONG : 'SELECT i, hash(i) AS h FROM range(1000000000) r(i)';
    const { seq, end } = worker().send(sql, { keep: { path, maxBytes: 1e12 } });
    if (when === 'replying') await until('the file is there', () => existsSync(path));
    else await new Promise((resolve) => setTimeout(resolve, 100));
    worker().process.interrupt(seq);
    expect(await end).toMatchObject({ finished: { verdict: { ok: false, code: 'INTERRUPTED' } } });
    expect((await worker().answer('SELECT 1')).text).toContain('[[1]]');
  });
});
