import { describe, expect, test } from 'vitest';
import type { QueryView } from '../../src/actors/query.ts';
import { Failure } from '../../src/failures.ts';
import { ask, checkForLeaks, openEdge, TREE } from './edge.ts';

checkForLeaks();

const VIEW: QueryView = {
  queryId: 'q1',
  state: 'running',
  pool: 'interactive',
  principal: 'anonymous',
  submittedAt: 1_700_000_000_000,
  queueMs: 1.4,
  runMs: 20.6,
  rows: undefined,
  bytes: undefined,
  attempts: 1,
  worker: 'interactive-1',
  progress: { percentage: 12.5, rows: 10, bytes: 0, memoryBytes: 99 },
  error: undefined,
  kept: undefined,
  tags: { team: 'ops' },
};

const WIRE = {
  query_id: 'q1',
  state: 'running',
  pool: 'interactive',
  principal: 'anonymous',
  session_id: null,
  submitted_at: 1_700_000_000_000,
  queue_ms: 1,
  run_ms: 21,
  rows: null,
  bytes: null,
  attempts: 1,
  worker: 'interactive-1',
  progress: { percentage: 12.5, rows: 10, bytes: 0, memory_bytes: 99 },
  error: null,
  result: null,
  tags: { team: 'ops' },
};

describe('queries as resources', () => {
  test('are listed, with a cursor for more and null at the end', async () => {
    const edge = await openEdge();
    edge.queries.views.set('q1', VIEW);
    const first = await ask(`${edge.url}/v1/queries`);
    expect(first.json).toEqual({ queries: [WIRE], next: 'page-2' });
    const second = await ask(`${edge.url}/v1/queries?state=running&pool=interactive&limit=7&cursor=page-2`);
    expect(second.json.next).toBeNull();
    expect(edge.queries.filters).toEqual([
      { state: undefined, pool: undefined, limit: 100, cursor: undefined },
      { state: 'running', pool: 'interactive', limit: 7, cursor: 'page-2' },
    ]);
  });

  test.each([
    ['status=running', 'status'],
    ['state=gone', 'state'],
    ['limit=0', 'limit'],
    ['limit=1001', 'limit'],
    ['limit=1e2', 'limit'],
    ['pool=a&pool=b', 'pool'],
    ['pool=%ff', ''],
  ])('are not listed with the filter %s', async (filter, path) => {
    const edge = await openEdge();
    const reply = await ask(`${edge.url}/v1/queries?${filter}`);
    expect(reply.status).toBe(400);
    expect(reply.json).toMatchObject({ code: 'INVALID_REQUEST', errors: [{ path }] });
  });

  test('are not listed from a cursor the service does not know', async () => {
    const edge = await openEdge();
    expect((await ask(`${edge.url}/v1/queries?cursor=bad`)).json.code).toBe('INVALID_REQUEST');
  });

  test('are shown one by one, a failed one with its problem', async () => {
    const edge = await openEdge();
    const error = new Failure('QUERY_TIMEOUT', 'Too long.', { members: { limit_ms: 5 } });
    edge.queries.views.set('q1', { ...VIEW, state: 'failed', rows: 3, bytes: 9, error });
    const reply = await ask(`${edge.url}/v1/queries/q1`);
    expect(reply.headers['x-query-id']).toBe('q1');
    expect(reply.json).toEqual({
      ...WIRE,
      state: 'failed',
      rows: 3,
      bytes: 9,
      error: error.toProblem('q1'),
    });
  });

  test('are cancelled in the name of the caller, with the outcome', async () => {
    const edge = await openEdge();
    edge.queries.views.set('q1', VIEW);
    const reply = await ask(`${edge.url}/v1/queries/q1`, { method: 'DELETE' });
    expect([reply.status, reply.json]).toEqual([200, { outcome: 'killed' }]);
    expect(edge.queries.cancelled).toEqual([['q1', 'anonymous']]);
  });

  test.each(['GET', 'DELETE'])('that are unknown, or impossible, are 404 to %s', async (method) => {
    const edge = await openEdge();
    for (const id of ['q9', 'a%20b', '%00', 'x'.repeat(129), '%E0%A4%A']) {
      const reply = await ask(`${edge.url}/v1/queries/${id}`, { method });
      expect([id, reply.status, reply.json.code]).toEqual([id, 404, 'NOT_FOUND']);
    }
  });

  test('refuse query parameters they do not have', async () => {
    const edge = await openEdge();
    edge.queries.views.set('q1', VIEW);
    expect((await ask(`${edge.url}/v1/queries/q1?force=1`, { method: 'DELETE' })).status).toBe(400);
    expect(edge.queries.cancelled).toEqual([]);
  });
});

describe('sources', () => {
  test('are listed with their kinds and nothing else', async () => {
    const leaky = [{ alias: 'pg1', kind: 'postgres', password: 'hunter2' }];
    const edge = await openEdge({ sources: { list: () => leaky } });
    expect((await ask(`${edge.url}/v1/sources`)).json).toEqual({
      sources: [{ alias: 'pg1', kind: 'postgres' }],
    });
  });

  test('say how long their check took', async () => {
    const edge = await openEdge();
    const reply = await ask(`${edge.url}/v1/sources/pg1/check`, { method: 'POST' });
    expect([reply.status, reply.json]).toEqual([200, { alias: 'pg1', ok: true, ms: 4 }]);
  });

  test('that cannot be reached are a problem that may pass', async () => {
    const edge = await openEdge({
      sources: {
        check: async () => {
          throw new Failure('SOURCE_UNAVAILABLE', 'Connection refused.', { members: { source: 'pg1' } });
        },
      },
    });
    const reply = await ask(`${edge.url}/v1/sources/pg1/check`, { method: 'POST' });
    expect(reply.status).toBe(502);
    expect(reply.json).toMatchObject({ code: 'SOURCE_UNAVAILABLE', source: 'pg1', retryable: true });
  });

  test('that are not configured are 404', async () => {
    const edge = await openEdge();
    expect((await ask(`${edge.url}/v1/sources/pg9/check`, { method: 'POST' })).json.code).toBe('NOT_FOUND');
  });
});

describe('operators', () => {
  test('hear that the process lives even when everything else is broken', async () => {
    const broken = () => {
      throw new Error('broken');
    };
    const edge = await openEdge({ operations: { ready: broken, isDraining: broken, metrics: broken } });
    const reply = await ask(`${edge.url}/healthz`);
    expect([reply.status, reply.json]).toEqual([200, { status: 'ok' }]);
    expect((await ask(`${edge.url}/readyz`)).json.code).toBe('INTERNAL');
    expect((await ask(`${edge.url}/metrics`)).json.code).toBe('INTERNAL');
    expect(edge.errors).toHaveLength(2);
  });

  test.each([
    [true, false, 200],
    [false, false, 503],
    [true, true, 503],
  ])('hear whether it is ready: ready %s, draining %s is %i', async (ready, draining, status) => {
    const pools = { interactive: 'up', exports: 'down' };
    const edge = await openEdge({
      operations: { ready: () => ({ ready, pools }), isDraining: () => draining },
    });
    const reply = await ask(`${edge.url}/readyz`);
    expect([reply.status, reply.json]).toEqual([status, { ready: status === 200, pools }]);
  });

  test('see metrics, tree, workers and configuration as the services give them', async () => {
    const worker = {
      id: 'interactive-1',
      pool: 'interactive',
      pid: 7,
      state: 'idle',
      incarnation: 1,
      query_id: null,
      session_id: null,
      rss_bytes: 1,
      uptime_ms: 2,
      queries: 3,
    };
    const edge = await openEdge({ operations: { workers: () => [worker] } });
    const metrics = await ask(`${edge.url}/metrics`);
    expect([metrics.headers['content-type'], metrics.text]).toEqual(['text/plain; version=0.0.4', 'up 1\n']);
    expect((await ask(`${edge.url}/v1/supervision`)).json).toEqual(TREE);
    expect((await ask(`${edge.url}/v1/workers`)).json).toEqual({ workers: [worker] });
    expect((await ask(`${edge.url}/v1/config`)).json).toEqual({ pools: {} });
  });
});

describe('restarts', () => {
  test.each([
    ['/v1/supervision/queue/restart', 'queue'],
    ['/v1/supervision/root/pools/pool:a/workers/a-1/restart', 'root/pools/pool:a/workers/a-1'],
    ['/v1/supervision/pools%2Fpool%3Aa/queue/restart', 'pools/pool:a/queue'],
    ['/v1/supervision/%2Froot%2Fpools/restart', '/root/pools'],
    ['/v1/supervision/a/restart/restart', 'a/restart'],
  ])('%s asks for %s in the name of the caller, and is accepted', async (url, path) => {
    const asked: unknown[] = [];
    const restart = (...given: unknown[]) => {
      asked.push(given);
      return { path: '/root/x', incarnation: 3 };
    };
    const edge = await openEdge({ operations: { restart } });
    const reply = await ask(`${edge.url}${url}`, { method: 'POST' });
    expect([reply.status, reply.json]).toEqual([202, { path: '/root/x', incarnation: 3 }]);
    expect(asked).toEqual([[path, 'anonymous']]);
  });

  test.each([
    ['GET', '/v1/supervision/pools/restart', 405],
    ['POST', '/v1/supervision/restart', 404],
    ['POST', '/v1/supervision//restart', 404],
    ['POST', '/v1/supervision/a//b/restart', 404],
    ['POST', '/v1/supervision/%E0%A4%A/restart', 404],
    ['POST', '/v1/supervision/pools/restart/', 404],
    ['POST', '/v1/supervision/pools/restart?now=1', 400],
    ['POST', `/v1/supervision/${'a/'.repeat(10_000)}b`, 404],
  ])('are not asked for by %s %s', async (method, url, status) => {
    const edge = await openEdge({
      operations: {
        restart: () => {
          throw new Error('asked all the same');
        },
      },
    });
    expect((await ask(`${edge.url}${url}`, { method })).status).toBe(status);
    expect(edge.errors).toEqual([]);
  });
});

describe('a body where none is needed', () => {
  const reload = async () => ({ version: 1, changes: [], warnings: [] });
  const post = async (body: string | undefined) => {
    let reloads = 0;
    const counted = () => {
      reloads += 1;
      return reload();
    };
    const edge = await openEdge({ operations: { reload: counted } });
    const reply = await ask(`${edge.url}/v1/config/reload`, {
      method: 'POST',
      ...(body !== undefined && { body }),
    });
    expect(edge.errors).toEqual([]);
    return { status: reply.status, errors: reply.json.errors, reloads };
  };

  test.each([undefined, '', '{}', ' {} '])('is nothing: %j', async (body) => {
    expect(await post(body)).toEqual({ status: 200, errors: undefined, reloads: 1 });
  });

  test.each([
    ['{"dry_run": true}', 400, 'dry_run'],
    ['[]', 400, ''],
    ['{', 400, ''],
    [' '.repeat(10_001), 413, undefined],
  ])('is never ignored: %j', async (body, status, path) => {
    const { errors, ...reply } = await post(body);
    expect(reply).toEqual({ status, reloads: 0 });
    expect(errors?.[0].path).toBe(path);
  });
});

describe('paths and methods', () => {
  test.each([
    '/',
    '/v1',
    '/v1/query/',
    '/v1/queries/',
    '/v1/queries/a/b',
    '//healthz',
    '/V1/query',
    '/v1/sources/pg1',
  ])('%s leads nowhere', async (path) => {
    const edge = await openEdge();
    const reply = await ask(`${edge.url}${path}`);
    expect([reply.status, reply.json.code]).toEqual([404, 'NOT_FOUND']);
    expect(reply.headers['content-type']).toBe('application/problem+json');
    expect(reply.headers['x-query-id']).toBeUndefined();
  });

  test.each([
    ['PUT', '/v1/query', 'POST, GET, OPTIONS'],
    ['HEAD', '/v1/query', 'POST, GET, OPTIONS'],
    ['DELETE', '/v1/queries', 'POST, GET, HEAD, OPTIONS'],
    ['PATCH', '/v1/queries/q1', 'GET, HEAD, DELETE, OPTIONS'],
    ['GET', '/v1/sources/pg1/check', 'POST, OPTIONS'],
    ['POST', '/healthz', 'GET, HEAD, OPTIONS'],
  ])('%s %s is 405 and says what is allowed', async (method, path, allow) => {
    const edge = await openEdge();
    const reply = await ask(`${edge.url}${path}`, { method });
    expect([reply.status, reply.headers.allow]).toEqual([405, allow]);
    if (method !== 'HEAD') expect(reply.json.code).toBe('METHOD_NOT_ALLOWED');
  });

  test('OPTIONS says what is allowed and runs nothing', async () => {
    const edge = await openEdge();
    const reply = await ask(`${edge.url}/v1/query`, { method: 'OPTIONS' });
    expect([reply.status, reply.headers.allow, reply.text]).toEqual([204, 'POST, GET, OPTIONS', '']);
    expect(edge.queries.requests).toEqual([]);
  });

  test('HEAD is GET without the body', async () => {
    const edge = await openEdge();
    const [get, head] = [
      await ask(`${edge.url}/healthz`),
      await ask(`${edge.url}/healthz`, { method: 'HEAD' }),
    ];
    expect([head.status, head.text]).toEqual([200, '']);
    expect(head.headers['content-length']).toBe(get.headers['content-length']);
  });
});
