/** Whatever request comes, it is answered at once, and in the words of the contract: no fault of ours, no silence. */
import { randomBytes } from 'node:crypto';
import { type IncomingHttpHeaders, request } from 'node:http';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { quickPool, startTestServer, type TestServer } from '../support/test-server.ts';

const CASES = Number(process.env.DUCKCOOP_FUZZ_CASES ?? 400);
/** Far longer than any of these takes on a machine that is busy, and far shorter than for ever. */
const PATIENCE_MS = 20_000;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    pools: { interactive: quickPool() },
    config: { chaos: { enabled: false } },
  });
  await server.server.ready;
});
afterAll(() => server?.stop());

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY'];
/** Whoever restarts workers or reads an endless stream is not meant here. */
const WORDS = [
  ...[
    'v1',
    'query',
    'queries',
    'sessions',
    'sources',
    'exports',
    'workers',
    'crashes',
    'config',
    'supervision',
  ],
  ...['result', 'tables', 'check', 'credentials', 'healthz', 'readyz', 'metrics', 'openapi.json', 'reload'],
  ...['..', '.', '%00', '%2e%2e', '%2F', '%ff', '%', 'main.t', 'a b', '\u00e4', '%C3%A4', '__proto__', ''],
];
const segment = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(...WORDS) },
  { weight: 1, arbitrary: fc.string({ maxLength: 40 }) },
);
const QUERIES = [
  '',
  '?',
  '?sql=SELECT%201',
  '?limit=-1',
  '?cursor=x',
  '?sql=%ff',
  '?a=1&a=2',
  '?limit=1e9',
  '?format=csv',
];
const path = fc
  .tuple(fc.array(segment, { maxLength: 6 }), fc.constantFrom(...QUERIES), fc.boolean())
  .map(([parts, query, isApi]) => `/${isApi ? 'v1/' : ''}${parts.join('/')}${query}`)
  // What Node's client does not send is no request.
  .map((text) =>
    text.replace(/[^\x21-\x7e]/g, (character) =>
      encodeURIComponent(/[\ud800-\udfff]/.test(character) ? '?' : character),
    ),
  );

const HEADERS: Readonly<Record<string, readonly string[]>> = {
  accept: ['*/*', 'application/json', 'text/html', 'image/png', ';;;', 'application/json;q=nope', ','],
  'content-type': [
    'application/json',
    'application/sql',
    'text/plain',
    'application/json; charset=x',
    '/',
    ';',
  ],
  'content-encoding': ['identity', 'gzip', 'br', 'nope'],
  'accept-encoding': ['gzip', 'br;q=0', '*', 'zstd, gzip;q=0.5', ';'],
  authorization: ['Bearer x', 'Basic eDp4', 'Bearer', ''],
  range: ['bytes=0-1', 'bytes=-1', 'bytes=9-1', 'lines=1'],
  'if-none-match': ['*', '"x"', 'W/"', ''],
  'last-event-id': ['1', 'x', '-1', '99999999999999999999'],
  'x-query-id': ['a', 'a b', ''],
  origin: ['http://evil.example', 'null'],
  prefer: ['respond-async', 'wait=0', 'wait=x'],
  cookie: ['a=b'],
  expect: ['200-ok'],
};
const headers = fc
  .array(
    fc
      .constantFrom(...Object.keys(HEADERS))
      .chain((name) => fc.tuple(fc.constant(name), fc.constantFrom(...(HEADERS[name] ?? [''])))),
    { maxLength: 5 },
  )
  .map((entries): Record<string, string> => Object.fromEntries(entries));

const body = fc.oneof(
  fc.constant(undefined),
  fc.constantFrom(
    '{}',
    '[]',
    'null',
    '{"sql":"SELECT 1"}',
    'SELECT 1',
    '{"sql":',
    '"',
    '{"sql":"SELECT 1","format":"csv"}',
  ),
  fc.json({ maxDepth: 3 }),
  fc.constant(null),
);

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

function send(
  method: string,
  target: string,
  given: Record<string, string>,
  sent: string | Buffer | undefined,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(server.url, {
      method,
      path: target,
      headers: given,
      agent: false,
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    asked.on('error', reject);
    asked.on('response', (response) => {
      const finish = (text: string) =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
      // An event stream has no end: that it begins is its answer.
      if (/event-stream/.test(response.headers['content-type'] ?? '')) {
        asked.destroy();
        finish('');
        return;
      }
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece)).on('error', reject);
      response.on('end', () => finish(Buffer.concat(pieces).toString()));
    });
    asked.end(sent);
  });
}

it(`answers any of ${CASES} requests, and is as well as before`, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...METHODS),
      path,
      headers,
      body,
      async (method, target, given, sent) => {
        const bytes = sent === null ? randomBytes(200) : sent;
        const answer = await send(method, target, given, bytes);
        const told = `${answer.status} ${answer.text.slice(0, 500)}`;
        expect(answer.status, told).toBeGreaterThanOrEqual(200);
        // 503 is what a pool that is down or full answers, and documented; nothing here makes one so.
        expect(answer.status, told).toBeLessThan(500);
        expect(answer.text).not.toMatch(/node_modules|\.ts:\d|\.js:\d|at async/);
        if (answer.status < 400 || method === 'HEAD' || answer.headers['content-encoding'] !== undefined)
          return;
        expect(answer.headers['content-type'], told).toBe('application/problem+json');
        expect(JSON.parse(answer.text)).toMatchObject({
          status: answer.status,
          code: expect.stringMatching(/^[A-Z_]+$/),
          detail: expect.any(String),
          retryable: expect.any(Boolean),
        });
      },
    ),
    { numRuns: CASES, endOnFailure: true },
  );
  expect((await server.query('SELECT 42')).body.data).toEqual([[42]]);
  expect(server.events('fault')).toEqual([]);
  expect(server.events('worker.exited')).toEqual([]);
});
