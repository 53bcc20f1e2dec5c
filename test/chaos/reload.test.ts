/** The configuration changes while the server works; nobody who has a query in it notices. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { followEvents } from '../support/event-stream.ts';
import { bearer, keyHash } from '../support/principals.ts';
import { temporaryFolder } from '../support/temp.ts';
import { quickPool, type Settings, type TestServer, testServer, until } from '../support/test-server.ts';
import { EXTENSIONS } from '../workers/worker-harness.ts';
import { ENDLESS, SEGFAULT } from './deaths.ts';

const ids = (server: TestServer, pool = 'interactive') =>
  server
    .workers(pool)
    .map(({ status }) => status())
    .filter(({ state }) => state === 'idle' || state === 'busy')
    .map(({ id }) => id)
    .sort();

const running = async (server: TestServer, id: string) =>
  (await server.get(`/v1/queries/${id}`)).body.state === 'running';

async function workersNode(server: TestServer) {
  const { body } = await server.get('/v1/supervision');
  return body.children[1].children[0].children[0];
}

/** Sends queries without a pause until it is told to end; then says what became of them. */
function load(server: TestServer, fields: Settings = {}, clients = 4) {
  let goesOn = true;
  const statuses: number[] = [];
  const client = async () => {
    while (goesOn) statuses.push((await server.query('SELECT sum(range) FROM range(1000)', fields)).status);
  };
  const done = Promise.all(Array.from({ length: clients }, client));
  return {
    count: () => statuses.length,
    end: async () => {
      goesOn = false;
      await done;
      return statuses;
    },
  };
}

it('another restart policy is in force at once, under load, and not one query is lost', async () => {
  const server = await testServer({ pools: { interactive: quickPool({ size: 2 }) } });
  const before = await server.footprint();
  const clients = load(server);
  await until('they are served', () => clients.count() > 20);
  await server.rewrite({
    pools: {
      interactive: quickPool({ size: 2, restart: { intensity: 1, period: '1m', strategy: 'one_for_all' } }),
    },
  });
  const { status, body } = await server.reload();
  expect(status, JSON.stringify(body)).toBe(200);
  expect(body.version).toBe(2);
  expect(body.changes).toEqual([
    { path: 'pools.interactive.restart.strategy', effect: 'in_place' },
    { path: 'pools.interactive.restart.intensity', effect: 'in_place' },
    { path: 'pools.interactive.restart.period', effect: 'in_place' },
  ]);
  await until('it is in force', async () => (await workersNode(server)).intensity === 1);
  expect(await workersNode(server)).toMatchObject({ strategy: 'one_for_all', period_ms: 60_000 });
  const seen = clients.count();
  await until('they are served still', () => clients.count() > seen + 20);
  expect(new Set(await clients.end())).toEqual(new Set([200]));
  expect(server.events('worker.exited')).toEqual([]);
  // And it is meant: the second death is one too many.
  for (const _ of [1, 2]) {
    await until('both are back', () => ids(server).length === 2);
    expect((await server.query(SEGFAULT)).body.code).toBe('WORKER_CRASHED');
  }
  await until('the pool is down', () => server.events('pool.down').length === 1);
  await until('and comes back', () => ids(server).length === 2);
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
});

it('a file that is wrong changes nothing and is reported: to who asked, in the log, in a metric, in /v1/config', async () => {
  const server = await testServer();
  await server.rewrite({
    pools: { interactive: quickPool({ size: 'many', threads: 99 }), other: { sise: 1 } },
  });
  const { status, body } = await server.reload();
  expect(status).toBe(400);
  expect(body.code).toBe('INVALID_REQUEST');
  const paths = body.errors.map(({ path }: { path: string }) => path);
  expect(paths).toEqual(expect.arrayContaining(['pools.interactive.size', 'pools.other.sise']));
  expect(server.events('config.refused')).toHaveLength(1);
  expect((await server.get('/metrics')).body).toContain('duckcoop_config_reloads_total{outcome="refused"} 1');
  const shown = (await server.get('/v1/config')).body;
  expect(shown.pools).toMatchObject({ interactive: { size: 1 } });
  expect(shown.reload).toMatchObject({ version: 1, refused: { errors: body.errors } });
  expect((await server.query('SELECT 1')).status).toBe(200);

  await server.rewrite({});
  expect((await server.reload()).body).toMatchObject({ version: 1, changes: [] });
  expect((await server.get('/v1/config')).body.reload).toMatchObject({ version: 1, refused: null });
});

it('a pool grows and shrinks, by draining: what runs on a worker that goes is not disturbed', async () => {
  const pool = (size: number) => ({ pools: { interactive: quickPool({ size, dispatch_window: 0 }) } });
  const server = await testServer(pool(1));
  const before = await server.footprint();
  await server.rewrite(pool(3));
  expect((await server.reload()).status).toBe(200);
  await until('there are three', () => ids(server).length === 3);
  const long = ['a', 'b', 'c'].map((query_id) => server.query(ENDLESS, { query_id }));
  for (const id of ['a', 'b', 'c']) await until(`${id} runs`, () => running(server, id));

  await server.rewrite(pool(1));
  expect((await server.reload()).status).toBe(200);
  const waits = server.query('SELECT 42');
  for (const id of ['a', 'b', 'c']) expect(await running(server, id)).toBe(true);
  for (const id of ['a', 'b', 'c']) expect((await server.cancel(id)).body.outcome).toBe('cancelled');
  for (const reply of await Promise.all(long)) expect(reply.body.code).toBe('QUERY_CANCELLED');
  expect((await waits).body.data).toEqual([[42]]);
  await until('there is one', () => server.workers().length === 1);
  expect(ids(server)).toEqual(['interactive-1']);
  await until('the tree has one', async () => (await workersNode(server)).children?.length === 1);
  for (const { cause } of server.events('worker.exited')) expect(cause).toBe('recycled');

  // To and fro, faster than workers come and go.
  for (const size of [3, 1, 2, 1, 3]) {
    await server.rewrite(pool(size));
    await server.reload();
  }
  await until('there are three again', () => ids(server).length === 3 && server.workers().length === 3);
  await server.rewrite(pool(1));
  await server.reload();
  await until('there is one again', () => server.workers().length === 1);
  expect((await server.query('SELECT 1')).status).toBe(200);
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
});

it('other limits reach workers by replacing them one at a time, and no query notices', async () => {
  const pool = (memory_limit: string) => ({
    pools: { interactive: quickPool({ size: 2, memory_limit }) },
  });
  const server = await testServer(pool('256MB'));
  const limitOf = async () =>
    (await server.query("SELECT current_setting('memory_limit')")).body.data?.[0]?.[0] as string;
  const first = await limitOf();
  const clients = load(server);
  await server.rewrite(pool('300MB'));
  const { body } = await server.reload();
  expect(body.changes).toEqual([{ path: 'pools.interactive.memory_limit', effect: 'workers_replaced' }]);
  await until('both were replaced', () => server.events('worker.exited').length === 2);
  await until('and are back', () => ids(server).length === 2);
  expect(new Set(await clients.end())).toEqual(new Set([200]));
  for (const { cause } of server.events('worker.exited')) expect(cause).toBe('recycled');
  expect(await limitOf()).not.toBe(first);
  expect(server.events('fault')).toEqual([]);
});

it('a pool is added and serves; a pool is removed once what it has is done, and is unknown at once', async () => {
  const server = await testServer();
  const before = await server.footprint();
  const interactive = quickPool();
  await server.rewrite({ pools: { interactive, batch: quickPool() } });
  expect((await server.reload()).body.changes).toEqual([{ path: 'pools.batch', effect: 'in_place' }]);
  expect((await server.query('SELECT 1', { pool: 'batch' })).status).toBe(200);

  const long = server.query(ENDLESS, { pool: 'batch', query_id: 'long' });
  await until('it runs', () => running(server, 'long'));
  const waits = server.query('SELECT 2', { pool: 'batch', query_id: 'waits' });
  await until('it waits', async () => (await server.get('/v1/queries/waits')).status === 200);
  await server.rewrite({ pools: { interactive } });
  expect((await server.reload()).status).toBe(200);
  expect(await server.query('SELECT 1', { pool: 'batch' })).toMatchObject({
    status: 400,
    body: { code: 'INVALID_REQUEST' },
  });
  expect(await running(server, 'long')).toBe(true);
  await server.cancel('long');
  expect((await long).body.code).toBe('QUERY_CANCELLED');
  expect((await waits).body.data).toEqual([[2]]);
  await until('the pool is gone', () => server.workers('batch').length === 0);
  await until('the tree too', async () => {
    const { children } = (await server.get('/v1/supervision')).body.children[1];
    return children.length === 1;
  });
  expect(Object.keys((await server.get('/readyz')).body.pools)).toEqual(['interactive']);
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
});

it('a pool that is configured again before it has drained simply stays', async () => {
  const both = { pools: { interactive: quickPool(), batch: quickPool() } };
  const server = await testServer(both);
  const long = server.query(ENDLESS, { pool: 'batch', query_id: 'long' });
  await until('it runs', () => running(server, 'long'));
  await server.rewrite({ pools: { interactive: quickPool() } });
  await server.reload();
  await server.rewrite(both);
  await server.reload();
  await server.cancel('long');
  await long;
  expect((await server.query('SELECT 1', { pool: 'batch' })).status).toBe(200);
  expect(server.workers('batch')[0]?.status().incarnation).toBe(1);
});

it('a pool that comes back with other limits before it has drained has its workers replaced', async () => {
  const both = (memory_limit: string) => ({
    pools: { interactive: quickPool(), batch: quickPool({ memory_limit }) },
  });
  const server = await testServer(both('256MB'));
  const long = server.query(ENDLESS, { pool: 'batch', query_id: 'long' });
  await until('it runs', () => running(server, 'long'));
  await server.rewrite({ pools: { interactive: quickPool() } });
  await server.reload();
  await server.rewrite(both('300MB'));
  await server.reload();
  await server.cancel('long');
  await long;
  await until('it is another one', () => server.workers('batch')[0]?.status().incarnation === 2);
  expect(server.events('fault')).toEqual([]);
});

it('workers that waited for one that is one too many by now do not wait for ever', async () => {
  const restart = { strategy: 'one_for_all', backoff: { initial: '1h', max: '1h' } };
  const pool = (size: number) => ({ pools: { interactive: quickPool({ size, restart }) } });
  const server = await testServer(pool(2));
  await until('there are two', () => ids(server).length === 2);
  const [, second] = server.workers();
  second?.ref.tell({ type: 'fault', fault: 'sigsegv', phase: undefined });
  await until('both are gone', () => server.workers().length === 0);
  await server.rewrite(pool(1));
  await server.reload();
  await until('the other one is back', () => ids(server).includes('interactive-1'));
  expect(server.events('fault')).toEqual([]);
});

it('a reload in the middle of a restart of all pools is in force after it, pools that are new included', async () => {
  const server = await testServer();
  const lost = server.query(ENDLESS, { query_id: 'lost' });
  await until('it runs', () => running(server, 'lost'));
  await server.rewrite({ pools: { added: quickPool(), interactive: quickPool({ size: 2 }) } });
  // It waits for the query as long as `shutdown` says.
  expect((await fetch(`${server.url}/v1/supervision/pools/restart`, { method: 'POST' })).status).toBe(202);
  const { status, body } = await server.reload();
  expect(status, JSON.stringify(body)).toBe(200);
  expect((await lost).status).toBe(503);
  await until('they are there', () => ids(server).length === 2 && ids(server, 'added').length === 1);
  expect(server.events('fault')).toEqual([]);
});

it('a key that a reload takes away is worth nothing to the event stream it has opened', async () => {
  const ops = { key_hash: keyHash('key-of-ops'), role: 'operator' };
  const leaver = { key_hash: keyHash('key-of-leaver'), role: 'operator' };
  const config = (principals: Settings, more: Settings = {}) => ({
    config: { auth: { mode: 'api_keys', principals }, ...more },
  });
  const server = await testServer(config({ ops, leaver }));
  const reload = async (options: ReturnType<typeof config>) => {
    await server.rewrite(options);
    expect((await server.server.reload('request')).ok).toBe(true);
  };
  const stream = await followEvents(server.url, '', bearer('key-of-leaver'));
  await reload(config({ ops, leaver }, { telemetry: { slow_query: '1s' } }));
  await until('it is told', () => stream.ofType('config.reloaded').length === 1);
  await reload(config({ ops }, { telemetry: { slow_query: '1s' } }));
  await stream.end;
  expect(stream.ofType('config.reloaded')).toHaveLength(1);
  await expect(followEvents(server.url, '', bearer('key-of-leaver'))).rejects.toThrow('replied 401');
  await followEvents(server.url, '', bearer('key-of-ops'));
});

it('a source that is added, changed or removed is so for the queries that come after', async () => {
  const extensions = { directory: EXTENSIONS };
  const server = await testServer({ config: { extensions } });
  const count = (table: string) => server.query(`SELECT count(*) > 0 FROM ${table}`, { sources: ['app'] });
  const shop = fileURLToPath(new URL('../../examples/data/shop.db', import.meta.url));
  expect((await count('app.main.customers')).body.code).toBe('INVALID_REQUEST');

  // Its extension was not loaded by the worker that is there.
  await server.rewrite({ sources: { app: { kind: 'sqlite', path: shop } }, config: { extensions } });
  const { body } = await server.reload();
  expect(body.changes).toEqual([{ path: 'sources.app', effect: 'new_version' }]);
  expect((await count('app.main.customers')).body.data).toEqual([[true]]);
  const hidden = await server.query(`SELECT * FROM sqlite_scan('${shop}', 'customers')`);
  expect(hidden.body).toMatchObject({ code: 'FORBIDDEN', denied: { kind: 'function', name: 'sqlite_scan' } });

  const folder = await temporaryFolder();
  writeFileSync(join(folder, 'ducks.csv'), 'name\nmallard\n');
  await server.rewrite({ sources: { app: { kind: 'files', path: folder } }, config: { extensions } });
  await server.reload();
  expect((await count('app.main.customers')).body.code).toBe('SQL_ERROR');
  expect((await count('app.ducks')).body.data).toEqual([[true]]);

  await server.rewrite({ config: { extensions } });
  await server.reload();
  expect((await count('app.ducks')).body.code).toBe('INVALID_REQUEST');
  expect(server.workers()[0]?.status().incarnation).toBe(1);
});
