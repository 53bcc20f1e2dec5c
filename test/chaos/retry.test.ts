/** A read whose worker died is tried once more; nothing else is. */
import { expect, it } from 'vitest';
import type { Phase } from '../../src/workers/protocol.ts';
import { quickPool, type TestServer, testServer, until } from '../support/test-server.ts';
import { SEGFAULT } from './deaths.ts';

const scene = (config = {}, pool = {}) =>
  testServer({ pools: { interactive: quickPool(pool) }, config: { retry: { max: 1 }, ...config } });

/** Arms the fault in a worker that is ready to have it. */
async function arm(server: TestServer, phase: Phase): Promise<void> {
  await until('its worker is idle', () => server.workers().some(({ status }) => status().state === 'idle'));
  server.fault('interactive', 'sigsegv', phase);
}

it('a read whose worker died is answered by the next one, and says that it took two attempts', async () => {
  const server = await scene();
  const before = await server.footprint();
  await arm(server, 'running');
  const { status, body } = await server.query('SELECT 42', { query_id: 'twice' });
  expect(status, JSON.stringify(body)).toBe(200);
  expect(body).toMatchObject({ data: [[42]], stats: { attempts: 2, worker: 'interactive-1' } });
  expect((await server.get('/v1/queries/twice')).body).toMatchObject({ state: 'succeeded', attempts: 2 });
  expect(server.events('worker.exited')).toMatchObject([{ cause: 'crash', query_id: 'twice' }]);
  expect(server.events('query.retried')).toMatchObject([{ query_id: 'twice', attempts: 1 }]);
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
});

it('a result that was half sent by its worker is sent anew by the next one, whole and once', async () => {
  const server = await scene();
  // Large enough to come in pieces, of which the first are there when the worker dies.
  const sql = "SELECT i, repeat('x', 100) AS x FROM range(20000) t(i)";
  await arm(server, 'replying');
  const { body } = await server.query(sql);
  expect(body).toMatchObject({ row_count: 20_000, stats: { attempts: 2 } });
  expect(body.data).toHaveLength(20_000);
  expect(body.data.at(-1)).toEqual([19_999, 'x'.repeat(100)]);
});

it('a read that crashes every worker it is given to has two attempts and no more', async () => {
  const server = await scene();
  const { status, body } = await server.query(SEGFAULT);
  expect(status).toBe(502);
  expect(body).toMatchObject({ code: 'WORKER_CRASHED', attempts: 2, worker: { signal: 'SIGSEGV' } });
  expect(server.events('worker.exited')).toHaveLength(2);
});

it('with retry.max: 0 there is one attempt', async () => {
  const server = await scene({ retry: { max: 0 } });
  expect((await server.query(SEGFAULT)).body).toMatchObject({ code: 'WORKER_CRASHED', attempts: 1 });
});

it('a statement that may have written is never tried again, one that had not begun to is', async () => {
  const server = await scene({ sql: { write: true } });
  await arm(server, 'running');
  const write = await server.query('CREATE TABLE t(i INTEGER)');
  expect(write).toMatchObject({ status: 502, body: { code: 'WORKER_CRASHED', attempts: 1 } });

  await arm(server, 'replying');
  const several = await server.query('CREATE TABLE t(i INTEGER); SELECT 1');
  expect(several).toMatchObject({ status: 502, body: { code: 'WORKER_CRASHED', attempts: 1 } });

  await arm(server, 'preparing');
  const early = await server.query('CREATE TABLE t(i INTEGER); SELECT 2');
  expect(early.body).toMatchObject({ data: [[2]], stats: { attempts: 2 } });

  await arm(server, 'running');
  expect((await server.query('SELECT 3')).body).toMatchObject({ data: [[3]], stats: { attempts: 2 } });
});

it('a read whose time is over when its worker is given up is not tried again', async () => {
  const server = await scene({}, { cancel_grace: '10s', heartbeat: { interval: '50ms', timeout: '1s' } });
  server.fault('interactive', 'sigstop', 'running');
  const { body } = await server.query('SELECT 1', { timeout_ms: 300 });
  expect(body).toMatchObject({ code: 'WORKER_CRASHED', cause: 'unresponsive', attempts: 1 });
});

it('when its pool went down of it, the client hears of the crash, not that it may try again', async () => {
  const restart = { intensity: 0, backoff: { initial: '20s', max: '20s' } };
  const server = await scene({}, { restart });
  const { status, body } = await server.query(SEGFAULT);
  expect(status).toBe(502);
  expect(body).toMatchObject({ code: 'WORKER_CRASHED', retryable: false, attempts: 1 });
  expect((await server.query('SELECT 1')).body.code).toBe('POOL_DOWN');
});
