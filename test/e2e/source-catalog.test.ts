/** What a check says of what is wrong with a source, and which tables there are in one. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { S3_KEYS, type S3Server, startS3Server } from '../support/s3-server.ts';
import { type TestServer as Database, mariadb, type OwnDatabase, postgres } from '../support/servers.ts';
import { makeFolder } from '../support/temp.ts';
import { call, startTestServer, type TestServer } from '../support/test-server.ts';
import { freePort } from '../support/throwaway.ts';
import { CERTIFICATE, startWebServer, type WebServer } from '../support/web-server.ts';
import { EXTENSIONS } from '../workers/worker-harness.ts';

const pgServer = await postgres();
const myServer = await mariadb();

describe.skipIf(pgServer === undefined || myServer === undefined)('sources', () => {
  let server: TestServer;
  let pg: OwnDatabase;
  let my: OwnDatabase;
  let s3: S3Server;
  let web: WebServer;
  let tls: WebServer;
  let remove: () => Promise<void> = async () => undefined;

  beforeAll(async () => {
    const folder = await makeFolder();
    ({ remove } = folder);
    const at = (...parts: string[]) => join(folder.path, ...parts);
    [pg, my, s3, web, tls] = await Promise.all([
      (pgServer as Database).createDatabase(),
      (myServer as Database).createDatabase(),
      startS3Server(['lake']),
      startWebServer((path) => (path === '/open/a.csv' ? 'id\n1\n' : path === '/shut/' ? 403 : 404)),
      startWebServer(() => 'id\n1\n', { tls: true }),
    ]);
    await s3.put('s3://lake/in/a.parquet', 'SELECT 1 AS id');
    await pg.query(
      'CREATE TABLE b (id bigint NOT NULL, name text); CREATE VIEW v AS SELECT 1 AS one; CREATE SCHEMA "a.b"; CREATE TABLE "a.b"."c/d.e" (x date)',
    );
    await mkdir(at('files'));
    for (let n = 10; n < 70; n += 1) await writeFile(at(`files/t${n}.csv`), 'id\n1\n');
    await writeFile(at('not.db'), 'this is neither SQLite nor DuckDB, and long enough to tell. '.repeat(100));
    const [closed, mute] = [await freePort(), { connect_timeout: '500ms' }];
    const ofPg = {
      kind: 'postgres',
      host: pg.host,
      port: pg.port,
      user: pg.user,
      password: pg.password,
      database: pg.database,
    };
    const ofMy = {
      kind: 'mysql',
      host: my.host,
      port: my.port,
      user: my.user,
      password: my.password,
      database: my.database,
    };
    const ofS3 = {
      kind: 's3',
      bucket: 'lake',
      prefix: 'in',
      endpoint: s3.endpoint,
      url_style: 'path',
      use_ssl: false,
      ...S3_KEYS,
    };
    server = await startTestServer({
      config: { extensions: { directory: EXTENSIONS } },
      sources: {
        ...{ pg: ofPg, my: ofMy, s3: { ...ofS3, views: { a: 'a.parquet', z: 'z.parquet' } } },
        web: { kind: 'http', url: web.url, views: { a: 'open/a.csv' } },
        folder: { kind: 'http', url: `${web.url}/open/` },
        secure: { kind: 'http', url: tls.url, ssl_ca: CERTIFICATE },
        files: { kind: 'files', path: at('files') },
        pg_refused: { ...ofPg, port: closed },
        pg_dns: { ...ofPg, host: 'no-such-host.invalid' },
        pg_auth: { ...ofPg, user: 'no_such_user' },
        pg_no_database: { ...ofPg, database: 'no_such_database' },
        pg_tls: { ...ofPg, ssl_mode: 'require', ...mute },
        my_refused: { ...ofMy, port: closed },
        my_dns: { ...ofMy, host: 'no-such-host.invalid' },
        my_auth: { ...ofMy, user: 'no_such_user', password: 'wrong' },
        my_no_database: { ...ofMy, database: 'no_such_database' },
        s3_refused: { ...ofS3, endpoint: `127.0.0.1:${closed}` },
        s3_dns: { ...ofS3, endpoint: 'no-such-host.invalid' },
        s3_auth: { ...ofS3, key_id: 'wrong' },
        s3_no_bucket: { ...ofS3, bucket: 'no-such-bucket' },
        s3_tls: { ...ofS3, use_ssl: true, endpoint: tls.url.replace('https://', '') },
        http_refused: { kind: 'http', url: `http://127.0.0.1:${closed}` },
        http_auth: { kind: 'http', url: `${web.url}/shut/`, bearer_token: 'wrong' },
        http_no_file: { kind: 'http', url: `${web.url}/open/`, views: { none: 'none.csv' } },
        http_tls: { kind: 'http', url: tls.url },
        sqlite_no_file: { kind: 'sqlite', path: at('none.db') },
        sqlite_not_a_database: { kind: 'sqlite', path: at('not.db') },
        duckdb_no_file: { kind: 'duckdb', path: at('none.db') },
        duckdb_not_a_database: { kind: 'duckdb', path: at('not.db') },
        files_no_file: { kind: 'files', path: at('none') },
      },
    });
    await server.server.ready;
  });

  afterAll(async () => {
    await server?.stop();
    await Promise.all([s3, web, tls].map((each) => each?.stop()));
    await Promise.all([pg?.drop(), my?.drop()]);
    await remove();
  });

  const check = (alias: string, body?: Record<string, unknown>) =>
    call(server.url, 'POST', `/v1/sources/${alias}/check`, body);

  it.each(['pg', 'my', 's3', 'web', 'folder', 'secure', 'files'])(
    'a check of %s finds nothing wrong',
    async (alias) => {
      expect((await check(alias)).body).toMatchObject({ alias, ok: true });
    },
  );

  it.each([
    ...['pg_refused', 'pg_dns', 'pg_auth', 'pg_no_database', 'pg_tls'],
    ...['my_refused', 'my_dns', 'my_auth', 'my_no_database'],
    ...['s3_refused', 's3_dns', 's3_auth', 's3_no_bucket', 's3_tls'],
    ...['http_refused', 'http_auth', 'http_no_file', 'http_tls'],
    ...[
      'sqlite_no_file',
      'sqlite_not_a_database',
      'duckdb_no_file',
      'duckdb_not_a_database',
      'files_no_file',
    ],
  ])('a check of %s says what is wrong, and what to look at', async (alias) => {
    const { status, body } = await check(alias);
    const reason = alias.replace(/^[^_]+_/, '').replace(/^auth$/, 'authentication');
    expect(body).toMatchObject({ code: 'SOURCE_UNAVAILABLE', source: alias, reason });
    expect([status, body.hint.length > 20, body.detail.startsWith(`${alias}: `)]).toEqual([502, true, true]);
    expect(body.detail).not.toMatch(/duckcoop-test-|S3RVER/);
    if (process.env.DUCKCOOP_SHOW !== undefined)
      await writeFile(process.env.DUCKCOOP_SHOW, `${body.detail} | ${body.reason}\n`, { flag: 'a' });
  });

  it('a check takes no fields', async () => {
    expect((await check('files', {})).status).toBe(200);
    expect((await check('files', { deep: true })).body).toMatchObject({ code: 'INVALID_REQUEST' });
  });

  const tables = async (path: string) => (await server.get(`/v1/sources/${path}`)).body;

  it('the tables of a database are listed page by page', async () => {
    const first = await tables('pg/tables?limit=2');
    const second = await tables(`pg/tables?limit=2&cursor=${first.next}`);
    expect([...first.tables, ...second.tables]).toEqual([
      { schema: 'a.b', name: 'c/d.e', kind: 'table', sql: '"pg"."a.b"."c/d.e"' },
      { schema: 'public', name: 'b', kind: 'table', sql: '"pg"."public"."b"' },
      expect.objectContaining({ schema: 'public', name: 'v' }),
    ]);
    expect(second.next).toBe(null);
    expect(await tables('pg/tables?cursor=eA')).toMatchObject({ code: 'INVALID_REQUEST' });
    expect(await tables('pg/tables?limit=0')).toMatchObject({ code: 'INVALID_REQUEST' });
  });

  it('so are all files of a folder, and the views of a bucket', async () => {
    const first = await tables('files/tables?limit=50');
    const second = await tables(`files/tables?limit=50&cursor=${first.next}`);
    expect([first.tables.length, second.tables.length, second.next]).toEqual([50, 10, null]);
    expect(first.tables[0]).toEqual({ schema: 'main', name: 't10', kind: 'view', sql: '"files"."t10"' });
    expect((await tables('s3/tables')).tables.map(({ name }: { name: string }) => name)).toEqual(['a', 'z']);
  });

  it('the columns of a table are told, whatever it is called', async () => {
    expect(await tables('pg/tables/public.b')).toMatchObject({
      columns: [
        { name: 'id', type: 'BIGINT' },
        { name: 'name', type: 'VARCHAR', nullable: true },
      ],
    });
    for (const name of ['a%2Eb.c%2Fd.e', 'a%2eb.c%2Fd%2Ee'])
      expect(await tables(`pg/tables/${name}`)).toMatchObject({ columns: [{ name: 'x', type: 'DATE' }] });
    expect((await tables('files/tables/main.t10')).columns).toMatchObject([{ name: 'id', type: 'BIGINT' }]);
    expect((await tables('s3/tables/main.a')).columns).toMatchObject([{ name: 'id', type: 'INTEGER' }]);
  });

  it('what is not there is not found, and no name is more than a name', async () => {
    const injected = encodeURIComponent('b"; DROP TABLE public.b; --');
    for (const path of [
      'pg/tables/public.none',
      'none/tables',
      'none/tables/a.b',
      `pg/tables/public.${injected}`,
      'files/tables/other.t10',
      'pg/tables/b',
    ])
      expect(await tables(path)).toMatchObject({ code: 'NOT_FOUND' });
    expect((await tables('pg/tables/public.b')).columns).toHaveLength(2);
  });

  it('a worker that dies while it lists is a typed error', async () => {
    server.fault('interactive', 'sigsegv', 'running');
    expect(await tables('pg/tables')).toMatchObject({ code: 'WORKER_CRASHED' });
    expect((await tables('pg/tables')).tables.length).toBeGreaterThan(0);
  });
});
