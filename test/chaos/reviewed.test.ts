/** What hostile or unlucky clients found: each of these once killed a worker, wrote where it may not, or lost a reply. */
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { makeFolder } from '../support/temp.ts';
import { quickPool, testServer, until } from '../support/test-server.ts';
import { SEGFAULT } from './deaths.ts';

/** A SQLite database that set-up makes. */
const SHOP = fileURLToPath(new URL('../../examples/data/shop.db', import.meta.url));
const extensions = { directory: fileURLToPath(new URL('../../extensions', import.meta.url)) };
const RUNS_LONG = 'SELECT count(*) FROM range(1000000000000) t(i) WHERE hash(i) = 1';

it('an error that quotes megabytes of control characters is a short problem, and costs no worker', async () => {
  const server = await testServer({ pools: { interactive: quickPool() } });
  const name = '\u0001'.repeat(900_000);
  for (const sql of [`SELECT * FROM '${name}.csv'`, `SELECT * FROM "${name}"() /* query */`]) {
    const { status, body } = await server.query(sql);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(500);
    expect(JSON.stringify(body).length).toBeLessThan(1_000_000);
  }
  expect(server.workers()[0]?.status().incarnation).toBe(1);
});

it('a text that DuckDB splits where it looks like one statement writes nothing', async () => {
  const folder = await makeFolder();
  const path = join(folder.path, 'shop.db');
  await copyFile(SHOP, path);
  const sources = { s: { kind: 'sqlite', path, read_only: false } };
  const server = await testServer({ pools: { interactive: quickPool() }, sources, config: { extensions } });
  const separator = '\u2028$$';
  const attack = (table: string) =>
    `CREATE TABLE ${table} AS SELECT 7 AS ${separator}; SELECT * FROM ${table} AS ${separator}`;
  expect((await server.query(attack('s.pivot_t'), { sources: ['s'] })).body.code).toBe('FORBIDDEN');
  expect((await server.query(attack('pivot_t'))).body.code).toBe('FORBIDDEN');
  const tables = await server.query('SELECT table_name FROM duckdb_tables()', { sources: ['s'] });
  expect(tables.body.data.flat()).toContain('customers');
  expect(tables.body.data.flat()).not.toContain('pivot_t');
  await server.stop();
  await folder.remove();
});

it('a source that may be written to is read-only for those who may not write', async () => {
  const folder = await makeFolder();
  const path = join(folder.path, 'shop.db');
  await copyFile(SHOP, path);
  const sources = { s: { kind: 'sqlite', path, read_only: false } };
  const config = { extensions, sql: { write: true } };
  const server = await testServer({ pools: { interactive: quickPool() }, sources, config });
  const readOnly = "SELECT readonly FROM duckdb_databases() WHERE database_name = 's'";
  const asReader = await server.get(`/v1/query?sources=s&sql=${encodeURIComponent(readOnly)}`);
  expect(asReader.body.data).toEqual([[true]]);
  expect((await server.query(readOnly, { sources: ['s'] })).body.data).toEqual([[false]]);
  await server.stop();
  await folder.remove();
});

it('a query that outlives the drain timeout is answered 503, and so is one that waits', async () => {
  const server = await testServer({
    config: { server: { port: 0, drain_timeout: '300ms' } },
    pools: { interactive: quickPool({ dispatch_window: 0 }) },
  });
  const running = server.query(RUNS_LONG);
  await until('it runs', () => server.workers()[0]?.status().state === 'busy');
  const waiting = server.query('SELECT 1');
  await until('both are there', async () => (await server.get('/v1/queries')).body.queries.length === 2);
  const stopped = server.stop();
  for (const reply of await Promise.all([running, waiting])) {
    expect(reply).toMatchObject({ status: 503, body: { code: 'SHUTTING_DOWN', retryable: true } });
    expect(reply.headers).toHaveProperty('retry-after');
  }
  await stopped;
});

it('the incarnations of a worker go on counting after its pool was down', async () => {
  const restart = { intensity: 0, backoff: { initial: '50ms', max: '50ms' } };
  const server = await testServer({ pools: { interactive: quickPool({ restart }) } });
  for (const incarnation of [1, 2, 3]) {
    await until('the worker is there', () => server.workers()[0]?.status().state === 'idle');
    expect((await server.query(SEGFAULT)).body.worker.incarnation).toBe(incarnation);
  }
});

it('a read that comes again keeps its error, also with a semicolon behind it', async () => {
  const server = await testServer({ pools: { interactive: quickPool() } });
  const sql = `-- said twice
    SELECT sum(CASE WHEN i = $1 THEN error('boom') ELSE i END) FROM range(3000000) t(i);`;
  expect((await server.query(sql, { params: [-1] })).status).toBe(200);
  const { body } = await server.query(sql, { params: [2_999_997] });
  expect(body).toMatchObject({ code: 'SQL_ERROR', detail: expect.stringContaining('boom') });
});

it('a source that a query forgot to name is named in the error', async () => {
  const folder = await makeFolder();
  const sources = { shop: { kind: 'files', path: folder.path } };
  const server = await testServer({ pools: { interactive: quickPool() }, sources });
  const { body } = await server.query('SELECT * FROM shop.main.customers');
  expect(body).toMatchObject({
    code: 'SQL_ERROR',
    detail: expect.stringContaining('name it in the request'),
  });
  await server.stop();
  await folder.remove();
});
