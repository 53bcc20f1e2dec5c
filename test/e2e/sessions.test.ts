/** Sessions on the real server: what is kept from query to query, what outlives a worker, and that nothing outlives a session. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bearer, keyHash } from '../support/principals.ts';
import {
  call,
  quickPool,
  type Reply,
  startTestServer,
  type TestServer,
  until,
} from '../support/test-server.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({
    pools: { interactive: quickPool() },
    config: {
      sessions: { max: 2, ttl: '1h', idle_timeout: '10m', memory_limit: '256MB', disk_limit: '200MB' },
    },
  });
  await server.server.ready;
});
afterAll(() => server.stop());

const open = (fields: object = {}) => call(server.url, 'POST', '/v1/sessions', { ...fields });
const close = (id: string) => call(server.url, 'DELETE', `/v1/sessions/${id}`);
const show = async (id: string) => (await server.get(`/v1/sessions/${id}`)).body;
const inSession = (session: string, sql: string, fields: object = {}): Promise<Reply> =>
  server.query(sql, { session, ...fields });

async function opened(fields: object = {}): Promise<string> {
  const reply = await open(fields);
  expect(reply.status).toBe(201);
  expect(reply.headers.location).toBe(`/v1/sessions/${reply.body.session_id}`);
  return reply.body.session_id;
}

/** Nothing of it in the file system, among the processes, or in the listings. */
async function expectGone(id: string): Promise<void> {
  expect((await server.get(`/v1/sessions/${id}`)).body).toMatchObject({
    code: 'SESSION_EXPIRED',
    status: 410,
  });
  expect((await server.get('/v1/sessions')).body).toEqual({ sessions: [] });
  expect(server.roster.all().filter(({ pool }) => pool.includes(id))).toEqual([]);
  const root = join(server.dataDir, 'sessions');
  expect(readdirSync(root, { recursive: true }).filter((name) => String(name).includes(id))).toEqual([]);
}

test('tables, temporary tables, variables and transactions are kept from query to query', async () => {
  const id = await opened({ name: 'mine' });
  expect((await inSession(id, 'CREATE TABLE t AS SELECT range AS i FROM range(10)')).status).toBe(200);
  await inSession(id, 'CREATE TEMP TABLE tt AS SELECT 7 AS x');
  await inSession(id, 'SET VARIABLE v = 5');
  await inSession(id, 'BEGIN');
  await inSession(id, 'DELETE FROM t');
  await inSession(id, 'ROLLBACK');
  const reply = await inSession(id, "SELECT (SELECT count(*) FROM t), (SELECT x FROM tt), getvariable('v')");
  expect(reply.body.data).toEqual([[10, 7, 5]]);
  expect(await show(id)).toMatchObject({ session_id: id, name: 'mine', state: 'ready', lost: [] });
  const csv = await inSession(id, 'SELECT i FROM t ORDER BY i LIMIT 2', { format: 'csv' });
  expect(csv.body).toBe('i\n0\n1\n');
  const { workers } = (await server.get('/v1/workers')).body;
  expect(workers).toContainEqual(expect.objectContaining({ pool: 'sessions', session_id: id }));
  const listed = (await server.get(`/v1/queries?session=${id}`)).body.queries;
  expect(listed).toHaveLength(8);
  expect((await close(id)).status).toBe(200);
  await expectGone(id);
});

test('a SIGSEGV of its worker costs what was in memory, which is named, and no table', async () => {
  const id = await opened();
  await inSession(id, 'CREATE TABLE big AS SELECT range AS i FROM range(100000)');
  await inSession(id, 'CREATE TEMP TABLE tt AS SELECT 1');
  await inSession(id, 'SET VARIABLE v = 5');
  await inSession(id, 'BEGIN');
  await inSession(id, 'DELETE FROM big');
  const [worker] = server.roster.all().filter(({ pool }) => pool.includes(id));
  worker?.ref.tell({ type: 'fault', fault: 'sigsegv', phase: undefined });
  await until('it has been told of the death', async () => (await show(id)).lost.length > 0);
  expect((await inSession(id, 'SELECT count(*) FROM big')).body.data).toEqual([[100000]]);
  const session = await show(id);
  expect(session.state).toBe('ready');
  expect([...session.lost].sort()).toEqual(['open transaction', 'temporary table tt', 'variable v']);
  await close(id);
  await expectGone(id);
});

test('the second of two at once is told that it is busy, unless it waits in line', async () => {
  const id = await opened();
  await inSession(id, 'SELECT 1');
  const slow = 'SELECT count(*) FROM range(300000000) t(i) WHERE i % 3 = 1';
  const first = inSession(id, slow, { query_id: 'first' });
  await until('the first is there', async () => (await server.get('/v1/queries/first')).status === 200);
  const second = await inSession(id, 'SELECT 2');
  expect(second.body).toMatchObject({ code: 'SESSION_BUSY', status: 409, retryable: true });
  const third = inSession(id, 'SELECT 3', { queue_timeout_ms: 20_000 });
  await server.cancel('first');
  expect((await first).body.code).toBe('QUERY_CANCELLED');
  expect((await third).body.data).toEqual([[3]]);
  await close(id);
});

test('to delete it during a query cancels that first', async () => {
  const id = await opened();
  const running = inSession(id, 'SELECT count(*) FROM range(100000000000)', { query_id: 'endless' });
  await until('it runs', async () => (await server.get('/v1/queries/endless')).body.state === 'running');
  const [deleted, ended] = await Promise.all([close(id), running]);
  expect(deleted.body).toEqual({ session_id: id, state: 'ended' });
  expect(ended.body.code).toBe('QUERY_CANCELLED');
  await expectGone(id);
  expect((await inSession(id, 'SELECT 1')).body.code).toBe('SESSION_EXPIRED');
});

test('it ends by its clocks, and PATCH moves them', async () => {
  const id = await opened({ idle_timeout_ms: 60_000, ttl_ms: 60_000 });
  const patched = await call(server.url, 'PATCH', `/v1/sessions/${id}`, { ttl_ms: 150 });
  expect(patched.status).toBe(200);
  await until('nothing is left', async () => (await server.get('/v1/sessions')).body.sessions.length === 0);
  await expectGone(id);
});

test('no more than may be are admitted, nor with more than may be', async () => {
  const ids = [await opened(), await opened()];
  expect((await open()).body).toMatchObject({ code: 'OVERLOADED', status: 503 });
  await Promise.all(ids.map(close));
  expect((await open({ memory_limit: '1GB' })).body).toMatchObject({ code: 'INVALID_REQUEST' });
  expect((await open({ what: 1 })).body).toMatchObject({ code: 'INVALID_REQUEST' });
  expect((await inSession('s-none', 'SELECT 1')).body).toMatchObject({ code: 'NOT_FOUND' });
});

test('its files and sources are as closed as elsewhere', async () => {
  const id = await opened();
  for (const sql of [
    "ATTACH '/tmp/x.db'",
    'DETACH workspace',
    "COPY (SELECT 1) TO '/tmp/x.csv'",
    "SELECT * FROM query('SELECT 1')",
  ])
    expect((await inSession(id, sql)).body.code).toBe('FORBIDDEN');
  expect((await inSession(id, "SELECT * FROM read_csv('/etc/passwd')")).body.code).toBe('FORBIDDEN');
  await close(id);
});

test('it ends with the key of its owner, and nobody else notices', async () => {
  const principals = (annsKey: string) => ({
    ann: { key_hash: keyHash(annsKey), role: 'reader' },
    bob: { key_hash: keyHash('bob'), role: 'reader' },
    ops: { key_hash: keyHash('ops'), role: 'operator' },
  });
  const options = (annsKey: string) => ({
    pools: { interactive: quickPool() },
    config: { auth: { mode: 'api_keys', principals: principals(annsKey) } },
  });
  const keyed = await startTestServer(options('ann'));
  try {
    await keyed.server.ready;
    const as = (key: string, method: string, path: string, body?: object) =>
      call(keyed.url, method, path, body as never, undefined, bearer(key));
    const hers = (await as('ann', 'POST', '/v1/sessions', {})).body.session_id;
    const his = (await as('bob', 'POST', '/v1/sessions', {})).body.session_id;
    expect((await as('bob', 'GET', `/v1/sessions/${hers}`)).status).toBe(404);
    for (const [key, session] of [
      ['ann', hers],
      ['bob', his],
    ])
      expect(
        (await as(key, 'POST', '/v1/query', { sql: 'CREATE TABLE t AS SELECT 1', session })).status,
      ).toBe(200);
    await keyed.rewrite(options('another'));
    expect((await as('ops', 'POST', '/v1/config/reload')).status).toBe(200);
    await until('hers is gone', async () => {
      const { sessions } = (await as('ops', 'GET', '/v1/sessions')).body;
      return sessions.length === 1 && sessions[0].session_id === his;
    });
    expect((await as('another', 'POST', '/v1/query', { sql: 'FROM t', session: hers })).body).toMatchObject({
      code: 'SESSION_EXPIRED',
      reason: 'revoked',
    });
    expect((await as('bob', 'POST', '/v1/query', { sql: 'FROM t', session: his })).body.data).toEqual([[1]]);
  } finally {
    await keyed.stop();
  }
});
