/** What a pool turns away, and in which words. */
import { expect, it } from 'vitest';
import { quickPool, type TestServer, testServer, until } from '../support/test-server.ts';
import { ENDLESS } from './deaths.ts';

/** Keeps the only worker busy; returns the end of it. */
async function occupy(server: TestServer): Promise<() => Promise<void>> {
  const front = server.query(ENDLESS, { query_id: 'front' });
  const state = async () => (await server.get('/v1/queries/front')).body.state;
  await until('the worker is busy', async () => (await state()) === 'running');
  return async () => {
    await server.cancel('front');
    await front;
  };
}

it('a queue that is full answers OVERLOADED at once, and what waits is served in order', async () => {
  const pool = quickPool({ queue: { max: 3, timeout: '20s' }, dispatch_window: 0 });
  const server = await testServer({ pools: { interactive: pool } });
  const before = await server.footprint();
  const free = await occupy(server);
  const order: number[] = [];
  const waiting: Promise<void>[] = [];
  for (const n of [1, 2, 3]) {
    const reply = server.query(`SELECT ${n}`, { query_id: `waits-${n}` });
    waiting.push(reply.then(({ body }) => void order.push(body.data[0][0])));
    const { status } = await server.get(`/v1/queries/waits-${n}`);
    if (status !== 200) {
      await until('it waits', async () => (await server.get(`/v1/queries/waits-${n}`)).status === 200);
    }
  }
  const refused = await server.query('SELECT 4');
  expect(refused).toMatchObject({
    status: 503,
    headers: { 'retry-after': '1' },
    body: { code: 'OVERLOADED', retryable: true },
  });
  await free();
  await Promise.all(waiting);
  expect(order).toEqual([1, 2, 3]);
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
});

it('a query that waits longer than it may answers QUEUE_TIMEOUT', async () => {
  const server = await testServer();
  const free = await occupy(server);
  const { status, body } = await server.query('SELECT 1', { queue_timeout_ms: 100 });
  expect(status).toBe(504);
  expect(body).toMatchObject({ code: 'QUEUE_TIMEOUT', retryable: true, limit_ms: 100 });
  await free();
  expect((await server.query('SELECT 2')).body.data).toEqual([[2]]);
  expect(server.events('fault')).toEqual([]);
});

it('a query_id that is taken answers QUERY_ID_REUSED, whose client has no power over the other query', async () => {
  const server = await testServer();
  const free = await occupy(server);
  const client = new AbortController();
  const second = server.query('SELECT 1', { query_id: 'front' }, client.signal);
  expect(await second).toMatchObject({ status: 409, body: { code: 'QUERY_ID_REUSED', retryable: false } });
  client.abort();
  expect((await server.get('/v1/queries/front')).body.state).toBe('running');
  await free();
  // Ended ones are remembered for a while.
  expect((await server.query('SELECT 1', { query_id: 'front' })).body.code).toBe('QUERY_ID_REUSED');
});

it('with a window of none nothing is sent ahead, and every query is answered all the same', async () => {
  const server = await testServer({ pools: { interactive: quickPool({ dispatch_window: 0, size: 2 }) } });
  const replies = await Promise.all(Array.from({ length: 30 }, (_, n) => server.query(`SELECT ${n}`)));
  expect(replies.map(({ body }) => body.data[0][0])).toEqual(Array.from({ length: 30 }, (_, n) => n));
});
