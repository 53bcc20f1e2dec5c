import { expect, test } from 'vitest';
import type { QueryResult } from '../../src/actors/query.ts';
import { Listener } from '../../src/http/listener.ts';
import {
  ask,
  checkForLeaks,
  largeResult,
  openAgent,
  openEdge,
  postQuery,
  RawClient,
  resultOf,
  until,
} from './edge.ts';

checkForLeaks();

const QUERY = 'GET /v1/query?sql=SELECT+1 HTTP/1.1\r\nHost: a\r\n\r\n';

test('a listener says where it listens', async () => {
  const listener = new Listener((_, response) => void response.end('here'), { clientWriteTimeoutMs: 1000 });
  const { url, port } = await listener.listen('::1', 0);
  expect(url).toBe(`http://[::1]:${port}`);
  expect((await ask(url)).text).toBe('here');
  await listener.drain(0);
});

test('a listener that finds its port taken rejects', async () => {
  const edge = await openEdge();
  const listener = new Listener(() => {}, { clientWriteTimeoutMs: 1000 });
  await expect(listener.listen('127.0.0.1', edge.port)).rejects.toThrow('EADDRINUSE');
  await listener.drain(0);
});

test('a drain closes idle and silent connections at once and refuses new ones', async () => {
  const edge = await openEdge();
  const agent = openAgent({ connections: 1 });
  await postQuery(edge, { sql: 'SELECT 1' }, { agent });
  const silent = new RawClient(edge.port);
  await until(() => expect(edge.listener.connections).toBe(2));
  await edge.listener.drain(60_000);
  expect(edge.listener.connections).toBe(0);
  await silent.untilClosed();
  await expect(ask(`${edge.url}/healthz`)).rejects.toThrow('ECONNREFUSED');
});

test('a drain waits for the requests in flight, whose replies say that the connection closes', async () => {
  const edge = await openEdge();
  let finish: (result: QueryResult) => void = () => {};
  edge.queries.answer = () =>
    new Promise((resolve) => {
      finish = resolve;
    });
  const client = new RawClient(edge.port).write(QUERY);
  await until(() => expect(edge.queries.requests).toHaveLength(1));
  let drained = false;
  const drain = edge.listener.drain(60_000).then(() => {
    drained = true;
  });
  finish(resultOf());
  const reply = await client.untilClosed();
  expect(reply).toMatch(/^HTTP\/1\.1 200 [\s\S]*connection: close[\s\S]*"attempts":1\}\}$/i);
  await drain;
  expect(drained).toBe(true);
});

test('a drain sends pipelined replies and large ones whole', async () => {
  const edge = await openEdge();
  const finish: ((result: QueryResult) => void)[] = [];
  edge.queries.answer = () => new Promise((resolve) => finish.push(resolve));
  const client = new RawClient(edge.port).write(QUERY + QUERY);
  await until(() => expect(finish).toHaveLength(2));
  client.socket.pause();
  finish[0]?.(largeResult(20_000_000));
  const drain = edge.listener.drain(60_000);
  finish[1]?.(resultOf());
  client.socket.resume();
  const reply = await client.untilClosed();
  await drain;
  expect(reply.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
  expect(reply.length).toBeGreaterThan(20_000_000);
  expect(reply).toMatch(/"attempts":1\}\}$/);
});

test('a drain destroys what is left after its timeout, and the queries are abandoned', async () => {
  const edge = await openEdge();
  edge.queries.answer = () => new Promise(() => {});
  const client = new RawClient(edge.port).write(QUERY);
  await until(() => expect(edge.queries.requests).toHaveLength(1));
  await edge.listener.drain(50);
  expect(edge.listener.connections).toBe(0);
  expect(edge.queries.abandoned).toHaveLength(1);
  expect(await client.untilClosed()).toBe('');
});

test('a second drain shortens the first', async () => {
  const edge = await openEdge();
  edge.queries.answer = () => new Promise(() => {});
  new RawClient(edge.port).write(QUERY);
  await until(() => expect(edge.queries.requests).toHaveLength(1));
  const first = edge.listener.drain(60_000);
  await edge.listener.drain(0);
  await first;
});

test('a connection that is idle for too long is closed', async () => {
  const edge = await openEdge({ listener: { keepAliveTimeoutMs: 50 } });
  const client = new RawClient(edge.port).write('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
  expect(await client.untilClosed()).toMatch(/"ok"/);
});
