/** Queries that nobody waits for, on real workers: sent once, whatever happens to their workers, and fetched as often as one likes. */

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { bearer, keyHash } from '../support/principals.ts';
import {
  call,
  quickPool,
  type Settings,
  type TestServer,
  testServer,
  until,
} from '../support/test-server.ts';

const LONG = 'SELECT count(*) AS n FROM range(100000000000) t(x) WHERE hash(x) = 1';
const ROWS = 'SELECT i, hash(i) AS h, [i] AS l FROM range(150000) r(i)';

const submit = (server: TestServer, body: Settings) => call(server.url, 'POST', '/v1/queries', body);
const show = async (server: TestServer, id: string) => (await server.get(`/v1/queries/${id}`)).body;
const result = (server: TestServer, id: string, query = '') => server.get(`/v1/queries/${id}/result${query}`);
const isIn = (server: TestServer, id: string, state: string) =>
  until(`${id} is ${state}`, async () => (await show(server, id)).state === state);
/** What is in `data_dir/results`, below the folder of this process. */
const files = ({ dataDir }: TestServer) =>
  readdirSync(join(dataDir, 'results'), { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.includes('/'),
  );

test('a query is accepted, ends by itself, and its result is fetched in any format and page by page', async () => {
  const server = await testServer({ pools: { interactive: quickPool({ size: 2 }) } });
  const before = await server.footprint();
  const accepted = await submit(server, { sql: ROWS, query_id: 'a' });
  expect([accepted.status, accepted.headers.location, accepted.headers['x-query-id']]).toEqual([
    202,
    '/v1/queries/a',
    'a',
  ]);
  expect(accepted.body).toMatchObject({
    query_id: 'a',
    state: expect.stringMatching(/queued|running|succeeded/),
  });
  await isIn(server, 'a', 'succeeded');
  const shown = await show(server, 'a');
  expect(shown.result).toMatchObject({ rows: 150_000, bytes: shown.bytes, truncated: false });
  expect(shown.result.expires_at).toBeGreaterThan(Date.now());
  for (const format of ['csv', 'ndjson', 'parquet', 'json']) {
    const direct = await server.query(ROWS, { format, query_id: `direct-${format}` });
    const kept = await result(server, 'a', `?format=${format}`);
    expect(kept.status).toBe(200);
    if (format === 'json') expect(kept.body.data).toEqual(direct.body.data);
    else expect(kept.body === direct.body).toBe(true);
  }
  const page = await result(server, 'a', '?offset=149998&limit=5&row_format=objects');
  expect(page.body).toMatchObject({ query_id: 'a', row_count: 2, truncated: false });
  expect(page.body.data.map(({ i }: { i: number }) => i)).toEqual([149_998, 149_999]);
  expect([page.headers['x-result-rows'], page.headers.link]).toEqual(['150000', undefined]);
  const first = await result(server, 'a', '?limit=2&format=csv');
  expect(first.headers.link).toBe('</v1/queries/a/result?limit=2&format=csv&offset=2>; rel="next"');
  expect(first.body).toMatch(/^i,h,l\n0,\d+,\[0\]\n1,\d+,\[1\]\n$/);
  expect((await result(server, 'a', '?offset=-1')).status).toBe(400);
  expect((await server.query('SELECT 1')).status).toBe(200);
  expect((await result(server, 'nobody')).body).toMatchObject({ status: 404, code: 'NOT_FOUND' });
  const deleted = await server.cancel('a');
  expect(deleted.body).toEqual({ outcome: 'already_finished', result: 'deleted' });
  expect((await result(server, 'a')).body.code).toBe('NOT_FOUND');
  await until('the file is gone', () => files(server).length === 0);
  await server.expectNothingLeaked(before);
});

test.each(['running', 'replying'] as const)(
  'a worker that dies while %s costs an attempt, and no file',
  async (phase) => {
    const server = await testServer({ config: { retry: { max: 1 } } });
    const before = await server.footprint();
    server.fault('interactive', 'sigsegv', phase);
    await submit(server, { sql: ROWS, query_id: 'a' });
    await isIn(server, 'a', 'succeeded');
    expect(await show(server, 'a')).toMatchObject({ attempts: 2, result: { rows: 150_000 } });
    expect((await result(server, 'a', '?limit=1')).body.data[0][0]).toBe(0);
    await until('the first attempt is gone', () => files(server).length === 2);
    // Of a fetch as well, which is a read like any other.
    server.fault('interactive', 'sigkill', 'running');
    expect((await result(server, 'a', '?format=csv&limit=3')).status).toBe(200);
    await server.rewrite({ config: { retry: { max: 0 } } });
    await server.reload();
    server.fault('interactive', 'sigsegv', phase);
    await submit(server, { sql: `${ROWS} WHERE i > 1`, query_id: 'b' });
    await isIn(server, 'b', 'failed');
    expect((await result(server, 'b')).body).toMatchObject({ code: 'WORKER_CRASHED', attempts: 1 });
    await server.cancel('a');
    await until('no file is left', () => files(server).length === 0);
    await server.expectNothingLeaked(before);
  },
);

test('the same submission again is the same query, and any other with its id is refused', async () => {
  const server = await testServer();
  const before = await server.footprint();
  const sql = 'SELECT i FROM range(3) r(i)';
  const body = { sql, params: undefined, query_id: 'same', tags: { a: 'b' } };
  const both = await Promise.all([submit(server, body), submit(server, body), submit(server, body)]);
  expect(both.map(({ status }) => status)).toEqual([202, 202, 202]);
  await isIn(server, 'same', 'succeeded');
  expect((await server.get('/v1/queries')).body.queries).toHaveLength(1);
  expect((await submit(server, body)).body).toEqual({ query_id: 'same', state: 'succeeded' });
  expect((await submit(server, { ...body, sql: `${sql} LIMIT 1` })).body.code).toBe('QUERY_ID_REUSED');
  // Whoever would rather wait has the same result, in its own format.
  const waited = await server.query(sql, { query_id: 'same', tags: { a: 'b' }, format: 'csv' });
  expect([waited.status, waited.body]).toEqual([200, 'i\n0\n1\n2\n']);
  expect((await server.query('SELECT 2', { query_id: 'same' })).body.code).toBe('QUERY_ID_REUSED');
  // A result that went to its client is not to be had twice.
  await server.query(sql, { query_id: 'sent' });
  expect((await submit(server, { sql, query_id: 'sent' })).body.code).toBe('QUERY_ID_REUSED');
  expect((await result(server, 'sent')).body).toMatchObject({ code: 'NOT_FOUND' });
  await server.cancel('same');
  await server.expectNothingLeaked(before);
});

test('a client waits as long as it likes: then its query goes on, or is stopped', async () => {
  const server = await testServer({ pools: { interactive: quickPool({ cancel_grace: '5s' }) } });
  const before = await server.footprint();
  const quick = await server.query('SELECT 1 AS one', { wait_ms: 20_000, query_id: 'quick' });
  expect(quick.body).toMatchObject({ query_id: 'quick', data: [[1]], row_count: 1 });
  const stopped = await server.query(LONG, { wait_ms: 50, on_wait_timeout: 'cancel', query_id: 'stopped' });
  expect(stopped.body).toMatchObject({ code: 'QUERY_CANCELLED', cancelled_by: 'its own wait_ms' });
  const slow = await server.query(LONG, { wait_ms: 50, query_id: 'slow' });
  expect([slow.status, slow.body.query_id]).toEqual([202, 'slow']);
  expect((await result(server, 'slow')).body).toMatchObject({ code: 'RESULT_NOT_READY', retryable: true });
  expect((await server.cancel('slow')).body).toEqual({ outcome: 'cancelled' });
  expect((await result(server, 'slow')).body.code).toBe('QUERY_CANCELLED');
  // A client that leaves stops nothing.
  const gone = new AbortController();
  const lost = server.query(
    'SELECT count(*) AS n FROM range(300000000) t(x) WHERE hash(x) = 1',
    { wait_ms: 20_000, query_id: 'lost' },
    gone.signal,
  );
  lost.catch(() => undefined);
  await isIn(server, 'lost', 'running');
  gone.abort();
  await isIn(server, 'lost', 'succeeded');
  expect((await result(server, 'lost')).body.row_count).toBe(1);
  expect((await server.query('SELECT 1', { on_wait_timeout: 'cancel' })).status).toBe(400);
  expect((await submit(server, { sql: 'SELECT 1', byte_limit: 9 })).body.errors[0].path).toBe('byte_limit');
  expect((await submit(server, { sql: 'SELECT 1', wait_ms: 9 })).body.errors[0].path).toBe('wait_ms');
  for (const id of ['quick', 'lost']) await server.cancel(id);
  await server.expectNothingLeaked(before);
});

test('results have a share of the disk, and a time to live', async () => {
  const server = await testServer({ config: { results: { disk_limit: '3MB', retention: '1500ms' } } });
  const before = await server.footprint();
  await submit(server, { sql: 'SELECT hash(i) AS h FROM range(200000) r(i)', query_id: 'fits' });
  await isIn(server, 'fits', 'succeeded');
  await submit(server, { sql: 'SELECT hash(i) AS h FROM range(3000000) r(i)', query_id: 'large' });
  await isIn(server, 'large', 'failed');
  expect((await result(server, 'large')).body).toMatchObject({ status: 422, code: 'DISK_LIMIT' });
  await until('its time is over', async () => (await show(server, 'fits')).result === null);
  const expired = await result(server, 'fits');
  expect([expired.status, expired.body.detail]).toEqual([404, expect.stringContaining('not kept any more')]);
  await until('no file is left', () => files(server).length === 0);
  await server.expectNothingLeaked(before);
});

test('a full queue refuses, and the same submission is taken once there is room', async () => {
  const pools = {
    interactive: quickPool({ queue: { max: 1, timeout: '20s' }, dispatch_window: 0, cancel_grace: '5s' }),
  };
  const server = await testServer({ pools });
  const before = await server.footprint();
  await submit(server, { sql: LONG, query_id: 'runs' });
  await submit(server, { sql: 'SELECT 1', query_id: 'waits' });
  const refused = await submit(server, { sql: 'SELECT 2', query_id: 'later' });
  expect([refused.status, refused.body.code]).toEqual([503, 'OVERLOADED']);
  await server.cancel('runs');
  await isIn(server, 'waits', 'succeeded');
  expect((await submit(server, { sql: 'SELECT 2', query_id: 'later' })).status).toBe(202);
  await isIn(server, 'later', 'succeeded');
  for (const id of ['waits', 'later']) await server.cancel(id);
  await server.expectNothingLeaked(before);
});

test('a server that stops waits for what runs, and leaves no result behind', async () => {
  const server = await testServer();
  await submit(server, {
    sql: 'SELECT count(*) FROM range(200000000) t(x) WHERE hash(x) = 1',
    query_id: 'a',
  });
  await isIn(server, 'a', 'running');
  await sleep(20);
  await server.stop();
  const ended = server.log.filter(({ event }) => event === 'query.ended');
  expect(ended.at(-1)).toMatchObject({ query_id: 'a', outcome: 'succeeded' });
});

test('a result belongs to its principal: others see none of it, nor that its id is taken by whom', async () => {
  const keys = { ann: 'key-of-ann', bob: 'key-of-bob', ops: 'key-of-ops' };
  const principal = (name: keyof typeof keys, role = 'reader') => ({ key_hash: keyHash(keys[name]), role });
  const principals = { ann: principal('ann'), bob: principal('bob'), ops: principal('ops', 'operator') };
  const server = await testServer({ config: { auth: { mode: 'api_keys', principals } } });
  const as = (name: keyof typeof keys, method: string, path: string, body?: Settings) =>
    call(server.url, method, path, body, undefined, bearer(keys[name]));
  const body = { sql: "SELECT 'of ann' AS t", query_id: 'a' };
  await as('ann', 'POST', '/v1/queries', body);
  await until(
    'it has ended',
    async () => (await as('ann', 'GET', '/v1/queries/a')).body.state === 'succeeded',
  );
  for (const path of ['/v1/queries/a/result', '/v1/queries/a/events', '/v1/queries/a'])
    expect((await as('bob', 'GET', path)).body, path).toMatchObject({ status: 404, code: 'NOT_FOUND' });
  for (const path of ['/v1/queries', '/v1/query']) {
    const reply = await as('bob', 'POST', path, body);
    expect([reply.status, reply.body.code, JSON.stringify(reply.body).includes('ann')]).toEqual([
      409,
      'QUERY_ID_REUSED',
      false,
    ]);
  }
  expect((await as('bob', 'DELETE', '/v1/queries/a')).status).toBe(404);
  // An operator sees it; it is not the operator's own all the same.
  expect((await as('ops', 'GET', '/v1/queries/a/result')).body.data).toEqual([['of ann']]);
  expect((await as('ops', 'POST', '/v1/queries', body)).body.code).toBe('QUERY_ID_REUSED');
  expect((await as('ann', 'DELETE', '/v1/queries/a')).body.result).toBe('deleted');
});
