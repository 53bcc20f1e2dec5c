import { expect, test } from 'vitest';
import { sourceSchema } from '../../src/config/sources.ts';
import { configOf, FOLDER, loadText } from './text.ts';

test('paths are absolute, from the folder of the file', () => {
  const { sources, data_dir, extensions } = configOf(
    loadText(`
data_dir: ../var
extensions: { directory: /opt/ext }
sources:
  a: { kind: sqlite, path: a.db }
  b: { kind: duckdb, path: /abs/b.db }
  c: { kind: files, path: ../c }
  d: { kind: ducklake, catalog: f, data_path: ./lake }
  e: { kind: ducklake, catalog: ./cat.ducklake, data_path: "s3://bucket/x" }
  g: { kind: s3, bucket: bucket }
  f: { kind: postgres, host: h, user: u, database: d, ssl_mode: verify-ca, ssl_ca: ca.pem, ssl_cert: c.pem, ssl_key: k.pem }
`),
  );
  expect([data_dir, extensions.directory]).toEqual(['/etc/var', '/opt/ext']);
  expect(sources).toMatchObject({
    a: { path: `${FOLDER}/a.db` },
    b: { path: '/abs/b.db' },
    c: { path: '/etc/c' },
    d: { catalog: { source: 'f' }, data_path: `${FOLDER}/lake` },
    e: { catalog: { path: `${FOLDER}/cat.ducklake` }, data_path: 's3://bucket/x' },
    f: { ssl_ca: `${FOLDER}/ca.pem`, ssl_cert: `${FOLDER}/c.pem`, ssl_key: `${FOLDER}/k.pem` },
  });
});

test('views are a path, or a path and its format', () => {
  const source = sourceSchema.parse({
    kind: 's3',
    bucket: 'b',
    views: { a: 'a/*.parquet', b: { path: 'b/', format: 'csv' } },
  });
  expect(source).toMatchObject({ views: { a: { path: 'a/*.parquet' }, b: { path: 'b/', format: 'csv' } } });
});

test('the defaults of a bucket are Amazon and read-only', () => {
  expect(sourceSchema.parse({ kind: 's3', bucket: 'b' })).toEqual({
    kind: 's3',
    bucket: 'b',
    region: 'us-east-1',
    url_style: 'vhost',
    use_ssl: true,
    prefix: '',
    views: {},
    read_only: true,
  });
});

test.each([
  { kind: 'postgres', host: 'h', user: 'u', database: 'd' },
  { kind: 'mysql', host: 'h', user: 'u' },
  { kind: 'sqlite', path: 'p' },
  { kind: 'duckdb', path: 'p' },
  { kind: 's3', bucket: 'b' },
  { kind: 'http', url: 'https://h/x/' },
  { kind: 'files', path: 'p' },
  { kind: 'ducklake', catalog: 'c', data_path: 'p' },
])('$kind needs no more than this, is read only, and takes no key of another kind', (source) => {
  expect(sourceSchema.parse(source)).toMatchObject({ kind: source.kind, read_only: true });
  expect(sourceSchema.safeParse({ ...source, nope: 1 }).success).toBe(false);
});
