/**
 * Statements that take all the memory there is. Each gets an honest reply, from a process that stays within its hard limit, and the
 * next query is served. `DUCKCOOP_HOGS=all` runs all of them, for some minutes, and prints what each came to.
 */
import { readFileSync } from 'node:fs';
import { expect, it, onTestFinished } from 'vitest';
import { watchHealth } from '../support/health-watch.ts';
import { quickPool, startTestServer, type TestServer, testServer, until } from '../support/test-server.ts';
import { HOGS } from './hogs.ts';

const ALL = process.env.DUCKCOOP_HOGS === 'all';
const HARD_LIMIT = 1_000_000_000;
const chosen = Object.entries(HOGS).filter(([, { quick }]) => ALL || quick);
const pool = (settings = {}) =>
  quickPool({
    threads: 2,
    memory_limit: '200MB',
    memory_hard_limit: HARD_LIMIT,
    temp_limit: '1GB',
    ...settings,
  });

/** The highest resident set that the pool's workers have while `work` goes on, in bytes. */
async function peakOf<Value>(
  server: TestServer,
  work: Promise<Value>,
): Promise<{ value: Value; peak: number }> {
  let peak = 0;
  const look = () => {
    for (const { status } of server.workers()) peak = Math.max(peak, residentBytes(status().pid));
  };
  look();
  const timer = setInterval(look, 20);
  const value = await work.finally(() => clearInterval(timer));
  return { value, peak };
}

/** From proc(5), statm, in pages of 4 KiB. */
function residentBytes(pid: number | undefined): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * 4_096;
  } catch {
    return 0;
  }
}

it(
  'a hog gets MEMORY_LIMIT from a process that never passes its hard limit by much',
  async () => {
    const server = await testServer({ pools: { interactive: pool({ timeout: ALL ? '120s' : '20s' }) } });
    const before = await server.footprint();
    const health = watchHealth(server.url);
    const table: string[] = [];
    for (const [name, { sql }] of chosen) {
      await until('a worker is there', () => server.workers()[0]?.status().state === 'idle');
      const { pid } = server.workers()[0]?.status() ?? {};
      const { value: reply, peak } = await peakOf(server, server.query(sql));
      const outcome = reply.status === 200 ? 'succeeded' : String(reply.body.code);
      // What it spills counts too, and to count to a thousand million takes its time.
      expect(['succeeded', 'MEMORY_LIMIT', ...(ALL ? ['DISK_LIMIT', 'QUERY_TIMEOUT'] : [])], name).toContain(
        outcome,
      );
      if (outcome === 'MEMORY_LIMIT') {
        expect([200_000_000, HARD_LIMIT], name).toContain(reply.body.limit);
        expect(reply.body.used, name).toBeGreaterThan(0);
      }
      expect(peak, name).toBeLessThan(1.2 * HARD_LIMIT);
      expect((await server.query('SELECT 42')).body.data).toEqual([[42]]);
      const lives = server.workers()[0]?.status().pid === pid;
      const megabytes = String(Math.round(peak / 1e6)).padStart(5);
      table.push(
        `${name.padEnd(36)} ${outcome.padEnd(14)} ${String(Math.round(reply.ms)).padStart(7)} ms ${megabytes} MB  ${lives ? 'lives' : 'replaced'}`,
      );
    }
    if (ALL) process.stdout.write(`${table.join('\n')}\n`);
    expect(await health.stop(), 'the slowest reply of /healthz').toBeLessThan(2_000);
    const causes = server.events('worker.exited').map(({ cause }) => cause);
    expect(causes.filter((cause) => cause !== 'recycled' && cause !== 'killed')).toEqual([]);
    expect(server.events('fault')).toEqual([]);
    await server.expectNothingLeaked(before);
  },
  ALL ? 1_800_000 : 60_000,
);

it('a hog whose process can only abort gets MEMORY_LIMIT as well, which brings no pool down', async () => {
  const restart = { intensity: 0, period: '1h' };
  const small = pool({ memory_limit: '100MB', memory_hard_limit: '330MB', restart });
  const server = await testServer({ pools: { interactive: small } });
  const before = await server.footprint();
  for (let turn = 0; turn < 2; turn += 1) {
    const { status, body } = await server.query('SELECT mode(hash(range)) FROM range(50000000)');
    expect({ status, body }, JSON.stringify(server.events('worker.exited'))).toMatchObject({
      status: 422,
      body: { code: 'MEMORY_LIMIT', retryable: false },
    });
    expect((await server.query('SELECT 42')).body.data).toEqual([[42]]);
  }
  for (const { cause } of server.events('worker.exited')) expect(['killed', 'recycled']).toContain(cause);
  expect(server.events('pool.down')).toEqual([]);
  await server.expectNothingLeaked(before);
});

it('a worker that cannot even start within its hard limit counts as a crash, so that it is not started for ever', async () => {
  const restart = { intensity: 2, period: '1h', backoff: { initial: '5ms', max: '60s' } };
  const tiny = pool({ memory_limit: '50MB', memory_hard_limit: '120MB', restart });
  const server = await startTestServer({ pools: { tiny } });
  onTestFinished(() => server.stop());
  await until('the pool is down', () => server.events('pool.down').length > 0);
  const exits = server.events('worker.exited');
  expect(exits.map(({ cause, phase }) => `${cause} ${phase}`)).toEqual(Array(3).fill('crash starting'));
  expect((await server.query('SELECT 1')).body.code).toBe('POOL_DOWN');
  expect(server.events('fault')).toEqual([]);
});
