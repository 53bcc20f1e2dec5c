/** Results as streams over HTTP: whole or seen not to be, at the client's pace, and not at the cost of anybody else. */
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { RecordBatchReader } from 'apache-arrow';
import { describe, expect, test } from 'vitest';
import { ask } from '../http/edge.ts';
import {
  quickPool,
  type Settings,
  type TestServer,
  testServer,
  until,
  useServer,
} from '../support/test-server.ts';

const FORMATS = ['ndjson', 'csv', 'arrow', 'parquet'] as const;
/** Some hundred megabytes, in any format. */
const HUGE = 'SELECT i, hash(i) AS h, hash(i + 1)::VARCHAR AS t FROM range(20000000) r(i)';
const SMALL = 'SELECT i FROM range(3) r(i)';

interface Stream {
  readonly reply: IncomingMessage;
  readonly text: string;
  /** The connection ended before the reply did. */
  readonly cut: boolean;
}

/** Sends a query, and hands over the reply once its header is here. */
function open(server: TestServer, body: Settings): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Type': 'application/json' };
    const asked = request(`${server.url}/v1/query`, { method: 'POST', headers, agent: false }, resolve);
    asked.on('error', reject);
    asked.end(JSON.stringify(body));
  });
}

async function rest(reply: IncomingMessage): Promise<Stream> {
  const tail: Buffer[] = [];
  let cut = false;
  try {
    for await (const piece of reply) {
      tail.push(piece as Buffer);
      if (tail.length > 100) tail.shift();
    }
  } catch {
    cut = true;
  }
  return { reply, text: Buffer.concat(tail).toString('utf8'), cut };
}

const fetch = async (server: TestServer, body: Settings) => await rest(await open(server, body));

/** So patient with a COPY that is to stop that no worker is killed for it on a busy machine. */
const PATIENT = { pools: { interactive: quickPool({ cancel_grace: '5s', timeout: '60s' }) } };

const isIdle = (server: TestServer) => server.workers().some(({ status }) => status().state === 'idle');

/** A client that sends a query and reads nothing of the reply. */
async function readNothing(server: TestServer, body: Settings): Promise<Socket> {
  const { port } = new URL(server.url);
  const socket = connect(Number(port), '127.0.0.1');
  socket.on('error', () => undefined);
  socket.pause();
  const text = JSON.stringify(body);
  socket.write(
    `POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
  await until('the reply is under way', () =>
    server.workers().some(({ status }) => status().state === 'busy'),
  );
  return socket;
}

describe('a stream that succeeds', () => {
  const shared = useServer();

  test.each([
    ['ndjson', 'application/x-ndjson', undefined],
    ['csv', 'text/csv', 'attachment; filename="mine-csv.csv"'],
    ['arrow', 'application/vnd.apache.arrow.stream', 'attachment; filename="mine-arrow.arrows"'],
    ['parquet', 'application/vnd.apache.parquet', 'attachment; filename="mine-parquet.parquet"'],
  ])('says so behind its last byte: %s', async (format, type, disposition) => {
    const server = shared();
    const before = await server.footprint();
    const { reply, cut } = await fetch(server, { sql: SMALL, format, query_id: `mine-${format}` });
    expect(cut).toBe(false);
    expect(reply.headers).toMatchObject({
      'content-type': type,
      'x-query-id': `mine-${format}`,
      trailer: 'X-Query-Status, X-Query-Rows, X-Query-Truncated',
      'transfer-encoding': 'chunked',
    });
    expect(reply.headers['content-disposition']).toBe(disposition);
    expect(reply.trailers).toEqual({ 'x-query-status': 'succeeded', 'x-query-rows': '3' });
    const again = await fetch(server, { sql: SMALL, format, row_limit: 2 });
    expect(again.reply.trailers).toEqual({
      'x-query-status': 'succeeded',
      'x-query-rows': '2',
      'x-query-truncated': 'true',
    });
    await server.expectNothingLeaked(before);
  });

  test('is chosen by the Accept header, by its weights, and by the field before that', async () => {
    const server = shared();
    const type = async (accept: string, more = '') => {
      const url = `${server.url}/v1/query?sql=${encodeURIComponent(SMALL)}${more}`;
      return (await ask(url, { headers: { accept } })).headers['content-type'];
    };
    expect(await type('text/csv')).toBe('text/csv');
    expect(await type('text/*')).toBe('text/csv');
    expect(await type('*/*')).toBe('application/json');
    expect(await type('text/csv;q=0.5, application/x-ndjson')).toBe('application/x-ndjson');
    expect(await type('application/x-ndjson;q=0.1, application/json;q=0')).toBe('application/x-ndjson');
    expect(await type('text/csv', '&format=ndjson')).toBe('application/x-ndjson');
    const options = encodeURIComponent('{"header":false,"delimiter":";","null":"-"}');
    const url = `${server.url}/v1/query?format=csv&csv=${options}&sql=SELECT+1,NULL,3`;
    expect((await ask(url)).text).toBe('1;-;3\n');
  });

  test.each([
    [{ format: 'json', csv: {} }, 'csv'],
    [{ format: 'csv', row_format: 'arrays' }, 'row_format'],
    [{ format: 'csv', csv: { delimiter: '||' } }, 'csv.delimiter'],
    [{ format: 'csv', csv: { null: 'a,b' } }, 'csv.null'],
    [{ format: 'csv', csv: { quote: "'" } }, 'csv.quote'],
  ])('is refused where its options make no sense: %o', async (fields, path) => {
    const server = shared();
    const reply = await server.query(SMALL, fields);
    expect([reply.status, reply.body.errors[0].path]).toEqual([400, path]);
  });
});

describe('a failure', () => {
  const shared = useServer({ config: { retry: { max: 1 } } });

  test.each(FORMATS)('before the first bytes is an ordinary one: %s', async (format) => {
    const server = shared();
    const wrong = await server.query('SELECT nope', { format });
    expect([wrong.status, wrong.body.code]).toEqual([400, 'SQL_ERROR']);
    // Some rows are written by then, and held back.
    const late = await server.query(
      "SELECT (CASE WHEN i = 9 THEN 'x' ELSE '1' END)::INT FROM range(10) r(i)",
      { format },
    );
    expect([late.status, late.body.code]).toEqual([400, 'SQL_ERROR']);
    const slow = await server.query(
      HUGE.replace('20000000', '1e12::BIGINT').replace('SELECT', 'SELECT DISTINCT'),
      { format, timeout_ms: 200 },
    );
    expect([slow.status, slow.body.code]).toEqual([504, 'QUERY_TIMEOUT']);
    // A read whose worker dies before a byte has left is tried again.
    await until('the worker has stopped, or a new one is idle', () => isIdle(server));
    server.fault('interactive', 'sigsegv', 'replying');
    const reply = await fetch(server, { sql: SMALL, format, query_id: `retried-${format}` });
    expect([reply.reply.statusCode, reply.cut]).toEqual([200, false]);
    const retried = server.events('query.retried').map(({ query_id }) => query_id);
    expect(retried.filter((id) => id === `retried-${format}`)).toHaveLength(1);
  });

  test.each(FORMATS)('in the middle cannot look whole: %s', async (format) => {
    const server = shared();
    const before = await server.footprint();
    const query_id = `cut-${format}`;
    const reply = await open(server, { sql: HUGE, format, query_id });
    expect(reply.statusCode).toBe(200);
    const { pid } = server.workers()[0]?.status() ?? {};
    process.kill(pid as number, 'SIGSEGV');
    const { text, cut } = await rest(reply);
    expect([cut, reply.trailers]).toEqual([true, {}]);
    if (format === 'ndjson') {
      const { error } = JSON.parse(text.trimEnd().split('\n').at(-1) as string);
      expect(error).toMatchObject({ code: 'WORKER_CRASHED', query_id, worker: { signal: 'SIGSEGV' } });
    }
    await until('a new worker is idle', () => isIdle(server));
    await server.expectNothingLeaked(before);
  });

  test('in the middle is seen by a reader of Arrow that does not see how the connection ended', async () => {
    const server = shared();
    const reply = await open(server, { sql: HUGE, format: 'arrow' });
    const pieces: Buffer[] = [];
    reply.on('data', (piece) => pieces.push(piece));
    await until('some of it is here', () => pieces.length > 0);
    process.kill(server.workers()[0]?.status().pid as number, 'SIGSEGV');
    await once(reply, 'error');
    const read = () => [...RecordBatchReader.from(Buffer.concat(pieces))].length;
    expect(read).toThrow(/but only read/);
    expect(Buffer.concat(pieces).toString('latin1')).toMatch(/{"error":{.*"code":"WORKER_CRASHED".*}$/);
    await until('a new worker is idle', () => isIdle(server));
  });

  test('in the middle resets the connection of a client that knows no chunks', async () => {
    const server = shared();
    const { port } = new URL(server.url);
    const outcome = new Promise<string>((resolve) => {
      const socket = connect(Number(port), '127.0.0.1');
      let text = '';
      socket.on('data', (piece) => {
        if (text === '') process.kill(server.workers()[0]?.status().pid as number, 'SIGSEGV');
        text = text.slice(0, 1_000) + piece.toString('latin1').slice(0, 1_000);
      });
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(`${error.code} ${text}`));
      socket.on('end', () => resolve(`end ${text}`));
      const sql = encodeURIComponent(HUGE);
      socket.write(`GET /v1/query?format=csv&sql=${sql} HTTP/1.0\r\nHost: localhost\r\n\r\n`);
    });
    expect(await outcome).toMatch(/^ECONNRESET HTTP\/1.1 200/);
    await until('a new worker is idle', () => isIdle(server));
  });
});

describe('a client', () => {
  const shared = useServer(PATIENT);

  test.each(FORMATS)('that leaves gives its worker back at once: %s', async (format) => {
    const server = shared();
    const before = await server.footprint();
    const reply = await open(server, { sql: HUGE, format, query_id: `left-${format}` });
    reply.once('data', () => reply.destroy());
    reply.on('error', () => undefined);
    await until('the worker is idle', () => isIdle(server), 5_000);
    expect((await server.get(`/v1/queries/left-${format}`)).body.state).toBe('cancelled');
    expect(server.events('worker.exited')).toEqual([]);
    expect((await server.query('SELECT 1')).status).toBe(200);
    await server.expectNothingLeaked(before);
  });

  test('that reads nothing loses its stream by its time, or by DELETE', async () => {
    const server = shared();
    const socket = await readNothing(server, {
      sql: HUGE,
      format: 'csv',
      query_id: 'slow',
      timeout_ms: 1_000,
    });
    await until('it is stopped', () => isIdle(server));
    expect((await server.get('/v1/queries/slow')).body.error.code).toBe('QUERY_TIMEOUT');
    socket.destroy();
    const other = await readNothing(server, { sql: HUGE, format: 'ndjson', query_id: 'other' });
    await until('it streams', async () => (await server.get('/v1/queries/other')).body.state === 'running');
    expect((await server.cancel('other')).body).toEqual({ outcome: 'cancelled' });
    other.destroy();
    expect(server.events('worker.exited')).toEqual([]);
  });

  test('that reads nothing is disconnected, and its worker free', async () => {
    const server = await testServer({
      ...PATIENT,
      config: { server: { port: 0, client_write_timeout: '1s' } },
    });
    const socket = await readNothing(server, { sql: HUGE, format: 'csv' });
    await until('the worker is idle', () => isIdle(server));
    socket.destroy();
    expect(server.events('worker.exited')).toEqual([]);
  });

  test('that reads slowly costs the server no memory', async () => {
    const server = shared();
    // Once at full speed, so that what grows with use has grown.
    await rest(await open(server, { sql: HUGE, format: 'csv', row_limit: 100_000 }));
    const reply = await open(server, { sql: HUGE, format: 'csv' });
    const before = process.memoryUsage.rss();
    let most = before;
    for (let read = 0; read < 50; read += 1) {
      reply.read(16_384);
      await new Promise((resolve) => setTimeout(resolve, 10));
      most = Math.max(most, process.memoryUsage.rss());
    }
    expect(most - before).toBeLessThan(64_000_000);
    reply.destroy();
    await until('the worker is idle', () => isIdle(server));
  });
});
