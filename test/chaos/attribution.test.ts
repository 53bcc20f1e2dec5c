/** Deaths are laid to the queries that caused them, and whoever keeps causing them is stopped before others suffer. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { bearer, keyHash } from '../support/principals.ts';
import {
  call,
  quickPool,
  type Settings,
  type TestServer,
  testServer,
  until,
} from '../support/test-server.ts';
import { DEAF, HOG, SEGFAULT } from './deaths.ts';

/** The same statement to anybody but a string comparison. */
const again = (n: number) =>
  SEGFAULT.replaceAll('100000', `${100_000 + n}`).replace('SELECT', '/* and */ select  ');

const as = (server: TestServer, key: string, method: string, path: string, body?: Settings) =>
  call(server.url, method, path, body, undefined, bearer(key));

const back = (server: TestServer) =>
  until('the worker is back', () => server.workers().some(({ status }) => status().state === 'idle'));

it('a statement that crashed workers is refused, with the crashes and until when, and operators let it go', async () => {
  const server = await testServer({
    config: { quarantine: { crashes: 2, window: '10m', for: '10m' }, retry: { max: 0 } },
  });
  const before = await server.footprint();
  const crashes: string[] = [];
  for (const n of [0, 1]) {
    await back(server);
    const { status, body } = await server.query(again(n));
    expect(status).toBe(502);
    crashes.push(body.crash_id);
  }
  await back(server);
  const refused = await server.query(again(2));
  expect(refused).toMatchObject({
    status: 422,
    body: { code: 'QUERY_QUARANTINED', retryable: false, crash_ids: crashes, until: expect.any(Number) },
  });
  // Nobody else's statement is any of it.
  expect((await server.query('SELECT 1')).status).toBe(200);
  expect(server.events('worker.exited')).toHaveLength(2);

  const { quarantine } = (await server.get('/v1/quarantine')).body;
  expect(quarantine).toMatchObject([
    { crash_ids: crashes, until: refused.body.until, principals: ['anonymous'] },
  ]);
  expect(quarantine[0].statement).not.toContain('100000');
  const lift = `/v1/quarantine?fingerprint=${quarantine[0].fingerprint}`;
  expect((await call(server.url, 'DELETE', lift)).body).toEqual({ lifted: 1 });
  expect((await server.query(again(3))).status).toBe(502);
  expect(server.events('fault')).toEqual([]);
  await back(server);
  await server.expectNothingLeaked(before);
});

it('the second attempt of a read counts, and queries that wait when a quarantine begins are not run', async () => {
  const server = await testServer({
    pools: { interactive: quickPool({ dispatch_window: 0 }) },
    config: { quarantine: { crashes: 2 }, retry: { max: 1 } },
  });
  const replies = await Promise.all([0, 1, 2, 3, 4].map((n) => server.query(again(n))));
  const codes = replies.map(({ body }) => body.code).sort();
  expect(codes).toEqual([...Array(4).fill('QUERY_QUARANTINED'), 'WORKER_CRASHED']);
  expect(replies.find(({ body }) => body.code === 'WORKER_CRASHED')?.body.attempts).toBe(2);
  expect(server.events('worker.exited')).toHaveLength(2);
});

it('one client that kills workers is stopped before it takes the pool from another', async () => {
  const principals = Object.fromEntries(
    ['mallory', 'alice', 'ops'].map((name) => [
      name,
      { key_hash: keyHash(`${name}-key`), role: name === 'ops' ? 'operator' : 'reader' },
    ]),
  );
  const server = await testServer({
    pools: {
      interactive: quickPool({
        size: 2,
        reserve: 1,
        restart: { intensity: 5, period: '1m', backoff: { initial: '5ms', max: '20ms' } },
      }),
    },
    config: {
      auth: { mode: 'api_keys', principals },
      limits: { reader: { crash_budget: { crashes: 10, window: '10m' } } },
    },
  });
  const outcomes: Record<string, string[]> = { mallory: [], alice: [] };
  let goesOn = true;
  const client = async (name: 'mallory' | 'alice', sql: (n: number) => string) => {
    for (let n = 0; goesOn; n += 1) {
      const reply = await as(server, `${name}-key`, 'POST', '/v1/query', { sql: sql(n) });
      outcomes[name]?.push(reply.body.code ?? 'succeeded');
    }
  };
  // A name of its own for each, so that no quarantine helps.
  const clients = [
    ...[1, 2, 3].map((id) =>
      client('mallory', (n) => SEGFAULT.replace('SELECT', `SELECT ${id} AS m${id}_${n},`)),
    ),
    ...[1, 2].map(() => client('alice', () => 'SELECT 1')),
  ];
  const refusedOften = () =>
    (outcomes.mallory ?? []).filter((code) => code === 'CRASH_BUDGET_EXCEEDED').length > 20;
  await until('the first is refused', refusedOften);
  goesOn = false;
  await Promise.all(clients);
  expect(new Set(outcomes.alice)).toEqual(new Set(['succeeded']));
  expect(new Set(outcomes.mallory)).toEqual(new Set(['WORKER_CRASHED', 'CRASH_BUDGET_EXCEEDED']));
  // One restart of the five is left to everybody else.
  expect(outcomes.mallory?.filter((code) => code === 'WORKER_CRASHED')).toHaveLength(4);
  expect(server.events('pool.down')).toEqual([]);
  const refused = await as(server, 'mallory-key', 'POST', '/v1/query', { sql: 'SELECT 1' });
  expect(refused).toMatchObject({ status: 429, body: { code: 'CRASH_BUDGET_EXCEEDED', retryable: true } });
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
  const { crashes } = (await as(server, 'ops-key', 'GET', '/v1/crashes')).body;
  expect(crashes.map(({ principal }: { principal: string }) => principal)).toEqual(Array(4).fill('mallory'));
  expect((await as(server, 'alice-key', 'GET', '/v1/crashes')).status).toBe(403);
});

it('each death has a report: what it was, whose, how much memory, the last words, and no credential', async () => {
  const server = await testServer({
    sources: {
      pg1: { kind: 'postgres', host: '127.0.0.1', user: 'u', database: 'd', password: 'hunter2-pw' },
    },
    pools: { interactive: quickPool({ cancel_grace: '50ms' }) },
  });
  const crash = await server.query(SEGFAULT.replace('SELECT', 'SELECT ? AS p,'), {
    params: ["'hunter2-pw'"],
  });
  expect(crash.body.code).toBe('WORKER_CRASHED');
  await back(server);
  expect((await server.query(DEAF, { timeout_ms: 300 })).body.code).toBe('QUERY_TIMEOUT');
  await back(server);
  server.fault('interactive', 'exit-1');
  await until('all three have died', () => server.events('worker.exited').length === 3);

  const { crashes } = (await server.get('/v1/crashes')).body;
  expect(crashes).toMatchObject([
    { cause: 'crash', exit_code: 1, signal: null, phase: 'idle', query_id: null, fingerprint: null },
    { cause: 'killed', signal: 'SIGKILL', fingerprint: expect.any(String) },
    { cause: 'crash', signal: 'SIGSEGV', crash_id: crash.body.crash_id, query_id: crash.body.query_id },
  ]);
  const report = (await server.get(`/v1/crashes/${crash.body.crash_id}`)).body;
  expect(report).toMatchObject({
    pool: 'interactive',
    worker: 'interactive-1',
    incarnation: 1,
    pid: crash.body.worker.pid,
    phase: 'running',
    principal: 'anonymous',
    parameter_types: ['string'],
    sources: [],
    attempts: 1,
    limits: { memory_limit: 256_000_000, memory_hard_limit: 1_500_000_000, threads: 1 },
    versions: { node: process.version, duckdb: expect.stringMatching(/^v?1\.5\./) },
  });
  expect(report.statement).toContain('json_structure');
  expect(report.peak_memory_bytes).toBeGreaterThan(10_000_000);
  expect((await server.get('/v1/crashes/none')).status).toBe(404);

  const folder = join(server.dataDir, 'crashes');
  await until(
    'all are written',
    () => readdirSync(folder).filter((file) => file.endsWith('.json')).length === 3,
  );
  for (const file of readdirSync(folder)) {
    expect(statSync(join(folder, file)).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(folder, file), 'utf8')).not.toContain('hunter2');
  }
  expect(JSON.stringify(server.log)).not.toContain('hunter2');
});

it('a memory hog is laid to its principal, and is no crash of the pool', async () => {
  const server = await testServer({
    pools: { interactive: quickPool({ memory_hard_limit: '700MB', restart: { intensity: 0 } }) },
  });
  const { status, body } = await server.query(HOG);
  expect(status, JSON.stringify(body)).toBe(422);
  expect(body.code).toBe('MEMORY_LIMIT');
  await back(server);
  expect((await server.query('SELECT 1')).status).toBe(200);
  expect(server.events('pool.down')).toEqual([]);
});
