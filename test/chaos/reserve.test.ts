/** Workers that are kept warm take over when others die, and nobody waits for a start. */
import { expect, it } from 'vitest';
import { quickPool, type TestServer, testServer, until } from '../support/test-server.ts';
import { SEGFAULT } from './deaths.ts';

/** A worker that died comes back so late that no query could wait for it. */
const SLOW_RETURN = { backoff: { initial: '60s', max: '60s' } };

const states = (server: TestServer) =>
  server
    .workers()
    .map(({ status }) => status())
    .map(({ id, state }) => `${id} ${state}`)
    .sort();

const count = (server: TestServer, state: string) =>
  states(server).filter((each) => each.endsWith(` ${state}`)).length;

it('a reserve worker takes over at once when one dies, long before that one is back', async () => {
  const server = await testServer({
    pools: { interactive: quickPool({ size: 1, reserve: 2, restart: SLOW_RETURN }) },
  });
  await until('roles are given', () => count(server, 'idle') === 1);
  expect(count(server, 'reserve')).toBe(2);
  const died = new Set();
  for (const left of [2, 1]) {
    const { body: crash } = await server.query(SEGFAULT);
    expect(crash.code).toBe('WORKER_CRASHED');
    died.add(crash.worker.id);
    const { body } = await server.query('SELECT 42');
    expect(body).toMatchObject({ data: [[42]], stats: { attempts: 1 } });
    expect(died).not.toContain(body.stats.worker);
    expect(states(server)).toHaveLength(left);
    expect(count(server, 'idle')).toBe(1);
  }
  const { pools } = (await server.get('/readyz')).body;
  expect(pools).toEqual({ interactive: 'up' });
  expect(server.events('fault')).toEqual([]);
});

it('what waits keeps its order when a reserve takes over, and what was sent ahead is run by it', async () => {
  const server = await testServer({
    pools: { interactive: quickPool({ size: 1, reserve: 1, restart: SLOW_RETURN }) },
  });
  const crash = server.query(SEGFAULT);
  const rest = Array.from({ length: 12 }, (_, n) => server.query(`SELECT ${n}`));
  expect((await crash).body.code).toBe('WORKER_CRASHED');
  for (const { body } of await Promise.all(rest)) expect(body).toMatchObject({ stats: { attempts: 1 } });
  // One worker at a time takes queries, so they end in the order in which they begin.
  const idsOf = (name: string) => server.events(name).map(({ query_id }) => query_id);
  expect(idsOf('query.ended')).toEqual(idsOf('query.started'));
});

it('the one that comes back is the reserve then, and only as many as the size take queries', async () => {
  const server = await testServer({ pools: { interactive: quickPool({ size: 2, reserve: 1 }) } });
  const before = await server.footprint();
  for (let turn = 0; turn < 4; turn += 1) {
    expect((await server.query(SEGFAULT)).body.code).toBe('WORKER_CRASHED');
    await until('all three are back', () => count(server, 'idle') === 2 && count(server, 'reserve') === 1);
  }
  const replies = await Promise.all(
    Array.from({ length: 30 }, () => server.query('SELECT sum(range) FROM range(100000)')),
  );
  const workers = new Set(replies.map(({ body }) => body.stats.worker));
  expect(workers.size).toBe(2);
  await server.expectNothingLeaked(before);
});

it('a reserve worker that dies itself disturbs no query', async () => {
  const server = await testServer({ pools: { interactive: quickPool({ size: 1, reserve: 1 }) } });
  await until('roles are given', () => count(server, 'idle') === 1);
  const reserve = server.workers().find(({ status }) => status().state === 'reserve');
  const id = reserve?.status().id;
  reserve?.ref.tell({ type: 'fault', fault: 'sigsegv', phase: undefined });
  const replies = await Promise.all(Array.from({ length: 20 }, () => server.query('SELECT 1')));
  expect(replies.map(({ status }) => status)).toEqual(Array(20).fill(200));
  await until('it has died', () => server.events('worker.exited').length === 1);
  await until('it is back', () => states(server).includes(`${id} reserve`));
  expect(server.events('worker.exited')).toMatchObject([{ worker: id, cause: 'crash' }]);
});
