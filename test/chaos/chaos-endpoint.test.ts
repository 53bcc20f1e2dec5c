/** `POST /v1/chaos`: real faults on request, and only where they are allowed. */
import { expect, it } from 'vitest';
import { call, quickPool, type TestServer, testServer, until } from '../support/test-server.ts';
import { ENDLESS } from './deaths.ts';

const chaos = (server: TestServer, body: unknown) => call(server.url, 'POST', '/v1/chaos', body as never);

const idle = (server: TestServer) =>
  until('all are idle', () => server.workers().every(({ status }) => status().state === 'idle'));

it('a worker, by its id or as one of a pool, has the fault at once', async () => {
  const server = await testServer();
  const before = await server.footprint();
  for (const target of [
    'interactive-1',
    'interactive',
    { worker: 'interactive-1' },
    { pool: 'interactive' },
  ]) {
    const deaths = server.events('worker.exited').length;
    const reply = await chaos(server, { target, fault: 'sigsegv' });
    expect(reply).toMatchObject({ status: 202, body: { fault: 'sigsegv', worker: 'interactive-1' } });
    await until('it has died', () => server.events('worker.exited').length > deaths);
    expect(server.events('worker.exited').at(-1)).toMatchObject({ cause: 'crash', signal: 'SIGSEGV' });
    await until('it is back', () => server.workers().some(({ status }) => status().state === 'idle'));
  }
  expect((await server.query('SELECT 1')).status).toBe(200);
  await server.expectNothingLeaked(before);
});

it('of a pool, a worker that is busy is preferred', async () => {
  const server = await testServer({ pools: { interactive: quickPool({ size: 3 }) } });
  const running = server.query(ENDLESS, { query_id: 'long' });
  const state = async () => (await server.get('/v1/queries/long')).body.state;
  await until('it runs', async () => (await state()) === 'running');
  await chaos(server, { target: 'interactive', fault: 'sigkill' });
  expect((await running).body).toMatchObject({ code: 'WORKER_CRASHED', worker: { signal: 'SIGKILL' } });
});

it.each(['preparing', 'running', 'replying'])(
  'a query that comes later meets its fault at %s, and no other query does',
  async (phase) => {
    const server = await testServer({ pools: { interactive: quickPool({ size: 2 }) } });
    const order = { target: { query: 'doomed', phase }, fault: 'sigabrt' };
    expect(await chaos(server, order)).toMatchObject({ status: 202, body: { worker: null } });
    const bystanders = Array.from({ length: 10 }, (_, n) => server.query(`SELECT ${n}`));
    const doomed = await server.query('SELECT 42', { query_id: 'doomed' });
    expect(doomed.body).toMatchObject({
      code: 'WORKER_CRASHED',
      worker: { signal: 'SIGABRT', phase },
      attempts: 1,
    });
    for (const { status } of await Promise.all(bystanders)) expect(status).toBe(200);
    expect(server.events('worker.exited')).toHaveLength(1);
    // Once: the fault is not had again.
    await idle(server);
    expect((await server.query('SELECT 43')).status).toBe(200);
  },
);

it('a query that runs already meets its fault when it is cancelled', async () => {
  const server = await testServer();
  const running = server.query(ENDLESS, { query_id: 'long' });
  const state = async () => (await server.get('/v1/queries/long')).body.state;
  await until('it runs', async () => (await state()) === 'running');
  const order = { target: { query: 'long', phase: 'cancelling' }, fault: 'sigsegv' };
  expect((await chaos(server, order)).body).toMatchObject({ worker: 'interactive-1' });
  await server.cancel('long');
  expect((await running).status).not.toBe(200);
  await until('it has died', () => server.events('worker.exited').length === 1);
  const ended = await chaos(server, order);
  expect(ended).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } });
});

it('is refused, and nothing happens, for what is not there, makes no sense or is not allowed', async () => {
  const server = await testServer();
  for (const [body, status, path] of [
    [{ target: 'nobody', fault: 'sigsegv' }, 404],
    [{ target: { pool: 'nobody' }, fault: 'sigsegv' }, 404],
    [{ target: { worker: 'interactive-9' }, fault: 'sigsegv' }, 404],
    [{ target: 'interactive', fault: 'earthquake' }, 400, 'fault'],
    [{ target: { query: 'q', phase: 'idle' }, fault: 'sigsegv' }, 400, 'target'],
    [{ target: { query: 'q', phase: 'running' }, fault: 'slow-start' }, 400, 'target'],
    [{ target: 7, fault: 'sigsegv' }, 400, 'target'],
    [{ target: 'interactive' }, 400, 'fault'],
    [{ target: 'interactive', fault: 'sigsegv', when: 'now' }, 400, 'when'],
    [[], 400, ''],
  ] as const) {
    const reply = await chaos(server, body);
    expect(reply.status, JSON.stringify(body)).toBe(status);
    if (path !== undefined) expect(reply.body.errors[0].path).toBe(path);
  }
  await server.rewrite({ config: { chaos: { enabled: false } } });
  await server.reload();
  expect(await chaos(server, { target: 'interactive', fault: 'sigsegv' })).toMatchObject({
    status: 403,
    body: { code: 'FORBIDDEN', denied: { kind: 'endpoint', name: '/v1/chaos' } },
  });
  await until('the worker was replaced', () => server.workers()[0]?.status().incarnation === 2);
  for (const { cause } of server.events('worker.exited')) expect(cause).toBe('recycled');
});
