/** Object storage and web servers as sources of a session, and as where the command line's exports go. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { duckcoop } from '../support/cli.ts';
import { S3_KEYS, type S3Server, startS3Server } from '../support/s3-server.ts';
import {
  call,
  quickPool,
  type Reply,
  startTestServer,
  type TestServer,
  until,
} from '../support/test-server.ts';
import { startWebServer, type WebServer } from '../support/web-server.ts';
import { EXTENSIONS } from '../workers/worker-harness.ts';

let s3: S3Server;
let web: WebServer;
let server: TestServer;

beforeAll(async () => {
  s3 = await startS3Server(['lake']);
  web = await startWebServer((path) => (path === '/open/numbers.csv' ? 'id\n42\n' : 404));
  await s3.put('s3://lake/in/events.parquet', 'SELECT range AS i FROM range(1000)');
  const lake = {
    ...{ kind: 's3', bucket: 'lake', endpoint: s3.endpoint, url_style: 'path', use_ssl: false, ...S3_KEYS },
    ...{ prefix: 'in', views: { events: 'events.parquet' } },
  };
  server = await startTestServer({
    pools: { interactive: quickPool(), exports: quickPool({ memory_limit: '512MB' }) },
    sources: {
      lake,
      out: { ...lake, prefix: 'out', views: {}, read_only: false },
      site: {
        kind: 'http',
        url: `${web.url}/open/`,
        bearer_token: 'first-token',
        views: { numbers: 'numbers.csv' },
      },
    },
    config: { extensions: { directory: EXTENSIONS }, sessions: { memory_limit: '256MB' } },
  });
  await server.server.ready;
});
afterAll(async () => {
  await server?.stop();
  await Promise.all([s3?.stop(), web?.stop()]);
});

const BOTH = 'SELECT (SELECT count(*)::INT FROM lake.events), (SELECT id FROM site.numbers)';

async function opened(...sources: readonly string[]): Promise<string> {
  const { status, body } = await call(server.url, 'POST', '/v1/sessions', { sources });
  expect(status, JSON.stringify(body)).toBe(201);
  return body.session_id;
}

async function expectRows(reply: Promise<Reply>, rows: readonly unknown[]): Promise<void> {
  const { status, body } = await reply;
  expect([status, body.data], JSON.stringify(body)).toEqual([200, rows]);
}

const close = (id: string) => call(server.url, 'DELETE', `/v1/sessions/${id}`);

test('are read, joined with its own tables, and read again by the worker that takes the place of one that died', async () => {
  const session = await opened('lake', 'site');
  const run = (sql: string) => server.query(sql, { session });
  await expectRows(run(BOTH), [[1_000, 42]]);
  expect((await run('CREATE TABLE kept AS SELECT i FROM lake.events WHERE i < 10')).status).toBe(200);
  const pool = server.roster.all().filter(({ pool }) => pool.includes(session));
  expect(pool).toHaveLength(1);
  const pid = pool[0]?.status().pid as number;
  process.kill(pid, 'SIGSEGV');
  await until('its worker is another one', () =>
    server.roster
      .all()
      .some((entry) => entry.pool.includes(session) && ![pid, undefined].includes(entry.status().pid)),
  );
  await until('it takes queries', async () => (await run('SELECT 1')).status === 200);
  await expectRows(run('SELECT count(*)::INT FROM kept JOIN lake.events USING (i), site.numbers'), [[10]]);
  await close(session);
});

test('leave the end of a transaction that has failed to its owner', async () => {
  const session = await opened('lake', 'site');
  const run = (sql: string) => server.query(sql, { session });
  expect((await run('BEGIN')).status).toBe(200);
  await expectRows(run('SELECT count(*)::INT FROM lake.events'), [[1_000]]);
  expect((await run("SELECT error('fails')")).body.code).toBe('SQL_ERROR');
  expect((await run('FROM lake.events')).body.code).toBe('SQL_ERROR');
  expect((await run("FROM 's3://lake/in/../out/x.parquet'")).body.code).toBe('FORBIDDEN');
  expect((await run('ROLLBACK')).status).toBe(200);
  await expectRows(run(BOTH), [[1_000, 42]]);
  await close(session);
});

test('have the credentials that were put last, from the next query on', async () => {
  const session = await opened('lake', 'site');
  const put = async (alias: string, credentials: object) => {
    const reply = await call(server.url, 'PUT', `/v1/sources/${alias}/credentials`, { ...credentials });
    expect(reply.status, JSON.stringify(reply.body)).toBe(200);
  };
  const run = (sql: string) => server.query(sql, { session });
  await expectRows(run(BOTH), [[1_000, 42]]);
  expect((await run('CREATE TABLE stays AS SELECT 7 AS x')).status).toBe(200);

  await put('lake', { key_id: 'nobody', secret: 'nobody-at-all' });
  const refused = await run('SELECT count(*) FROM lake.events');
  expect(refused.body).toMatchObject({
    code: 'SOURCE_UNAVAILABLE',
    source: 'lake',
    reason: 'authentication',
  });
  expect(JSON.stringify(refused.body)).not.toContain('nobody-at-all');
  await put('lake', S3_KEYS);
  await put('site', { bearer_token: 'second-token' });
  web.asked.length = 0;
  await expectRows(run(BOTH), [[1_000, 42]]);
  expect(new Set(web.asked.map(({ headers }) => headers.authorization))).toEqual(
    new Set(['Bearer second-token']),
  );
  await expectRows(run('FROM stays'), [[7]]);
  await close(session);
});

test('duckcoop export --to puts the files into the bucket, where they are read', async () => {
  await until('a worker of the exports is idle', () =>
    server.workers('exports').some(({ status }) => status().state === 'idle'),
  );
  const sql = 'SELECT i, i % 2 AS k FROM lake.events';
  const args = ['--source', 'lake', '--to', 's3:out/daily', '--partition-by', 'k', '--url', server.url];
  const { code, stdout, stderr } = await duckcoop(['export', sql, ...args]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(/1,?000 rows/) });
  const id = /\bexp?[\w-]{8,}/.exec(stderr)?.[0] ?? stderr.split(',')[0];
  expect(stdout).toContain('k=0/part-0.parquet');
  const files = `s3://lake/out/daily/${id}/*/*.parquet`;
  const read = await server.query(`SELECT count(*)::INT, sum(i)::INT FROM read_parquet('${files}')`, {
    sources: ['out'],
  });
  expect(read.body.data).toEqual([[1_000, 499_500]]);
});

test('duckcoop export --to a bucket that takes nothing says so, and one that is no place is a wrong use', async () => {
  const to = (place: string) => duckcoop(['export', 'SELECT 1', '--to', place, '--url', server.url]);
  const refused = await to('s3:lake/daily');
  expect(refused.code).toBe(1);
  expect(refused.stderr).toMatch(/^error [A-Z_]+: .*lake/);
  for (const place of ['lake', 's3:', 'ftp:out/daily']) expect((await to(place)).code).toBe(2);
});
