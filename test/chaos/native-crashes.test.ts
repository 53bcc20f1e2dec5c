/** What DuckDB really does to a process, and what the client hears of it. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { Footprint } from '../support/leak-check.ts';
import {
  type LogLine,
  quickPool,
  type TestServer,
  testServer,
  until,
  useServer,
} from '../support/test-server.ts';
import { DEAF, ENDLESS, HOG, SEGFAULT } from './deaths.ts';

interface Scene {
  readonly server: TestServer;
  readonly before: Footprint;
  /** The incarnation that its worker has at first. */
  readonly first: number;
  /** What is told of workers that ended since. */
  exits(): LogLine[];
}

const shared = useServer();

async function scene(server = shared()): Promise<Scene> {
  const before = await server.footprint();
  const past = server.events('worker.exited').length;
  return {
    server,
    before,
    first: incarnation(server),
    exits: () => server.events('worker.exited').slice(past),
  };
}

async function expectAsBefore({ server, before }: Scene): Promise<void> {
  expect((await server.query('SELECT 42')).body.data).toEqual([[42]]);
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
}

const incarnation = (server: TestServer) => server.workers()[0]?.status().incarnation as number;

/** Not only begun, but deep in it: its worker, the only one, has spent time on it that nothing before the native call takes. */
async function untilRunning(server: TestServer, queryId: string): Promise<void> {
  const state = async () => (await server.get(`/v1/queries/${queryId}`)).body.state;
  await until(`${queryId} runs`, async () => (await state()) === 'running');
  let seen = { pid: 0, ticks: 0 };
  await until(`${queryId} is at work`, () => {
    const { pid = 0 } = server.workers()[0]?.status() ?? {};
    const ticks = cpuTicks(pid);
    // What ran before it may have cost the worker its life, and this is the next one.
    if (pid !== seen.pid) seen = { pid, ticks };
    return ticks > seen.ticks + 15;
  });
}

/** Clock ticks of CPU time, usually of 10 ms (proc(5), /proc/pid/stat, fields 14 and 15); 0 of a process that is gone. */
function cpuTicks(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return Number(fields[11]) + Number(fields[12]);
  } catch {
    return 0;
  }
}

it('a stack overflow in DuckDB is a WORKER_CRASHED that names the signal and the moment', async () => {
  const at = await scene();
  const { server } = at;
  const { status, headers, body } = await server.query(SEGFAULT);
  expect(status).toBe(502);
  expect(headers['content-type']).toBe('application/problem+json');
  expect(body).toMatchObject({
    code: 'WORKER_CRASHED',
    retryable: false,
    attempts: 1,
    worker: {
      id: 'interactive-1',
      incarnation: at.first,
      signal: 'SIGSEGV',
      exit_code: null,
      phase: 'preparing',
    },
  });
  await expectAsBefore(at);
});

it('a statement that hears no interrupt is killed at its timeout, and that is what the client is told', async () => {
  const at = await scene();
  const { server } = at;
  const { status, body } = await server.query(DEAF, { timeout_ms: 700 });
  expect(status).toBe(504);
  expect(body).toMatchObject({ code: 'QUERY_TIMEOUT', limit_ms: 700, retryable: false });
  await until('the worker is a new one', () => incarnation(server) === at.first + 1);
  expect(at.exits()).toMatchObject([{ cause: 'killed', signal: 'SIGKILL' }]);
  await expectAsBefore(at);
});

it('a statement that hears the interrupt is stopped at its timeout without harm to its worker', async () => {
  const at = await scene();
  const { server } = at;
  const { body } = await server.query(ENDLESS, { timeout_ms: 150 });
  expect(body).toMatchObject({ code: 'QUERY_TIMEOUT', limit_ms: 150 });
  await expectAsBefore(at);
  expect(incarnation(server)).toBe(at.first);
});

it.each([
  ['killed', DEAF, 1],
  ['cancelled', ENDLESS, 0],
])('DELETE answers %s once the query has really stopped', async (outcome, sql, deaths) => {
  const at = await scene();
  const { server } = at;
  const query_id = `to-be-${outcome}`;
  const reply = server.query(sql, { query_id });
  await untilRunning(server, query_id);
  const cancelled = await server.cancel(query_id);
  expect(cancelled).toMatchObject({ status: 200, body: { outcome } });
  expect((await server.get(`/v1/queries/${query_id}`)).body.state).toBe('cancelled');
  expect(await reply).toMatchObject({
    status: 409,
    body: { code: 'QUERY_CANCELLED', cancelled_by: 'anonymous' },
  });
  await expectAsBefore(at);
  expect(incarnation(server)).toBe(at.first + deaths);
});

it('DELETE of a query that waits takes it out of the queue, and of one that has ended says so', async () => {
  const at = await scene();
  const { server } = at;
  const front = server.query(ENDLESS, { query_id: 'front' });
  await untilRunning(server, 'front');
  const waits = server.query('SELECT 1', { query_id: 'waits' });
  await until('it is known', async () => (await server.get('/v1/queries/waits')).status === 200);
  expect((await server.cancel('waits')).body).toEqual({ outcome: 'cancelled' });
  expect((await waits).body.code).toBe('QUERY_CANCELLED');
  expect((await server.cancel('waits')).body).toEqual({ outcome: 'already_finished' });
  expect((await server.cancel('front')).body).toEqual({ outcome: 'cancelled' });
  await front;
  expect((await server.cancel('never-was')).status).toBe(404);
  await expectAsBefore(at);
});

it('a client that goes away has its query stopped and its worker freed', async () => {
  const at = await scene();
  const { server } = at;
  for (const [queryId, sql] of [
    ['hears', ENDLESS],
    ['does-not', DEAF],
  ] as const) {
    const client = new AbortController();
    const gone = server.query(sql, { query_id: queryId }, client.signal).catch((error: Error) => error.name);
    await untilRunning(server, queryId);
    client.abort();
    expect(await gone).toBe('AbortError');
    const view = async () => (await server.get(`/v1/queries/${queryId}`)).body;
    await until(`${queryId} has ended`, async () => (await view()).state === 'cancelled');
    expect((await view()).error).toMatchObject({ cancelled_by: 'the client, which went away' });
  }
  await expectAsBefore(at);
});

it('a client that goes away while its query waits leaves nothing in the queue', async () => {
  const at = await scene();
  const { server } = at;
  const front = server.query(ENDLESS, { query_id: 'front-of-it' });
  await untilRunning(server, 'front-of-it');
  const client = new AbortController();
  const gone = server.query('SELECT 1', { query_id: 'waits-no-longer' }, client.signal).catch(() => 'gone');
  await until('it is known', async () => (await server.get('/v1/queries/waits-no-longer')).status === 200);
  client.abort();
  await gone;
  const state = async () => (await server.get('/v1/queries/waits-no-longer')).body.state;
  await until('it has ended', async () => (await state()) === 'cancelled');
  await server.cancel('front-of-it');
  await front;
  await expectAsBefore(at);
});

it('a memory hog gets MEMORY_LIMIT, and a worker that is full of it is replaced without blame', async () => {
  const at = await scene();
  const { server } = at;
  for (let turn = 0; turn < 3; turn += 1) {
    const { status, body } = await server.query(HOG);
    expect(status, JSON.stringify(body)).toBe(422);
    expect(body).toMatchObject({ code: 'MEMORY_LIMIT', retryable: false, limit: 256_000_000 });
    expect((await server.query('SELECT 1')).body.data).toEqual([[1]]);
  }
  for (const { cause } of at.exits()) expect(cause).toBe('recycled');
  await expectAsBefore(at);
});

it('queries in a row that had to be killed do not bring their pool down, where two crashes would', async () => {
  const restart = { intensity: 1, period: '1h' };
  const at = await scene(
    await testServer({ pools: { interactive: quickPool({ cancel_grace: '20ms', restart }) } }),
  );
  const { server } = at;
  const causes = () => at.exits().map(({ cause }) => cause);
  // On a slow machine one may be stopped before it has begun what no interruption reaches: that is no kill.
  for (let turn = 0; causes().length < 6; turn += 1) {
    expect(turn).toBeLessThan(100);
    const { body } = await server.query(DEAF, { timeout_ms: 20 });
    expect(body.code).toBe('QUERY_TIMEOUT');
  }
  expect(causes()).toEqual(Array(6).fill('killed'));
  expect(server.events('pool.down')).toEqual([]);
  await expectAsBefore(at);
});
