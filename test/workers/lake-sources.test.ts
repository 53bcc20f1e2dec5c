/** DuckLakes, with their catalog in a file and in PostgreSQL, and their data in a folder and in a bucket. */
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { extensionFile } from '../../src/extensions/layout.ts';
import type { Attachment } from '../../src/workers/protocol.ts';
import { S3_KEYS, type S3Server, startS3Server } from '../support/s3-server.ts';
import { type OwnDatabase, postgres } from '../support/servers.ts';
import { makeFolder } from '../support/temp.ts';
import { EXTENSIONS, useRunFolders, useWorker } from './worker-harness.ts';

const pgServer = await postgres();
useRunFolders();
const names = ['ducklake', 'postgres_scanner', 'httpfs'];
const worker = useWorker({ configure: { extensions: { directory: EXTENSIONS, names } } });

let folder: string;
let remove: () => Promise<void>;
let s3: S3Server;
let pg: OwnDatabase | undefined;

type Lake = Extract<Attachment, { kind: 'ducklake' }>;
const inFolder = (change: Partial<Lake> = {}): Lake => ({
  ...{ kind: 'ducklake', alias: 'lake', readOnly: true, dataPath: join(folder, 'data/') },
  catalog: { kind: 'file', path: join(folder, 'catalog.ducklake') },
  ...change,
});
const inBucket = (database: OwnDatabase): Lake => ({
  ...{ kind: 'ducklake', alias: 'lake', readOnly: true, dataPath: 's3://lake/data/' },
  catalog: {
    ...{ kind: 'postgres', alias: 'pg', options: { connect_timeout: '5' }, readOnly: true },
    ...{ host: database.host, port: database.port, user: database.user, database: database.database },
    password: database.password,
  },
  bucket: {
    ...{ kind: 's3', alias: 's3', url: 's3://lake/', region: 'us-east-1', endpoint: s3.endpoint },
    ...{ urlStyle: 'path', useSsl: false, keyId: S3_KEYS.key_id, secret: S3_KEYS.secret, views: [] },
  },
});
const attached = (lake: Lake, write = false) => ({ attachments: [lake], write });

beforeAll(async () => {
  ({ path: folder, remove } = await makeFolder());
  s3 = await startS3Server(['lake']);
  pg = await pgServer?.createDatabase();
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const build = await connection.runAndReadAll(
    'SELECT library_version, p.platform FROM pragma_version(), pragma_platform() p',
  );
  const [version, platform] = (build.getRows()[0] ?? []).map(String) as [string, string];
  for (const name of names)
    await connection.run(`LOAD '${extensionFile(EXTENSIONS, { version, platform }, name)}'`);
  const fill = async (alias: string) => {
    await connection.run(`CREATE TABLE ${alias}.t AS SELECT i AS id FROM range(1000) r(i)`);
    await connection.run(`INSERT INTO ${alias}.t VALUES (1000)`);
    await connection.run(`DETACH ${alias}`);
  };
  await connection.run(
    `ATTACH 'ducklake:${join(folder, 'catalog.ducklake')}' AS lake (DATA_PATH '${join(folder, 'data')}')`,
  );
  await fill('lake');
  if (pg !== undefined) {
    await connection.run(
      `CREATE SECRET (TYPE s3, KEY_ID '${S3_KEYS.key_id}', SECRET '${S3_KEYS.secret}', ENDPOINT '${s3.endpoint}', URL_STYLE path, USE_SSL false)`,
    );
    await connection.run(
      `ATTACH 'ducklake:postgres:host=${pg.host} port=${pg.port} user=${pg.user} dbname=${pg.database}${pg.password === '' ? '' : ` password=${pg.password}`}' AS lake (DATA_PATH 's3://lake/data/')`,
    );
    await fill('lake');
    await pg.query("CREATE TABLE private AS SELECT 'nobody sees this' AS text");
  }
  connection.closeSync();
  instance.closeSync();
});
afterAll(async () => {
  await s3?.stop();
  await pg?.drop();
  await remove();
});

const kinds: [string, () => Lake][] = [['a file and a folder', () => inFolder()]];
if (pgServer !== undefined) kinds.push(['PostgreSQL and a bucket', () => inBucket(pg as OwnDatabase)]);

describe.each(kinds)('a lake in %s', (_, lake) => {
  it('is read, also as it was', async () => {
    expect(await worker().rows('SELECT count(*)::INT FROM lake.t', attached(lake()))).toEqual([[1_001]]);
    const then = 'SELECT count(*)::INT FROM lake.t AT (VERSION => 1)';
    expect(await worker().rows(then, attached(lake()))).toEqual([[1_000]]);
  });

  it('is not written to', async () => {
    expect(await worker().failure('DELETE FROM lake.t', attached(lake(), true))).toMatchObject({ ok: false });
  });

  it.each([
    'FROM __ducklake_metadata_lake.ducklake_snapshot',
    'FROM "__DuckLake_metadata_lake".public.private',
    "SET search_path = '__ducklake_metadata_lake'",
    "SET search_path = E'\\x5f_ducklake_metadata_lake'; SELECT 1",
    'USE lake',
    "FROM histogram(E'\\x5f_ducklake_metadata_lake.public.private', text)",
    "FROM postgres_query('__ducklake_metadata_lake', 'SELECT * FROM private')",
    "FROM ducklake_list_files('lake', 't')",
    "CALL ducklake_expire_snapshots('lake', older_than => now())",
    'FROM duckdb_secrets()',
  ])('does not give away its catalog: %s', async (sql) => {
    const answer = await worker().answer(sql, attached(lake(), true));
    expect(answer.finished.verdict).toMatchObject({ code: 'FORBIDDEN' });
  });
});

it('one that may be written to keeps what is written', async () => {
  const lake = inFolder({ readOnly: false });
  await worker().rows('CREATE TABLE lake.own AS SELECT 42 AS id', attached(lake, true));
  expect(await worker().rows('FROM lake.own', attached(inFolder()))).toEqual([[42]]);
});

it('one that is not there is SOURCE_UNAVAILABLE, and is not made', async () => {
  for (const readOnly of [true, false]) {
    const none = inFolder({ readOnly, catalog: { kind: 'file', path: join(folder, 'none.ducklake') } });
    const failed = await worker().failure('SELECT 1', attached(none, true));
    expect(failed).toMatchObject({
      code: 'SOURCE_UNAVAILABLE',
      members: { source: 'lake', reason: 'no_file' },
    });
    expect(failed.detail).not.toContain(folder);
  }
});
