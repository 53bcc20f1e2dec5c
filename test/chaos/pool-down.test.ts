/** A pool whose workers die too often: it goes down, says so, leaves the others alone, and comes back. */
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { quickPool, startTestServer, type TestServer, testServer, until } from '../support/test-server.ts';
import { SEGFAULT } from './deaths.ts';

const pools = async (server: TestServer) => (await server.get('/readyz')).body.pools;

it('a pool that passes its intensity answers POOL_DOWN while another serves, and comes back', async () => {
  const restart = { intensity: 2, period: '30s', backoff: { initial: '1500ms', max: '1500ms' } };
  const server = await testServer({
    pools: { fragile: quickPool({ restart: { ...restart } }), steady: quickPool() },
  });
  const before = await server.footprint();
  const crash = async () => {
    await until('the worker is there', () =>
      server.workers('fragile').some(({ status }) => status().state === 'idle'),
    );
    return await server.query(SEGFAULT, { pool: 'fragile' });
  };
  for (const _ of [1, 2, 3]) expect((await crash()).body.code).toBe('WORKER_CRASHED');
  await until('the pool is down', async () => (await pools(server)).fragile === 'down');
  const ready = await server.get('/readyz');
  expect(ready).toMatchObject({
    status: 200,
    body: { ready: true, pools: { fragile: 'down', steady: 'up' } },
  });
  const refused = await server.query('SELECT 1', { pool: 'fragile' });
  expect(refused).toMatchObject({
    status: 503,
    body: { code: 'POOL_DOWN', retryable: true, pool: 'fragile' },
  });
  expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
  expect((await server.query('SELECT 1', { pool: 'steady' })).status).toBe(200);

  await until('the pool is back', async () => (await pools(server)).fragile === 'up');
  expect((await server.query('SELECT 2', { pool: 'fragile' })).body.data).toEqual([[2]]);
  expect(server.events('pool.down').map(({ pool }) => pool)).toEqual(['fragile']);
  expect(server.workers('steady')[0]?.status().incarnation).toBe(1);
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
});

it('queries that wait when their pool goes down are answered then, not left to their timeout', async () => {
  const restart = { intensity: 0, backoff: { initial: '2s', max: '2s' } };
  const server = await testServer({ pools: { interactive: quickPool({ dispatch_window: 0, restart }) } });
  const replies = await Promise.all([
    server.query(SEGFAULT),
    ...[1, 2, 3, 4].map((n) => server.query(`SELECT ${n}`)),
  ]);
  const codes = replies.map(({ body }) => body.code);
  expect(codes[0]).toBe('WORKER_CRASHED');
  expect(codes.slice(1)).toEqual(Array(4).fill('POOL_DOWN'));
  for (const { headers } of replies.slice(1)) expect(headers).toHaveProperty('retry-after');
  expect(await server.get('/readyz')).toMatchObject({ status: 503, body: { ready: false } });
  await until('it is back', async () => (await pools(server)).interactive === 'up');
  expect((await server.query('SELECT 5')).body.data).toEqual([[5]]);
  expect(server.events('fault')).toEqual([]);
});

it('a pool whose workers cannot even start goes down again and again, and takes no other with it', async () => {
  const restart = { intensity: 1, period: '30s', backoff: { initial: '20ms', max: '300ms', factor: 4 } };
  const server = await startTestServer({
    pools: {
      // Less time than the program needs to load.
      hurried: quickPool({ start_timeout: '20ms', restart }),
      steady: quickPool(),
    },
  });
  onTestFinished(() => server.stop());
  await until('it has been down three times', () => server.events('pool.down').length >= 3);
  const delays = server.events('pool.down').map(({ retry_after_ms }) => retry_after_ms);
  expect(delays.slice(0, 3)).toEqual([20, 80, 300]);
  await until('the other serves', async () => (await pools(server)).steady === 'up');
  const waits = await server.query('SELECT 1', { pool: 'hurried' });
  expect(waits).toMatchObject({ status: 503, body: { code: 'POOL_DOWN', retryable: true } });
  expect(waits.headers).toHaveProperty('retry-after');
  expect((await server.query('SELECT 1', { pool: 'steady' })).status).toBe(200);
  expect((await server.get('/readyz')).status).toBe(200);
  for (const exit of server.events('worker.exited')) {
    expect(exit).toMatchObject({ pool: 'hurried', cause: 'unresponsive', phase: 'starting' });
  }
  expect(server.events('fault')).toEqual([]);
});

it('a server whose run folder is gone is not ready, and is again when the folder is back', async () => {
  const restart = { intensity: 1, period: '30s', backoff: { initial: '20ms', max: '200ms' } };
  const server = await testServer({ pools: { interactive: quickPool({ restart }) } });
  const before = await server.footprint();
  const run = join(server.dataDir, 'run');
  const own = join(run, readdirSync(run)[0] ?? '');
  renameSync(own, `${own}.away`);
  writeFileSync(own, 'in the way');
  server.fault('interactive', 'sigkill');
  await until('the pool is down', () => server.events('pool.down').length > 0);
  expect((await server.get('/readyz')).status).toBe(503);
  expect((await server.query('SELECT 1')).body.code).toBe('POOL_DOWN');
  expect((await server.get('/healthz')).status).toBe(200);

  rmSync(own);
  rmSync(`${own}.away`, { recursive: true });
  mkdirSync(own, { mode: 0o700 });
  await until('the pool is back', async () => (await pools(server)).interactive === 'up');
  expect((await server.query('SELECT 2')).body.data).toEqual([[2]]);
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
});
