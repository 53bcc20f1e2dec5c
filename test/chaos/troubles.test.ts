/** Faults that a worker lives through, faults of a start, and faults that wait for one query. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readFlightRecord } from '../../src/workers/flight-recorder.ts';
import { quickPool, type TestServer, testServer, until } from '../support/test-server.ts';
import { ENDLESS } from './deaths.ts';

const SPILLS = 'SELECT max(h) FROM (SELECT md5(i::VARCHAR) AS h FROM range(6000000) t(i) ORDER BY h)';

/** Of the first incarnation of the only worker. */
function runFolder({ dataDir }: TestServer): string {
  const [run = ''] = readdirSync(join(dataDir, 'run'));
  return join(dataDir, 'run', run, 'interactive-1-1');
}

const status = (server: TestServer) => server.workers()[0]?.status();

it('disk-full: a query that has to spill gets DISK_LIMIT, and all others go on', async () => {
  const server = await testServer({ pools: { interactive: quickPool({ memory_limit: '64MB' }) } });
  const before = await server.footprint();
  server.fault('interactive', 'disk-full');
  const [full, ...others] = await Promise.all(
    [SPILLS, 'SELECT 1', 'SELECT 2'].map((sql) => server.query(sql)),
  );
  expect(full).toMatchObject({
    status: 422,
    body: { code: 'DISK_LIMIT', retryable: false, limit: 4_000_000_000, used: expect.any(Number) },
  });
  expect(JSON.stringify(full?.body)).not.toContain(server.dataDir);
  expect(others.map(({ body }) => body.data)).toEqual([[[1]], [[2]]]);
  expect(status(server)?.incarnation).toBe(1);
  await server.expectNothingLeaked(before);
});

it('more on disk than the limit: the query gets DISK_LIMIT, and its worker is replaced without blame', async () => {
  const server = await testServer({ pools: { interactive: quickPool({ temp_limit: '1MB' }) } });
  const before = await server.footprint();
  const victim = server.query(ENDLESS);
  await until('it runs', () => status(server)?.state === 'busy');
  const folder = join(runFolder(server), 'spill');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'much'), Buffer.alloc(20_000_000, 1));
  expect(await victim).toMatchObject({
    status: 422,
    body: { code: 'DISK_LIMIT', retryable: false, limit: 1_000_000, used: expect.any(Number) },
  });
  expect((await server.query('SELECT 42')).body.data).toEqual([[42]]);
  expect(server.events('worker.exited')).toMatchObject([{ cause: 'killed', signal: 'SIGKILL' }]);
  await server.expectNothingLeaked(before);
});

it('a worker whose memory does not come back is replaced when it has nothing to do', async () => {
  const pool = quickPool({ memory_hard_limit: '600MB' });
  const server = await testServer({ pools: { interactive: pool } });
  const before = await server.footprint();
  const pid = status(server)?.pid;
  for (let n = 0; n < 15; n += 1) {
    // Kept prepared, with its constant of twenty megabytes.
    const large = `SELECT count(*) FROM range(2) WHERE repeat('x', ${20_000_000 + n}) = range::VARCHAR`;
    expect((await server.query(large)).body).toMatchObject({ data: [[0]] });
  }
  await until('it is replaced', () => status(server)?.pid !== pid && status(server)?.state === 'idle');
  expect(server.events('worker.exited')).toMatchObject([
    { cause: 'recycled', exit_code: 0, detail: expect.stringContaining('with nothing to do') },
  ]);
  await server.expectNothingLeaked(before);
});

it('crash-at-start: the next start crashes, and the one after that does not', async () => {
  const server = await testServer();
  const before = await server.footprint();
  server.fault('interactive', 'crash-at-start');
  expect((await server.query('SELECT 1')).body.data).toEqual([[1]]);
  server.fault('interactive', 'sigkill');
  await until(
    'the third is there',
    () => status(server)?.incarnation === 3 && status(server)?.state === 'idle',
  );
  expect(server.events('worker.exited')).toMatchObject([
    { incarnation: 1, cause: 'crash', signal: 'SIGKILL' },
    { incarnation: 2, cause: 'crash', signal: 'SIGSEGV', phase: 'starting' },
  ]);
  expect((await server.query('SELECT 2')).body.data).toEqual([[2]]);
  await server.expectNothingLeaked(before);
});

it('slow-start: queries wait for it, and only that one start is slow', async () => {
  const server = await testServer();
  const before = await server.footprint();
  server.fault('interactive', 'slow-start');
  server.fault('interactive', 'sigkill');
  await until('it starts anew', () => status(server)?.incarnation === 2);
  const { status: code, body } = await server.query('SELECT 1');
  expect({ code, data: body.data }).toEqual({ code: 200, data: [[1]] });
  const [, slow] = server.events('worker.ready');
  // Its own delay alone is three seconds.
  expect(slow?.start_ms).toBeGreaterThanOrEqual(3_000);
  server.fault('interactive', 'sigkill');
  await until('it starts once more', () => server.events('worker.ready').length === 3);
  expect(server.roster.takeStartFault('interactive-1')).toBeUndefined();
  await server.expectNothingLeaked(before);
});

it('a fault for one query strikes when that query comes to the phase, and nobody else', async () => {
  // However late it reads of the cancellation, it is not to be killed before.
  const server = await testServer({ pools: { interactive: quickPool({ cancel_grace: '10s' }) } });
  const before = await server.footprint();
  const front = server.query(ENDLESS, { query_id: 'front' });
  await until('it runs', () => status(server)?.state === 'busy');
  await until('it is past preparing', () => readFlightRecord(runFolder(server)).phase === 'running');
  const worker = server.workers()[0]?.ref;
  // It is past preparing, and no other worker has a query of that name: neither has any effect.
  worker?.tell({ type: 'fault', fault: 'sigsegv', phase: 'preparing', queryId: 'front' });
  worker?.tell({ type: 'fault', fault: 'sigabrt', phase: 'preparing', queryId: 'nobody' });
  worker?.tell({ type: 'fault', fault: 'sigsegv', phase: 'cancelling', queryId: 'front' });
  const cancelled = server.cancel('front');
  expect((await front).body.code).toBe('WORKER_CRASHED');
  await cancelled;
  expect(server.events('worker.exited')).toMatchObject([
    { signal: 'SIGSEGV', phase: 'cancelling', query_id: 'front' },
  ]);
  expect((await server.query('SELECT 1')).body.data).toEqual([[1]]);
  await server.expectNothingLeaked(before);
});
