/** What an operator looks at: readiness, metrics, the log, the workers. */
import { expect, it } from 'vitest';
import { ENDLESS, type Served, serve, serveQuickstartWithoutRetry } from './server.ts';

/** One of each: two that succeed, one that DuckDB refuses, one cancelled, one timed out, one crashed. */
async function mixedQueries(served: Served): Promise<void> {
  expect((await served.query('SELECT 1')).status).toBe(200);
  expect((await served.query('SELECT 2')).status).toBe(200);
  expect((await served.query('SELECT x')).status).toBe(400);
  expect((await served.query(ENDLESS, { timeout_ms: 50 })).status).toBe(504);
  const cancelled = served.query(ENDLESS, { query_id: 'cancelled' });
  await served.busyWorker('cancelled');
  const outcome = (await served.request('DELETE', '/v1/queries/cancelled')).json();
  expect(outcome).toEqual({ outcome: expect.stringMatching(/^(cancelled|killed)$/) });
  expect((await cancelled).json()).toMatchObject({ status: 409, code: 'QUERY_CANCELLED' });
  expect((await served.request('DELETE', '/v1/queries/cancelled')).json()).toEqual({
    outcome: 'already_finished',
  });
  const crashed = served.query(ENDLESS, { query_id: 'crashed', tags: { team: 'e2e' } });
  process.kill((await served.busyWorker('crashed')).pid, 'SIGSEGV');
  expect((await crashed).status).toBe(502);
  await served.idleWorkers(2);
}

it('counts what happens, in valid Prometheus text', async () => {
  const served = await serveQuickstartWithoutRetry();
  await served.idleWorkers(2);
  await mixedQueries(served);
  const reply = await served.get('/metrics');
  expect(reply.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  const samples = parseMetrics(reply.text);
  const pool = 'pool="interactive"';
  for (const [sample, value] of [
    [`duckcoop_queries_total{${pool},outcome="succeeded"}`, 2],
    [`duckcoop_queries_total{${pool},outcome="SQL_ERROR"}`, 1],
    [`duckcoop_queries_total{${pool},outcome="QUERY_TIMEOUT"}`, 1],
    [`duckcoop_queries_total{${pool},outcome="QUERY_CANCELLED"}`, 1],
    [`duckcoop_queries_total{${pool},outcome="WORKER_CRASHED"}`, 1],
    [`duckcoop_query_duration_seconds_count{${pool}}`, 6],
    [`duckcoop_worker_exits_total{${pool},cause="crash"}`, 1],
    [`duckcoop_workers{${pool},state="idle"}`, 2],
    [`duckcoop_workers{${pool},state="reserve"}`, 1],
    [`duckcoop_pool_up{${pool}}`, 1],
    ['duckcoop_supervisor_restarts_total{supervisor="/root/pools/pool:interactive/workers"}', 1],
    ['duckcoop_http_requests_total{method="POST",route="/v1/query",status="502"}', 1],
    ['duckcoop_http_requests_total{method="POST",route="/v1/query",status="200"}', 2],
  ] as const) {
    expect(samples.get(sample), sample).toBe(value);
  }
  expect([...samples.keys()].filter((name) => name.startsWith('duckcoop_faults_total'))).toEqual([]);
  expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(1e7);
  await served.assertQuiet(2);
  await served.stop();
});

it('logs JSON lines, one query.ended for each query.started, and never the SQL', async () => {
  const served = await serveQuickstartWithoutRetry();
  await served.idleWorkers(2);
  await mixedQueries(served);
  expect((await served.query("SELECT 'only-in-the-sql'")).status).toBe(200);
  await served.assertQuiet(2); // holds starts against ends
  await served.stop();
  for (const line of served.log()) {
    expect(line).toMatchObject({
      level: expect.any(Number),
      time: expect.any(String),
      msg: expect.any(String),
    });
  }
  const ended = served.log('query.ended');
  expect(ended.map(({ outcome }) => outcome)).toEqual([
    ...['succeeded', 'succeeded', 'SQL_ERROR', 'QUERY_TIMEOUT', 'QUERY_CANCELLED', 'WORKER_CRASHED'],
    'succeeded',
  ]);
  const [crashed] = served.log('query.started').filter(({ query_id }) => query_id === 'crashed');
  expect(crashed).toMatchObject({ pool: 'interactive', principal: 'anonymous', tags: { team: 'e2e' } });
  expect(served.log('worker.exited')[0]).toMatchObject({ crash_id: expect.any(String) });
  expect(served.output).not.toContain('only-in-the-sql');
  expect(served.output).not.toContain('range(');
});

it('is ready while a pool takes work, not ready when none does, and alive either way', async () => {
  const served = await serve(
    'retry: { max: 0 }\npools: { interactive: { size: 1, restart: { intensity: 0, backoff: { initial: 1500ms, jitter: 0 } } } }',
  );
  expect((await served.get('/readyz')).json()).toEqual({ ready: true, pools: { interactive: 'up' } });
  const crashed = served.query(ENDLESS, { query_id: 'crashed' });
  process.kill((await served.busyWorker('crashed')).pid, 'SIGSEGV');
  expect((await crashed).status).toBe(502);

  const refused = await served.query('SELECT 1');
  expect(refused.json()).toMatchObject({
    status: 503,
    code: 'POOL_DOWN',
    retryable: true,
    pool: 'interactive',
  });
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  const notReady = await served.get('/readyz');
  expect(notReady.status).toBe(503);
  expect(notReady.json()).toEqual({ ready: false, pools: { interactive: 'down' } });
  expect((await served.get('/healthz')).status).toBe(200);
  expect(parseMetrics((await served.get('/metrics')).text).get('duckcoop_pool_up{pool="interactive"}')).toBe(
    0,
  );

  await served.idleWorkers(1);
  expect((await served.get('/readyz')).status).toBe(200);
  expect((await served.query('SELECT 42')).json()).toMatchObject({ data: [[42]] });
  expect(served.log('pool.down')).toMatchObject([{ pool: 'interactive', retry_after_ms: 1500 }]);
  await served.assertQuiet(1);
  await served.stop();
});

/** Samples by name and labels, as they stand. Throws for what the format does not allow. */
function parseMetrics(text: string): Map<string, number> {
  const types = new Map<string, string>();
  const samples = new Map<string, number>();
  expect(text.endsWith('\n')).toBe(true);
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('# HELP ')) continue;
    const type = /^# TYPE (\S+) (counter|gauge|histogram|summary|untyped)$/.exec(line);
    if (type !== null) {
      expect(types.has(type[1] ?? ''), line).toBe(false);
      types.set(type[1] ?? '', type[2] ?? '');
      continue;
    }
    const sample = /^([a-zA-Z_:][\w:]*)(\{(?:\w+="(?:[^"\\\n]|\\.)*",?)*\})? (\S+)$/.exec(line);
    if (sample === null) throw new Error(`no sample: ${line}`);
    const [, name = '', labels = '', value = ''] = sample;
    const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '');
    expect(types.has(family), line).toBe(true);
    expect(samples.has(name + labels), line).toBe(false);
    expect(value, line).toMatch(/^([+-]?\d+(\.\d+)?(e[+-]?\d+)?|[+-]Inf|NaN)$/i);
    samples.set(name + labels, Number(value.replace('Inf', 'Infinity')));
  }
  return samples;
}
