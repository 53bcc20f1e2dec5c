/** A key that is taken away takes along what it has begun; and what a client was sent counts, whole or not. */
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ENDLESS } from '../chaos/deaths.ts';
import { bearer, keyHash } from '../support/principals.ts';
import {
  call,
  quickPool,
  type Reply,
  type Settings,
  startTestServer,
  type TestServer,
  until,
} from '../support/test-server.ts';

const config = (...names: readonly string[]) => ({
  auth: {
    mode: 'api_keys',
    principals: {
      ops: { key_hash: keyHash('ops'), role: 'operator' },
      ...Object.fromEntries(names.map((name) => [name, { key_hash: keyHash(name), role: 'reader' }])),
    },
  },
  limits: { cutter: { result_bytes: { bytes: '300KB', window: '1h' } } },
});

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({
    pools: { interactive: quickPool({ size: 2, dispatch_window: 0, timeout: '60s' }) },
    config: config('gone', 'stays', 'cutter'),
  });
  await until('a worker is idle', () => server.workers().some(({ status }) => status().state === 'idle'));
});

afterAll(() => server.stop());

const as = (who: string, method: string, path: string, body?: Settings): Promise<Reply> =>
  call(server.url, method, path, body, undefined, bearer(who));
const run = (who: string, sql: string, fields: Settings = {}) =>
  as(who, 'POST', '/v1/query', { sql, ...fields });

/** A request of which nothing but its beginning is sent. */
function begin(who: string, body: string, length = body.length, headers: Settings = {}): ClientRequest {
  const begun = request(`${server.url}/v1/query`, {
    method: 'POST',
    agent: false,
    headers: { 'Content-Type': 'application/json', 'Content-Length': length, ...bearer(who), ...headers },
  });
  begun.on('error', () => undefined);
  begun.write(body);
  return begun;
}

async function replyTo(sent: ClientRequest): Promise<IncomingMessage> {
  const [reply] = (await once(sent, 'response')) as [IncomingMessage];
  return reply;
}

async function textOf(reply: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of reply.setEncoding('utf8')) text += String(piece);
  return text;
}

const stateOf = async (queryId: string) => (await as('ops', 'GET', `/v1/queries/${queryId}`)).body.state;

it('a stream that its client cuts counts towards result_bytes as far as it came', async () => {
  const sql = "SELECT repeat('x', 1000) AS x FROM range(100000000)";
  const body = JSON.stringify({ sql, format: 'ndjson', query_id: 'cut' });
  const stream = await replyTo(begin('cutter', body));
  let bytes = 0;
  for await (const piece of stream) {
    bytes += (piece as Buffer).length;
    if (bytes > 400_000) break;
  }
  stream.destroy();
  await until('it is cancelled', async () => (await stateOf('cut')) === 'cancelled');
  const view = await as('ops', 'GET', '/v1/queries/cut');
  expect(view.body.bytes).toBeGreaterThanOrEqual(bytes);
  const refused = await run('cutter', 'SELECT 1');
  expect([refused.status, refused.body]).toMatchObject([
    429,
    { code: 'QUOTA_EXCEEDED', quota: 'result_bytes' },
  ]);
});

it('what a revoked key has running, waiting, streaming and on its way ends, and says why', async () => {
  await until('all workers are idle', () =>
    server.workers().every(({ status }) => ['idle', 'reserve'].includes(status().state)),
  );
  const before = await server.footprint();
  const running = run('gone', ENDLESS, { query_id: 'running' });
  const events = await replyTo(
    begin('gone', JSON.stringify({ sql: ENDLESS, query_id: 'told' }), undefined, {
      Accept: 'text/event-stream',
    }),
  );
  await until('both run', async () => {
    const states = await Promise.all(['running', 'told'].map(stateOf));
    return states.every((state) => state === 'running');
  });
  const waiting = run('gone', 'SELECT 1', { query_id: 'waiting' });
  await until('one waits', async () => (await stateOf('waiting')) === 'queued');
  const kept = await as('gone', 'POST', '/v1/queries', { sql: 'SELECT 2', query_id: 'kept' });
  expect(kept.status).toBe(202);
  const other = run('stays', 'SELECT 3');
  const whole = JSON.stringify({ sql: 'SELECT 4' });
  const late = begin('gone', whole.slice(0, 5), whole.length);

  await server.rewrite({ config: config('stays', 'cutter') });
  expect((await as('ops', 'POST', '/v1/config/reload')).status).toBe(200);
  const lateReply = replyTo(late);
  late.end(whole.slice(5));

  const why = 'a reload that changed the key or the rights of its principal';
  for (const { status, body } of [await running, await waiting])
    expect([status, body]).toMatchObject([409, { code: 'QUERY_CANCELLED', cancelled_by: why }]);
  const told = await textOf(events);
  expect(told).toContain('event: cancelled');
  expect(told).toContain(why);
  expect((await as('ops', 'GET', '/v1/queries/kept')).body).toMatchObject({
    state: 'cancelled',
    error: { cancelled_by: why },
  });
  expect((await lateReply).statusCode).toBe(401);
  expect((await other).status).toBe(200);
  expect((await run('gone', 'SELECT 5')).status).toBe(401);
  await server.expectNothingLeaked(before);
});
