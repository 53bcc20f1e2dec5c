/** What happens to a session: limits, clocks, damage. It goes on, or it ends and says why; nothing in between. */
import { randomBytes } from 'node:crypto';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeFolder } from '../support/temp.ts';
import {
  call,
  quickPool,
  type Reply,
  startTestServer,
  type TestServer,
  until,
} from '../support/test-server.ts';

const ENDLESS = 'SELECT count(*) FROM range(100000000000) a(x), range(1000) b(y) WHERE hash(x + y) = 1';
let server: TestServer;
let data: Awaited<ReturnType<typeof makeFolder>>;

beforeAll(async () => {
  data = await makeFolder();
  writeFileSync(join(data.path, 'people.csv'), 'name\nann\n');
  server = await startTestServer({
    pools: { interactive: quickPool() },
    sources: { files: { kind: 'files', path: data.path } },
    config: { sessions: { spare: 1, memory_limit: '256MB', disk_limit: '20MB' } },
  });
  await until('the spare is warm', () =>
    server.roster.all().some(({ status }) => status().state === 'spare'),
  );
});
afterAll(async () => {
  await server.stop();
  await data.remove();
});

const post = (path: string, body: object) => call(server.url, 'POST', path, { ...body });
const close = (id: string) => call(server.url, 'DELETE', `/v1/sessions/${id}`);
const show = async (id: string) => (await server.get(`/v1/sessions/${id}`)).body;
const inSession = (session: string, sql: string, fields: object = {}): Promise<Reply> =>
  server.query(sql, { session, ...fields });
const workerOf = (id: string) => server.roster.all().find(({ pool }) => pool.includes(id));
const folders = () => readdirSync(join(server.dataDir, 'sessions'), { recursive: true }).map(String);
const opened = async (fields: object = {}): Promise<string> =>
  (await post('/v1/sessions', fields)).body.session_id;

async function expectEnded(id: string, reason: string): Promise<void> {
  await until('it has ended', async () => (await show(id)).code === 'SESSION_EXPIRED');
  expect(await show(id)).toMatchObject({ status: 410, reason });
  await until('its worker is gone', () => workerOf(id) === undefined);
  await until('its files are gone', () => !folders().some((name) => name.includes(id)));
}

test('its end by the clock cancels the query it is at, which hears just that', async () => {
  const id = await opened({ ttl_ms: 400 });
  const { body } = await inSession(id, ENDLESS, { query_id: 'late' });
  expect(body).toMatchObject({ code: 'SESSION_EXPIRED', reason: 'expired', query_id: 'late' });
  expect((await server.get('/v1/queries/late')).body.state).toBe('cancelled');
  await expectEnded(id, 'expired');
});

test('it is not idle while it runs a query, and is after that', async () => {
  const id = await opened({ idle_timeout_ms: 200 });
  const { body } = await inSession(id, ENDLESS, { timeout_ms: 600 });
  expect(body.code).toBe('QUERY_TIMEOUT');
  expect((await show(id)).state).toBe('ready');
  await expectEnded(id, 'idle');
});

test('a workspace that cannot be opened any more ends it, and the query that waits for it; no worker is tried again', async () => {
  const id = await opened();
  await inSession(id, 'CREATE TABLE t AS SELECT range AS i, random() AS r FROM range(100000)');
  const pid = workerOf(id)?.status().pid as number;
  process.kill(pid, 'SIGSTOP');
  const file = folders().find((name) => name.includes(id) && name.endsWith('.duckdb')) as string;
  writeFileSync(join(server.dataDir, 'sessions', file), randomBytes(100_000));
  process.kill(pid, 'SIGKILL');
  const { body } = await inSession(id, 'SELECT count(*) FROM t', { queue_timeout_ms: 20_000 });
  expect(body).toMatchObject({ code: 'SESSION_EXPIRED', status: 410, reason: 'damaged' });
  expect(body.detail).toMatch(/its workspace could not be opened any more \(DuckDB: .*not a valid DuckDB/);
  expect(body.detail).not.toContain(server.dataDir);
  await expectEnded(id, 'damaged');
  // Its part of the tree is gone, and with it whoever would start another worker.
  const { body: tree } = await server.get('/v1/supervision');
  expect(JSON.stringify(tree)).not.toContain(id);
  const deaths = server.events('worker.exited').filter(({ pool }) => String(pool).includes(id));
  expect(deaths.filter(({ cause }) => cause === 'crash')).toHaveLength(2);
});

test('what passes its disk limit is stopped and undone; it goes on, and has room again once it has made some', async () => {
  const id = await opened();
  await inSession(id, 'CREATE TABLE small AS SELECT 1 AS x; CREATE TEMP TABLE tt AS SELECT 2 AS y');
  const large = await inSession(id, 'CREATE TABLE large AS SELECT uuid() AS u FROM range(100000000)');
  expect(large.body).toMatchObject({ code: 'DISK_LIMIT', status: 422, limit: 20_000_000 });
  const grow = (name: string) =>
    inSession(id, `CREATE TABLE ${name} AS SELECT random() AS a FROM range(1500000)`);
  const replies = [await grow('a'), await grow('b'), await grow('c'), await grow('d')];
  expect(replies.map(({ status }) => status)).toContain(422);
  const full = await inSession(id, 'INSERT INTO a SELECT random() FROM range(100000000)');
  expect(full.body.code).toBe('DISK_LIMIT');
  expect((await inSession(id, 'SELECT x, y FROM small, tt')).body.data).toEqual([[1, 2]]);
  expect((await inSession(id, 'DROP TABLE a; CHECKPOINT')).status).toBe(200);
  expect((await inSession(id, 'INSERT INTO small VALUES (3)')).status).toBe(200);
  expect(await show(id)).toMatchObject({ state: 'ready', lost: [] });
  await close(id);
});

test('a transaction goes on from query to query, an error in it is kept until ROLLBACK, and so is what its client left open', async () => {
  const id = await opened();
  const codes = [];
  for (const sql of [
    'CREATE TABLE t (i INTEGER PRIMARY KEY)',
    'BEGIN',
    'INSERT INTO t VALUES (1)',
    'INSERT INTO t VALUES (1)',
    'SELECT 1',
    'ROLLBACK',
    'BEGIN',
    'INSERT INTO t VALUES (2)',
  ])
    codes.push((await inSession(id, sql)).body.code ?? 'well');
  expect(codes).toEqual(['well', 'well', 'well', 'SQL_ERROR', 'SQL_ERROR', 'well', 'well', 'well']);
  const leaving = new AbortController();
  const left = server.query(ENDLESS, { session: id, query_id: 'left' }, leaving.signal).catch(() => 'gone');
  await until('it runs', async () => (await server.get('/v1/queries/left')).body.state === 'running');
  leaving.abort();
  await left;
  await until('it has stopped', async () => (await show(id)).state === 'ready');
  expect((await inSession(id, 'ROLLBACK')).status).toBe(200);
  expect((await inSession(id, 'SELECT count(*) FROM t')).body.data).toEqual([[0]]);
  await close(id);
});

test('other sources are there for the next query; the tables stay, and what was in memory alone is named', async () => {
  const id = await opened();
  await inSession(id, 'CREATE TABLE t AS SELECT 1 AS x; CREATE TEMP TABLE tt AS SELECT 2 AS y');
  const running = inSession(id, ENDLESS, { query_id: 'meanwhile', timeout_ms: 20_000 });
  await until('it runs', async () => (await server.get('/v1/queries/meanwhile')).body.state === 'running');
  const patched = await call(server.url, 'PATCH', `/v1/sessions/${id}`, { sources: ['files'] });
  expect(patched.body).toMatchObject({ state: 'busy', sources: ['files'], lost: [] });
  await server.cancel('meanwhile');
  await running;
  expect((await inSession(id, 'SELECT x, name FROM t, files.people')).body.data).toEqual([[1, 'ann']]);
  expect(await show(id)).toMatchObject({ state: 'ready', lost: ['temporary table tt'] });
  await call(server.url, 'PATCH', `/v1/sessions/${id}`, { sources: [] });
  expect((await inSession(id, 'FROM files.people')).body.code).toBe('SQL_ERROR');
  await close(id);
});

test('a result of its own that is kept outlives it', async () => {
  const id = await opened();
  await inSession(id, 'CREATE TEMP TABLE t AS SELECT range AS i FROM range(5000)');
  const { body } = await post('/v1/queries', { session: id, sql: 'SELECT i FROM t', query_id: 'kept' });
  expect(body.query_id).toBe('kept');
  await until('it has ended', async () => (await server.get('/v1/queries/kept')).body.state === 'succeeded');
  expect((await server.get('/v1/queries/kept')).body.session_id).toBe(id);
  await close(id);
  const page = await server.get('/v1/queries/kept/result?format=csv&offset=4998');
  expect(page.body).toBe('i\n4998\n4999\n');
});

test('its part of the tree may be restarted by hand: it goes on, and names what that has cost', async () => {
  const id = await opened();
  await inSession(id, 'CREATE TABLE t AS SELECT 1 AS x; CREATE TEMP TABLE tt AS SELECT 2 AS y');
  expect((await post(`/v1/supervision/root/sessions/${id}/restart`, {})).status).toBe(202);
  await until('its worker was replaced', async () => (await show(id)).lost.length > 0);
  await until('it is back', async () => (await inSession(id, 'FROM t')).status === 200);
  expect(await show(id)).toMatchObject({ state: 'ready', lost: ['temporary table tt'] });
  await close(id);
});

test('a write whose worker dies is not tried again', async () => {
  const id = await opened();
  await inSession(id, 'CREATE TABLE t (i BIGINT)');
  const query_id = 'write';
  await post('/v1/chaos', { target: { query: query_id, phase: 'replying' }, fault: 'sigkill' });
  const { body } = await inSession(id, 'INSERT INTO t VALUES (1) RETURNING i', { query_id });
  expect(body).toMatchObject({ code: 'WORKER_CRASHED', attempts: 1 });
  const { data } = (await inSession(id, 'SELECT count(*)::INTEGER FROM t', { queue_timeout_ms: 20_000 }))
    .body;
  expect(data[0][0]).toBeLessThanOrEqual(1);
  await close(id);
});
