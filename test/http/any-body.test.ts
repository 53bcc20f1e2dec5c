import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Answer, ask, checkForLeaks, openAgent, openEdge, postQuery } from './edge.ts';

checkForLeaks();

const FIELDS = [
  'sql',
  'params',
  'format',
  'row_format',
  'sources',
  'session',
  'pool',
  'timeout_ms',
  'queue_timeout_ms',
  'row_limit',
  'byte_limit',
  'memory_limit',
  'threads',
  'query_id',
  'wait_ms',
  'on_wait_timeout',
  'tags',
];

function expectAnswer(reply: Answer): void {
  expect(reply.status).toBeLessThan(500);
  expect(reply.headers['x-query-id']).toBe(reply.json.query_id);
  if (reply.status === 200) return;
  expect(reply.headers['content-type']).toBe('application/problem+json');
  expect(reply.json).toMatchObject({ status: reply.status, code: expect.any(String), retryable: false });
}

test('any JSON value as a body is run or refused with a problem, never a fault', async () => {
  const edge = await openEdge();
  const agent = openAgent({ connections: 1 });
  const nearMiss = fc.dictionary(fc.constantFrom(...FIELDS), fc.jsonValue({ maxDepth: 3 }));
  const withSql = nearMiss.map((fields) => ({ ...fields, sql: 'SELECT 1' }));
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.jsonValue(), nearMiss, withSql), async (value) => {
      expectAnswer(await postQuery(edge, JSON.stringify(value), { agent }));
    }),
    { numRuns: 300 },
  );
  expect(edge.errors).toEqual([]);
});

test('any text of fields in a query string is run or refused with a problem, never a fault', async () => {
  const edge = await openEdge();
  const agent = openAgent({ connections: 1 });
  const pair = fc.tuple(fc.oneof(fc.constantFrom(...FIELDS), fc.string()), fc.string({ unit: 'binary' }));
  await fc.assert(
    fc.asyncProperty(fc.array(pair, { maxLength: 5 }), async (pairs) => {
      const query = new URLSearchParams(pairs);
      expectAnswer(await ask(`${edge.url}/v1/query?${query}`, { agent }));
    }),
    { numRuns: 200 },
  );
  expect(edge.errors).toEqual([]);
});

test('any bytes as SQL are run or refused with a problem, never a fault', async () => {
  const edge = await openEdge();
  const agent = openAgent({ connections: 1 });
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 40 }), async (bytes) => {
      const headers = { 'content-type': 'application/sql' };
      expectAnswer(
        await ask(`${edge.url}/v1/query`, { method: 'POST', headers, body: Buffer.from(bytes), agent }),
      );
    }),
    { numRuns: 200 },
  );
  expect(edge.errors).toEqual([]);
});
