/** What the README promises first: a join over three kinds of files, and a crash that nobody else notices. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { duckcoop } from '../support/cli.ts';
import { descriptorsOf, isRunning, mappedFilesOf } from './processes.ts';
import { ENDLESS, type Served, serveQuickstart, serveQuickstartWithoutRetry } from './server.ts';

const SOURCES = ['shop', 'files'];
const FIRST_QUERY = `
  SELECT c.country, p.category, count(*) AS orders, sum(o.quantity * p.price) AS revenue
  FROM shop.main.customers c
  JOIN files.orders o ON o.customer_id = c.customer_id
  JOIN files.products p ON p.product_id = o.product_id
  GROUP BY ALL ORDER BY revenue DESC LIMIT 5`;
const ANSWER = [
  ['Germany', 'Music', 151, 22837],
  ['Germany', 'Toys', 127, 19789],
  ['Germany', 'Garden', 131, 19114],
  ['Germany', 'Sports', 158, 17965],
  ['Germany', 'Kitchen', 126, 17089],
];

interface Node {
  readonly path: string;
  readonly state: string;
  readonly incarnation: number;
  readonly restarts: number;
  readonly children: readonly Node[];
}

async function nodeAt(served: Served, path: string): Promise<Node> {
  const nodes = [(await served.get('/v1/supervision')).json<Node>()];
  for (const node of nodes) nodes.push(...node.children);
  const found = nodes.find((node) => node.path === path);
  if (found === undefined) throw new Error(`no ${path} in the tree`);
  return found;
}

it('joins SQLite, Parquet and CSV in one statement, over HTTP and from the command line', async () => {
  const served = await serveQuickstart();

  const reply = await served.query(FIRST_QUERY, { sources: SOURCES, query_id: 'first' });
  expect(reply.status).toBe(200);
  expect(reply.headers.get('x-query-id')).toBe('first');
  expect(reply.json()).toMatchObject({
    query_id: 'first',
    columns: [
      { name: 'country', type: 'VARCHAR' },
      { name: 'category', type: 'VARCHAR' },
      { name: 'orders', type: 'BIGINT' },
      { name: 'revenue', type: 'HUGEINT' },
    ],
    data: ANSWER,
    row_count: 5,
    truncated: false,
    stats: { rows: 5, attempts: 1, worker: expect.stringMatching(/^interactive-[123]$/) },
  });

  const table = await duckcoop(['query', '--url', served.url, '--source', SOURCES.join(), FIRST_QUERY]);
  expect(table).toMatchObject({ code: 0, stderr: expect.stringMatching(/^5 rows in \d+ ms\n$/) });
  expect(table.stdout).toContain('Germany │ Music    │    151 │   22837\n');

  const json = await duckcoop([
    ...['query', '--url', served.url, '--format', 'json', '--source', SOURCES.join()],
    ...['--param', 'n=2', FIRST_QUERY.replace('LIMIT 5', 'LIMIT $n')],
  ]);
  expect(JSON.parse(json.stdout)).toMatchObject({ data: ANSWER.slice(0, 2) });

  const listed = await served.get('/v1/queries/first');
  expect(listed.json()).toMatchObject({ query_id: 'first', state: 'succeeded', rows: 5, error: null });
  await served.assertQuiet(2);
  await served.stop();
});

it('answers 502 for the query of a worker that dies of SIGSEGV, and nobody else notices', async () => {
  const served = await serveQuickstartWithoutRetry();
  const before = await served.idleWorkers(2);
  const health = watchHealth(served);

  const running = served.query(ENDLESS, { query_id: 'doomed' });
  const victim = await served.busyWorker('doomed');
  const folder = `${victim.id}-${victim.incarnation}`;
  expect(served.runFolders()).toContain(folder);
  process.kill(victim.pid, 'SIGSEGV');

  const reply = await running;
  expect(reply.status).toBe(502);
  expect(reply.headers.get('content-type')).toBe('application/problem+json');
  expect(reply.headers.get('x-query-id')).toBe('doomed');
  expect(reply.json()).toEqual({
    type: 'urn:duckcoop:problem:worker-crashed',
    title: expect.any(String),
    status: 502,
    code: 'WORKER_CRASHED',
    detail: expect.stringContaining(`${victim.id} died of SIGSEGV`),
    query_id: 'doomed',
    retryable: false,
    worker: {
      id: victim.id,
      incarnation: victim.incarnation,
      pid: victim.pid,
      signal: 'SIGSEGV',
      exit_code: null,
      phase: expect.stringMatching(/^(preparing|running)$/),
    },
    cause: 'crash',
    crash_id: expect.any(String),
    attempts: 1,
  });

  // At once, with the other worker.
  expect((await served.query('SELECT 42 AS answer')).json()).toMatchObject({ data: [[42]] });

  const after = await served.idleWorkers(2);
  const successor = after.find(({ id }) => id === victim.id);
  expect(successor).toMatchObject({ incarnation: victim.incarnation + 1 });
  const bystander = before.find(({ id }) => id !== victim.id);
  expect(after.find(({ id }) => id !== victim.id)).toMatchObject({
    pid: bystander?.pid,
    incarnation: bystander?.incarnation,
  });
  const workers = '/root/pools/pool:interactive/workers';
  expect(await nodeAt(served, `${workers}/${victim.id}`)).toMatchObject({
    state: 'running',
    incarnation: 2,
    restarts: 1,
  });
  expect(await nodeAt(served, workers)).toMatchObject({ incarnation: 1, restarts: 1 });
  expect(await nodeAt(served, '/root/http')).toMatchObject({ incarnation: 1, restarts: 0 });

  expect(isRunning(victim.pid)).toBe(false);
  expect(served.runFolders()).not.toContain(folder);
  expect(served.log('worker.exited')).toMatchObject([
    { worker: victim.id, pid: victim.pid, cause: 'crash', signal: 'SIGSEGV', query_id: 'doomed' },
  ]);
  const { statuses, slowestMs } = await health.end();
  expect(statuses).toEqual(new Set([200]));
  // Many times what it takes here, and far less than a restart takes.
  expect(slowestMs).toBeLessThan(800);
  await served.assertQuiet(2);
  await served.stop();
});

it('survives a statement that crashes DuckDB itself, and every kind of signal that native code dies of', async () => {
  const served = await serveQuickstartWithoutRetry();
  await served.idleWorkers(2);
  const descriptors = descriptorsOf(served.pid);

  // The JSON extension recurses once a bracket, until its stack ends.
  const crash = await served.query(
    "SELECT json_structure(repeat('[', 500000) || repeat(']', 500000)) AS structure",
  );
  expect(crash.status).toBe(502);
  expect(crash.json()).toMatchObject({ code: 'WORKER_CRASHED', worker: { signal: 'SIGSEGV' } });

  for (const signal of ['SIGABRT', 'SIGBUS', 'SIGKILL'] as const) {
    await served.idleWorkers(2);
    const running = served.query(ENDLESS, { query_id: signal });
    process.kill((await served.busyWorker(signal)).pid, signal);
    expect((await running).json()).toMatchObject({ code: 'WORKER_CRASHED', worker: { signal } });
    expect((await served.query('SELECT 1')).status).toBe(200);
  }

  await served.assertQuiet(2);
  expect(descriptorsOf(served.pid)).toBe(descriptors);
  // The process that answers has never loaded the library that crashes.
  expect(mappedFilesOf(served.pid).filter((path) => /duckdb/i.test(path))).toEqual([]);
  const [worker] = await served.workers();
  expect(mappedFilesOf(worker?.pid ?? 0).some((path) => path.includes('libduckdb'))).toBe(true);
  const core = join(served.dataDir, 'run');
  expect(existsSync(core) && (await readdir(core, { recursive: true })).some((n) => /core/.test(n))).toBe(
    false,
  );
  await served.stop();
});

/** Asks `/healthz` all the while. */
function watchHealth(served: Served) {
  const statuses = new Set<number>();
  let slowestMs = 0;
  let watching = true;
  const done = (async () => {
    while (watching) {
      const start = performance.now();
      statuses.add((await served.get('/healthz')).status);
      slowestMs = Math.max(slowestMs, performance.now() - start);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();
  return {
    end: async () => {
      watching = false;
      await done;
      return { statuses, slowestMs };
    },
  };
}
