import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import type { QueryResult } from '../../src/actors/query.ts';
import { Failure } from '../../src/failures.ts';
import { ANONYMOUS } from '../../src/principal.ts';
import { ask, checkForLeaks, largeResult, openAgent, openEdge, postQuery, resultOf, until } from './edge.ts';

checkForLeaks();

describe('a query that succeeds', () => {
  test('is answered with the bytes of the worker between the members of the contract', async () => {
    const edge = await openEdge();
    const reply = await postQuery(edge, { sql: 'SELECT 42', query_id: 'mine' });
    expect(reply.status).toBe(200);
    expect(reply.text).toBe(
      '{"query_id":"mine","columns":[{"name":"42","type":"INTEGER"}],"data":[[42]],"row_count":1,"truncated":false,' +
        '"stats":{"queue_ms":0,"run_ms":2,"total_ms":2,"rows":1,"bytes":42,"peak_memory_bytes":4096,"worker":"interactive-1","attempts":1}}',
    );
  });

  test('is answered with its id, its length, and headers that forbid caching and guessing', async () => {
    const edge = await openEdge();
    const reply = await postQuery(edge, { sql: 'SELECT 42' });
    expect(reply.headers).toMatchObject({
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(reply.text)),
      'x-query-id': reply.json.query_id,
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    });
    expect(reply.json.query_id).toMatch(/^q-[0-9a-f-]{36}$/);
    expect(edge.queries.requests[0]?.queryId).toBe(reply.json.query_id);
  });

  test('hands the service every field, in milliseconds and bytes', async () => {
    const edge = await openEdge();
    const params = { since: 1, amount: { type: 'DECIMAL(18,2)', value: '1.10' }, none: null };
    await postQuery(edge, {
      sql: 'SELECT $since',
      params,
      format: 'json',
      row_format: 'objects',
      sources: ['pg1', 'landing'],
      pool: 'interactive',
      timeout_ms: 1000,
      queue_timeout_ms: 2000,
      row_limit: 0,
      byte_limit: '1MB',
      memory_limit: '512MiB',
      threads: 2,
      query_id: 'a.b_c:d-1',
      tags: { team: 'ops' },
    });
    expect(edge.queries.requests).toEqual([
      {
        queryId: 'a.b_c:d-1',
        sql: 'SELECT $since',
        params,
        rowFormat: 'objects',
        sources: ['pg1', 'landing'],
        inline: [],
        pool: 'interactive',
        timeoutMs: 1000,
        queueTimeoutMs: 2000,
        rowLimit: 0,
        byteLimit: 1_000_000,
        memoryLimit: 512 * 1024 * 1024,
        threads: 2,
        client: '127.0.0.1',
        readOnly: false,
        tags: { team: 'ops' },
        principal: ANONYMOUS,
      },
    ]);
  });

  test('leaves what was not asked for to the service', async () => {
    const edge = await openEdge();
    await postQuery(edge, { sql: 'SELECT 42' });
    expect(edge.queries.requests[0]).toMatchObject({
      params: undefined,
      rowFormat: 'arrays',
      sources: [],
      pool: undefined,
      timeoutMs: undefined,
      tags: {},
    });
  });

  test.each([
    'application/sql',
    'text/plain',
    'text/plain; charset=UTF-8',
    'application/sql;charset="utf-8"',
  ])('may be sent as a body of %s, with the other fields in the query string', async (type) => {
    const edge = await openEdge();
    const query = new URLSearchParams({
      timeout_ms: '1500',
      sources: 'pg1,landing',
      params: '[1,"ä"]',
      tags: '{"a":"b"}',
      byte_limit: '1000',
    });
    const reply = await ask(`${edge.url}/v1/query?${query}`, {
      method: 'POST',
      headers: { 'content-type': type },
      body: "SELECT 'ä' || $1",
    });
    expect(reply.status).toBe(200);
    expect(edge.queries.requests[0]).toMatchObject({
      sql: "SELECT 'ä' || $1",
      timeoutMs: 1500,
      sources: ['pg1', 'landing'],
      params: [1, 'ä'],
      tags: { a: 'b' },
      byteLimit: 1000,
      readOnly: false,
    });
  });

  test('may be sent with GET, and is read-only then', async () => {
    const edge = await openEdge();
    const reply = await ask(
      `${edge.url}/v1/query?sql=SELECT+1%20%2B%201&sources=pg1&sources=landing&query_id=g1`,
    );
    expect(reply.headers['x-query-id']).toBe('g1');
    expect(edge.queries.requests[0]).toMatchObject({
      sql: 'SELECT 1 + 1',
      sources: ['pg1', 'landing'],
      readOnly: true,
    });
  });

  test('may begin with a byte order mark and come in chunks that split a character', async () => {
    const edge = await openEdge();
    const bytes = Buffer.from('\ufeff{"sql":"SELECT \'€\'"}');
    const at = bytes.indexOf(0xe2) + 1;
    const reply = await ask(`${edge.url}/v1/query`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: Readable.from([bytes.subarray(0, at), bytes.subarray(at)]),
    });
    expect(reply.status).toBe(200);
    expect(edge.queries.requests[0]?.sql).toBe("SELECT '€'");
  });

  test('may have a result of many megabytes in many pieces', async () => {
    const edge = await openEdge();
    const pieces = Array.from({ length: 100 }, (_, index) =>
      Buffer.from(`,["${String(index).repeat(60_000)}"]`),
    );
    edge.queries.answer = async () => resultOf('[[0]', ...pieces, Buffer.from(']'));
    const reply = await postQuery(edge, { sql: 'SELECT 42' });
    expect(reply.headers['content-length']).toBe(String(Buffer.byteLength(reply.text)));
    expect(reply.json.data).toHaveLength(101);
  });

  test('keeps the connection for the next one', async () => {
    const edge = await openEdge();
    const agent = openAgent({ connections: 1 });
    for (let count = 0; count < 20; count += 1) {
      if (count === 10) edge.queries.answer = async () => largeResult(200_000);
      expect((await postQuery(edge, { sql: 'SELECT 42' }, { agent })).status).toBe(200);
    }
    expect(edge.listener.connections).toBe(1);
  });

  test.each([
    '*/*',
    'application/*',
    'application/json',
    'text/csv;q=0.9, application/json;q=0.1',
    'text/html, */*;q=0.1',
  ])('is answered with JSON to Accept: %s', async (accept) => {
    const edge = await openEdge();
    expect((await postQuery(edge, { sql: 'SELECT 42' }, { headers: { accept } })).status).toBe(200);
  });

  test('obeys the field format rather than the Accept header', async () => {
    const edge = await openEdge();
    const reply = await postQuery(
      edge,
      { sql: 'SELECT 42', format: 'json' },
      { headers: { accept: 'text/csv' } },
    );
    expect(reply.status).toBe(200);
  });
});

describe('a query that fails', () => {
  test('is answered with the problem of the service, its members and headers', async () => {
    const edge = await openEdge();
    const worker = {
      id: 'interactive-1',
      incarnation: 2,
      pid: 7,
      signal: 'SIGSEGV',
      exit_code: null,
      phase: 'running',
    };
    edge.queries.answer = async () => {
      throw new Failure('WORKER_CRASHED', 'The worker died.', {
        members: { worker, crash_id: 'c1', attempts: 2 },
      });
    };
    const reply = await postQuery(edge, { sql: 'SELECT 42', query_id: 'mine' });
    expect(reply.status).toBe(502);
    expect(reply.headers).toMatchObject({ 'content-type': 'application/problem+json', 'x-query-id': 'mine' });
    expect(reply.json).toEqual({
      type: 'urn:duckcoop:problem:worker-crashed',
      title: 'The worker died while it ran the query',
      status: 502,
      code: 'WORKER_CRASHED',
      detail: 'The worker died.',
      query_id: 'mine',
      retryable: false,
      worker,
      crash_id: 'c1',
      attempts: 2,
    });
    expect(edge.errors).toEqual([]);
  });

  test('is told when to come back', async () => {
    const edge = await openEdge();
    edge.queries.answer = async () => {
      throw new Failure('OVERLOADED', 'Too many queries are waiting.', { retryAfter: 1.2 });
    };
    const reply = await postQuery(edge, { sql: 'SELECT 42' });
    expect([reply.status, reply.headers['retry-after'], reply.json.retryable]).toEqual([503, '2', true]);
  });

  test('for a reason nobody foresaw is INTERNAL, its cause in the log and not in the reply', async () => {
    const edge = await openEdge();
    edge.queries.answer = async () => {
      throw new TypeError('password is hunter2');
    };
    const reply = await postQuery(edge, { sql: 'SELECT 42' });
    expect([reply.status, reply.json.code]).toEqual([500, 'INTERNAL']);
    expect(reply.text).not.toMatch(/hunter2|TypeError|at .*\.ts/);
    expect(edge.errors).toEqual([expect.objectContaining({ message: 'password is hunter2' })]);
  });

  test('because its result is too large is RESULT_TOO_LARGE with both sizes', async () => {
    const edge = await openEdge({ limits: { maxResultBytes: 1000 } });
    edge.queries.answer = async () => largeResult(1001);
    const reply = await postQuery(edge, { sql: 'SELECT 42' });
    expect(reply.status).toBe(422);
    expect(reply.json).toMatchObject({ code: 'RESULT_TOO_LARGE', limit: 1000, used: 1001 });
  });

  test('because the server drains is SHUTTING_DOWN, on a connection that closes', async () => {
    const edge = await openEdge({ operations: { isDraining: () => true } });
    for (const method of ['GET', 'POST']) {
      const reply = await ask(`${edge.url}/v1/query?sql=SELECT+1`, {
        method,
        ...(method === 'POST' ? { body: 'x'.repeat(100_000) } : {}),
      });
      expect(reply.status).toBe(503);
      expect(reply.json).toMatchObject({ code: 'SHUTTING_DOWN', retryable: true });
      expect(reply.headers).toMatchObject({ connection: 'close', 'retry-after': '5' });
      expect(reply.headers['x-query-id']).toBeDefined();
    }
    expect(edge.queries.requests).toEqual([]);
    await until(() => expect(edge.listener.connections).toBe(0));
  });
});

describe('a client that does not wait', () => {
  test('has its query abandoned, once, while others go on', async () => {
    const edge = await openEdge();
    const finish: ((result: QueryResult) => void)[] = [];
    edge.queries.answer = () => new Promise((resolve) => finish.push(resolve));
    const gone = new AbortController();
    const leaving = fetch(`${edge.url}/v1/query?sql=SELECT+1&query_id=leaving`, { signal: gone.signal });
    const staying = ask(`${edge.url}/v1/query?sql=SELECT+2&query_id=staying`);
    await until(() => expect(finish).toHaveLength(2));
    gone.abort();
    await expect(leaving).rejects.toThrow();
    await until(() => expect(edge.queries.abandoned).toEqual(['leaving']));
    for (const settle of finish) settle(resultOf());
    expect((await staying).status).toBe(200);
    await until(() => expect(edge.events.map(({ status }) => status).sort()).toEqual([200, 499]));
    expect(edge.queries.abandoned).toEqual(['leaving']);
    expect(edge.errors).toEqual([]);
  });
});

test('every request is reported with its route, status and query', async () => {
  const edge = await openEdge();
  await postQuery(edge, { sql: 'SELECT 42', query_id: 'mine' });
  await ask(`${edge.url}/v1/queries/unknown`);
  await ask(`${edge.url}/nowhere`);
  expect(edge.events).toMatchObject([
    { method: 'POST', route: '/v1/query', status: 200, queryId: 'mine' },
    { method: 'GET', route: '/v1/queries/{id}', status: 404, queryId: 'unknown' },
    { method: 'GET', route: undefined, status: 404, queryId: undefined },
  ]);
  for (const { durationMs } of edge.events) expect(durationMs).toBeGreaterThan(0);
});
