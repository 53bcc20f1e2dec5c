/** Queries as events, on real workers: what their senders and those who follow them are told, and that it ends once. */
import { expect, test } from 'vitest';
import { type StreamedEvent, streamOf } from '../support/event-stream.ts';
import { quickPool, testServer, until } from '../support/test-server.ts';

/** Reads for a while from what DuckDB knows the size of. */
const LONG = 'SELECT count(*) AS n FROM range(100000000000) t(x) WHERE hash(x) = 1';
const types = (events: readonly StreamedEvent[]) =>
  events.map(({ type }) => type).filter((type, index, all) => type !== 'progress' || all[index - 1] !== type);

test('a query replies with its events, the last of which is its JSON reply', async () => {
  const server = await testServer();
  const before = await server.footprint();
  const sql = "SELECT 42 AS answer, E'two\\nlines' AS t";
  const stream = await streamOf(`${server.url}/v1/query`, {}, { sql, query_id: 'q1' });
  expect(await stream.end).toBe('ended');
  expect(types(stream.events)).toEqual(['running', 'succeeded']);
  expect(stream.events[0]).toMatchObject({ query_id: 'q1', worker: 'interactive-1', attempt: 1 });
  expect(stream.events[1]).toMatchObject({
    query_id: 'q1',
    data: [[42, 'two\nlines']],
    row_count: 1,
    stats: { attempts: 1 },
  });
  const wrong = await streamOf(`${server.url}/v1/query`, {}, { sql: 'SELECT nope' });
  expect(await wrong.end).toBe('ended');
  expect(wrong.events.at(-1)).toMatchObject({ type: 'failed', code: 'SQL_ERROR', status: 400 });
  // What is refused before it is admitted is an ordinary error, and so is a format that is no JSON.
  const refused = streamOf(`${server.url}/v1/query`, {}, { sql, query_id: 'q1' });
  await expect(refused).rejects.toThrow('replied 409');
  await expect(streamOf(`${server.url}/v1/query`, {}, { sql, format: 'csv' })).rejects.toThrow('replied 400');
  await server.expectNothingLeaked(before);
});

test('those who follow a query hear of its place, its progress and its end, and go on where they were', async () => {
  const server = await testServer({
    pools: { interactive: quickPool({ dispatch_window: 0, cancel_grace: '5s' }) },
  });
  const before = await server.footprint();
  const first = await streamOf(`${server.url}/v1/query`, {}, { sql: LONG, query_id: 'first' });
  await until('it runs', () => types(first.events).includes('running'));
  const second = await streamOf(`${server.url}/v1/query`, {}, { sql: 'SELECT 1 AS one', query_id: 'second' });
  const third = server.query('SELECT 3', { query_id: 'third' });
  await until('the third waits', async () => (await server.get('/v1/queries/third')).status === 200);
  const follower = await streamOf(`${server.url}/v1/queries/third/events`);
  await until('it is told its place', () => follower.events.length > 0);
  expect(follower.events[0]).toMatchObject({ type: 'queued', position: 2 });
  expect(second.events[0]).toMatchObject({ type: 'queued', position: 1 });

  const watcher = await streamOf(`${server.url}/v1/queries/first/events`);
  await until('there is progress', () => watcher.ofType('progress').length > 1);
  const progress = watcher.ofType('progress').at(-1);
  expect(progress?.memory_bytes).toBeGreaterThan(1_000_000);
  const shown = await server.get('/v1/queries/first');
  expect(shown.body).toMatchObject({ state: 'running', progress: { bytes: 0, rows: expect.any(Number) } });
  // It lost its connection, and comes back.
  watcher.close();
  const seen = watcher.events.at(-1)?.id ?? '';
  await until('more has happened', () => first.events.at(-1)?.id !== seen);
  const back = await streamOf(`${server.url}/v1/queries/first/events`, { 'Last-Event-ID': seen });
  await server.cancel('first');
  expect(await back.end).toBe('ended');
  const numbers = (events: readonly StreamedEvent[]) => events.map(({ id }) => Number(id.split('-')[1]));
  const [from = 0] = numbers([{ id: seen, type: '' }]);
  expect(numbers(back.events)).toEqual(back.events.map((_, index) => from + 1 + index));
  expect(back.events.at(-1)).toMatchObject({ type: 'cancelled', error: { code: 'QUERY_CANCELLED' } });
  expect(await first.end).toBe('ended');
  expect(types(first.events)).toEqual(['running', 'progress', 'cancelled']);

  expect((await third).status).toBe(200);
  expect(await follower.end).toBe('ended');
  expect(types(follower.events).slice(-2)).toEqual(['running', 'succeeded']);
  // Whoever comes when all is over hears of that alone.
  const late = await streamOf(`${server.url}/v1/queries/third/events`, { 'Last-Event-ID': 'other-9' });
  expect(await late.end).toBe('ended');
  expect(late.events.at(-1)).toMatchObject({ type: 'succeeded', rows: 1 });
  expect((await server.get('/v1/queries/nobody/events')).status).toBe(404);
  await server.expectNothingLeaked(before);
});

test('a query whose worker dies says that it is tried again, and a client that leaves stops its query', async () => {
  const server = await testServer({ config: { retry: { max: 1 } } });
  const before = await server.footprint();
  server.fault('interactive', 'sigsegv', 'running');
  const stream = await streamOf(`${server.url}/v1/query`, {}, { sql: 'SELECT 7 AS n' });
  expect(await stream.end).toBe('ended');
  const retrying = stream.ofType('retrying')[0];
  expect(retrying).toMatchObject({ attempts: 1, crash_id: expect.any(String) });
  expect(types(stream.events).filter((type) => type !== 'queued')).toEqual([
    'running',
    'retrying',
    'running',
    'succeeded',
  ]);
  expect(stream.events.at(-1)).toMatchObject({ data: [[7]], stats: { attempts: 2 } });

  const left = await streamOf(`${server.url}/v1/query`, {}, { sql: LONG, query_id: 'left' });
  await until('it runs', () => types(left.events).includes('running'));
  left.close();
  await until('it is stopped', async () => (await server.get('/v1/queries/left')).body.state === 'cancelled');
  await server.expectNothingLeaked(before);
});
