/** What is stored in a DuckDB file or in the catalog of a lake is run by whoever reads it: it may do what a statement may, and no more. */
import { copyFileSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Attachment } from '../../src/workers/protocol.ts';
import { loadScanners } from '../sandbox/scanners.ts';
import { S3_KEYS, type S3Server, startS3Server } from '../support/s3-server.ts';
import { postgres } from '../support/servers.ts';
import { makeFolder } from '../support/temp.ts';
import { EXTENSIONS, TestWorker, useRunFolders, useWorker } from './worker-harness.ts';

const server = await postgres();
const names = ['ducklake', 'sqlite_scanner', 'httpfs', 'postgres_scanner'];
const configure = { extensions: { directory: EXTENSIONS, names } };
const folders = useRunFolders();
const worker = useWorker({ configure });

let folder: string;
let remove: () => Promise<void>;
let s3: S3Server;
const at = (name: string) => join(folder, name);

type Lake = Extract<Attachment, { kind: 'ducklake' }>;
const file = (name: string): Attachment => ({ kind: 'duckdb', alias: 'd', path: at(`${name}.duckdb`) });
const sqlite = (): Attachment => ({ kind: 'sqlite', alias: 's', path: at('own.sqlite'), readOnly: true });
const lake = (name: string, change: Partial<Lake> = {}): Lake => ({
  ...{ kind: 'ducklake', alias: 'l', readOnly: true, dataPath: at(`${name}-data/`) },
  catalog: { kind: 'file', path: at(`${name}.ducklake`) },
  ...change,
});
const bucket = (url: string): Extract<Attachment, { kind: 's3' }> => ({
  ...{ kind: 's3', alias: 's3', url, region: 'us-east-1', endpoint: s3.endpoint },
  ...{ urlStyle: 'path', useSsl: false, keyId: S3_KEYS.key_id, secret: S3_KEYS.secret, views: [] },
});

/** Runs statements in an instance with all doors open, as whoever made the file. */
async function make(...statements: readonly string[]): Promise<void> {
  await makeWith(names, statements);
}

async function makeWith(scanners: readonly string[], statements: readonly string[]): Promise<void> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection: DuckDBConnection = await instance.connect();
  await loadScanners(connection, scanners);
  for (const statement of statements) await connection.run(statement);
  connection.closeSync();
  instance.closeSync();
}

const makeFile = (name: string, ...statements: readonly string[]) =>
  makeWith(
    ['sqlite_scanner', 'httpfs'],
    [`ATTACH '${at(name)}.duckdb' AS d`, 'CREATE TABLE d.t AS SELECT 42 AS id', ...statements],
  );
const makeLake = (name: string, ...statements: readonly string[]) =>
  make(
    `ATTACH 'ducklake:${at(name)}.ducklake' AS l (DATA_PATH '${at(name)}-data')`,
    'CREATE TABLE l.t AS SELECT 42 AS id',
    ...statements,
  );

beforeAll(async () => {
  ({ path: folder, remove } = await makeFolder());
  s3 = await startS3Server(['lake']);
  mkdirSync(at('closed'));
  await make(
    `ATTACH '${at('closed/canary.sqlite')}' AS one (TYPE sqlite)`,
    `ATTACH '${at('own.sqlite')}' AS two (TYPE sqlite)`,
    "CREATE TABLE one.canary AS SELECT 'canary' AS a",
    "CREATE TABLE two.own AS SELECT 'own' AS a",
    `COPY (SELECT 'canary' AS id) TO '${at('closed/canary.parquet')}'`,
  );
});
afterAll(async () => {
  await s3?.stop();
  await remove();
});

const scan = () => `sqlite_scan('${at('closed/canary.sqlite')}', 'canary')`;

/** Each is a file, and what it is refused for. */
const HOSTILE: readonly (readonly [string, () => readonly string[], string])[] = [
  ['a view that opens a file', () => [`CREATE VIEW d.x AS FROM ${scan()}`], 'sqlite_scan'],
  [
    'a view with names of columns, in a schema of its own',
    () => [
      'CREATE SCHEMA d."a (b"',
      `CREATE VIEW d."a (b"."v )" ("c (") AS SELECT a FROM system.main.${scan()}`,
    ],
    'sqlite_scan',
  ],
  [
    'a view that has it in a subquery of a join in a CTE',
    () => [`CREATE VIEW d.x AS WITH w AS (SELECT * FROM d.t JOIN (FROM ${scan()}) ON true) FROM w`],
    'sqlite_scan',
  ],
  [
    'a view of a view',
    () => [`CREATE VIEW d.y AS FROM ${scan()}`, 'CREATE VIEW d.x AS FROM d.y'],
    'sqlite_scan',
  ],
  ['a view that evaluates a text', () => ["CREATE VIEW d.x AS FROM query('SELECT 1')"], 'query'],
  ['a view of the secrets', () => ['CREATE VIEW d.x AS FROM duckdb_secrets()'], 'duckdb_secrets'],
  [
    'a macro that is a table',
    () => ["CREATE MACRO d.x(place) AS TABLE FROM sqlite_scan(place, 'canary')"],
    'sqlite_scan',
  ],
  [
    'a macro with the name of a function that is allowed',
    () => [`CREATE MACRO d.range(i) AS TABLE FROM ${scan()}`],
    'sqlite_scan',
  ],
  [
    'a macro of which only the second form does it',
    () => [`CREATE MACRO d.x(a) AS TABLE (SELECT 1), (a, b) AS TABLE (FROM ${scan()})`],
    'sqlite_scan',
  ],
  [
    'a macro that is a value',
    () => [`CREATE MACRO d.x(i) AS (SELECT any_value(a) FROM ${scan()})`],
    'sqlite_scan',
  ],
  [
    'a column that is computed',
    () => ['CREATE TABLE d.x (a VARCHAR, b VARCHAR AS (json_serialize_plan(a)))'],
    'json_serialize_plan',
  ],
];

describe('a DuckDB file', () => {
  it.each(HOSTILE)('with %s is not read, whatever the statement reads of it', async (name, sql, denied) => {
    const own = name.replaceAll(' ', '-');
    await makeFile(own, ...sql());
    for (const [statement, write] of [
      ['FROM d.t', false],
      ['FROM d.x', true],
    ] as const) {
      const failed = await worker().failure(statement, { attachments: [sqlite(), file(own)], write });
      expect(failed).toMatchObject({
        code: 'FORBIDDEN',
        members: { denied: { kind: 'function', name: denied } },
      });
      expect(failed.detail).toMatch(/^d is not read: /);
    }
  });

  it('with views and macros that do what a statement may is read, and so are they', async () => {
    await makeFile(
      'harmless',
      "CREATE VIEW d.x AS SELECT id AS query, 'sqlite_scan(''a'', ''b'')' AS checkpoint FROM d.t -- query('x')",
      'CREATE MACRO d.twice(i) AS 2 * i',
      'CREATE MACRO d.some(n) AS TABLE FROM range(n) LIMIT 1',
      'CREATE TABLE d.computed (a INT, b INT AS (a + 1))',
      'INSERT INTO d.computed (a) VALUES (1)',
    );
    const attachments = [sqlite(), file('harmless')];
    const sql =
      'SELECT x.query, d.twice(21), c.b, s.a, r.range::INT FROM d.x, d.computed c, s.own s, d.some(7) r';
    expect(await worker().rows(sql, { attachments })).toEqual([[42, 42, 2, 'own', 0]]);
  });

  it('that has taken the place of another one is looked at anew', async () => {
    await makeFile('good');
    await makeFile('bad', `CREATE VIEW d.x AS FROM ${scan()}`);
    copyFileSync(at('good.duckdb'), at('changing.duckdb'));
    const attachments = [file('changing')];
    for (let times = 0; times < 2; times += 1)
      expect(await worker().rows('FROM d.t', { attachments })).toEqual([[42]]);
    renameSync(at('bad.duckdb'), at('changing.duckdb'));
    expect(await worker().failure('FROM d.x', { attachments })).toMatchObject({ code: 'FORBIDDEN' });
    renameSync(at('good.duckdb'), at('changing.duckdb'));
    expect(await worker().rows('FROM d.t', { attachments })).toEqual([[42]]);
  });

  it('with a view that leaves the prefix of a bucket is not read beside that bucket, and is without it', async () => {
    await s3.put('s3://lake/open/shown.csv', "SELECT 'shown' AS a");
    await s3.put('s3://lake/canary.csv', "SELECT 'canary' AS a");
    const secret = `CREATE SECRET (TYPE s3, KEY_ID '${S3_KEYS.key_id}', SECRET '${S3_KEYS.secret}', ENDPOINT '${s3.endpoint}', URL_STYLE path, USE_SSL false)`;
    await makeFile('leaving', secret, "CREATE VIEW d.x AS FROM 's3://lake/open/../canary.csv'");
    const open = bucket('s3://lake/open/');
    expect(await worker().rows("FROM 's3://lake/open/shown.csv'", { attachments: [open] })).toEqual([
      ['shown'],
    ]);
    for (const attachments of [
      [open, file('leaving')],
      [file('leaving'), open],
    ])
      expect(await worker().failure('FROM d.x', { attachments })).toMatchObject({ code: 'FORBIDDEN' });
    expect(await worker().rows('FROM d.t', { attachments: [file('leaving')] })).toEqual([[42]]);
    expect(await worker().failure('FROM d.x', { attachments: [file('leaving')] })).toMatchObject({
      code: 'FORBIDDEN',
    });
  });
});

describe('a lake', () => {
  it.each([
    ['a view', () => [`CREATE VIEW l.x AS FROM ${scan()}`]],
    [
      'a view that was dropped, which is read as it was',
      () => [`CREATE VIEW l.x AS FROM ${scan()}`, 'DROP VIEW l.x'],
    ],
    ['a macro', () => [`CREATE MACRO l.x(i) AS TABLE FROM ${scan()}`]],
    ['a macro that is a value', () => [`CREATE MACRO l.x(i) AS (SELECT any_value(a) FROM ${scan()})`]],
  ] as const)('with %s that opens a file is not read', async (name, sql) => {
    const own = `lake-${name.replaceAll(/\W/g, '-')}`;
    await makeLake(own, ...sql());
    for (const statement of ['FROM l.t', 'FROM l.x AT (VERSION => 2)', 'FROM l.x(1)'])
      expect(await worker().failure(statement, { attachments: [lake(own), sqlite()] })).toMatchObject({
        code: 'FORBIDDEN',
        members: { denied: { kind: 'function', name: 'sqlite_scan' } },
      });
  });

  it('with views and macros that do what a statement may is read, and so are they', async () => {
    await makeLake(
      'plain',
      'CREATE VIEW l.x AS SELECT id AS query FROM l.t',
      'CREATE MACRO l.twice(i) AS 2 * i',
    );
    const sql = 'SELECT x.query, l.twice(21) FROM l.x';
    expect(await worker().rows(sql, { attachments: [lake('plain')] })).toEqual([[42, 42]]);
  });

  it('that says of its files that they are elsewhere does not get them read', async () => {
    await makeLake(
      'astray',
      'CREATE TABLE l.u AS SELECT 42 AS id FROM range(100)',
      'CREATE TABLE l.v AS SELECT 42 AS id FROM range(100)',
      'DETACH l',
      `ATTACH '${at('astray.ducklake')}' AS c`,
      `UPDATE c.ducklake_data_file SET path = '${at('closed/canary.parquet')}', path_is_relative = false WHERE table_id = 2`,
      "UPDATE c.ducklake_data_file SET path = '../../../closed/canary.parquet' WHERE table_id = 3",
    );
    for (const table of ['u', 'v'])
      expect(await worker().failure(`FROM l.${table}`, { attachments: [lake('astray')] })).toMatchObject({
        code: 'FORBIDDEN',
        members: { denied: { kind: 'source' } },
      });
  });

  it('in a bucket that says so of its files is not read at all', async () => {
    const secret = `CREATE SECRET (TYPE s3, KEY_ID '${S3_KEYS.key_id}', SECRET '${S3_KEYS.secret}', ENDPOINT '${s3.endpoint}', URL_STYLE path, USE_SSL false)`;
    const attach = `ATTACH 'ducklake:${at('remote.ducklake')}' AS l (DATA_PATH 's3://lake/data')`;
    await make(secret, attach, 'CREATE TABLE l.t AS SELECT 42 AS id FROM range(100)');
    const own = () => lake('remote', { dataPath: 's3://lake/data/', bucket: bucket('s3://lake/data/') });
    const sql = 'SELECT DISTINCT id FROM l.t';
    expect(await worker().rows(sql, { attachments: [own()] })).toEqual([[42]]);
    for (const path of ['../../../canary.parquet', 'x.parquet?s3_endpoint=other.example']) {
      await make(
        `ATTACH '${at('remote.ducklake')}' AS c`,
        `UPDATE c.ducklake_data_file SET path = '${path}'`,
      );
      expect(await worker().failure(sql, { attachments: [own()] })).toMatchObject({
        code: 'FORBIDDEN',
        members: { denied: { kind: 'source', name: 'l' } },
      });
    }
  });

  it('in a file has that read by nobody, by whatever name', async () => {
    await makeLake('named');
    const path = at('named.ducklake');
    const options = { attachments: [lake('named')], write: true };
    for (const sql of [
      `SELECT size FROM read_blob('${path}')`,
      `SELECT size FROM read_blob('file://${path}')`,
      `SELECT size FROM read_blob(['${path}'])`,
      `SELECT size FROM read_blob('${folder}/./closed/../named.ducklake')`,
      `SELECT size FROM read_blob('${folder}/' || 'named.ducklake')`,
      `SET VARIABLE place = '${path}'; SELECT size FROM read_blob(getvariable('place'))`,
      `SELECT size FROM read_text('${path}.wal')`,
      `FROM '${path}'`,
    ])
      expect(
        await worker()
          .answer(sql, options)
          .then(({ finished }) => finished.verdict),
        sql,
      ).toMatchObject({
        code: 'FORBIDDEN',
      });
    expect(await worker().rows('FROM l.t', options)).toEqual([[42]]);
  });

  it.skipIf(server === undefined)(
    'of a session is read no more once its catalog has turned hostile',
    async () => {
      if (server === undefined) return;
      const database = await server.createDatabase();
      const { host, port, user, password } = database;
      const options = { connect_timeout: '5' };
      const pg = {
        kind: 'postgres',
        alias: 'pg',
        host,
        port,
        user,
        password,
        database: database.database,
        options,
      };
      const own = lake('turning', { catalog: { ...pg, readOnly: true } as Lake['catalog'] });
      const link = `host=${host} port=${port} user=${user} dbname=${database.database} password=${password || 'none'}`;
      const attach = `ATTACH 'ducklake:postgres:${link}' AS l (DATA_PATH '${at('turning-data')}')`;
      await make(attach, 'CREATE TABLE l.t AS SELECT 42 AS id');
      const workspace = at('workspace.duckdb');
      const session = await new TestWorker({
        folders: folders(),
        configure: { ...configure, workspace },
      }).started();
      const sent = { attachments: [own, sqlite()], write: true };
      expect(await session.rows('FROM l.t', sent)).toEqual([[42]]);
      await session.rows('BEGIN', sent);
      await session.failure("SELECT error('fails')", sent);
      await session.rows('ROLLBACK', sent);
      await make(attach, `CREATE VIEW l.x AS FROM ${scan()}`);
      for (const sql of ['FROM l.x', 'FROM l.t', 'SELECT 1'])
        expect(await session.failure(sql, sent)).toMatchObject({ code: 'FORBIDDEN' });
      await make(attach, 'DROP VIEW l.x', "CALL ducklake_expire_snapshots('l', older_than => now())");
      expect(await session.rows('FROM l.t', sent)).toEqual([[42]]);
      await session.stop();
      await database.drop();
    },
  );
});
