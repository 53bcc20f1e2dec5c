import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { extensionFile } from '../../src/extensions/layout.ts';
import type { Attachment } from '../../src/workers/protocol.ts';
import { makeFolder } from '../support/temp.ts';
import { EXTENSIONS, useRunFolders, useWorker } from './worker-harness.ts';

useRunFolders();
const worker = useWorker({ configure: { extensions: { directory: EXTENSIONS, names: ['sqlite_scanner'] } } });

let folder: string;
let remove: () => Promise<void>;

type Views = Extract<Attachment, { kind: 'files' }>['views'];
const files = (path = join(folder, 'files'), views: Views = [], alias = 'f'): Attachment => ({
  kind: 'files',
  alias,
  path,
  views,
});
const sqlite = (name: string, readOnly = true, alias = 's'): Attachment => ({
  kind: 'sqlite',
  alias,
  path: join(folder, name),
  readOnly,
});

beforeAll(async () => {
  ({ path: folder, remove } = await makeFolder());
  const at = (...parts: string[]) => join(folder, ...parts);
  for (const path of [
    'files/year=2024',
    'files/parts/deep',
    'files/mixed',
    'files/empty',
    'files/linked',
    'secret',
    'many',
  ])
    await mkdir(at(path), { recursive: true });
  await writeFile(at('files/plain.csv'), 'id,name\n1,one\n2,two\n');
  await writeFile(at('files/UPPER.CSV'), 'id\n1\n');
  await writeFile(at('files/lines.ndjson'), '{"id":1}\n{"id":2}\n');
  await writeFile(at('files/list.json'), '[{"id":1},{"id":2},{"id":3}]');
  await writeFile(at('files/tabs.tsv'), 'a\tb\n1\t2\n');
  await writeFile(at(`files/it's "quoted" [1]*.csv`), 'id\n7\n');
  await writeFile(at('files/both.csv'), 'from\ncsv\n');
  await writeFile(at('files/both.json'), '[{"from":"json"}]');
  await mkdir(at('files/both'));
  await writeFile(at('files/both/a.csv'), 'from\nfolder\n');
  await writeFile(at('files/broken.parquet'), 'this is no parquet');
  await writeFile(at('files/notes.txt'), 'nothing');
  await writeFile(at('files/parts/1.csv'), 'id\n1\n');
  await writeFile(at('files/parts/deep/2.csv'), 'id\n2\n');
  await writeFile(at('files/mixed/1.csv'), 'id\n1\n');
  await writeFile(at('files/mixed/2.json'), '[]');
  await writeFile(at('files/linked/1.csv'), 'id\n1\n');
  await writeFile(at('secret/secret.csv'), 'id\n666\n');
  await symlink(at('secret/secret.csv'), at('files/outside.csv'));
  await symlink(at('secret'), at('files/outfolder'));
  await symlink(at('files/plain.csv'), at('files/inside.csv'));
  await symlink(at('secret/secret.csv'), at('files/linked/2.csv'));
  await symlink(at('files/plain.csv'), at('files/linked/3.csv'));
  await symlink(at('nowhere.csv'), at('files/dangling.csv'));
  await symlink(at('files'), at('link to files'));
  for (let index = 0; index < 60; index += 1) await writeFile(at(`many/t${index}.csv`), `id\n${index}\n`);
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  await connection.run(`COPY (SELECT i AS id FROM range(10000) t(i)) TO '${at('files/numbers.parquet')}'`);
  await connection.run(`COPY (SELECT 1 AS id) TO '${at('files/year=2024/a.parquet')}'`);
  const [[version, platform]] = (
    await connection.runAndReadAll(
      'SELECT library_version, p.platform FROM pragma_version(), pragma_platform() p',
    )
  ).getRows() as [[string, string]];
  await connection.run(`LOAD '${extensionFile(EXTENSIONS, { version, platform }, 'sqlite_scanner')}'`);
  await connection.run(`ATTACH '${at('shop.db')}' AS shop (TYPE sqlite)`);
  await connection.run(
    "CREATE TABLE shop.items (id INTEGER, name VARCHAR); INSERT INTO shop.items VALUES (1, 'one'), (2, NULL)",
  );
  connection.closeSync();
  instance.closeSync();
  await writeFile(at('not a database.db'), 'text '.repeat(1_000));
});
afterAll(() => remove());

const withFiles = (sql: string, options = {}) => worker().rows(sql, { attachments: [files()], ...options });

describe('a folder of files', () => {
  it('has a view for each file, and for each folder whose files are of one kind', async () => {
    const views = await withFiles(
      "SELECT view_name FROM duckdb_views() WHERE schema_name = 'f' ORDER BY ALL",
    );
    expect(views.flat()).toEqual([
      ...[
        'UPPER',
        'both.csv',
        'both.json',
        'both/',
        'inside',
        `it's "quoted" [1]*`,
        'lines',
        'linked',
        'list',
        'numbers',
        'parts',
        'plain',
        'tabs',
        'year=2024',
      ].sort(),
    ]);
  });

  it('is read by the names of its files', async () => {
    expect(await withFiles('SELECT * FROM f.plain')).toEqual([
      [1, 'one'],
      [2, 'two'],
    ]);
    expect(await withFiles('SELECT count(*), sum(id) FROM f.numbers')).toEqual([[10_000, 49_995_000]]);
    expect(await withFiles('SELECT sum(id) FROM f.lines UNION ALL SELECT sum(id) FROM f.list')).toEqual([
      [3],
      [6],
    ]);
    expect(await withFiles('SELECT * FROM f.tabs')).toEqual([[1, 2]]);
    expect(await withFiles('SELECT id FROM F."upper"')).toEqual([[1]]);
    expect(await withFiles('SELECT id FROM f.parts ORDER BY id')).toEqual([[1], [2]]);
    expect(await withFiles(`SELECT id FROM f."it's ""quoted"" [1]*"`)).toEqual([[7]]);
    expect(await withFiles('SELECT id, year FROM f."year=2024"')).toEqual([[1, 2024]]);
  });

  it('has whole names where two would be the same', async () => {
    expect(
      await withFiles(
        'SELECT * FROM f."both.csv" UNION ALL SELECT * FROM f."both.json" UNION ALL SELECT * FROM f."both/" ORDER BY ALL',
      ),
    ).toEqual([['csv'], ['folder'], ['json']]);
  });

  it('is read by path, too, and no link leads out of it', async () => {
    const path = join(folder, 'files');
    expect(await withFiles(`SELECT * FROM '${path}/plain.csv'`)).toHaveLength(2);
    expect(await withFiles(`SELECT count(*) FROM read_csv('${path}/parts/**/*.csv')`)).toEqual([[2]]);
    for (const outside of [
      `${path}/outside.csv`,
      `${path}/outfolder/secret.csv`,
      `${path}/../secret/secret.csv`,
      `${folder}/secret/secret.csv`,
      `${path}/linked/2.csv`,
      '/etc/passwd',
      `${path}-other/x.csv`,
    ])
      expect(
        await worker().failure(`SELECT * FROM read_csv('${outside}')`, { attachments: [files()] }),
        outside,
      ).toMatchObject({ code: 'FORBIDDEN', members: { denied: { kind: 'source' } } });
    const found = JSON.stringify(await withFiles(`SELECT * FROM glob('${path}/**')`));
    expect(found).not.toContain('secret');
  });

  it('has links that stay inside as files, and none of the others', async () => {
    expect(await withFiles('SELECT * FROM f.inside')).toEqual([
      [1, 'one'],
      [2, 'two'],
    ]);
    for (const name of ['outside', 'outfolder', 'dangling'])
      expect(await worker().failure(`SELECT * FROM f.${name}`, { attachments: [files()] })).toMatchObject({
        code: 'SQL_ERROR',
        members: { duckdb: { type: 'Catalog' } },
      });
    const ids = (await withFiles('SELECT id FROM f.linked')).flat();
    expect(ids).toContain(1);
    expect(ids).not.toContain(666);
  });

  it('with a broken file is an error for the statement that names it and no other', async () => {
    expect(await worker().failure('SELECT * FROM f.broken', { attachments: [files()] })).toMatchObject({
      code: 'SOURCE_UNAVAILABLE',
      detail: expect.stringMatching(/^f: .*broken\.parquet/),
      members: { source: 'f' },
    });
    expect(await withFiles('SELECT count(*) AS unbroken FROM f.plain')).toEqual([[2]]);
  });

  it('has the views of its configuration, before those of its files', async () => {
    const views = (list: Views) => ({ attachments: [files(undefined, list)] });
    expect(
      await worker().rows(
        'SELECT id FROM f.everything ORDER BY id',
        views([{ name: 'everything', path: 'parts/**/*.csv' }]),
      ),
    ).toEqual([[1], [2]]);
    expect(
      await worker().rows('SELECT id FROM f.plain', views([{ name: 'plain', path: 'parts/1.csv' }])),
    ).toEqual([[1]]);
    expect(
      await worker().rows(
        'SELECT * FROM f.text',
        views([{ name: 'text', path: 'notes.txt', format: 'csv' }]),
      ),
    ).toEqual([]);
    expect(await worker().failure('SELECT 1', views([{ name: 'text', path: 'notes.txt' }]))).toMatchObject({
      code: 'SOURCE_UNAVAILABLE',
      detail: 'f: the view text needs a format: its path notes.txt does not tell',
      members: { source: 'f' },
    });
    expect(
      await worker().failure('SELECT * FROM f.gone', views([{ name: 'gone', path: 'gone/*.csv' }])),
    ).toMatchObject({ code: 'SOURCE_UNAVAILABLE', members: { source: 'f' } });
    expect(await worker().rows('SELECT 1', views([{ name: 'gone', path: 'gone/*.csv' }]))).toEqual([[1]]);
    expect(
      await worker().failure('SELECT * FROM f.up', views([{ name: 'up', path: '../secret/secret.csv' }])),
    ).toMatchObject({ code: 'FORBIDDEN' });
  });

  it('may be a link itself, and have quotes in its path', async () => {
    const odd = join(folder, `a 'b' "c" [d]`);
    await mkdir(odd, { recursive: true });
    await writeFile(join(odd, 't.csv'), 'id\n5\n');
    expect(
      await worker().rows('SELECT id FROM "o ""d".t', { attachments: [files(odd, [], 'o "d')] }),
    ).toEqual([[5]]);
    expect(
      await worker().rows('SELECT count(*) FROM f.plain', {
        attachments: [files(join(folder, 'link to files'))],
      }),
    ).toEqual([[2]]);
    await rm(odd, { recursive: true });
  });

  it('of very many files has the views that a statement names', async () => {
    const many = { attachments: [files(join(folder, 'many'), [], 'm')] };
    expect(await worker().rows('SELECT t7.id + "t59".id FROM m.t7, M."T59"', many)).toEqual([[66]]);
  });

  it('that is not there is unavailable, by its name', async () => {
    expect(await worker().failure('SELECT 1', { attachments: [files(join(folder, 'gone'))] })).toMatchObject({
      code: 'SOURCE_UNAVAILABLE',
      detail: 'f: the folder cannot be read (ENOENT)',
      members: { source: 'f' },
    });
    expect(
      await worker().failure('SELECT 1', { attachments: [files(join(folder, 'shop.db'))] }),
    ).toMatchObject({ code: 'SOURCE_UNAVAILABLE', detail: 'f: the folder cannot be read (ENOTDIR)' });
  });

  it('cannot be written to, not even by those who may write', async () => {
    const path = join(folder, 'files');
    for (const sql of [
      `COPY (SELECT 1) TO '${path}/new.csv'`,
      `ATTACH '${path}/new.db'`,
      `EXPORT DATABASE '${path}/new'`,
      `EXPLAIN ANALYZE COPY (SELECT 1) TO '${path}/new.csv'`,
      `PREPARE p AS COPY (SELECT 1) TO '${path}/new.csv'; EXECUTE p`,
    ])
      expect(await worker().failure(sql, { attachments: [files()], write: true })).toMatchObject({
        code: 'FORBIDDEN',
      });
    expect(await withFiles(`SELECT * FROM glob('${path}/new*')`)).toEqual([]);
  });
});

describe('a SQLite file', () => {
  it('is read under its alias', async () => {
    expect(
      await worker().rows('SELECT * FROM s.items ORDER BY id', { attachments: [sqlite('shop.db')] }),
    ).toEqual([
      [1, 'one'],
      [2, null],
    ]);
    expect(
      await worker().rows('SELECT count(*) FROM "odd ""alias".main.items', {
        attachments: [sqlite('shop.db', true, 'odd "alias')],
      }),
    ).toEqual([[2]]);
  });

  it('that is for reading only is not written to', async () => {
    const { detail } = await worker().failure("INSERT INTO s.items VALUES (3, 'x')", {
      attachments: [sqlite('shop.db')],
      write: true,
    });
    expect(detail).toMatch(/read-only/);
    expect(
      await worker().failure("INSERT INTO s.items VALUES (3, 'x')", {
        attachments: [sqlite('shop.db', false)],
      }),
    ).toMatchObject({ code: 'FORBIDDEN' });
  });

  it('that may be written to keeps what was written', async () => {
    await worker().answer("INSERT INTO s.items VALUES (3, 'three')", {
      attachments: [sqlite('shop.db', false)],
      write: true,
    });
    expect(
      await worker().rows('SELECT name FROM s.items WHERE id = 3', { attachments: [sqlite('shop.db')] }),
    ).toEqual([['three']]);
    await worker().answer('DELETE FROM s.items WHERE id = 3', {
      attachments: [sqlite('shop.db', false)],
      write: true,
    });
  });

  it('that is none, or not there, is unavailable, and is not made', async () => {
    expect(
      await worker().failure('SELECT * FROM s.items', { attachments: [sqlite('not a database.db')] }),
    ).toMatchObject({ code: expect.stringMatching(/SOURCE_UNAVAILABLE|SQL_ERROR/) });
    for (const readOnly of [true, false])
      expect(
        await worker().failure('SELECT 1', { attachments: [sqlite('gone.db', readOnly)] }),
      ).toMatchObject({ code: 'SOURCE_UNAVAILABLE', members: { source: 's' } });
  });

  it('opens no other SQLite file', async () => {
    for (const sql of [
      `SELECT * FROM sqlite_scan('${folder}/other.db', 't')`,
      `CALL sqlite_attach('${folder}/other.db')`,
      "SELECT * FROM sqlite_query('s', 'SELECT 1')",
    ])
      expect(await worker().failure(sql, { attachments: [sqlite('shop.db')], write: true })).toMatchObject({
        code: 'FORBIDDEN',
        members: { denied: { kind: 'function' } },
      });
  });
});

describe('sources', () => {
  it('are there together, and gone in the next statement', async () => {
    expect(
      await worker().rows('SELECT count(*) FROM s.items JOIN f.plain USING (id)', {
        attachments: [sqlite('shop.db'), files()],
      }),
    ).toEqual([[2]]);
    for (const sql of [
      'SELECT * FROM s.items',
      'SELECT * FROM f.plain',
      `SELECT * FROM '${folder}/files/plain.csv'`,
      `SELECT * FROM read_blob('${folder}/shop.db')`,
    ]) {
      const { code } = await worker().failure(sql);
      expect(code).toMatch(/SQL_ERROR|FORBIDDEN/);
    }
    expect(await worker().rows('SELECT database_name FROM duckdb_databases() WHERE NOT internal')).toEqual([
      ['memory'],
    ]);
  });

  it('of the same name as something else are unavailable', async () => {
    expect(
      await worker().failure('SELECT 1', {
        attachments: [sqlite('shop.db', true, 'x'), sqlite('shop.db', true, 'x')],
      }),
    ).toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    expect(await worker().failure('SELECT 1', { attachments: [files(undefined, [], 'main')] })).toMatchObject(
      { code: 'SOURCE_UNAVAILABLE' },
    );
    expect(await worker().rows('SELECT 42')).toEqual([[42]]);
  });

  const without = useWorker({
    worker: 'without',
    configure: { extensions: { directory: '/nowhere', names: ['sqlite_scanner', 'postgres_scanner'] } },
  });

  it('whose extension is not installed say how to get it, and all others work', async () => {
    const server: Attachment = {
      kind: 'postgres',
      alias: 'pg',
      host: '127.0.0.1',
      port: 1,
      options: {},
      readOnly: true,
    };
    for (const [source, extension] of [
      [sqlite('shop.db'), 'sqlite_scanner'],
      [server, 'postgres_scanner'],
    ] as const) {
      expect(await without().failure('SELECT 1', { attachments: [source] })).toMatchObject({
        code: 'SOURCE_UNAVAILABLE',
        detail: expect.stringMatching(
          new RegExp(
            `^${source.alias}: the DuckDB extension ${extension} cannot be loaded .*duckcoop extensions install`,
            's',
          ),
        ),
      });
    }
    expect(await without().rows('SELECT count(*) FROM f.plain', { attachments: [files()] })).toEqual([[2]]);
  });
});
