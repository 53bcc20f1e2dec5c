/** `GET /v1/supervision/events` over real sockets: what a client gets, what becomes of one that is slow, or gone. */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { describe, expect, test } from 'vitest';
import { EventStreams } from '../../src/http/event-streams.ts';
import type { Exchange } from '../../src/http/exchange.ts';
import { EventLog } from '../../src/telemetry/event-log.ts';
import { Events } from '../../src/telemetry/events.ts';
import { ask, checkForLeaks, type Edge, openEdge, RawClient, until } from './edge.ts';

checkForLeaks();

const PATH = '/v1/supervision/events';

/** A stream that is read, over a bare connection. */
class StreamClient extends RawClient {
  constructor({ port }: Edge, query = '', headers: readonly string[] = []) {
    super(port);
    this.write(
      ['GET ', PATH, query, ' HTTP/1.1\r\nHost: a\r\n', ...headers.map((h) => `${h}\r\n`), '\r\n'].join(''),
    );
  }

  /** Everything after the reply's header, without the lengths of its chunks. */
  get body(): string {
    let rest = this.text.slice(this.text.indexOf('\r\n\r\n') + 4);
    let body = '';
    for (;;) {
      const end = rest.indexOf('\r\n');
      if (end === -1) return body;
      const length = Number.parseInt(rest.slice(0, end), 16);
      body += rest.slice(end + 2, end + 2 + length);
      rest = rest.slice(end + 2 + length + 2);
    }
  }

  get events(): EventSourceMessage[] {
    const events: EventSourceMessage[] = [];
    createParser({ onEvent: (event) => events.push(event) }).feed(this.body);
    return events;
  }

  get seen(): string[] {
    return this.events.map(({ event, id }) => `${event} ${id}`);
  }
}

const happen = ({ serverEvents }: Edge, ...pools: string[]) => {
  for (const pool of pools) serverEvents.emit('quarantine.ended', { fingerprint: pool, why: 'lifted' });
};
const poolsUp = (edge: Edge, count: number) => happen(edge, ...Array.from({ length: count }, () => 'p'));

describe('a stream', () => {
  test('begins with hello, and goes on with what happens', async () => {
    const edge = await openEdge();
    happen(edge, 'before');
    const client = new StreamClient(edge);
    await until(() => expect(client.seen).toEqual(['hello run1-1']));
    expect(client.text).toMatch(/^HTTP\/1\.1 200 /);
    expect(client.text.toLowerCase()).toContain('content-type: text/event-stream\r\n');
    expect(client.text.toLowerCase()).toContain('cache-control: no-store\r\n');
    expect(client.body).toMatch(/^retry: 2000\n\n/);
    happen(edge, 'after');
    await until(() => expect(client.seen).toEqual(['hello run1-1', 'quarantine.ended run1-2']));
    expect(JSON.parse(client.events[1]?.data ?? '')).toEqual({
      type: 'quarantine.ended',
      at: 1_700_000_000_000,
      fingerprint: 'after',
      why: 'lifted',
    });
    expect(edge.events).toMatchObject([{ route: PATH, status: 200 }]);
  });

  test.each<[string, string, string[]]>([
    ['the header', '', ['Last-Event-ID: run1-2']],
    ['the parameter', '?last_event_id=run1-2', []],
    ['the header, whatever the parameter was at first', '?last_event_id=run1-1', ['last-event-id: run1-2']],
  ])('that is taken up again by %s goes on behind that id', async (_, query, headers) => {
    const edge = await openEdge();
    poolsUp(edge, 4);
    const client = new StreamClient(edge, query, headers);
    await until(() => expect(client.seen).toEqual(['quarantine.ended run1-3', 'quarantine.ended run1-4']));
  });

  test('that is taken up too late, or after another run of the server, begins with a gap', async () => {
    const edge = await openEdge({ eventStreams: { keep: 3 } });
    poolsUp(edge, 10);
    const kept = [
      'gap run1-7',
      'quarantine.ended run1-8',
      'quarantine.ended run1-9',
      'quarantine.ended run1-10',
    ];
    for (const [id, lost] of [
      ['run1-2', 5],
      ['0', 7],
      ['run0-9', null],
      ['nonsense', null],
    ]) {
      const client = new StreamClient(edge, `?last_event_id=${id}`);
      await until(() => expect(client.seen).toEqual(kept));
      const [gap] = client.events;
      expect(JSON.parse(gap?.data ?? '')).toEqual({ type: 'gap', at: 1_700_000_000_000, lost });
    }
  });

  test('has only the events that were asked for', async () => {
    const edge = await openEdge();
    const client = new StreamClient(edge, '?types=query.retried,worker.exited');
    await until(() => expect(client.seen).toHaveLength(1));
    poolsUp(edge, 2);
    edge.serverEvents.emit('query.retried', {
      queryId: 'q',
      pool: 'p',
      attempts: 1,
      crashId: undefined,
    });
    await until(() => expect(client.seen).toEqual(['hello run1-0', 'query.retried run1-3']));
  });

  test('shows that it lives by comments, which carry the id for those who wait for rare events', async () => {
    const edge = await openEdge({ eventStreams: { heartbeatMs: 20 } });
    const client = new StreamClient(edge, '?types=query.retried');
    await until(() => expect(client.seen).toHaveLength(1));
    poolsUp(edge, 2);
    await until(() => expect(client.body).toContain(': heartbeat\nid: run1-2\n\n'));
    expect(client.seen).toEqual(['hello run1-0']);
  });

  test('is opened by a bare socket of HTTP/1.0 too, unchunked', async () => {
    const edge = await openEdge();
    const client = new RawClient(edge.port).write(`GET ${PATH}?last_event_id=0 HTTP/1.0\r\n\r\n`);
    happen(edge, 'p');
    await until(() =>
      expect(client.text).toMatch(
        /\r\n\r\nretry: 2000\n\nid: run1-1\nevent: quarantine.ended\ndata: .*\n\n$/,
      ),
    );
  });

  test('that was pipelined behind another request follows its reply', async () => {
    const edge = await openEdge();
    const request = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
    const client = new RawClient(edge.port).write(request('/healthz') + request(PATH));
    await until(() => expect(client.text).toMatch(/"ok"[\s\S]*event: hello/));
  });
});

describe('refused is', () => {
  test.each([
    ['?types=worker.exit', 'types'],
    ['?types=', 'types'],
    ['?types=quarantine.ended,,query.retried', 'types'],
    ['?types=gap', 'types'],
    ['?type=quarantine.ended', 'type'],
    ['?last_event_id=1&last_event_id=2', 'last_event_id'],
    ['?types=%ff', ''],
  ])('%s, with the names that are known', async (query, path) => {
    const edge = await openEdge();
    const reply = await ask(`${edge.url}${PATH}${query}`);
    expect(reply.status).toBe(400);
    expect(reply.json).toMatchObject({ code: 'INVALID_REQUEST', errors: [{ path }] });
    if (path === 'types') expect(reply.json.detail).toContain('worker.exited');
  });

  test('a client that takes no events', async () => {
    const edge = await openEdge();
    const reply = await ask(`${edge.url}${PATH}`, { headers: { accept: 'application/json' } });
    expect([reply.status, reply.json.code, reply.json.available]).toEqual([
      406,
      'NOT_ACCEPTABLE',
      ['text/event-stream'],
    ]);
    expect(edge.eventStreams.size).toBe(0);
  });

  test('HEAD, which would be a stream without an end', async () => {
    const edge = await openEdge();
    expect((await ask(`${edge.url}${PATH}`, { method: 'HEAD' })).headers.allow).toBe('GET, OPTIONS');
  });

  test('one stream too many, until another ends', async () => {
    const edge = await openEdge({ eventStreams: { max: 2 } });
    const first = new StreamClient(edge);
    const second = new StreamClient(edge);
    await until(() => expect(edge.eventStreams.size).toBe(2));
    const refused = await ask(`${edge.url}${PATH}`);
    expect([refused.status, refused.json.code, refused.json.retryable]).toEqual([503, 'OVERLOADED', true]);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    first.socket.destroy();
    await until(() => expect(edge.eventStreams.size).toBe(1));
    const third = new StreamClient(edge);
    await until(() => expect(third.seen).toHaveLength(1));
    happen(edge, 'p');
    await until(() => expect([second.seen.length, third.seen.length]).toEqual([2, 2]));
  });
});

describe('a client', () => {
  test('that reads nothing has little kept for it, and is disconnected when it falls behind', async () => {
    const edge = await openEdge({ eventStreams: { keep: 50 } });
    const slow = new StreamClient(edge);
    const quick = new StreamClient(edge);
    await until(() => expect([slow.seen.length, quick.seen.length]).toEqual([1, 1]));
    slow.socket.pause();
    const name = 'p'.repeat(5_000);
    // A pause for each few events: the quick one keeps up.
    for (let round = 0; round < 2_000 && edge.eventStreams.size === 2; round += 1) {
      happen(edge, ...Array.from({ length: 20 }, () => name));
      await pause(1);
    }
    expect(edge.eventStreams.size).toBe(1);
    expect(quick.closed).toBe(false);
    slow.socket.resume();
    await slow.untilClosed();
    // What was sent before is in order and whole.
    const { seen } = slow;
    expect(seen).toEqual([
      'hello run1-0',
      ...seen.slice(1).map((_, index) => `quarantine.ended run1-${index + 1}`),
    ]);
    expect(edge.errors).toEqual([]);
    const again = new StreamClient(edge, `?last_event_id=run1-${seen.length - 1}`);
    await until(() => expect(again.events[0]?.event).toBe('gap'));
  });

  test('that reads nothing never has more than a few writes waiting for it', async () => {
    const serverEvents = new Events();
    const streams = new EventStreams();
    const ring = new EventLog({ events: serverEvents, run: 'r' });
    const responses: ServerResponse[] = [];
    const server = createServer((req, res) => {
      responses.push(res);
      const exchange = { ctx: { req, res } } as unknown as Exchange;
      streams.open(exchange, { ring, lastEventId: undefined, types: undefined });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const client = new RawClient(port).write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => expect(client.text).toContain('hello'));
    client.socket.pause();
    let most = 0;
    while (streams.size > 0) {
      for (let count = 0; count < 500; count += 1)
        serverEvents.emit('quarantine.ended', { fingerprint: 'p'.repeat(500), why: 'lifted' });
      await new Promise((resolve) => setImmediate(resolve));
      most = Math.max(most, responses[0]?.writableLength ?? 0);
    }
    expect(most).toBeLessThan(200_000);
    await new Promise((resolve) => server.close(resolve));
  });

  test('that comes back with much to catch up on gets all of it, in order', async () => {
    const edge = await openEdge({ eventStreams: { keep: 500 } });
    happen(edge, ...Array.from({ length: 499 }, () => 'p'.repeat(20_000)), 'last');
    const client = new StreamClient(edge, '?last_event_id=0');
    client.socket.pause();
    await pause(50);
    client.socket.resume();
    await until(() =>
      expect(client.text.endsWith('"fingerprint":"last","why":"lifted"}\n\n\r\n')).toBe(true),
    );
    expect(client.seen).toEqual(
      Array.from({ length: 500 }, (_, index) => `quarantine.ended run1-${index + 1}`),
    );
  });

  test.each(['destroy', 'resetAndDestroy'] as const)(
    'that goes by %s is forgotten, and is no fault',
    async (how) => {
      const edge = await openEdge({ eventStreams: { heartbeatMs: 5 } });
      const client = new StreamClient(edge);
      await until(() => expect(client.seen).toHaveLength(1));
      client.socket[how]();
      poolsUp(edge, 3);
      await until(() => expect(edge.eventStreams.size).toBe(0));
      poolsUp(edge, 3);
      await pause(20);
      expect(edge.errors).toEqual([]);
    },
  );
});

describe('at shutdown', () => {
  test('streams end in order and do not hold the drain', async () => {
    const edge = await openEdge();
    const client = new StreamClient(edge);
    await until(() => expect(client.seen).toHaveLength(1));
    edge.eventStreams.close();
    await edge.listener.drain(60_000);
    expect(await client.untilClosed()).toMatch(/\r\n0\r\n\r\n$/);
    expect(edge.errors).toEqual([]);
  });

  test('a client that reads nothing is not waited for', async () => {
    const edge = await openEdge({ eventStreams: { keep: 1_000 } });
    const client = new StreamClient(edge);
    await until(() => expect(client.seen).toHaveLength(1));
    client.socket.pause();
    happen(edge, ...Array.from({ length: 1_000 }, () => 'p'.repeat(10_000)));
    await pause(50);
    edge.eventStreams.close();
    await edge.listener.drain(60_000);
    expect(edge.listener.connections).toBe(0);
  });

  test('no new ones are taken', async () => {
    const edge = await openEdge();
    edge.eventStreams.close();
    const reply = await ask(`${edge.url}${PATH}`);
    expect([reply.status, reply.json.code]).toEqual([503, 'SHUTTING_DOWN']);
  });
});
