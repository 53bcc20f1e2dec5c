import { describe, expect, test } from 'vitest';
import type { QueryResult } from '../../src/actors/query.ts';
import { checkForLeaks, largeResult, openEdge, problemOf, RawClient, resultOf, until } from './edge.ts';

checkForLeaks();

const HEAD = 'POST /v1/query HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n';

function post(body: string): string {
  return `${HEAD}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

function statuses(text: string): string[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => match[1] ?? '');
}

describe('bytes that are no request', () => {
  test.each([
    ['garbage', '\x00\x01\x02 garbage\r\n\r\n', 400],
    ['a method in lower case', 'get / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['two lengths', `${HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}`, 400],
    ['a length and chunks', `${HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
    ['a negative length', `${HEAD}Content-Length: -1\r\n\r\n`, 400],
    ['a chunk of no size', `${HEAD}Transfer-Encoding: chunked\r\n\r\nxyz\r\n`, 400],
    [
      'headers that are too long',
      `GET /healthz HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`,
      431,
    ],
    ['a path that is too long', `GET /v1/query?sql=${'x'.repeat(40_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, 431],
  ])('%s are answered once with a problem, and the connection is closed', async (_, bytes, status) => {
    const edge = await openEdge();
    const client = new RawClient(edge.port).write(bytes);
    const reply = await client.untilClosed();
    expect(statuses(reply)).toEqual([String(status)]);
    expect(reply).toMatch(/content-type: application\/problem\+json/i);
    expect(reply).toMatch(/connection: close/i);
    expect(problemOf(reply)).toMatchObject({ code: 'INVALID_REQUEST', status });
    expect(edge.queries.requests).toEqual([]);
    expect(edge.errors).toEqual([]);
  });

  test.each([
    ['headers', 'POST /v1/query HTTP/1.1\r\nHost: a\r\nX-Slow'],
    ['a body', `${HEAD}Content-Length: 100\r\n\r\n{"sql":`],
  ])('%s that never end are answered with 408', async (_, bytes) => {
    const edge = await openEdge({ listener: { headersTimeoutMs: 100, requestTimeoutMs: 200 } });
    const reply = await new RawClient(edge.port).write(bytes).untilClosed();
    expect(problemOf(reply)).toMatchObject({ status: 408, code: 'INVALID_REQUEST' });
  });

  test('after a request are answered after that request', async () => {
    const edge = await openEdge();
    let finish: (result: QueryResult) => void = () => {};
    edge.queries.answer = () =>
      new Promise((resolve) => {
        finish = resolve;
      });
    const client = new RawClient(edge.port).write(`${post('{"sql":"SELECT 1"}')}garbage\r\n\r\n`);
    await until(() => expect(edge.queries.requests).toHaveLength(1));
    expect(client.text).toBe('');
    finish(resultOf());
    expect(statuses(await client.untilClosed())).toEqual(['200', '400']);
  });

  test('of a request without a Host, of two types, or for no URL are refused by the application', async () => {
    const edge = await openEdge();
    const client = new RawClient(edge.port);
    client.write('GET /healthz HTTP/1.1\r\n\r\n');
    await until(() => expect(client.text).toMatch(/Host header is missing/));
    client.write(`${HEAD}Content-Type: text/plain\r\nContent-Length: 1\r\n\r\n1`);
    await until(() => expect(client.text).toMatch(/more than one Content-Type/));
    client.write('GET http://[:: HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => expect(client.text).toMatch(/not a URL/));
    expect(statuses(client.text)).toEqual(['400', '400', '400']);
  });

  test('of a request target in its absolute form are a request all the same', async () => {
    const edge = await openEdge();
    const client = new RawClient(edge.port).write(
      'GET http://a/v1/query?sql=SELECT+1 HTTP/1.1\r\nHost: a\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
    );
    await until(() => expect(statuses(client.text)).toEqual(['200', '404']));
    expect(edge.queries.requests).toMatchObject([{ sql: 'SELECT 1' }]);
  });

  test('that stop halfway leave nothing behind', async () => {
    const edge = await openEdge();
    const client = new RawClient(edge.port).write(`${HEAD}Content-Length: 100\r\n\r\n{"sql":`);
    await until(() => expect(edge.listener.connections).toBe(1));
    client.socket.destroy();
    await until(() => expect(edge.listener.connections).toBe(0));
    await until(() => expect(edge.events).toMatchObject([{ status: 499 }]));
    expect(edge.errors).toEqual([]);
  });
});

describe('a body that is too large', () => {
  const limits = { maxBodyBytes: 1000 };

  test('is refused by its announced length, before any of it has come', async () => {
    const edge = await openEdge({ limits });
    const client = new RawClient(edge.port).write(`${HEAD}Content-Length: 10000000\r\n\r\n`);
    await until(() => expect(client.text).toMatch(/\}$/));
    expect(problemOf(client.text)).toMatchObject({ status: 413, code: 'PAYLOAD_TOO_LARGE', limit: 1000 });
    expect(client.text).toMatch(/connection: close/i);
    client.socket.end();
    await client.untilClosed();
  });

  test('is refused while its client goes on sending all ten megabytes, and no reset destroys the reply', async () => {
    const edge = await openEdge({ limits });
    const errors: unknown[] = [];
    const client = new RawClient(edge.port);
    client.socket.on('error', (error) => errors.push(error));
    client.write(`${HEAD}Content-Length: 10000000\r\n\r\n`);
    client.write(Buffer.alloc(10_000_000, 'x'));
    const reply = await client.untilClosed();
    expect(problemOf(reply)).toMatchObject({ status: 413 });
    expect(errors).toEqual([]);
  });

  test('is refused in chunks as soon as they pass the limit', async () => {
    const edge = await openEdge({ limits });
    const client = new RawClient(edge.port).write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
    client.write(`3e8\r\n${'x'.repeat(1000)}\r\n`);
    await until(() => expect(edge.listener.connections).toBe(1));
    expect(client.text).toBe('');
    client.write('1\r\nx\r\n');
    await until(() => expect(client.text).toMatch(/\}$/));
    expect(problemOf(client.text)).toMatchObject({ status: 413, limit: 1000 });
    client.write('0\r\n\r\n');
    await client.untilClosed();
  });

  test('may be just as large as the limit', async () => {
    const edge = await openEdge({ limits });
    const body = `{"sql":"SELECT 1${' '.repeat(1000 - 18)}"}`;
    const client = new RawClient(edge.port).write(post(body));
    await until(() => expect(statuses(client.text)).toEqual(['200']));
  });
});

describe('pipelined requests', () => {
  test('run at once and are answered in their order', async () => {
    const edge = await openEdge();
    const finish = new Map<string, (result: QueryResult) => void>();
    edge.queries.answer = ({ queryId }) => new Promise((resolve) => finish.set(queryId, resolve));
    const ids = Array.from({ length: 15 }, (_, index) => `p${index}`);
    const client = new RawClient(edge.port).write(
      ids.map((id) => post(`{"sql":"SELECT 1","query_id":"${id}"}`)).join(''),
    );
    await until(() => expect(finish.size).toBe(15));
    // The last first, and large ones among them.
    for (const [index, id] of ids.toReversed().entries())
      finish.get(id)?.(index % 3 === 0 ? largeResult(300_000) : resultOf());
    await until(() => expect(statuses(client.text)).toHaveLength(15));
    expect([...client.text.matchAll(/"query_id":"(\w+)"/g)].map((match) => match[1])).toEqual(ids);
  });

  test('are all abandoned when their client is gone', async () => {
    const edge = await openEdge();
    edge.queries.answer = () => new Promise(() => {});
    const ids = ['a', 'b', 'c'];
    const client = new RawClient(edge.port).write(
      ids.map((id) => post(`{"sql":"SELECT 1","query_id":"${id}"}`)).join(''),
    );
    await until(() => expect(edge.queries.requests).toHaveLength(3));
    client.socket.destroy();
    await until(() => expect(edge.queries.abandoned).toEqual(ids));
  });
});

describe('a client that does not read', () => {
  const listener = { clientWriteTimeoutMs: 200 };

  test('is disconnected in the middle of a large result', async () => {
    const edge = await openEdge({ listener });
    edge.queries.answer = async () => largeResult(30_000_000);
    const client = new RawClient(edge.port).write(post('{"sql":"SELECT 1"}'));
    client.socket.pause();
    await until(() => expect(edge.queries.requests).toHaveLength(1));
    await until(() => expect(edge.listener.connections).toBe(0));
    client.socket.resume();
    const reply = await client.untilClosed();
    expect(reply.length).toBeLessThan(30_000_000);
  });

  test('is disconnected when it pipelines without end', async () => {
    const edge = await openEdge({ listener });
    const client = new RawClient(edge.port);
    client.socket.pause();
    const burst = 'GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(1000);
    const timer = setInterval(() => client.write(burst), 1);
    try {
      await until(() => expect(edge.listener.connections).toBe(1));
      await until(() => expect(edge.listener.connections).toBe(0));
    } finally {
      clearInterval(timer);
    }
  });

  test('is not disconnected while its query runs, nor while it reads slowly', async () => {
    const edge = await openEdge({ listener: { clientWriteTimeoutMs: 600 } });
    let finish: (result: QueryResult) => void = () => {};
    edge.queries.answer = () =>
      new Promise((resolve) => {
        finish = resolve;
      });
    const client = new RawClient(edge.port).write(post('{"sql":"SELECT 1"}'));
    const begun = performance.now();
    await until(() => expect(performance.now() - begun).toBeGreaterThan(1000));
    finish(largeResult(12_000_000));
    // Reads for a moment, then pauses, and takes longer than the timeout for all of it.
    for (let round = 0; round < 12; round += 1) {
      client.socket.resume();
      const had = client.text.length;
      await until(() => expect(client.text.length > Math.min(had, 12_000_000)).toBe(true));
      client.socket.pause();
      const paused = performance.now();
      await until(() => expect(performance.now() - paused).toBeGreaterThan(70));
    }
    client.socket.resume();
    await until(() => expect(client.text.length).toBeGreaterThan(12_000_000));
    expect(client.closed).toBe(false);
  });
});

test('a client that resets its connection while it waits is no fault of the server', async () => {
  const edge = await openEdge();
  let stopped: (outcome: 'killed') => void = () => undefined;
  edge.queries.cancel = (queryId, { name }) => {
    edge.queries.cancelled.push([queryId, name]);
    return new Promise((resolve) => {
      stopped = resolve;
    });
  };
  const client = new RawClient(edge.port).write('DELETE /v1/queries/q1 HTTP/1.1\r\nHost: a\r\n\r\n');
  await until(() => expect(edge.queries.cancelled).toHaveLength(1));
  client.socket.resetAndDestroy();
  await until(() => expect(edge.listener.connections).toBe(0));
  stopped('killed');
  await until(() => expect(edge.events).toHaveLength(1));
  expect(edge.errors).toEqual([]);
});
