import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MB, until, useRunFolders, useWorker } from './worker-harness.ts';

useRunFolders();
const worker = useWorker();

const WRITE = { write: true };

/** What a next statement can see of what others made. */
async function everythingThereIs() {
  const read = async (sql: string) => await worker().rows(sql);
  return {
    tables: await read(
      'SELECT table_name FROM duckdb_tables() UNION ALL SELECT view_name FROM duckdb_views() WHERE NOT internal',
    ),
    databases: await read('SELECT database_name FROM duckdb_databases() WHERE NOT internal'),
    schemas: await read(
      "SELECT schema_name FROM duckdb_schemas() WHERE NOT internal AND schema_name <> 'main'",
    ),
    macros: await read('SELECT function_name FROM duckdb_functions() WHERE NOT internal'),
    types: await read('SELECT type_name FROM duckdb_types() WHERE NOT internal'),
    sequences: await read('SELECT sequence_name FROM duckdb_sequences()'),
    variables: await read('SELECT name FROM duckdb_variables()'),
    prepared: (await worker().failure('EXECUTE p')).code,
    schema: await read('SELECT current_schema(), current_database()'),
    transaction: await read('SELECT txid_current() IS NOT NULL'),
    timeZone: await read("SELECT current_setting('TimeZone')"),
  };
}

describe('what one statement makes, the next one does not see', () => {
  it.each([
    'CREATE TABLE leak AS SELECT 1 AS a',
    'CREATE TEMP TABLE leak AS SELECT 1 AS a',
    'CREATE VIEW leak AS SELECT 1',
    'CREATE SCHEMA leak',
    'CREATE MACRO leak() AS 1',
    'CREATE TEMP MACRO leak() AS TABLE SELECT 1',
    "CREATE TYPE leak AS ENUM ('a')",
    'CREATE SEQUENCE leak',
    'SET VARIABLE leak = 1',
    'PREPARE p AS SELECT 1',
    'CREATE SCHEMA leak; USE leak',
    'BEGIN; CREATE TABLE leak (a INTEGER)',
    'BEGIN',
    "CREATE SECRET leak (TYPE http, BEARER_TOKEN 'x')",
    'DETACH memory',
    "SET TimeZone = 'Asia/Tokyo'",
    'CREATE TABLE leak (a INTEGER); INSERT INTO leak SELECT 1; SELECT * FROM leak',
    "CREATE TABLE leak (a INTEGER); SELECT error('after it')",
    'CREATE TABLE leak (a INTEGER); SELEC',
    'CREATE TABLE leak (a INTEGER); SELECT * FROM nowhere',
    "CREATE TABLE leak (a INTEGER); SELECT * FROM read_text('/etc/passwd')",
    'CREATE TABLE leak (a INTEGER); SELECT ?',
    "CREATE TABLE leak (a INTEGER); FROM query('SELECT 1')",
    'CREATE TABLE leak (a INTEGER); INSTALL httpfs',
    'PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)',
    'EXPLAIN ANALYZE CREATE TABLE leak (a INTEGER)',
    'INSERT INTO leak SELECT 1',
  ])('%s', async (sql) => {
    const before = await everythingThereIs();
    await worker().answer(sql, WRITE);
    expect(await everythingThereIs()).toEqual(before);
  });

  it('even when it was cut, too large or stopped', async () => {
    const before = await everythingThereIs();
    const table = 'CREATE TABLE leak AS SELECT * FROM range(10000) t(i); SELECT * FROM leak';
    await worker().body(table, { ...WRITE, rowLimit: 1 });
    expect(await everythingThereIs()).toEqual(before);
    await worker().failure(table, { ...WRITE, maxBytes: 10 });
    expect(await everythingThereIs()).toEqual(before);
    const sent = worker().send(
      'CREATE TABLE leak AS SELECT 1; SELECT count(*) FROM range(100000000000)',
      WRITE,
    );
    worker().process.interrupt(sent.seq);
    await sent.end;
    expect(await everythingThereIs()).toEqual(before);
  });

  it('nor does a seed of random numbers reach it', async () => {
    const seeded = 'SELECT setseed(0.5); SELECT random()';
    const next = async () => {
      await worker().rows(seeded);
      return (await worker().rows('SELECT random()'))[0];
    };
    expect(await next()).not.toEqual(await next());
  });

  it('nor do the limits of a statement', async () => {
    const limits = async () =>
      (await worker().rows("SELECT current_setting('threads'), current_setting('memory_limit')"))[0];
    const before = await limits();
    expect(
      await worker().rows("SELECT current_setting('threads'), current_setting('memory_limit')", {
        threads: 1,
        memoryLimit: 64 * MB,
      }),
    ).toEqual([[1, '64.0 MiB']]);
    expect(await limits()).toEqual(before);
  });

  it('and may not ask for more than the worker has', async () => {
    const [row] = await worker().rows("SELECT current_setting('threads'), current_setting('memory_limit')", {
      threads: 64,
      memoryLimit: 10_000 * MB,
    });
    expect(row).toEqual([2, '256.0 MiB']);
  });

  it('within a request, statements do see each other', async () => {
    expect(
      await worker().rows(
        'CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1), (2); SELECT sum(a) FROM t',
        WRITE,
      ),
    ).toEqual([[3]]);
    expect(
      await worker()
        .rows('INSERT INTO t VALUES (1)', WRITE)
        .catch((error: Error) => error.message),
    ).toContain('t does not exist');
    expect(
      await worker().body('CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1) RETURNING a', WRITE),
    ).toMatchObject({ data: [[1]] });
    expect(await worker().body('CREATE TABLE t (a INTEGER)', WRITE)).toMatchObject({ data: [] });
  });
});

describe('spilled data', () => {
  const spill = () => join(readlinkSync(`/proc/${worker().pid}/cwd`), 'spill');

  it('is in a folder of its instance, which others cannot read', async () => {
    const [[own]] = (await worker().rows("SELECT current_setting('temp_directory')")) as [[string]];
    const [[other]] = (await worker().rows("SELECT current_setting('temp_directory')", { threads: 1 })) as [
      [string],
    ];
    expect(own.startsWith(`${spill()}/`)).toBe(true);
    expect(other).not.toBe(own);
    for (const path of [`${spill()}/*`, `${spill()}/**`, `${other}/*`, `${own}/../*`, 'spill/*'])
      expect((await worker().failure(`SELECT * FROM glob('${path}')`)).code).toBe('FORBIDDEN');
  });

  it('is gone with its instance', async () => {
    await worker().body(
      'CREATE TABLE t AS SELECT * FROM range(15000000); SELECT * FROM t ORDER BY hash(range) LIMIT 1',
      WRITE,
    );
    await worker().rows('SELECT 1');
    await until(
      'only folders of open instances',
      () => readdirSync(spill(), { recursive: true }).length <= 2,
    );
  });

  const small = useWorker({ configure: { memoryLimit: 64 * MB, tempLimit: 16 * MB } });

  it('has a limit, which is an error of the statement alone', async () => {
    const sql = 'SELECT md5(i::VARCHAR) AS h FROM range(3000000) t(i) ORDER BY h';
    expect(await small().failure(sql, { rowLimit: 1 })).toMatchObject({
      code: 'DISK_LIMIT',
      members: { limit: 16 * MB },
    });
    expect(await small().rows('SELECT 42')).toEqual([[42]]);
  });
});
