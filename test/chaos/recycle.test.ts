/** Workers are replaced in peace: drained, one at a time, without blame. */
import { expect, it } from 'vitest';
import { quickPool, type TestServer, testServer, until } from '../support/test-server.ts';
import { ENDLESS } from './deaths.ts';

const causes = (server: TestServer) => new Set(server.events('worker.exited').map(({ cause }) => cause));

/** No two of them were away at the same time: each was ready again before the next one went. */
function expectOneAtATime(server: TestServer): void {
  const away = new Set<unknown>();
  const seen = server.log.filter(({ event }) => event === 'worker.exited' || event === 'worker.ready');
  for (const { event, worker } of seen) {
    if (event === 'worker.exited') away.add(worker);
    else away.delete(worker);
    expect(away.size).toBeLessThanOrEqual(1);
  }
}

it('a worker is replaced after recycle.max_queries, and no query is lost or called crashed for it', async () => {
  const server = await testServer({
    pools: { interactive: quickPool({ size: 2, recycle: { max_queries: 10 } }) },
  });
  const before = await server.footprint();
  const replies = [];
  for (let round = 0; round < 15; round += 1) {
    replies.push(...(await Promise.all([1, 2, 3, 4].map((n) => server.query(`SELECT ${n}`)))));
  }
  for (const { status, body } of replies) {
    expect(status, JSON.stringify(body)).toBe(200);
    expect(body.stats.attempts).toBe(1);
  }
  await until(
    'both were replaced',
    () => new Set(server.events('worker.exited').map((e) => e.worker)).size === 2,
  );
  await until(
    'and are back',
    () => server.workers().filter(({ status }) => status().state === 'idle').length === 2,
  );
  expect(causes(server)).toEqual(new Set(['recycled']));
  expectOneAtATime(server);
  const tree = (await server.get('/v1/supervision')).body;
  const workers = tree.children[1].children[0].children[0];
  expect(workers).toMatchObject({ path: '/root/pools/pool:interactive/workers', restarts: 0 });
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
});

it('a worker is replaced after recycle.max_age, but never in the middle of a query', async () => {
  const server = await testServer({
    pools: { interactive: quickPool({ size: 1, reserve: 1, recycle: { max_age: '1s' } }) },
  });
  const long = server.query(ENDLESS, { query_id: 'long', timeout_ms: 20_000 });
  const view = async () => (await server.get('/v1/queries/long')).body;
  await until('it runs', async () => (await view()).state === 'running');
  // Its worker is due twice over, and goes on.
  await until('it has run for long', async () => (await view()).run_ms > 2_000);
  const { worker, state } = await view();
  expect(state).toBe('running');
  expect(server.events('worker.exited').filter((exit) => exit.worker === worker)).toEqual([]);
  expect((await server.query('SELECT 1')).body.stats.worker).not.toBe(worker);
  expect((await server.cancel('long')).body.outcome).toBe('cancelled');
  await long;
  await until('it was replaced', () => server.events('worker.exited').some((exit) => exit.worker === worker));
  expect(causes(server)).toEqual(new Set(['recycled']));
  expect((await server.query('SELECT 1')).status).toBe(200);
});
