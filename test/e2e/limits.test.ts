/** What a request may change for itself: less than the pool allows, never more, and nothing that lasts. */
import { afterEach, expect, it } from 'vitest';
import { type Served, serve } from './server.ts';

const SETTINGS =
  "SELECT current_setting('memory_limit') AS memory, current_setting('threads')::INTEGER AS threads";

let served: Served;
afterEach(() => served.assertQuiet(1));

it('lowers memory_limit and threads for one request and never raises them', async () => {
  served = await serve('pools: { interactive: { size: 1, threads: 2, memory_limit: 512MiB } }');
  const settings = async (fields: Readonly<Record<string, unknown>>) =>
    (await served.query(SETTINGS, fields)).json<{ data: unknown[][] }>().data[0];
  const own = ['512.0 MiB', 2];
  expect(await settings({})).toEqual(own);
  expect(await settings({ memory_limit: '100MiB', threads: 1 })).toEqual(['100.0 MiB', 1]);
  expect(await settings({ memory_limit: '100GB', threads: 64 })).toEqual(own);
  expect(await settings({ threads: 1 })).toEqual(['512.0 MiB', 1]);
  expect(await settings({})).toEqual(own);

  const sort = 'SELECT count(DISTINCT hash(x)::VARCHAR || repeat($pad, 40)) FROM range(3000000) t(x)';
  const small = await served.query(sort, { params: { pad: 'x' }, memory_limit: '20MB', threads: 1 });
  expect(small.json()).toMatchObject({ status: 422, code: 'MEMORY_LIMIT', limit: 20_000_000 });
});

it('runs no longer than timeout_ms, and no longer than the pool lets it whatever it asks for', async () => {
  served = await serve('pools: { interactive: { size: 1, timeout: 400ms } }');
  const endless = 'SELECT count(*) FROM range(100000000000) a(x), range(1000) b(y) WHERE hash(x + y) = 1';
  for (const [timeout_ms, limit_ms] of [
    [150, 150],
    [60_000, 400],
  ]) {
    const reply = await served.query(endless, { timeout_ms });
    expect(reply.json()).toMatchObject({ status: 504, code: 'QUERY_TIMEOUT', limit_ms, retryable: false });
  }
  expect(served.log('worker.exited')).toEqual([]);
});

it('stops a result at row_limit and byte_limit, and says so', async () => {
  served = await serve('server: { max_result: 100KB }\npools: { interactive: { size: 1 } }');
  const rows = 'SELECT x FROM range(100000) t(x)';
  expect((await served.query(rows, { row_limit: 3 })).json()).toMatchObject({
    data: [[0], [1], [2]],
    row_count: 3,
    truncated: true,
  });
  const cut = (await served.query(rows, { byte_limit: '1KB' })).json<{
    truncated: boolean;
    data: unknown[];
  }>();
  expect(cut.truncated).toBe(true);
  expect(JSON.stringify(cut.data).length).toBeLessThan(1_100);
  const whole = await served.query(rows);
  expect(whole.json()).toMatchObject({ status: 422, code: 'RESULT_TOO_LARGE', limit: 100_000 });
});

it('with sql.write: true, lets a request make a table that the next request does not see', async () => {
  served = await serve('sql: { write: true }\npools: { interactive: { size: 1 } }');
  const made = await served.query(
    'CREATE TABLE t AS SELECT 42 AS answer; INSERT INTO t VALUES (43); FROM t ORDER BY answer',
  );
  expect(made.json()).toMatchObject({ data: [[42], [43]] });
  const gone = await served.query('FROM t');
  expect(gone.json()).toMatchObject({ status: 400, code: 'SQL_ERROR', duckdb: { type: 'Catalog' } });
  await served.query('CREATE TEMP TABLE u AS SELECT 1 AS one; FROM u');
  expect((await served.query('FROM u')).status).toBe(400);
  expect((await served.query("SET VARIABLE v = 7; SELECT getvariable('v')")).json()).toMatchObject({
    data: [[7]],
  });
  expect((await served.query("SELECT getvariable('v')")).json()).toMatchObject({ data: [[null]] });
  // What comes by GET only reads, whatever the configuration allows.
  const get = await served.get(`/v1/query?sql=${encodeURIComponent('CREATE TABLE t (i INTEGER)')}`);
  expect(get.json()).toMatchObject({ status: 403, denied: { kind: 'statement', name: 'CREATE' } });
});
