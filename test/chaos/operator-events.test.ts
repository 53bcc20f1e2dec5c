/** What operators are told while real workers die. */
import { expect, it } from 'vitest';
import { followEvents, type StreamedEvent } from '../support/event-stream.ts';
import { quickPool, startTestServer, testServer, until } from '../support/test-server.ts';
import { SEGFAULT } from './deaths.ts';

const WORKER = '/root/pools/pool:interactive/workers/interactive-1';

it('a crash is told step by step: the exit, the restart that it leads to, the new worker', async () => {
  const server = await testServer();
  const before = await server.footprint();
  const stream = await followEvents(server.url);
  const { body } = await server.query(SEGFAULT, { query_id: 'fatal' });
  await until('the new worker is ready', () => stream.ofType('worker.ready').length > 0);
  const told = stream.events.filter(({ type }) => /^(worker|supervisor)\./.test(String(type)));
  expect(told).toMatchObject([
    {
      type: 'worker.exited',
      pool: 'interactive',
      worker: 'interactive-1',
      incarnation: 1,
      pid: body.worker.pid,
      cause: 'crash',
      signal: 'SIGSEGV',
      exit_code: null,
      query_id: 'fatal',
      crash_id: body.crash_id,
    },
    { type: 'supervisor.child_exited', path: WORKER, incarnation: 1, reason: 'error', cause: 'crash' },
    { type: 'supervisor.intensity', path: WORKER, used: 1, allowed: 10_000 },
    { type: 'supervisor.restart_scheduled', path: WORKER, delay_ms: 5, attempt: 1 },
    { type: 'supervisor.child_started', path: WORKER, incarnation: 2 },
    { type: 'worker.ready', worker: 'interactive-1', incarnation: 2 },
  ]);
  for (const { at } of told) expect(Math.abs(Date.now() - Number(at))).toBeLessThan(60_000);
  expect(JSON.stringify(told)).not.toMatch(/json_structure/);

  stream.close();
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
});

it('whoever was away is told what happened meanwhile, and one who was there before the restart hears of a gap', async () => {
  const server = await testServer();
  const stream = await followEvents(server.url);
  const { id } = stream.events.at(-1) as StreamedEvent;
  stream.close();
  await server.query(SEGFAULT);
  await until('it is back', () => server.workers().some(({ status }) => status().state === 'idle'));
  const types = ({ events }: { events: readonly StreamedEvent[] }) => events.map(({ type }) => type);

  const again = await followEvents(server.url, `?last_event_id=${id}&types=worker.exited,worker.ready`);
  await until('all of it is told', () => again.events.length === 2);
  expect(types(again)).toEqual(['worker.exited', 'worker.ready']);

  const stranger = await followEvents(server.url, '?last_event_id=0123456789ab-7&types=worker.ready');
  await until('all of it is told', () => stranger.events.length === 3);
  expect(types(stranger)).toEqual(['gap', 'worker.ready', 'worker.ready']);
  expect(stranger.events[0]).toMatchObject({ lost: null });
});

it('a pool that goes down and comes back is told with all that led to it', async () => {
  const restart = { intensity: 0, backoff: { initial: '50ms', max: '50ms' } };
  const server = await testServer({ pools: { interactive: quickPool({ restart }) } });
  const stream = await followEvents(server.url);
  await server.query(SEGFAULT);
  await until('the pool is back', () => stream.ofType('worker.ready').length > 0);
  const told = stream.events.map(({ type, path, state }) =>
    [type, path ?? state].filter((part) => part !== undefined).join(' '),
  );
  const pool = '/root/pools/pool:interactive';
  const inOrder = [
    'worker.exited',
    `supervisor.child_exited ${WORKER}`,
    `supervisor.gave_up ${WORKER}`,
    `supervisor.child_exited ${pool}/workers`,
    `supervisor.restart_scheduled ${pool}/workers`,
    'pool.state down',
    'pool.state probing',
    `supervisor.child_started ${pool}/workers`,
    `supervisor.child_started ${pool}/queue`,
  ];
  expect(told.filter((line) => inOrder.includes(String(line)))).toEqual(inOrder);
  const states = stream.ofType('pool.state');
  expect(states.map(({ state }) => state)).toEqual(['degraded', 'down', 'probing', 'up']);
  expect(states[1]).toMatchObject({ pool: 'interactive', retry_after_ms: 50 });
});

it('a server that stops ends its streams at once, however long its drain may take', async () => {
  const server = await startTestServer({ config: { server: { port: 0, drain_timeout: '60s' } } });
  const streams = await Promise.all([1, 2, 3].map(() => followEvents(server.url)));
  const started = performance.now();
  await server.stop();
  expect(performance.now() - started).toBeLessThan(30_000);
  expect(await Promise.all(streams.map(({ end }) => end))).toEqual(['ended', 'ended', 'ended']);
});
