/** Compressed replies: the same bytes in fewer, whole or seen not to be. */
import { type IncomingMessage, request } from 'node:http';
import zlib from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Footprint } from '../support/leak-check.ts';
import { type Settings, startTestServer, type TestServer, until } from '../support/test-server.ts';

const ROWS = "SELECT i, 'a text that repeats itself ' || (i % 10) AS text FROM range(50000) r(i)";
const HUGE = ROWS.replace('50000', '50000000');

let server: TestServer;
let before: Footprint;
beforeAll(async () => {
  server = await startTestServer({});
  await until('a worker is idle', () => server.workers().some(({ status }) => status().state === 'idle'));
  before = await server.footprint();
});
afterAll(async () => {
  await server.expectNothingLeaked(before);
  await server.stop();
});

interface Fetched {
  readonly reply: IncomingMessage;
  readonly bytes: Buffer;
  readonly cut: boolean;
}

function open(body: Settings, encoding?: string): Promise<IncomingMessage> {
  const accept = encoding === undefined ? {} : { 'Accept-Encoding': encoding };
  const headers = { 'Content-Type': 'application/json', ...accept };
  return new Promise((resolve, reject) => {
    const asked = request(`${server.url}/v1/query`, { method: 'POST', headers, agent: false }, resolve);
    asked.on('error', reject);
    asked.end(JSON.stringify(body));
  });
}

async function rest(reply: IncomingMessage): Promise<Fetched> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of reply) pieces.push(piece as Buffer);
    return { reply, bytes: Buffer.concat(pieces), cut: false };
  } catch {
    return { reply, bytes: Buffer.concat(pieces), cut: true };
  }
}

const fetch = async (body: Settings, encoding?: string) => await rest(await open(body, encoding));

test.each(['ndjson', 'csv'])('%s comes as gzip to who takes that, the same and smaller', async (format) => {
  const plain = await fetch({ sql: ROWS, format });
  const { reply, bytes } = await fetch({ sql: ROWS, format }, 'br, gzip');
  expect(reply.headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'Accept, Accept-Encoding' });
  expect(reply.trailers).toEqual({ 'x-query-status': 'succeeded', 'x-query-rows': '50000' });
  expect(plain.reply.headers['content-encoding']).toBeUndefined();
  expect(zlib.gunzipSync(bytes).equals(plain.bytes)).toBe(true);
  expect(bytes.length).toBeLessThan(plain.bytes.length / 3);
});

test('json does as well, with its length told', async () => {
  const { reply, bytes } = await fetch({ sql: ROWS }, 'gzip');
  expect(reply.headers).toMatchObject({
    'content-encoding': 'gzip',
    'content-length': String(bytes.length),
  });
  expect(JSON.parse(zlib.gunzipSync(bytes).toString())).toMatchObject({
    row_count: 50_000,
    truncated: false,
  });
});

test.skipIf(!('createZstdCompress' in zlib))('zstd is preferred where this node has it', async () => {
  const { reply } = await fetch({ sql: ROWS, format: 'csv' }, 'gzip, zstd');
  expect(reply.headers['content-encoding']).toBe('zstd');
});

test.each<[string, Settings, string]>([
  ['that is small', { sql: 'SELECT 1' }, 'gzip'],
  ['that is a small stream', { sql: 'SELECT 1', format: 'csv' }, 'gzip'],
  ['of Parquet', { sql: ROWS, format: 'parquet' }, 'gzip'],
  ['of Arrow', { sql: ROWS, format: 'arrow' }, 'gzip'],
  ['for who wants none', { sql: ROWS, format: 'csv' }, 'gzip;q=0, identity'],
  ['for who takes others', { sql: ROWS, format: 'csv' }, 'br, deflate'],
])('a result %s is sent as it is', async (_, body, encoding) => {
  const { reply } = await fetch(body, encoding);
  expect([reply.statusCode, reply.headers['content-encoding']]).toEqual([200, undefined]);
});

test.each(['ndjson', 'csv'])(
  'a worker that dies leaves half a %s, which nobody takes for whole',
  async (format) => {
    const reply = await open({ sql: HUGE, format }, 'gzip');
    const busy = server.workers().find(({ status }) => status().state === 'busy');
    process.kill(busy?.status().pid as number, 'SIGSEGV');
    const { bytes, cut } = await rest(reply);
    expect([cut, reply.trailers]).toEqual([true, {}]);
    expect(() => zlib.gunzipSync(bytes)).toThrow(/unexpected end of file/);
    if (format === 'ndjson') {
      const text = zlib.gunzipSync(bytes, { finishFlush: zlib.constants.Z_SYNC_FLUSH }).toString();
      expect(JSON.parse(text.trimEnd().split('\n').at(-1) as string).error.code).toBe('WORKER_CRASHED');
    }
    await until('a worker is idle', () => server.workers().some(({ status }) => status().state === 'idle'));
  },
);

test('a client that leaves in the middle gives its worker back', async () => {
  const reply = await open({ sql: HUGE, format: 'csv' }, 'gzip');
  reply.destroy();
  await until('its worker is idle', () =>
    server.workers().every(({ status }) => ['idle', 'reserve'].includes(status().state)),
  );
});

test('the first rows of a slow result come before the last', async () => {
  const slow = `SELECT i, repeat('x', 1000) AS pad FROM range(300) r(i)
    UNION ALL SELECT count(*), 'late' FROM range(100000000000) t(x) WHERE hash(x) = 1`;
  const reply = await open({ sql: slow, format: 'csv', threads: 1, query_id: 'slow' }, 'gzip');
  const text = zlib.createGunzip();
  const first = new Promise<string>((resolve) => text.once('data', (piece) => resolve(String(piece))));
  text.on('error', () => undefined);
  reply.on('error', () => undefined);
  reply.pipe(text);
  expect(await first).toMatch(/^i,pad\n0,x/);
  expect((await server.get('/v1/queries/slow')).body.state).toBe('running');
  reply.destroy();
  await until('it is stopped', async () => (await server.get('/v1/queries/slow')).body.state !== 'running');
});
