/** Things that happen at the same time, often enough for each order to come up. */
import { expect, it } from 'vitest';
import { quickPool, type Reply, testServer, until } from '../support/test-server.ts';
import { DEAF, HOG } from './deaths.ts';

const SHORT = 'SELECT sum(hash(i)) FROM range(200000) t(i)';

it('a cancel that races with the end of its query has one outcome, the same for both clients', async () => {
  const server = await testServer({ pools: { interactive: quickPool({ size: 2 }) } });
  const before = await server.footprint();
  const outcomes: Record<string, number> = {};
  const round = async (n: number) => {
    const query_id = `race-${n}`;
    const reply = server.query(SHORT, { query_id });
    let cancel: Reply;
    do cancel = await server.cancel(query_id);
    while (cancel.status === 404);
    const { status, body } = await reply;
    const { outcome } = cancel.body;
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    if (outcome === 'already_finished') expect(status).toBe(200);
    else expect({ status, code: body.code }).toEqual({ status: 409, code: 'QUERY_CANCELLED' });
  };
  const client = async (first: number) => {
    for (let n = first; n < first + 40; n += 1) await round(n);
  };
  await Promise.all([0, 40, 80, 120].map(client));
  expect(Object.values(outcomes).reduce((sum, count) => sum + count)).toBe(160);
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
});

it('queries behind one that is killed are none the worse for it', async () => {
  const server = await testServer();
  const before = await server.footprint();
  for (let turn = 0; turn < 6; turn += 1) {
    const [victim, ...behind] = await Promise.all([
      server.query(DEAF, { timeout_ms: 1 + turn * 6 }),
      ...[1, 2, 3, 4].map((n) => server.query(`SELECT ${n}`)),
    ]);
    expect(victim?.body.code).toBe('QUERY_TIMEOUT');
    expect(behind.map(({ body }) => body.data)).toEqual([[[1]], [[2]], [[3]], [[4]]]);
    for (const { body } of behind) expect(body.stats.attempts).toBe(1);
  }
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
});

it('queries behind one that wears its worker out are run by the next worker', async () => {
  const server = await testServer();
  const before = await server.footprint();
  for (let turn = 0; turn < 4; turn += 1) {
    const [hog, ...behind] = await Promise.all([
      server.query(HOG),
      ...[1, 2, 3, 4].map((n) => server.query(`SELECT ${n}`)),
    ]);
    expect(hog?.body.code).toBe('MEMORY_LIMIT');
    expect(behind.map(({ body }) => body.data)).toEqual([[[1]], [[2]], [[3]], [[4]]]);
  }
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
});

it('a worker that somebody kills at any moment costs at most the query it was at', async () => {
  const server = await testServer({ pools: { interactive: quickPool({ size: 2 }) } });
  const before = await server.footprint();
  let going = true;
  const kills = (async () => {
    for (let turn = 0; turn < 15; turn += 1) {
      await until('somebody is there', () =>
        server.workers().some(({ status }) => status().state !== 'starting'),
      );
      const worker = server.workers().find(({ status }) => ['idle', 'busy'].includes(status().state));
      const { pid } = worker?.status() ?? {};
      if (pid !== undefined) killIfThere(pid);
      await new Promise((resolve) => setTimeout(resolve, 20 + turn));
    }
    going = false;
  })();
  const codes: string[] = [];
  const client = async () => {
    while (going) {
      const { status, body } = await server.query(SHORT);
      codes.push(status === 200 ? 'succeeded' : body.code);
    }
  };
  await Promise.all([kills, ...Array.from({ length: 6 }, client)]);
  expect([...new Set(codes)].filter((code) => code !== 'succeeded' && code !== 'WORKER_CRASHED')).toEqual([]);
  expect(codes.filter((code) => code === 'WORKER_CRASHED').length).toBeLessThanOrEqual(15);
  expect(server.events('fault')).toEqual([]);
  await until('all are back', () => server.workers().every(({ status }) => status().state === 'idle'));
  await server.expectNothingLeaked(before);
});

it('a fault of the owner of a worker fails the query it had, and is mended as any crash', async () => {
  const server = await testServer();
  const before = await server.footprint();
  const query = server.query('SELECT sum(a.range) FROM range(1000000) a, range(1000000) b', {
    query_id: 'a',
  });
  await until('it runs', async () => (await server.get('/v1/queries/a')).body.state === 'running');
  server.workers()[0]?.ref.tell({ type: 'run' } as never);
  expect(await query).toMatchObject({ status: 500, body: { code: 'INTERNAL' } });
  expect((await server.query('SELECT 1')).body.data).toEqual([[1]]);
  expect(server.events('fault').map(({ where }) => where)).toEqual([
    'POST /v1/query',
    '/root/pools/pool:interactive/workers/interactive-1',
  ]);
  await server.expectNothingLeaked(before);
});

/** It may have died of the last one, and not be known to have. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    expect(error).toMatchObject({ code: 'ESRCH' });
  }
}
