/**
 * Crash after crash with good queries in between, for a while. Every request is answered, with a result or a documented failure,
 * and afterwards everything is as it was. `DUCKCOOP_SOAK_CRASHES` sets how many; the figures are printed.
 */
import { expect, it } from 'vitest';
import { FAILURE_KINDS } from '../../src/failures.ts';
import { watchHealth } from '../support/health-watch.ts';
import { quickPool, type Reply, type TestServer, testServer, until } from '../support/test-server.ts';
import { SEGFAULT } from './deaths.ts';

const CRASHES = Number(process.env.DUCKCOOP_SOAK_CRASHES ?? 24);
const CLIENTS = 8;
/** Good queries for each that crashes. */
const GOOD = 4;

interface Soak {
  readonly replies: readonly Reply[];
  readonly outcomes: Readonly<Record<string, number>>;
}

/** Each client sends one request after the other, all of them together as many crashes as there are to be. */
async function soak(server: TestServer, crashes: number): Promise<Soak> {
  const replies: Reply[] = [];
  const outcomes: Record<string, number> = {};
  let next = 0;
  const client = async () => {
    while (next < crashes * (GOOD + 1)) {
      const n = next;
      next += 1;
      const reply = await server.query(n % (GOOD + 1) === 0 ? SEGFAULT : `SELECT ${n}`);
      replies.push(reply);
      const outcome = reply.status === 200 ? 'succeeded' : String(reply.body.code);
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      if (reply.status === 200) expect(reply.body.data).toEqual([[n]]);
      else expect(FAILURE_KINDS).toHaveProperty(outcome);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return { replies, outcomes };
}

const print = (figures: unknown) => process.stdout.write(`soak: ${JSON.stringify(figures)}\n`);

it(
  `${CRASHES} native crashes in a row fail nothing but the queries that caused them`,
  async () => {
    const server = await testServer({ pools: { interactive: quickPool({ size: 2 }) } });
    const before = await server.footprint();
    const health = watchHealth(server.url);
    const started = performance.now();
    const { replies, outcomes } = await soak(server, CRASHES);
    print({
      crashes: CRASHES,
      outcomes,
      max_ms: Math.round(Math.max(...replies.map(({ ms }) => ms))),
      slowest_healthz_ms: Math.round(await health.stop()),
      duration_s: Math.round((performance.now() - started) / 100) / 10,
    });
    expect(outcomes).toEqual({ WORKER_CRASHED: CRASHES, succeeded: CRASHES * GOOD });
    await until('all workers are back', () =>
      server.workers().every(({ status }) => status().state === 'idle'),
    );
    expect(server.events('fault')).toEqual([]);
    expect(server.events('query.ended')).toHaveLength(server.events('query.started').length);
    await server.expectNothingLeaked(before);
  },
  CRASHES * 5_000 + 60_000,
);

it('under the default intensity the pool goes down instead, says so, and comes back', async () => {
  const restart = { intensity: 5, period: '10s', backoff: { initial: '100ms', max: '30s' } };
  const server = await testServer({ pools: { interactive: quickPool({ size: 2, restart }) } });
  const before = await server.footprint();
  const { outcomes, replies } = await soak(server, 12);
  print({ outcomes, max_ms: Math.round(Math.max(...replies.map(({ ms }) => ms))) });
  expect(Object.keys(outcomes).toSorted()).toEqual(['POOL_DOWN', 'WORKER_CRASHED', 'succeeded']);
  for (const { body, headers } of replies.filter(({ status }) => status === 503)) {
    expect(body.code).toBe('POOL_DOWN');
    expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1);
  }
  expect(server.events('pool.down').length).toBeGreaterThanOrEqual(1);
  await until('it is back', async () => (await server.query('SELECT 1')).status === 200);
  await until('all workers are back', () =>
    server.workers().every(({ status }) => status().state === 'idle'),
  );
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
});
