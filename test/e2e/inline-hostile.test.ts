/** What a client could make of inline sources against the server, and servers that are none against its workers. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { ROOT } from '../support/cli.ts';
import { rogueMysql, roguePostgres } from '../support/rogue-servers.ts';
import { S3_KEYS, type S3Server, startS3Server } from '../support/s3-server.ts';
import { mariadb, postgres } from '../support/servers.ts';
import { tcpProxy } from '../support/tcp-proxy.ts';
import { makeFolder } from '../support/temp.ts';
import {
  call,
  quickPool,
  type Reply,
  type Settings,
  startTestServer,
  type TestServer,
  until,
} from '../support/test-server.ts';

const KINDS = ['postgres', 'mysql', 'sqlite', 'duckdb', 's3', 'http', 'files', 'ducklake'];
const secret = `hunter-${randomBytes(6).toString('hex')}`;
const [pg, my] = await Promise.all([postgres(), mariadb()]);

let folder: { readonly path: string; remove(): Promise<void> };
let s3: S3Server;
let server: TestServer;
const closing: (() => Promise<void>)[] = [];

beforeAll(async () => {
  folder = await makeFolder();
  s3 = await startS3Server(['theirs', 'own']);
  await s3.put('s3://theirs/in/x.csv', 'SELECT 1 AS x');
  await s3.put('s3://theirs/out/secret.csv', 'SELECT 42 AS answer');
  const lake = {
    ...{
      kind: 's3',
      bucket: 'theirs',
      prefix: 'in',
      endpoint: s3.endpoint,
      url_style: 'path',
      use_ssl: false,
    },
    ...S3_KEYS,
    read_only: false,
  };
  server = await startTestServer({
    pools: { interactive: quickPool({ size: 2 }), exports: quickPool({}) },
    sources: { lake },
    config: {
      extensions: { directory: join(ROOT, 'extensions') },
      auth: { inline_sources: KINDS },
      crashes: { include_sql: true },
    },
  });
  await server.server.ready;
});

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  await until('all workers are idle', () =>
    server.workers().every(({ status }) => status().state === 'idle'),
  );
});

afterAll(async () => {
  await server?.stop();
  await s3?.stop();
  await folder?.remove();
});

const path = (name: string) => join(folder.path, name);
const ask = (sql: string, ...sources: unknown[]): Promise<Reply> => server.query(sql, { sources });

/** A DuckDB file with what `statements` make in it. */
async function databaseFile(name: string, ...statements: string[]): Promise<string> {
  const instance = await DuckDBInstance.create(path(name));
  const connection = await instance.connect();
  for (const statement of statements) await connection.run(statement);
  connection.closeSync();
  instance.closeSync();
  return path(name);
}

it('a MySQL server that is none gets no file of the server', async () => {
  writeFileSync(path('private.txt'), secret);
  const rogue = await rogueMysql(path('private.txt'));
  closing.push(rogue.close);
  const source = {
    alias: 'rogue',
    kind: 'mysql',
    host: '127.0.0.1',
    port: rogue.port,
    user: 'u',
    database: 'd',
  };
  const load = `load data local infile '${path('private.txt')}' into table t`;
  const statements = [
    'SELECT * FROM rogue.d.t',
    `FROM mysql_query('rogue', '${load.replaceAll("'", "''")}')`,
  ];
  for (const sql of statements) expect((await ask(sql, source)).status).toBeGreaterThanOrEqual(400);
  // It is by this that one would.
  expect(await ask(statements[1] as string, { ...source, remote_query: true })).toMatchObject({
    status: 400,
    body: { code: 'INVALID_REQUEST', errors: [{ path: 'sources[0].remote_query' }] },
  });
  expect(rogue.loot).toEqual([]);
});

it('a PostgreSQL server that repeats a password has it in no error, log or report', async () => {
  const rogue = await roguePostgres();
  closing.push(rogue.close);
  const source = {
    alias: 'rogue',
    kind: 'postgres',
    host: '127.0.0.1',
    port: rogue.port,
    user: 'u',
    database: 'd',
  };
  const reply = await ask('SELECT 1', { ...source, password: secret });
  expect(reply.body).toMatchObject({ code: 'SOURCE_UNAVAILABLE', source: 'rogue' });
  expect(rogue.loot).toContain(secret);
  expect(reply.body.detail).toContain('[secret]');
  // The worker that heard the notice says so when it dies of something else.
  const { length } = server.events('worker.exited');
  server.fault('interactive', 'sigsegv');
  await until('both have died', () => server.events('worker.exited').length >= length + 2);
  const { crashes } = (await server.get('/v1/crashes')).body;
  const reports = await Promise.all(
    crashes.map(({ crash_id }: { crash_id: string }) => server.get(`/v1/crashes/${crash_id}`)),
  );
  const seen = JSON.stringify([reply.body, server.log, reports]);
  expect(seen).toContain('you sent [secret]');
  expect(seen).not.toContain(secret);
});

it.skipIf(pg === undefined)(
  'settings of a connection in its user, database or password are what they say, and no settings',
  async () => {
    const { host, port, user, database, password } = pg as NonNullable<typeof pg>;
    const well = { alias: 'a', kind: 'postgres', host, port, user, database, ...(password && { password }) };
    expect((await ask('SELECT 1', well)).status).toBe(200);
    for (const more of [
      { database: `${database}' application_name='x` },
      { database: `${database} host=/var/run/postgresql` },
      { database: `postgresql://${host}/${database}` },
      { user: `${user}' host='/var/run/postgresql` },
      { user: `${user}\\' passfile=\\'/etc/passwd` },
    ])
      expect((await ask('SELECT 1', { ...well, ...more })).body).toMatchObject({
        code: 'SOURCE_UNAVAILABLE',
      });
  },
);

it.skipIf(my === undefined)('nor are those of MySQL', async () => {
  const { host, port, user, password } = my as NonNullable<typeof my>;
  const well = { alias: 'a', kind: 'mysql', host, port, user, ...(password && { password }) };
  expect((await ask('SELECT 1', well)).status).toBe(200);
  for (const more of [
    { user: `${user}" socket="/run/mysqld/mysqld.sock` },
    { database: 'mysql" socket="/run/mysqld/mysqld.sock' },
    { database: 'mysql\\" ssl_key=\\"/etc/passwd' },
    { password: 'x" host="localhost' },
    { password: 'a\n"b\'\\' },
  ])
    expect((await ask('SELECT 1', { ...well, ...more })).body).toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
});

it('views in files that a request brings along have no configured source beside them', async () => {
  const view = "CREATE VIEW v AS FROM read_csv('s3://theirs/in/../out/secret.csv')";
  const file = {
    alias: 'own',
    kind: 'duckdb',
    path: await databaseFile('view.db', view.replace('FROM', 'SELECT 1 AS a --')),
  };
  expect(await ask('FROM own.v', file)).toMatchObject({ status: 200, body: { data: [[1]] } });
  for (const kind of ['duckdb', 'sqlite'])
    expect(await ask('FROM own.v', { ...file, kind }, 'lake')).toMatchObject({
      status: 400,
      body: { code: 'INVALID_REQUEST', errors: [{ path: 'sources' }] },
    });
  // Nor has an export to a bucket.
  const destination = { kind: 's3', source: 'lake' };
  const sql = 'FROM own.v';
  expect(await call(server.url, 'POST', '/v1/exports', { sql, sources: [file], destination })).toMatchObject({
    status: 400,
    body: { errors: [{ path: 'sources' }] },
  });
});

it('the bucket of an export is no inline one', async () => {
  const bucket = { kind: 's3', endpoint: s3.endpoint, url_style: 'path', use_ssl: false, ...S3_KEYS };
  const destination = { kind: 's3', source: 'lake', prefix: 'x' };
  const exported = (source: Settings) =>
    call(server.url, 'POST', '/v1/exports', { sql: 'SELECT 1', sources: [source], destination });
  for (const source of [
    { ...bucket, alias: 'LAKE', bucket: 'own' },
    { ...bucket, alias: 'own', bucket: 'theirs', prefix: 'in/x' },
    { ...bucket, alias: 'own', bucket: 'theirs', prefix: 'in' },
  ])
    expect(await exported(source)).toMatchObject({
      status: 400,
      body: { errors: [{ path: 'destination.source' }] },
    });
  expect((await exported({ ...bucket, alias: 'own', bucket: 'own' })).status).toBe(202);
});

it('an inline bucket is read with its own keys, and a configured one with those of the configuration below its prefix alone', async () => {
  const bucket = {
    ...{
      alias: 'own',
      kind: 's3',
      bucket: 'theirs',
      endpoint: s3.endpoint,
      url_style: 'path',
      use_ssl: false,
    },
    ...{ key_id: 'nobody', secret: 'knows' },
  };
  expect((await ask("FROM 's3://theirs/in/x.csv'", 'lake', bucket)).body).toMatchObject({ data: [[1]] });
  const astray = await ask("FROM 's3://theirs/out/secret.csv'", 'lake', bucket);
  expect(astray.body).toMatchObject({ code: 'SOURCE_UNAVAILABLE', reason: 'authentication' });
  expect((await ask("FROM 's3://theirs/in/../out/secret.csv'", 'lake', bucket)).body.code).toBe('FORBIDDEN');
});

it.skipIf(my === undefined)(
  'a server that keeps silent costs its sender a worker, and nobody a source',
  async () => {
    const { host, port, user, password } = my as NonNullable<typeof my>;
    const proxy = await tcpProxy({ host, port });
    closing.push(() => proxy.close());
    proxy.set('silent');
    const source = {
      ...{
        alias: 'lake',
        kind: 'mysql',
        host: '127.0.0.1',
        port: proxy.port,
        user,
        connect_timeout: '300ms',
      },
      ...(password && { password }),
    };
    for (let times = 0; times < 2; times += 1)
      expect((await ask('SELECT 1', source)).body).toMatchObject({
        code: 'SOURCE_UNAVAILABLE',
        source: 'lake',
        reason: 'no_answer',
      });
    expect(server.events('source.silent')).toEqual([]);
    expect((await ask("FROM 's3://theirs/in/x.csv'", 'lake')).status).toBe(200);
    proxy.set('pass');
    expect((await ask('SELECT 1', source)).status).toBe(200);
  },
);

it.skipIf(pg === undefined)('a lake is made of inline sources of its request', async () => {
  const database = await (pg as NonNullable<typeof pg>).createDatabase();
  closing.push(() => database.drop());
  const { host, port, user, password } = database;
  const catalog = {
    alias: 'cat',
    kind: 'postgres',
    host,
    port,
    user,
    database: database.database,
    ...(password && { password }),
  };
  const lake = { alias: 'ducks', kind: 'ducklake', catalog: 'cat', data_path: path('ducks') };
  // There is no lake in it yet, and a reader makes none.
  const missing = await ask('FROM ducks.t', lake, catalog);
  expect(missing.body).toMatchObject({ code: 'SOURCE_UNAVAILABLE', source: 'ducks' });
  expect(await ask('FROM ducks.t', lake)).toMatchObject({ status: 400, body: { code: 'INVALID_REQUEST' } });
  expect((await ask('FROM __ducklake_metadata_ducks.t', lake, catalog)).status).toBeGreaterThanOrEqual(400);
});
