/** `POST /v1/supervision/{path}/restart`: parts of a real tree begin anew because somebody asks for it. */
import { expect, it } from 'vitest';
import type { SupervisionNode } from '../../src/supervisors/supervisor-handle.ts';
import { followEvents } from '../support/event-stream.ts';
import { call, quickPool, type TestServer, testServer, until } from '../support/test-server.ts';
import { SEGFAULT } from './deaths.ts';

const POOL = '/root/pools/pool:interactive';
const WORKERS = `${POOL}/workers`;
const WORKER = `${WORKERS}/interactive-1`;
const ENDLESS = 'SELECT count(*) FROM range(100000000000) t(x) WHERE hash(x) = 1';

const restart = (server: TestServer, path: string) =>
  call(server.url, 'POST', `/v1/supervision/${path.replace(/^\//, '')}/restart`);

async function node(server: TestServer, path: string): Promise<SupervisionNode | undefined> {
  const search = (from: SupervisionNode): SupervisionNode | undefined =>
    from.path === path ? from : from.children.map(search).find((found) => found !== undefined);
  return search((await server.get('/v1/supervision')).body as SupervisionNode);
}

async function untilIncarnation(server: TestServer, path: string, incarnation: number): Promise<void> {
  await until(`${path} is at incarnation ${incarnation}`, async () => {
    const found = await node(server, path);
    return found?.state === 'running' && found.incarnation === incarnation;
  });
}

async function expectServing(server: TestServer): Promise<void> {
  expect((await server.query('SELECT 42')).body.data).toEqual([[42]]);
}

it('a worker is recycled: it ends its query first, and the restart costs no intensity and no backoff', async () => {
  const server = await testServer({ pools: { interactive: quickPool({ restart: { intensity: 1 } }) } });
  const before = await server.footprint();
  const stream = await followEvents(server.url);
  const running = server.query('SELECT count(*) FROM range(200000000) t(x) WHERE hash(x) = 1');
  await until('it runs', () => server.workers().some(({ status }) => status().state === 'busy'));

  const accepted = await restart(server, WORKER);
  expect([accepted.status, accepted.body]).toEqual([202, { path: WORKER, incarnation: 1 }]);
  expect((await running).status).toBe(200);
  await untilIncarnation(server, WORKER, 2);
  for (const incarnation of [3, 4]) {
    await until('it serves', () => server.workers().every(({ status }) => status().state === 'idle'));
    await restart(server, encodeURIComponent(WORKER));
    await untilIncarnation(server, WORKER, incarnation);
  }
  await expectServing(server);
  expect(await node(server, WORKERS)).toMatchObject({ restarts: 0, incarnation: 1 });
  expect(stream.ofType('worker.exited').map(({ cause }) => cause)).toEqual(Array(3).fill('recycled'));
  expect(stream.ofType('supervisor.intensity')).toEqual([]);
  expect(stream.ofType('restart.requested')[0]).toMatchObject({
    path: WORKER,
    incarnation: 1,
    requested_by: 'anonymous',
  });
  stream.close();
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
});

it('each other part begins anew, and the server goes on', async () => {
  const server = await testServer();
  const before = await server.footprint();
  for (const path of ['root/telemetry', 'query-router', `${POOL}/queue`, WORKERS, POOL, 'pools']) {
    const accepted = await restart(server, path);
    const full = accepted.body.path as string;
    expect([accepted.status, accepted.body]).toEqual([202, { path: full, incarnation: 1 }]);
    await untilIncarnation(server, full, 2);
    await until('a worker is there', () => server.workers().some(({ status }) => status().state === 'idle'));
    await expectServing(server);
  }
  const root = await node(server, '/root');
  expect(root).toMatchObject({ restarts: 0, state: 'running' });
  expect(JSON.stringify(root)).not.toMatch(/"state":"(stopped|restarting)"/);
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
});

it('what is asked for at the same time is answered, and happens once', async () => {
  const server = await testServer();
  const replies = await Promise.all([
    ...[1, 2, 3].map(() => restart(server, POOL)),
    restart(server, WORKER),
    restart(server, WORKERS),
    restart(server, `${POOL}/queue`),
    restart(server, 'pools'),
  ]);
  for (const { status, body } of replies) {
    // What is being restarted already may be gone by the time somebody asks for a part of it.
    expect([202, 404]).toContain(status);
    if (status === 202) expect(body.incarnation).toBe(1);
  }
  await until('all of it is over', async () => {
    const root = await node(server, '/root');
    const ready = server.workers().some(({ status }) => status().state === 'idle');
    return ready && !/"state":"(stopped|stopping|starting|restarting)"/.test(JSON.stringify(root));
  });
  await expectServing(server);
  expect(server.events('fault')).toEqual([]);
});

it('workers that begin anew answer a query that takes too long, and leave those that wait in the queue', async () => {
  const settings = quickPool({ dispatch_window: 0, restart: { shutdown: '100ms' } });
  const server = await testServer({ pools: { interactive: settings } });
  const endless = server.query(ENDLESS);
  await until('it runs', () => server.workers().some(({ status }) => status().state === 'busy'));
  const waiting = server.query('SELECT 1');
  await until('the other waits', async () => {
    const { body } = await server.get('/v1/queries?state=queued');
    return body.queries.length === 1;
  });
  expect((await restart(server, WORKERS)).status).toBe(202);
  expect((await endless).body).toMatchObject({ code: 'POOL_DOWN', retryable: true });
  expect((await waiting).body.data).toEqual([[1]]);
  expect(server.events('fault')).toEqual([]);
});

it('a worker that waits out its backoff is started at once, with all that waits for it', async () => {
  const backoff = { initial: '60s', max: '60s' };
  const server = await testServer({
    pools: { interactive: quickPool({ size: 2, restart: { strategy: 'one_for_all', backoff } }) },
  });
  await server.query(SEGFAULT);
  const waiting = async () =>
    (await node(server, WORKERS))?.children.find(({ state }) => state === 'restarting');
  await until('it waits', async () => (await waiting()) !== undefined);
  const { path, incarnation } = (await waiting()) as SupervisionNode;
  expect((await restart(server, path)).body).toEqual({ path, incarnation });
  await until('both serve', () => {
    const states = server.workers().map(({ status }) => status().state);
    return states.length === 2 && states.every((state) => state === 'idle');
  });
  await expectServing(server);
});

it('a pool that is down is tried again at once', async () => {
  const settings = { intensity: 0, backoff: { initial: '60s', max: '60s' } };
  const server = await testServer({ pools: { interactive: quickPool({ restart: settings }) } });
  await server.query(SEGFAULT);
  const state = async () => (await server.get('/readyz')).body.pools.interactive;
  await until('it is down', async () => (await node(server, WORKERS))?.state === 'restarting');
  expect(await state()).toBe('down');
  expect((await restart(server, WORKERS)).status).toBe(202);
  await until('it is up', async () => (await state()) === 'up');
  await expectServing(server);
});

it('what cannot be restarted is refused with the reason, and what is not there is not found', async () => {
  const server = await testServer({ pools: { interactive: quickPool({ restart: { type: 'temporary' } }) } });
  for (const path of ['root', '%2Froot', 'http', 'root/http', WORKER]) {
    const { status, body } = await restart(server, path);
    expect([path, status, body.code]).toEqual([path, 400, 'INVALID_REQUEST']);
    expect(body.errors[0].message).not.toBe('');
  }
  for (const path of [
    'pools/pool:none',
    'root/root',
    `${WORKERS}/interactive-9`,
    'queue',
    '..%2Froot%2Fpools',
    '%00',
  ]) {
    expect([path, (await restart(server, path)).body.code]).toEqual([path, 'NOT_FOUND']);
  }
  expect(server.events('restart.requested')).toEqual([]);
  await expectServing(server);
});

it('a restart of a part that is long about ending does not hold the stop of the server', async () => {
  const server = await testServer();
  const endless = server.query(ENDLESS).catch(() => undefined);
  await until('it runs', () => server.workers().some(({ status }) => status().state === 'busy'));
  expect((await restart(server, POOL)).status).toBe(202);
  expect((await restart(server, WORKER)).status).toBe(202);
  await server.stop();
  await endless;
  expect(server.events('fault')).toEqual([]);
});
