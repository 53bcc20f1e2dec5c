/** Starts and stops in the middle of things, and neighbours. */
import { readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { footprint } from '../support/leak-check.ts';
import { serverProcess } from '../support/server-process.ts';
import { quickPool, startTestServer, testServer, until } from '../support/test-server.ts';
import { DEAF, ENDLESS, SEGFAULT } from './deaths.ts';

it('a server that is stopped while its workers start leaves nothing, and calls none of them crashed', async () => {
  const server = await startTestServer({ pools: { interactive: quickPool({ size: 3 }) } });
  await server.stop();
  expect(server.events('worker.exited').filter(({ cause }) => cause !== 'shutdown')).toEqual([]);
  expect(server.events('fault')).toEqual([]);
});

it.each(['a worker is replaced', 'its pool is down'])('a server stops while %s', async (moment) => {
  const restart = {
    intensity: moment === 'its pool is down' ? 0 : 10,
    backoff: { initial: '60s', max: '60s' },
  };
  const server = await testServer({ pools: { interactive: quickPool({ restart }) } });
  expect((await server.query(SEGFAULT)).body.code).toBe('WORKER_CRASHED');
  await until('there is no worker', () => server.workers().length === 0);
  await server.stop();
  expect(server.events('fault')).toEqual([]);
});

it('a server that stops answers those that run and those that wait, within its patience', async () => {
  const server = await testServer({ config: { server: { port: 0, drain_timeout: '300ms' } } });
  const replies = [DEAF, 'SELECT 1', 'SELECT 2'].map((sql, index) =>
    server.query(sql, { query_id: `q-${index}` }),
  );
  await until('all are known', async () => (await server.get('/v1/queries')).body.queries.length === 3);
  const started = performance.now();
  await server.stop();
  expect(performance.now() - started).toBeLessThan(5_000);
  for (const { status, body } of await Promise.all(replies)) {
    expect({ status, code: body.code }).toEqual({ status: 503, code: 'SHUTTING_DOWN' });
  }
  expect(server.events('query.ended')).toHaveLength(3);
  expect(server.events('fault')).toEqual([]);
});

it('a server that cannot have its address leaves nothing', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void taken.close());
  const { port } = taken.address() as { port: number };
  const before = await footprint({ dataDir: '/nowhere' });
  await expect(startTestServer({ config: { server: { port } } })).rejects.toThrow(/EADDRINUSE/);
  const now = await footprint({ dataDir: '/nowhere' });
  expect(now['process child'] ?? 0).toBe(before['process child'] ?? 0);
});

it('two servers on one data folder do not disturb each other, and the next one sweeps up after one that was killed', async () => {
  const server = await testServer();
  const run = join(server.dataDir, 'run');
  const folders = () => readdirSync(run).length;
  const other = await serverProcess(server.dataDir);
  expect(folders()).toBe(2);
  const both = [server.query, other.query];
  for (const query of both) expect((await query('SELECT 1')).body.data).toEqual([[1]]);
  expect((await other.query(SEGFAULT)).body.code).toBe('WORKER_CRASHED');
  for (const query of both) expect((await query('SELECT 2')).body.data).toEqual([[2]]);

  await other.kill();
  expect((await server.query('SELECT 3')).body.data).toEqual([[3]]);
  expect(folders()).toBe(2);
  await until('its workers are gone with it', () => other.orphans().length === 0);

  const next = await serverProcess(server.dataDir);
  expect(folders()).toBe(2);
  const running = server.query(ENDLESS, { query_id: 'runs' });
  await next.stop();
  expect(folders()).toBe(1);
  expect((await server.cancel('runs')).body.outcome).toBe('cancelled');
  await running;
  expect(server.workers()[0]?.status().incarnation).toBe(1);
});
