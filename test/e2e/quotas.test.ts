/** One principal's load is its own affair: how much each may ask for, and who is next. */
import { expect, it } from 'vitest';
import { bearer, keyHash } from '../support/principals.ts';
import {
  call,
  quickPool,
  type Reply,
  type Settings,
  type TestServer,
  testServer,
  until,
} from '../support/test-server.ts';

/** Takes some tens of milliseconds. */
const SHORT = 'SELECT count(*) FROM range(10000000) r(i) WHERE hash(i) = 1';
const ENDLESS = 'SELECT count(*) FROM range(100000000000) a(x), range(1000) b(y) WHERE hash(x + y) = 1';

const AUTH = {
  mode: 'api_keys',
  principals: {
    busy: { key_hash: keyHash('busy'), role: 'reader' },
    calm: { key_hash: keyHash('calm'), role: 'reader' },
    ops: { key_hash: keyHash('ops'), role: 'operator' },
  },
};

const as = (server: TestServer, who: string, sql: string, more: Settings = {}): Promise<Reply> =>
  call(server.url, 'POST', '/v1/query', { sql, ...more }, undefined, bearer(who));

const statesOf = async (server: TestServer, principal: string): Promise<string[]> => {
  const { body } = await call(
    server.url,
    'GET',
    '/v1/queries?limit=1000',
    undefined,
    undefined,
    bearer('ops'),
  );
  return body.queries
    .filter((query: { principal: string }) => query.principal === principal)
    .map(({ state }: { state: string }) => state);
};

const count = (states: readonly string[], state: string) => states.filter((one) => one === state).length;

const one = (settings: Settings = {}) => ({
  interactive: quickPool({ size: 1, reserve: 0, queue: { max: 2_000 }, ...settings }),
});

it('a query of one waits for no more than what runs, however many another one has sent before it', async () => {
  const limits = { reader: {} };
  const server = await testServer({ pools: one(), config: { auth: AUTH, limits } });
  const before = await server.footprint();
  const ended: string[] = [];
  const many = Array.from({ length: 100 }, async (_, n) => {
    const reply = await as(server, 'busy', `${SHORT} AND i <> ${n}`);
    ended.push('busy');
    return reply.status;
  });
  await until('they wait', async () => count(await statesOf(server, 'busy'), 'queued') > 70);
  const endedBefore = ended.length;
  const single = await as(server, 'calm', 'SELECT 42');
  // What runs, and what was sent ahead to the worker, goes first.
  expect([single.status, ended.length - endedBefore <= 12]).toEqual([200, true]);
  expect(new Set(await Promise.all(many))).toEqual(new Set([200]));
  await server.expectNothingLeaked(before);
});

it('queries beyond `concurrent` wait, those beyond `queued` are refused, and a reload lets more begin', async () => {
  const pools = { interactive: quickPool({ size: 3, reserve: 0 }) };
  const config = (concurrent: number) => ({
    auth: AUTH,
    limits: { reader: { concurrent, queued: 2 } },
  });
  const server = await testServer({ pools, config: config(1) });
  const before = await server.footprint();
  const ids = ['a', 'b', 'c'];
  const running = ids.map((query_id) => as(server, 'busy', ENDLESS, { query_id }));
  await until('one runs and two wait', async () => {
    const states = await statesOf(server, 'busy');
    return count(states, 'running') === 1 && count(states, 'queued') === 2;
  });
  const refused = await as(server, 'busy', 'SELECT 1');
  expect([refused.status, refused.body]).toMatchObject([
    429,
    { code: 'QUOTA_EXCEEDED', retryable: true, quota: 'queued', limit: 2 },
  ]);
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
  // Workers are free, and others use them.
  expect((await as(server, 'calm', 'SELECT 1')).status).toBe(200);
  await server.rewrite({ pools, config: config(3) });
  const reloaded = await call(server.url, 'POST', '/v1/config/reload', undefined, undefined, bearer('ops'));
  expect(reloaded.status).toBe(200);
  await until('all run', async () => count(await statesOf(server, 'busy'), 'running') === 3);
  for (const id of ids)
    await call(server.url, 'DELETE', `/v1/queries/${id}`, undefined, undefined, bearer('ops'));
  expect((await Promise.all(running)).map(({ body }) => body.code)).toEqual(ids.map(() => 'QUERY_CANCELLED'));
  await server.expectNothingLeaked(before);
});

it('more queries than `per_minute`, or more bytes than `result_bytes`, have to wait, and say how long', async () => {
  const limits = {
    busy: { per_minute: 3 },
    calm: { result_bytes: { bytes: '10KB', window: '1h' } },
  };
  const server = await testServer({ pools: one(), config: { auth: AUTH, limits } });
  const before = await server.footprint();
  const replies = [1, 2, 3, 4].map((n) => as(server, 'busy', `SELECT ${n}`));
  const statuses = (await Promise.all(replies)).map(({ status }) => status).sort();
  expect(statuses).toEqual([200, 200, 200, 429]);
  const large = "SELECT repeat('x', 1000) FROM range(20)";
  expect((await as(server, 'calm', large)).status).toBe(200);
  const refused = await as(server, 'calm', 'SELECT 1');
  expect([refused.status, refused.body]).toMatchObject([
    429,
    { code: 'QUOTA_EXCEEDED', quota: 'result_bytes' },
  ]);
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(60);
  // Nobody else is touched by it.
  expect((await as(server, 'ops', 'SELECT 1')).status).toBe(200);
  await server.expectNothingLeaked(before);
});

it('when the queue is full, room is made by whoever has most of it', async () => {
  const pools = one({ queue: { max: 4 }, dispatch_window: 0 });
  const server = await testServer({ pools, config: { auth: AUTH, limits: { reader: {} } } });
  const before = await server.footprint();
  const many = Array.from({ length: 5 }, (_, n) => as(server, 'busy', ENDLESS, { query_id: `busy-${n}` }));
  await until('the queue is full', async () => count(await statesOf(server, 'busy'), 'queued') === 4);
  const calm = as(server, 'calm', 'SELECT 42');
  await until(
    'one of them is turned away',
    async () => count(await statesOf(server, 'busy'), 'failed') === 1,
  );
  for (let n = 0; n < 5; n += 1)
    await call(server.url, 'DELETE', `/v1/queries/busy-${n}`, undefined, undefined, bearer('ops'));
  expect((await calm).status).toBe(200);
  const codes = (await Promise.all(many)).map(({ body }) => body.code).sort();
  expect(codes).toEqual(['OVERLOADED', ...Array.from({ length: 4 }, () => 'QUERY_CANCELLED')]);
  await server.expectNothingLeaked(before);
});
