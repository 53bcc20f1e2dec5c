import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { ask, checkForLeaks, type Edge, openEdge, postQuery } from './edge.ts';

checkForLeaks();

/** The errors of a JSON body, as `path: message`. */
async function errorsOf(edge: Edge, body: unknown): Promise<string[]> {
  const reply = await postQuery(edge, body);
  expect(reply.status).toBe(400);
  expect(reply.headers['content-type']).toBe('application/problem+json');
  expect(reply.json).toMatchObject({ code: 'INVALID_REQUEST', retryable: false, status: 400 });
  expect(reply.headers['x-query-id']).toBe(reply.json.query_id);
  expect(edge.queries.requests).toEqual([]);
  return reply.json.errors.map(
    ({ path, message }: { path: string; message: string }) => `${path}: ${message}`,
  );
}

describe('the fields of a query', () => {
  test.each([
    ['no sql', {}, 'sql: is missing'],
    ['sql that is no string', { sql: 1 }, 'sql: expected a string'],
    ['empty sql', { sql: '' }, 'sql: is empty'],
    ['blank sql', { sql: ' \n\t ' }, 'sql: is empty'],
    ['a NUL in sql', { sql: 'SELECT \0' }, 'sql: has a NUL character at position 7'],
    [
      'a lone surrogate in sql',
      { sql: '\ud800' },
      'sql: has half of a surrogate pair, which UTF-8 cannot express',
    ],
    [
      'params that are a scalar',
      { params: 1 },
      'params: expected an array (for ? and $1) or an object (for $name)',
    ],
    [
      'params that are null',
      { params: null },
      'params: expected an array (for ? and $1) or an object (for $name)',
    ],
    [
      'a nested array as a parameter',
      { params: [1, [2]] },
      'params[1]: expected a string, a number, a boolean, null, or {"type": "...", "value": ...}',
    ],
    [
      'a typed parameter without its value',
      { params: { a: { type: 'DATE' } } },
      'params.a: expected a string, a number, a boolean, null, or {"type": "...", "value": ...}',
    ],
    [
      'a typed parameter with a member too many',
      { params: { 'a b': { type: 'DATE', value: '1', x: 1 } } },
      'params["a b"]: expected a string, a number, a boolean, null, or {"type": "...", "value": ...}',
    ],
    [
      'a whole number that JSON has rounded',
      '{"sql":"SELECT 1","params":[9007199254740993]}',
      'params[0]: a whole number beyond 2^53 may have lost digits; send {"type": "HUGEINT", "value": "..."}',
    ],
    ['an unknown format', { format: 'xml' }, 'format: expected one of json, ndjson, csv, arrow, parquet'],
    ['an unknown row format', { row_format: 'rows' }, 'row_format: expected arrays or objects'],
    [
      'sources that are no array',
      { sources: 'pg1' },
      'sources: expected an array of source aliases and sources',
    ],
    [
      'an unknown source',
      { sources: ['pg1', 'pg9'] },
      'sources[1]: there is no source "pg9"; there is pg1, landing',
    ],
    ['a source named twice', { sources: ['pg1', 'pg1'] }, 'sources[1]: "pg1" is named twice'],
    [
      'a source that is a number',
      { sources: [7] },
      'sources[0]: expected the alias of a source, or a source',
    ],
    [
      'an inline source without an alias',
      { sources: ['pg1', { kind: 'files', path: '/a' }] },
      'sources[1].alias: expected the name of the source in SQL',
    ],
    [
      'an inline source of the wrong port',
      { sources: ['pg1', { alias: 'a', kind: 'mysql', host: 'h', user: 'u', port: 0 }] },
      'sources[1].port: expected a whole number from 1 to 65535',
    ],
    [
      'an inline source with a header that is none',
      { sources: [{ alias: 'a', kind: 'http', url: 'http://h/', headers: { 'a b': 'x' } }] },
      'sources[0].headers["a b"]: expected the name of a header',
    ],
    [
      'an inline source with the alias of another source',
      { sources: ['pg1', { alias: 'PG1', kind: 'files', path: '/a' }] },
      'sources[1].alias: expected a name that no other source of the request has',
    ],
    [
      'an inline lake whose catalog is configured',
      { sources: [{ alias: 'a', kind: 'ducklake', catalog: 'pg1', data_path: '/a' }] },
      'sources[0].catalog: expected the alias of an inline source of kind postgres in the same request, or the absolute path of a file',
    ],
    [
      'seventeen inline sources',
      {
        sources: Array.from({ length: 17 }, (_, index) => ({
          alias: `a${index}`,
          kind: 'files',
          path: '/a',
        })),
      },
      'sources: has 17 inline sources; 16 at most',
    ],
    [
      'a source that is a list',
      { sources: [['pg1']] },
      'sources[0]: expected the alias of a source, or a source',
    ],
    ['an empty pool', { pool: '' }, 'pool: expected the name of a pool'],
    ['a session that is no string', { session: 1 }, 'session: expected a session id'],
    ['a timeout of zero', { timeout_ms: 0 }, 'timeout_ms: expected a whole number from 1 to 2147483647'],
    [
      'a timeout no timer can hold',
      { timeout_ms: 2 ** 31 },
      'timeout_ms: expected a whole number from 1 to 2147483647',
    ],
    ['a timeout as text', { timeout_ms: '5s' }, 'timeout_ms: expected a whole number from 1 to 2147483647'],
    [
      'half a millisecond',
      { queue_timeout_ms: 0.5 },
      'queue_timeout_ms: expected a whole number from 1 to 2147483647',
    ],
    ['a negative row limit', { row_limit: -1 }, 'row_limit: expected a whole number, 0 or more'],
    ['no threads', { threads: 0 }, 'threads: expected a whole number from 1 to 1024'],
    [
      'a memory limit without sense',
      { memory_limit: 'lots' },
      'memory_limit: expected a size, such as "512MB", "2GB" or "256MiB", or a whole number of bytes',
    ],
    [
      'a byte limit that is a fraction',
      { byte_limit: 1.5 },
      'byte_limit: expected a size, such as "512MB", "2GB" or "256MiB", or a whole number of bytes',
    ],
    [
      'a query_id with a space',
      { query_id: 'a b' },
      'query_id: expected 1 to 128 of the characters A-Z a-z 0-9 . _ : -',
    ],
    [
      'a query_id that is too long',
      { query_id: 'a'.repeat(129) },
      'query_id: expected 1 to 128 of the characters A-Z a-z 0-9 . _ : -',
    ],
    ['a wait that is a text', { wait_ms: '5' }, 'wait_ms: expected a whole number from 0 to 2147483647'],
    ['the end of no wait', { on_wait_timeout: 'cancel' }, 'on_wait_timeout: is of no use without wait_ms'],
    ['tags that are an array', { tags: ['a'] }, 'tags: expected an object of strings'],
    ['a tag that is a number', { tags: { a: 1 } }, 'tags.a: expected a string of at most 256 characters'],
    [
      'a tag that is too long',
      { tags: { a: 'x'.repeat(257) } },
      'tags.a: expected a string of at most 256 characters',
    ],
    [
      'too many tags',
      { tags: Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`t${index}`, ''])) },
      'tags: has 33 tags; 32 at most',
    ],
    [
      'a key that is a prototype',
      '{"sql":"SELECT 1","__proto__":{}}',
      ': the key "__proto__" is not allowed',
    ],
    [
      'a prototype deep in a parameter',
      '{"sql":"SELECT 1","params":{"a":{"type":"X","value":[{"\\u005f_proto__":1}]}}}',
      ': the key "__proto__" is not allowed',
    ],
    ['an array', [], ': expected an object: {"sql": "..."}'],
    ['null', 'null', ': expected an object: {"sql": "..."}'],
  ])('are refused with %s', async (_, body, error) => {
    const edge = await openEdge();
    const isObject = typeof body === 'object' && !Array.isArray(body);
    const errors = await errorsOf(edge, isObject && _ !== 'no sql' ? { sql: 'SELECT 1', ...body } : body);
    expect(errors).toEqual([error]);
  });

  test('are refused with an unknown one, and the known ones are named', async () => {
    const edge = await openEdge();
    const errors = await errorsOf(edge, { sql: 'SELECT 1', timeout: 5 });
    expect(errors).toEqual([
      'timeout: unknown field; known are sql, params, format, row_format, csv, sources, session, pool, timeout_ms, queue_timeout_ms, ' +
        'row_limit, byte_limit, memory_limit, threads, query_id, wait_ms, on_wait_timeout, tags',
    ]);
  });

  test('are refused with everything that is wrong at once, under the query_id of the client', async () => {
    const edge = await openEdge();
    const reply = await postQuery(edge, {
      query_id: 'mine',
      timeout_ms: -1,
      tags: { a: 1 },
      sources: ['x'],
      nope: 1,
    });
    expect(reply.json.errors.map(({ path }: { path: string }) => path).sort()).toEqual([
      'nope',
      'sources[0]',
      'sql',
      'tags.a',
      'timeout_ms',
    ]);
    expect(reply.headers['x-query-id']).toBe('mine');
    expect(reply.json.detail).toMatch(/^5 errors; the first: /);
  });

  test('with a thousand errors are answered with a few of them', async () => {
    const edge = await openEdge();
    const body = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`f${index}`, 1]));
    expect(await errorsOf(edge, { sql: 'SELECT 1', ...body })).toHaveLength(32);
  });

  test('are refused when given twice, misspelt or badly encoded in a query string', async () => {
    const edge = await openEdge();
    const refused = async (query: string) => (await ask(`${edge.url}/v1/query?${query}`)).json.errors;
    expect(await refused('sql=1&sql=2')).toEqual([{ path: 'sql', message: 'given more than once' }]);
    expect(await refused('sql=1&timeout_ms=5s&param=1&params=%5B')).toMatchObject([
      { path: 'params', message: expect.stringContaining('not valid JSON') },
      { path: 'timeout_ms' },
      { path: 'param' },
    ]);
    expect(await refused('sql=%ff')).toEqual([
      { path: '', message: 'the query string is not percent-encoded UTF-8' },
    ]);
    expect(await refused('__proto__=1&sql=1')).toMatchObject([{ path: '__proto__' }]);
    expect(await refused('')).toEqual([{ path: 'sql', message: 'is missing' }]);
    expect(edge.queries.requests).toEqual([]);
  });

  test('stand in the body or in the query string, not in both', async () => {
    const edge = await openEdge();
    const json = await ask(`${edge.url}/v1/query?timeout_ms=5`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"sql":"SELECT 1"}',
    });
    expect(json.json.detail).toMatch(/leave the query string empty/);
    const sql = await ask(`${edge.url}/v1/query?sql=SELECT+2`, {
      method: 'POST',
      headers: { 'content-type': 'application/sql' },
      body: 'SELECT 1',
    });
    expect(sql.json.errors).toEqual([{ path: 'sql', message: 'the body is the SQL already' }]);
  });
});

describe('the body of a query', () => {
  test.each([
    ['is empty', '', /^the body is empty/],
    ['is blank', ' \n', /^the body is empty/],
    ['is no JSON', '{"sql": SELECT}', /^not valid JSON/],
    ['is cut', '{"sql":"SELECT', /^not valid JSON/],
    [
      'is nested too deep',
      `{"sql":"SELECT 1","params":${'['.repeat(64)}${']'.repeat(64)}}`,
      /more than 64 levels/,
    ],
    [
      'is nested a hundred thousand levels deep',
      `${'['.repeat(1e5)}${']'.repeat(1e5)}`,
      /more than 64 levels/,
    ],
    ['is a hundred thousand open brackets', '['.repeat(1e5), /^not valid JSON/],
    [
      'is a hundred thousand nested objects',
      `${'{"a":'.repeat(1e5)}1${'}'.repeat(1e5)}`,
      /more than 64 levels/,
    ],
  ])('is refused when it %s', async (_, body, message) => {
    const edge = await openEdge();
    const [error] = await errorsOf(edge, body);
    expect(error?.slice(2)).toMatch(message);
  });

  test('is refused when it is not UTF-8', async () => {
    const edge = await openEdge();
    for (const type of ['application/json', 'text/plain']) {
      const reply = await ask(`${edge.url}/v1/query`, {
        method: 'POST',
        headers: { 'content-type': type },
        body: Buffer.from([0x22, 0xff, 0x22]),
      });
      expect(reply.json.errors).toEqual([{ path: '', message: 'the body is not valid UTF-8' }]);
    }
  });

  test.each([
    ['no type', {}, /needs a Content-Type/],
    ['the type of a form', { 'content-type': 'application/x-www-form-urlencoded' }, /x-www-form-urlencoded/],
    ['a type that only begins like one', { 'content-type': 'application/jsonx' }, /application\/jsonx/],
    ['another charset', { 'content-type': 'application/json; charset=latin1' }, /latin1/],
    ['another charset of SQL', { 'content-type': 'text/plain; format=flowed; charset="UTF-16"' }, /utf-16/],
    ['a compression', { 'content-type': 'application/json', 'content-encoding': 'gzip' }, /gzip/],
  ])('is refused with 415 for %s', async (_, headers, detail) => {
    const edge = await openEdge();
    const reply = await ask(`${edge.url}/v1/query`, {
      method: 'POST',
      headers: headers as Record<string, string>,
      body: gzipSync('{"sql":"SELECT 1"}'),
    });
    expect([reply.status, reply.json.code]).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE']);
    expect(reply.json.detail).toMatch(detail);
    expect(reply.headers['x-query-id']).toBeDefined();
  });
});

describe('the format of a result', () => {
  test.each(['text/html, text/csv;q=0', 'application/json;q=0', 'image/*, application/json;q=0'])(
    'is 406 for Accept: %s',
    async (accept) => {
      const edge = await openEdge();
      const reply = await postQuery(edge, { sql: 'SELECT 1' }, { headers: { accept } });
      expect([reply.status, reply.json.code]).toEqual([406, 'NOT_ACCEPTABLE']);
      expect(edge.queries.requests).toEqual([]);
    },
  );
});
