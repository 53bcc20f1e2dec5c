/** Object storage, on a real S3 server: what is read, and every way around its prefix that was found. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Attachment } from '../../src/workers/protocol.ts';
import { S3_KEYS, type S3Server, startS3Server } from '../support/s3-server.ts';
import { EXTENSIONS, useRunFolders, useWorker } from './worker-harness.ts';

useRunFolders();
const worker = useWorker({ configure: { extensions: { directory: EXTENSIONS, names: ['httpfs'] } } });

let s3: S3Server;

type Bucket = Extract<Attachment, { kind: 's3' }>;
const bucket = (change: Partial<Bucket> = {}): Bucket => ({
  ...{
    kind: 's3',
    alias: 'lake',
    url: 's3://lake/in/',
    region: 'us-east-1',
    urlStyle: 'path',
    useSsl: false,
  },
  ...{ endpoint: s3.endpoint, keyId: S3_KEYS.key_id, secret: S3_KEYS.secret },
  views: [
    { name: 'events', path: 'events/*.parquet' },
    { name: 'gone', path: 'nothing/here.parquet' },
  ],
  ...change,
});
const attached = (write = false, ...attachments: Attachment[]) => ({
  attachments: attachments.length === 0 ? [bucket()] : attachments,
  write,
});

beforeAll(async () => {
  s3 = await startS3Server(['lake', 'lake2']);
  await s3.put('s3://lake/in/events/1.parquet', 'SELECT 1 AS id');
  await s3.put('s3://lake/in/events/2.parquet', 'SELECT 2 AS id');
  await s3.put('s3://lake/in/city=New%20York/x.csv', 'SELECT 3 AS id');
  await s3.put('s3://lake/out.parquet', 'SELECT 666 AS id');
  await s3.put('s3://lake2/in.parquet', 'SELECT 667 AS id');
});
afterAll(() => s3?.stop());

describe('what is below the prefix', () => {
  it.each([
    ['SELECT id FROM lake.events ORDER BY 1', [[1], [2]]],
    ["FROM 's3://lake/in/events/1.parquet'", [[1]]],
    ["SELECT sum(id)::INT FROM read_parquet('s3://lake/in/**/*.parquet')", [[3]]],
    ["SELECT id FROM read_parquet(['s3://lake/in/events/2.parquet'], union_by_name = true)", [[2]]],
    [
      "SELECT id, city FROM read_csv('s3://lake/in/city=New%20York/x.csv', hive_partitioning = true)",
      [[3, 'New York']],
    ],
    ["SELECT count(*)::INT FROM glob('s3://lake/in/events/*')", [[2]]],
    ["SELECT count FROM histogram('s3://lake/in/events/1.parquet', id)", [[1]]],
    ["WITH e AS (FROM lake.events) SELECT count(*)::INT FROM e, 's3://lake/in/events/1.parquet'", [[2]]],
  ])('%s', async (sql, rows) => {
    expect(await worker().rows(sql, attached())).toEqual(rows);
  });

  it.each([
    "CREATE TABLE t AS FROM 's3://lake/in/events/1.parquet'",
    'CREATE TABLE t AS (SELECT * FROM lake.events)',
    "CREATE TABLE t (id INT, url TEXT); INSERT INTO t VALUES (1, 'https://a.example/?q=..'); INSERT INTO t (id) SELECT id FROM lake.events",
    "CREATE TABLE t AS SELECT 1 AS id; UPDATE t SET id = e.id FROM 's3://lake/in/events/2.parquet' e",
    "CREATE VIEW t AS FROM read_parquet('s3://lake/in/events/*.parquet')",
    "CREATE MACRO m(n) AS TABLE FROM 's3://lake/in/events/1.parquet' WHERE id = n; CREATE TABLE t AS FROM m(1)",
    'PREPARE p AS SELECT id FROM lake.events WHERE id = $1; CREATE TABLE t AS SELECT 1 AS id',
  ])('%s', async (sql) => {
    const rows = await worker().rows(`${sql}; SELECT count(*) > 0 FROM t`, attached(true));
    expect(rows).toEqual([[true]]);
  });

  it('two sources of one bucket read each with its own keys', async () => {
    const wrong = bucket({ alias: 'other', url: 's3://lake/in/events/', keyId: 'WRONG', views: [] });
    const both = attached(false, bucket(), wrong);
    expect(await worker().rows("FROM 's3://lake/in/city=New%20York/x.csv'", both)).toEqual([[3, 'New York']]);
    expect(await worker().failure("FROM 's3://lake/in/events/1.parquet'", both)).toMatchObject({ ok: false });
    const same = attached(false, bucket(), bucket({ alias: 'twin' }));
    expect(await worker().failure('SELECT 1', same)).toMatchObject({ code: 'INVALID_REQUEST' });
  });
});

describe('what is not', () => {
  it.each([
    "FROM 's3://lake/in/../out.parquet'",
    `FROM "s3://lake/in/."."/out"."parquet"`,
    `FROM "s3://lake/in/."."/out.parquet"`,
    "FROM 's3://lake/in/../../lake2/in.parquet'",
    "FROM 's3://lake/in/events/1.parquet?s3_endpoint=127.0.0.1:1'",
    "FROM 's3://lake/out.parquet'",
    "FROM 's3://lake2/in.parquet'",
    "FROM 's3://lake/in/*/../../out.parquet'",
    "FROM read_parquet('s3://lake/in/' || '../out.parquet')",
    "FROM read_parquet('s3://lake/in/' '../out.parquet')",
    "FROM read_parquet(['s3://lake/in/events/1.parquet', 's3://lake/in/../out.parquet'])",
    "FROM read_parquet(['s3://lake/in/../out.parquet'][1:1])",
    "FROM read_parquet(getvariable('p'))",
    "FROM parquet_metadata('s3://lake/in/../out.parquet')",
    "FROM read_blob('\\x73\\x33://lake/in/../out.parquet'::BLOB::VARCHAR)",
    "FROM glob('s3://lake/in/../*')",
    "FROM histogram('s3://lake/in/../out.parquet', id)",
    `FROM histogram("s3://lake/in/../out.parquet", id)`,
    `FROM histogram_values("s3://lake/in/."."/out.parquet", id)`,
    "SELECT (SELECT max(id) FROM 's3://lake/in/../out.parquet')",
    "WITH x AS (FROM 's3://lake/in/../out.parquet') FROM x",
    "SUMMARIZE 's3://lake/in/../out.parquet'",
    "DESCRIBE FROM 's3://lake/in/../out.parquet'",
    "EXPLAIN FROM 's3://lake/in/../out.parquet'",
    "PIVOT 's3://lake/in/../out.parquet' ON id",
    "FROM (PIVOT 's3://lake/in/../out.parquet' ON id IN (1))",
    "FROM e : 's3://lake/in/../out.parquet'",
    'FROM duckdb_secrets()',
    "FROM which_secret('s3://lake/in/x', 's3')",
    // Not read as SELECT by anybody but DuckDB.
    "CREATE TABLE t AS FROM 's3://lake/in/../out.parquet'",
    "CREATE TABLE t AS (FROM 's3://lake/in/../out.parquet')",
    "CREATE TABLE t (id INT); INSERT INTO t FROM 's3://lake/in/../out.parquet' ON CONFLICT DO NOTHING",
    "CREATE TABLE t AS SELECT 1 id; DELETE FROM t USING 's3://lake/in/../out.parquet'",
    'CREATE TABLE t AS SELECT 1 id; MERGE INTO t USING "s3://lake/in/."."/out.parquet" o ON false WHEN NOT MATCHED THEN INSERT',
    "CREATE TABLE t AS SELECT 1 id; DELETE FROM t WHERE id IN (SELECT id FROM read_parquet(E's3://lake/in/\\x2e./out.parquet'))",
    "CREATE TABLE t AS SELECT 1 id; DELETE FROM t WHERE id IN (SELECT id FROM read_parquet('s3://lake/in/' || '../out.parquet'))",
    "SET VARIABLE p = (SELECT max(id) FROM 's3://lake/in/../out.parquet')",
    "SET VARIABLE p = 's3://lake/in/../out.parquet'; FROM read_parquet(getvariable('p'))",
    'CREATE MACRO m(p) AS TABLE FROM read_parquet(p)',
    "CREATE MACRO m(p) AS TABLE FROM histogram(p, id); FROM m('s3://lake/in/../out.parquet')",
    'CREATE MACRO m(p) AS (SELECT max(id) FROM read_parquet(p))',
    "CREATE MACRO list_value(p) AS array['s3://lake/in/../out.parquet']",
    'CREATE OR REPLACE TEMP MACRO main."list_value"(p) AS 1',
    'PREPARE p AS FROM read_parquet($1)',
    "CALL read_parquet('s3://lake/in/../out.parquet')",
    "COPY (SELECT 1) TO 's3://lake/in/x.parquet'",
    "CREATE SECRET (TYPE s3, KEY_ID 'x', SECRET 'y')",
    "ATTACH 's3://lake/in/x.db'",
  ])('%s', async (sql) => {
    const answer = await worker().answer(sql, attached(true));
    expect(answer.finished.verdict).toMatchObject({ code: 'FORBIDDEN' });
    expect(answer.text).not.toMatch(/66[67]|S3RVER/);
  });

  it('a parameter is no path', async () => {
    const params = ['s3://lake/in/../out.parquet'];
    const failed = await worker().failure('FROM read_parquet(?)', { ...attached(), params });
    expect(failed).toMatchObject({ code: 'FORBIDDEN', members: { denied: { name: 'read_parquet' } } });
  });
});

it('what is wrong with a source is said where it is used, and holds no key', async () => {
  const failures = [
    await worker().failure('FROM lake.gone', attached()),
    await worker().failure('FROM lake.events', attached(false, bucket({ keyId: 'not-this-one' }))),
    await worker().failure('FROM lake.events', attached(false, bucket({ url: 's3://nobody/in/' }))),
  ];
  expect(failures.map(({ code }) => code)).toEqual(failures.map(() => 'SOURCE_UNAVAILABLE'));
  expect(JSON.stringify(failures)).not.toMatch(/not-this-one|S3RVER/);
});
