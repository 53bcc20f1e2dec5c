/** Exports on real workers: whole files or none, whatever happens to those who write them. */
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Exports } from '../../src/exports/exports.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { bearer, keyHash, reader } from '../support/principals.ts';
import { makeFolder } from '../support/temp.ts';
import {
  call,
  quickPool,
  type Settings,
  startTestServer,
  type TestServer,
  testServer,
  until,
} from '../support/test-server.ts';

const POOLS = { interactive: quickPool(), exports: quickPool({ memory_limit: '512MB' }) };
const ROWS = "SELECT i, i % 3 AS k, 'name ' || i AS name, [i] AS l FROM range(100000) r(i)";
const ENDLESS = 'SELECT i, hash(i) AS h FROM range(1000000000) r(i)';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ pools: POOLS, config: { retry: { max: 1 } } });
  await until('a worker of the exports is idle', () =>
    server.workers('exports').some(({ status }) => status().state === 'idle'),
  );
});
afterAll(() => server.stop());

const create = (body: Settings) => call(server.url, 'POST', '/v1/exports', body);
const show = async (id: string) => (await server.get(`/v1/exports/${id}`)).body;
const remove = (id: string) => call(server.url, 'DELETE', `/v1/exports/${id}`);

async function ended(body: Settings) {
  const made = await create(body);
  expect(made.status).toBe(202);
  const { export_id: id } = made.body;
  expect(made.headers.location).toBe(`/v1/exports/${id}`);
  return await untilEnded(id);
}

async function untilEnded(id: string) {
  await until(`${id} has ended`, async () => !['queued', 'running'].includes((await show(id)).state));
  return await show(id);
}

/** Of all exports that there are: the names of their folders. */
function folders(): string[] {
  const root = join(server.dataDir, 'exports');
  return readdirSync(root).flatMap((own) => readdirSync(join(root, own)));
}

function folderOf(id: string): string {
  const root = join(server.dataDir, 'exports');
  return join(root, readdirSync(root)[0] as string, id);
}

async function reread(sql: string): Promise<unknown[][]> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const rows = (await connection.runAndReadAll(sql)).getRowsJson();
  connection.closeSync();
  instance.closeSync();
  return rows as unknown[][];
}

test.each([
  [{}, ['data.parquet'], "read_parquet('FILES')"],
  [
    { format: 'parquet', compression: 'snappy', partition_by: ['k'] },
    ['k=0/part-0.parquet', 'k=1/part-0.parquet', 'k=2/part-0.parquet'],
    "read_parquet('FILES')",
  ],
  [{ format: 'csv', file_size: '500KB' }, undefined, "read_csv('FILES')"],
  [
    { format: 'csv', compression: 'gzip', csv: { delimiter: ';' } },
    ['data.csv.gz'],
    "read_csv('FILES', delim=';')",
  ],
  [
    { format: 'csv', partition_by: ['k'], compression: 'zstd' },
    ['k=0/part-0.csv.zst', 'k=1/part-0.csv.zst', 'k=2/part-0.csv.zst'],
    "read_csv('FILES', hive_partitioning=true)",
  ],
  [
    { format: 'ndjson', compression: 'zstd' },
    ['data.ndjson.zst'],
    "read_json('FILES', format='newline_delimited')",
  ],
] as const)('an export becomes whole files: %o', async (fields, paths, read) => {
  const done = await ended({ sql: ROWS, ...fields });
  expect(done).toMatchObject({ state: 'succeeded', rows: 100_000, attempts: 1, error: null });
  const found = done.files.map(({ path }: { path: string }) => path);
  if (paths === undefined) expect(found.length).toBeGreaterThan(1);
  else expect(found).toEqual(paths);
  for (const { path, bytes } of done.files) {
    expect(readFileSync(join(folderOf(done.export_id), path))).toHaveLength(bytes);
  }
  const { url, bytes } = done.files[0];
  const downloaded = await fetch(url);
  expect([downloaded.status, (await downloaded.arrayBuffer()).byteLength]).toEqual([200, bytes]);
  const files = join(folderOf(done.export_id), '**', `*${found[0].slice(found[0].indexOf('.'))}`);
  const [row] = await reread(
    `SELECT count(*)::INT, sum(i)::BIGINT, sum(k)::INT, count(DISTINCT name)::INT FROM ${read.replace('FILES', files)}`,
  );
  expect(row).toEqual([100_000, '4999950000', 99_999, 100_000]);
  expect((await remove(done.export_id)).body).toEqual({ outcome: 'already_finished', files: 'deleted' });
  expect((await server.get(`/v1/exports/${done.export_id}`)).status).toBe(404);
  await until('its files are gone', () => folders().length === 0);
});

test('an export whose worker dies is made by another one, and has nothing of the first', async () => {
  const before = await server.footprint();
  const { export_id: id } = (await create({ sql: ENDLESS.replace('1000000000', '5000000') })).body;
  await until('some of it is written', () =>
    folders().some((name) => {
      const file = join(folderOf(name), 'data.parquet');
      return existsSync(file) && readFileSync(file).length > 1_000_000;
    }),
  );
  expect(folders()).toEqual([`${id}.partial`]);
  process.kill(server.workers('exports')[0]?.status().pid as number, 'SIGSEGV');
  const done = await untilEnded(id);
  expect(done).toMatchObject({ state: 'succeeded', rows: 5_000_000, attempts: 2 });
  expect(folders()).toEqual([id]);
  expect((await server.get('/metrics')).body).toContain(`duckcoop_export_bytes ${done.bytes}\n`);
  const count = `SELECT count(*)::INT FROM read_parquet('${join(folderOf(id), '*.parquet')}')`;
  expect(await reread(count)).toEqual([[5_000_000]]);
  await remove(id);
  await until('its files are gone', () => folders().length === 0);
  await server.expectNothingLeaked(before);
});

test('an export that is cancelled leaves nothing', async () => {
  const { export_id: id } = (await create({ sql: ENDLESS })).body;
  await until('it is written', async () => ((await show(id)).progress?.bytes ?? 0) > 0);
  expect((await remove(id)).body).toMatchObject({
    outcome: expect.stringMatching(/cancelled|killed/),
    files: 'none',
  });
  expect(await show(id)).toMatchObject({ state: 'cancelled', error: { code: 'QUERY_CANCELLED' }, files: [] });
  await until('its files are gone', () => folders().length === 0);
});

test.each([
  ['SELECT nope', {}, { code: 'SQL_ERROR' }],
  ['SELECT 1 AS a, 2 AS b', { partition_by: ['c'] }, { code: 'SQL_ERROR' }],
  ['DESCRIBE SELECT 1', {}, { code: 'INVALID_REQUEST' }],
  ['CREATE TABLE t AS SELECT 1', {}, { code: 'FORBIDDEN' }],
  ["SELECT * FROM read_text('/etc/hostname')", {}, { code: 'FORBIDDEN' }],
  ["COPY (SELECT 1) TO '/tmp/elsewhere.csv'", {}, { code: 'FORBIDDEN' }],
  ["SELECT 1) TO '/tmp/elsewhere.csv' --", {}, { code: 'SQL_ERROR' }],
  [
    'SELECT [1.5::DOUBLE] AS l',
    { format: 'ndjson' },
    { code: 'INVALID_REQUEST', errors: [{ path: 'format' }] },
  ],
] as const)('what cannot be exported fails, and leaves nothing: %s', async (sql, fields, error) => {
  expect(await ended({ sql, ...fields })).toMatchObject({ state: 'failed', rows: null, files: [], error });
  await until('its files are gone', () => folders().length === 0);
});

test.each([
  [{ sql: 'SELECT 1', format: 'xml' }, 'format'],
  [{ sql: 'SELECT 1', format: 'csv', compression: 'lz4' }, 'compression'],
  [{ sql: 'SELECT 1', format: 'ndjson', partition_by: ['a'] }, 'partition_by'],
  [{ sql: 'SELECT 1', partition_by: ['a', 'A'] }, 'partition_by'],
  [{ sql: 'SELECT 1', partition_by: ['a'], file_size: '1MB' }, 'file_size'],
  [{ sql: 'SELECT 1', file_size: 10 }, 'file_size'],
  [{ sql: 'SELECT 1', destination: { kind: 'ftp' } }, 'destination.kind'],
  [{ sql: 'SELECT 1', sources: ['nobody'] }, 'sources[0]'],
  [{ sql: '' }, 'sql'],
] as const)('a wrong request is refused at once: %o', async (body, path) => {
  const reply = await create(body);
  expect([reply.status, reply.body.errors[0].path]).toEqual([400, path]);
  expect(folders()).toEqual([]);
});

test('files that need more than the disk has left end the export', async () => {
  const small = await testServer({ pools: POOLS, config: { exports: { disk_limit: '5MB' } } });
  const { body } = await call(small.url, 'POST', '/v1/exports', { sql: ENDLESS });
  const shown = async () => (await small.get(`/v1/exports/${body.export_id}`)).body;
  await until('it has ended', async () => (await shown()).state === 'failed');
  expect((await shown()).error).toMatchObject({ code: 'DISK_LIMIT', limit: 5_000_000 });
});

test("an export is its owner's, and of those who may use the pool", async () => {
  const principals = {
    one: { key_hash: keyHash('one'), role: 'reader' },
    other: { key_hash: keyHash('other'), role: 'reader' },
    none: { key_hash: keyHash('none'), role: 'reader', pools: ['interactive'] },
  };
  const keyed = await testServer({ pools: POOLS, config: { auth: { mode: 'api_keys', principals } } });
  const as = (name: string, method: string, path: string, body?: Settings) =>
    call(keyed.url, method, path, body, undefined, bearer(name));
  const made = await as('one', 'POST', '/v1/exports', { sql: 'SELECT 1' });
  const path = `/v1/exports/${made.body.export_id}`;
  expect((await as('other', 'GET', path)).status).toBe(404);
  expect((await as('other', 'DELETE', path)).status).toBe(404);
  expect((await as('other', 'GET', '/v1/exports')).body.exports).toEqual([]);
  expect((await as('one', 'GET', '/v1/exports')).body.exports).toHaveLength(1);
  const refused = await as('none', 'POST', '/v1/exports', { sql: 'SELECT 1' });
  expect([refused.status, refused.body.denied]).toEqual([403, { kind: 'pool', name: 'exports' }]);
  await until('it has ended', async () => (await as('one', 'GET', path)).body.state === 'succeeded');
});

test('without a pool for them there are no exports', async () => {
  const without = await testServer();
  const reply = await call(without.url, 'POST', '/v1/exports', { sql: 'SELECT 1' });
  expect([reply.status, reply.body.detail]).toEqual([400, expect.stringContaining('a pool named exports')]);
});

test('what a server has finished is there after it, and what it has not is wiped', async () => {
  const folder = await makeFolder();
  const namespace = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0];
  const gone = join(folder.path, 'exports', `4194999-1-${namespace}`);
  const id = 'x-00000000-0000-4000-8000-000000000001';
  const late = id.replace(/1$/, '2');
  const about = {
    version: 1,
    principal: 'one',
    format: 'csv',
    compression: 'none',
    partition_by: [],
    file_size: null,
    tags: {},
  };
  const known = {
    created_at: 1,
    finished_at: 2,
    rows: 3,
    bytes: 4,
    attempts: 1,
    worker: 'w',
    files: [{ path: 'data.csv', bytes: 4 }],
  };
  for (const [name, expires_at] of [
    [id, Date.now() + 60_000],
    [late, Date.now() - 1],
  ] as const) {
    mkdirSync(join(gone, name), { recursive: true });
    writeFileSync(join(gone, name, 'data.csv'), 'i\n1\n');
    writeFileSync(
      join(gone, name, '.manifest.json'),
      JSON.stringify({ ...about, ...known, export_id: name, expires_at }),
    );
  }
  mkdirSync(join(gone, `${id}.partial`));
  mkdirSync(join(gone, id.replace(/1$/, '3')));
  const exports = await Exports.open({
    config: () =>
      ({ pools: {}, exports: { retention: 1, link_ttl: 1, disk_limit: 100, egress: { port: 0 } } }) as never,
    dataDir: folder.path,
    clock: new ManualClock(),
    queries: { get: () => undefined } as never,
    links: { sign: (export_id, path) => `${export_id}/${path}` },
    onFault: (error) => {
      throw error;
    },
  });
  const operator = reader('ops', { role: 'operator' });
  expect(exports.list(operator)).toMatchObject([
    {
      export_id: id,
      principal: 'one',
      state: 'succeeded',
      rows: 3,
      files: [{ path: 'data.csv', url: `${id}/data.csv` }],
    },
  ]);
  expect([existsSync(gone), exports.usedBytes, readdirSync(exports.folder)]).toEqual([false, 4, [id]]);
  await exports.close();
  expect(readdirSync(exports.folder)).toEqual([id]);
  await folder.remove();
});
