/** Exports to a bucket: the files of one attempt and no other's, and a mark when all of them are there. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Secret } from '../../src/config/secret.ts';
import { Bucket } from '../../src/exports/bucket.ts';
import { S3_KEYS, type S3Server, startS3Server } from '../support/s3-server.ts';
import {
  call,
  quickPool,
  type Settings,
  startTestServer,
  type TestServer,
  until,
} from '../support/test-server.ts';
import { EXTENSIONS } from '../workers/worker-harness.ts';

const POOLS = { interactive: quickPool(), exports: quickPool({ memory_limit: '512MB' }) };
const CONFIG = { retry: { max: 1 }, extensions: { directory: EXTENSIONS } };
let s3: S3Server;
let server: TestServer;
let bucket: Bucket;

beforeAll(async () => {
  s3 = await startS3Server(['lake']);
  const lake = {
    kind: 's3',
    bucket: 'lake',
    endpoint: s3.endpoint,
    url_style: 'path',
    use_ssl: false,
    prefix: 'out',
    ...S3_KEYS,
  };
  server = await startTestServer({
    pools: POOLS,
    sources: { lake: { ...lake, read_only: false }, readonly: lake },
    config: CONFIG,
  });
  await until('a worker of the exports is idle', () =>
    server.workers('exports').some(({ status }) => status().state === 'idle'),
  );
  bucket = new Bucket({
    ...lake,
    region: 'us-east-1',
    key_id: new Secret(S3_KEYS.key_id),
    secret: new Secret(S3_KEYS.secret),
  } as never);
});
afterAll(async () => {
  bucket?.close();
  await server?.stop();
  await s3?.stop();
});

const show = async (id: string) => (await server.get(`/v1/exports/${id}`)).body;

async function begin(body: Settings): Promise<string> {
  const destination = { kind: 's3', source: 'lake', prefix: 'daily' };
  const made = await call(server.url, 'POST', '/v1/exports', { destination, ...body });
  expect(made.status).toBe(202);
  return made.body.export_id;
}

async function ended(id: string) {
  await until(`${id} has ended`, async () => !['queued', 'running'].includes((await show(id)).state));
  return await show(id);
}

const names = async (id: string) => (await bucket.list(`daily/${id}`)).map(({ path }) => path).sort();

test('the files are in the bucket, and read from there again', async () => {
  const id = await begin({ sql: 'SELECT i, i % 2 AS k FROM range(50000) r(i)', partition_by: ['k'] });
  const done = await ended(id);
  expect(done).toMatchObject({ state: 'succeeded', rows: 50_000, attempts: 1, expires_at: null });
  expect(done.destination).toEqual({ kind: 's3', source: 'lake', prefix: 'daily' });
  expect(done.files).toMatchObject([
    { path: 'k=0/part-0.parquet', url: null },
    { path: 'k=1/part-0.parquet', url: null },
  ]);
  expect(await names(id)).toEqual(['_SUCCESS', 'k=0/part-0.parquet', 'k=1/part-0.parquet']);
  const sql = `SELECT count(*), sum(i) FROM read_parquet('s3://lake/out/daily/${id}/*/*.parquet')`;
  expect((await server.query(sql, { sources: ['lake'] })).body.data).toEqual([[50_000, 1_249_975_000]]);
});

test('a worker that dies leaves nothing for the next attempt', async () => {
  const id = await begin({
    sql: 'SELECT i, hash(i) AS h FROM range(1500000) r(i)',
    format: 'csv',
    file_size: '2MB',
  });
  await until('a file is there', async () => (await names(id)).length > 0);
  process.kill(server.workers('exports')[0]?.status().pid as number, 'SIGSEGV');
  const done = await ended(id);
  expect(done).toMatchObject({ state: 'succeeded', rows: 1_500_000, attempts: 2 });
  const files: { path: string }[] = done.files;
  expect(await names(id)).toEqual(['_SUCCESS', ...files.map(({ path }) => path)].sort());
  const sql = `SELECT count(*) FROM read_csv('s3://lake/out/daily/${id}/*.csv')`;
  expect((await server.query(sql, { sources: ['lake'] })).body.data).toEqual([[1_500_000]]);
});

test('one that is cancelled leaves nothing', async () => {
  const id = await begin({
    sql: 'SELECT i, hash(i) AS h FROM range(1000000000) r(i)',
    format: 'csv',
    file_size: '2MB',
  });
  await until('a file is there', async () => (await names(id)).length > 0);
  await call(server.url, 'DELETE', `/v1/exports/${id}`);
  expect(await show(id)).toMatchObject({ state: 'cancelled', files: [] });
  expect(await names(id)).toEqual([]);
});

test('one that is ended while its worker dies is cancelled, and no other attempt goes on', async () => {
  const id = await begin({
    sql: 'SELECT i, hash(i) AS h FROM range(1000000000) r(i)',
    format: 'csv',
    file_size: '2MB',
  });
  await until('a file is there', async () => (await names(id)).length > 0);
  process.kill(server.workers('exports')[0]?.status().pid as number, 'SIGSEGV');
  await until('it is between two attempts', () => server.events('worker.exited').length > 1);
  const { body } = await call(server.url, 'DELETE', `/v1/exports/${id}`);
  expect(body).toEqual({ outcome: expect.stringMatching(/^(cancelled|killed)$/), files: 'none' });
  expect(await show(id)).toMatchObject({ state: 'cancelled', error: { code: 'QUERY_CANCELLED' } });
  expect(await names(id)).toEqual([]);
});

test.each([
  [{ kind: 's3', source: 'readonly' }, 'destination.source'],
  [{ kind: 's3', source: 'nobody' }, 'destination.source'],
  [{ kind: 's3', source: 'lake', prefix: '../up' }, 'destination.prefix'],
  [{ kind: 's3', source: 'lake', prefix: 'a/*/b' }, 'destination.prefix'],
  [{ kind: 's3' }, 'destination.source'],
])('a wrong destination is refused: %o', async (destination, path) => {
  const reply = await call(server.url, 'POST', '/v1/exports', { sql: 'SELECT 1', destination });
  expect([reply.status, reply.body.errors[0].path]).toEqual([400, path]);
});

test('a bucket that does not answer fails the export, and says so', async () => {
  const gone = await startS3Server(['gone']);
  await server.rewrite({
    pools: POOLS,
    sources: {
      gone: {
        kind: 's3',
        bucket: 'gone',
        endpoint: gone.endpoint,
        url_style: 'path',
        use_ssl: false,
        read_only: false,
        ...S3_KEYS,
      },
    },
    config: CONFIG,
  });
  expect((await server.reload()).status).toBe(200);
  await gone.stop();
  const id = await begin({ sql: 'SELECT 1', destination: { kind: 's3', source: 'gone' } });
  expect((await ended(id)).error.code).toBe('SOURCE_UNAVAILABLE');
});
