/** Everything a client can get wrong, over real HTTP: a documented answer, and nothing inside so much as flinches. */
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Served, startQuickstart, type Worker } from './server.ts';

let served: Served;
let workers: readonly Pick<Worker, 'id' | 'pid' | 'incarnation'>[];

beforeAll(async () => {
  served = await startQuickstart();
  workers = identities(await served.idleWorkers(2));
});

// No worker was started or lost over it, and the next query is answered as ever.
afterEach(async () => {
  expect((await served.query('SELECT 42')).json()).toMatchObject({ data: [[42]] });
  await served.assertQuiet(2);
  expect(identities(await served.workers())).toEqual(workers);
  expect(served.log('worker.exited')).toEqual([]);
  expect(served.log('fault')).toEqual([]);
});

afterAll(() => served.stop());

/** Of the pools: the spare of the sessions may still be starting. */
function identities(list: readonly Worker[]) {
  return list
    .filter(({ pool }) => pool === 'interactive')
    .map(({ id, pid, incarnation }) => ({ id, pid, incarnation }));
}

const JSON_TYPE = { 'Content-Type': 'application/json' };

interface Case {
  readonly name: string;
  readonly body: unknown;
  readonly status?: number;
  readonly code?: string;
  /** Paths of the errors, in their order. */
  readonly paths?: readonly string[];
  readonly members?: Readonly<Record<string, unknown>>;
}

const raw = (text: string) => ({ raw: text });
const deep = (levels: number) => `{"sql":"SELECT 1","params":${'['.repeat(levels)}${']'.repeat(levels)}}`;

const CASES: readonly Case[] = [
  { name: 'malformed JSON', body: raw('{"sql":'), paths: [''] },
  { name: 'no body', body: raw(''), paths: [''] },
  { name: 'a body that is no object', body: ['SELECT 1'], paths: [''] },
  { name: 'bytes that are no UTF-8', body: raw('\xff'), paths: [''] },
  { name: 'JSON 10,000 levels deep', body: raw(deep(10_000)), paths: [''] },
  { name: 'JSON 65 levels deep', body: raw(deep(64)), paths: [''] },
  { name: 'a key __proto__', body: raw('{"sql":"SELECT 1","__proto__":{}}'), paths: [''] },
  { name: 'no SQL', body: {}, paths: ['sql'] },
  { name: 'empty SQL', body: { sql: '' }, paths: ['sql'] },
  { name: 'SQL of blanks', body: { sql: ' \n\t ' }, paths: ['sql'] },
  { name: 'SQL of comments', body: { sql: '-- nothing\n/* at all */ ;;' }, paths: ['sql'] },
  { name: 'SQL with a NUL', body: { sql: 'SELECT 1\0' }, paths: ['sql'] },
  {
    name: 'unknown fields and wrong types, all at once',
    body: { sql: 7, sqll: 'SELECT 1', threads: 0, timeout_ms: 'soon', format: 'xml' },
    paths: ['sql', 'format', 'timeout_ms', 'threads', 'sqll'],
  },
  { name: 'too few parameters', body: { sql: 'SELECT ?, ?', params: [1] }, paths: ['params'] },
  { name: 'no parameters', body: { sql: 'SELECT ?' }, paths: ['params'] },
  { name: 'too many parameters', body: { sql: 'SELECT 1', params: [1] }, paths: ['params'] },
  { name: 'parameters by another name', body: { sql: 'SELECT $a', params: { b: 1 } }, paths: ['params'] },
  { name: 'a parameter that is a list', body: { sql: 'SELECT ?', params: [[1]] }, paths: ['params[0]'] },
  {
    name: 'a number that has lost digits',
    body: raw('{"sql":"SELECT ?","params":[9007199254740993]}'),
    paths: ['params[0]'],
  },
  {
    name: 'a parameter of the wrong type',
    body: { sql: 'SELECT ?::INTEGER', params: ['x'] },
    code: 'SQL_ERROR',
    members: { duckdb: { type: 'Conversion', position: 8, line: 1 } },
  },
  { name: 'an unknown pool', body: { sql: 'SELECT 1', pool: 'nope' }, paths: ['pool'] },
  {
    name: 'unknown sources, and one twice',
    body: { sql: 'SELECT 1', sources: ['nope', 'shop', 'shop'] },
    paths: ['sources[0]', 'sources[2]'],
  },
  {
    name: 'an inline source that lacks something',
    body: { sql: 'SELECT 1', sources: [{ kind: 'files' }] },
    paths: ['sources[0].alias', 'sources[0].path'],
  },
  {
    name: 'an unknown session',
    body: { sql: 'SELECT 1', session: 's1' },
    status: 404,
    code: 'NOT_FOUND',
  },
  {
    name: '10 MB of SQL',
    body: { sql: `SELECT ${'1+'.repeat(5_000_000)}1` },
    status: 413,
    code: 'PAYLOAD_TOO_LARGE',
    members: { limit: 1_000_000 },
  },
  {
    name: 'SQL that does not parse',
    body: { sql: 'SELEC 1' },
    code: 'SQL_ERROR',
    members: { duckdb: { type: 'Parser', subtype: 'SYNTAX_ERROR', position: 0, line: 1 } },
  },
  {
    name: 'a table that is not there',
    body: { sql: 'SELECT *\nFROM shop.main.custmers', sources: ['shop'] },
    code: 'SQL_ERROR',
    members: { duckdb: expect.objectContaining({ type: 'Catalog', line: 2 }) },
  },
  {
    name: 'a statement that writes',
    body: { sql: 'CREATE TABLE t (i INTEGER)' },
    status: 403,
    code: 'FORBIDDEN',
    members: { denied: { kind: 'statement', name: 'CREATE' } },
  },
  {
    name: 'a function that opens what it likes',
    body: { sql: "SELECT * FROM sqlite_scan('/etc/passwd', 't')" },
    status: 403,
    code: 'FORBIDDEN',
    members: { denied: { kind: 'function', name: 'sqlite_scan' } },
  },
  {
    name: 'a file outside of its sources',
    body: { sql: "SELECT * FROM read_text('/etc/passwd')", sources: ['files'] },
    status: 403,
    code: 'FORBIDDEN',
    members: { denied: expect.objectContaining({ kind: 'source' }) },
  },
  {
    name: 'a setting',
    body: { sql: 'SET enable_external_access = true' },
    status: 403,
    code: 'FORBIDDEN',
    members: { denied: { kind: 'statement', name: 'SET' } },
  },
];

describe('POST /v1/query with', () => {
  it.each(CASES)('$name', async ({ body, status = 400, code = 'INVALID_REQUEST', paths, members = {} }) => {
    const isRaw = typeof body === 'object' && body !== null && 'raw' in body;
    const reply = await served.request('POST', '/v1/query', {
      headers: JSON_TYPE,
      body: isRaw ? Buffer.from(String(body.raw), 'latin1') : JSON.stringify(body),
    });
    expect(reply.headers.get('content-type')).toBe('application/problem+json');
    const problem = reply.json<{ errors?: { path: string; message: string }[] }>();
    expect(problem).toMatchObject({ status, code, retryable: false, detail: expect.any(String), ...members });
    expect(reply.status).toBe(status);
    expect(problem).toHaveProperty('query_id', reply.headers.get('x-query-id'));
    if (paths !== undefined) expect(problem.errors?.map(({ path }) => path)).toEqual(paths);
    expect(reply.text).not.toMatch(/node_modules|\.ts:|\.js:|at async/);
  });
});

it('refuses a body of another type, and one that is compressed', async () => {
  const bodies: Record<string, string>[] = [
    { 'Content-Type': 'application/xml' },
    { 'Content-Type': 'application/json; charset=latin1' },
    { ...JSON_TYPE, 'Content-Encoding': 'gzip' },
  ];
  for (const headers of bodies) {
    const reply = await served.request('POST', '/v1/query', { headers, body: '{"sql":"SELECT 1"}' });
    expect(reply.json()).toMatchObject({ status: 415, code: 'UNSUPPORTED_MEDIA_TYPE' });
  }
});

it('names the methods of a path, and says where there is nothing', async () => {
  const put = await served.request('PUT', '/v1/query');
  expect(put.json()).toMatchObject({ status: 405, code: 'METHOD_NOT_ALLOWED' });
  expect(put.headers.get('allow')).toBe('POST, GET, OPTIONS');
  expect((await served.request('DELETE', '/healthz')).status).toBe(405);
  for (const path of [
    '/v1/nope',
    '/v1/query/',
    '/v1/queries/none',
    '/v1/sources/none/check',
    '/%00',
    '/v1',
  ]) {
    const reply = await served.request(path.endsWith('check') ? 'POST' : 'GET', path);
    expect(reply.json()).toMatchObject({ status: 404, code: 'NOT_FOUND', retryable: false });
  }
});

it('refuses the same query_id a second time', async () => {
  expect((await served.query('SELECT 1', { query_id: 'once' })).status).toBe(200);
  const reply = await served.query('SELECT 1', { query_id: 'once' });
  expect(reply.json()).toMatchObject({ status: 409, code: 'QUERY_ID_REUSED', query_id: 'once' });
});

it('answers bytes that are no HTTP, and a connection that says nothing does not keep it busy', async () => {
  const silent = connect(served.port, '127.0.0.1');
  const text = await new Promise<string>((resolve, reject) => {
    const socket = connect(served.port, '127.0.0.1', () => socket.write('\x16\x03\x01 hello\r\n\r\n'));
    let received = '';
    socket.on('data', (chunk) => {
      received += chunk.toString();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(received));
  });
  expect(text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
  expect(text).toContain('"code":"INVALID_REQUEST"');
  silent.destroy();
});
