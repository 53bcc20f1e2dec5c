import { describe, expect, it } from 'vitest';
import { EXTENSIONS, useRunFolders, useWorker } from './worker-harness.ts';

useRunFolders();
const worker = useWorker({
  configure: {
    extensions: { directory: EXTENSIONS, names: ['postgres_scanner', 'mysql_scanner', 'sqlite_scanner'] },
  },
});

async function denial(sql: string, write = false) {
  const { code, members } = await worker().failure(sql, { write });
  return { code, denied: members.denied };
}

const functionDenied = (name: string) => ({ code: 'FORBIDDEN', denied: { kind: 'function', name } });
const statementDenied = (name: string) => ({ code: 'FORBIDDEN', denied: { kind: 'statement', name } });

describe('without the right to write', () => {
  it.each([
    ['CREATE TABLE t (a INTEGER)', 'CREATE'],
    ['CREATE OR REPLACE TEMP VIEW v AS SELECT 1', 'CREATE'],
    ['CREATE MACRO m() AS 1', 'CREATE'],
    ['CREATE SEQUENCE s', 'CREATE'],
    ['CREATE TABLE t AS SELECT 1', 'CREATE'],
    ['BEGIN', 'TRANSACTION'],
    ['SET threads = 1', 'SET'],
    ['SET VARIABLE x = 1', 'SET'],
    ['RESET threads', 'SET'],
    ['USE memory', 'SET'],
    ['VACUUM', 'VACUUM'],
    ['ANALYZE', 'VACUUM'],
    ['CHECKPOINT', 'CALL'],
    ['CALL range(1)', 'CALL'],
    ['PREPARE p AS SELECT 1', 'PREPARE'],
    ['DETACH memory', 'DETACH'],
    ['DROP TABLE IF EXISTS t', 'DROP'],
    ['EXPLAIN ANALYZE CREATE TABLE t (a INTEGER)', 'CREATE'],
    ['EXPLAIN CREATE TABLE t (a INTEGER)', 'CREATE'],
    ['EXPLAIN (ANALYZE, FORMAT json) CREATE TABLE t (a INTEGER)', 'CREATE'],
    ['SELECT 1; CREATE TABLE t (a INTEGER); SELECT 2', 'CREATE'],
    ['SELECT 1; EXPLAIN ANALYZE CREATE TABLE t (a INTEGER)', 'CREATE'],
    ['CREATE TABLE t ("pivot" INTEGER); SELECT 1', 'CREATE'],
  ])('%s is refused', async (sql, name) => {
    expect(await denial(sql)).toEqual(statementDenied(name));
    expect(await worker().failure('SELECT * FROM t')).toMatchObject({ code: 'SQL_ERROR' });
  });

  it.each([
    'INSERT INTO t SELECT 1',
    'UPDATE t SET a = 1',
    'DELETE FROM t',
    'MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE',
    'TRUNCATE t',
    'ALTER TABLE t ADD COLUMN b INTEGER',
    'EXECUTE p',
    'WITH x AS (INSERT INTO t SELECT 1 RETURNING *) FROM x',
  ])('%s fails, before or after it is looked at', async (sql) => {
    expect((await worker().failure(sql)).code).toMatch(/^(?:FORBIDDEN|SQL_ERROR)$/);
  });

  it.each([
    'SELECT 1',
    'FROM range(3)',
    'VALUES (1)',
    '(SELECT 1)',
    'WITH x AS (SELECT 1) FROM x',
    'SELECT 1; SELECT 2;',
    ';;SELECT 1',
    'SHOW TABLES',
    'SHOW ALL TABLES',
    'DESCRIBE SELECT 1',
    'SUMMARIZE SELECT 1',
    'EXPLAIN SELECT 1',
    'EXPLAIN ANALYZE SELECT 1',
    'EXPLAIN (SELECT 1)',
    'SELECT 1; EXPLAIN SELECT 2',
    'PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)',
    "PIVOT (SELECT 1 AS a, 2 AS b, ';' AS c) ON a USING sum(b)",
    'SELECT 1; PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)',
    'UNPIVOT (SELECT 1 AS a) ON a',
    'SELECT * FROM test_all_types()',
    'SELECT * FROM duckdb_functions() LIMIT 1',
    "SELECT * FROM json_each('[1]')",
    'SELECT unnest([1])',
    'FROM generate_series(1, 2)',
    'SELECT * FROM information_schema.tables',
    'SELECT * FROM pg_catalog.pg_tables',
  ])('%s is a read', async (sql) => {
    expect((await worker().answer(sql)).finished.verdict).toMatchObject({ ok: true });
  });

  it.each([
    "SELECT 'query(1)' AS query, 1 AS sqlite_scan, 2 AS checkpoint",
    "SELECT * FROM (SELECT 1 AS \"postgres_query\") WHERE 'duckdb_secrets()' <> ''",
    'SELECT query FROM (SELECT 1 AS query) -- from query(1)',
    'WITH query AS (SELECT 1) FROM query',
    'SELECT 1 AS my_query, 2 AS sqlite_scanner, 3 AS "seq_scan"',
    'PIVOT (SELECT 1 AS query, 2 AS b) ON query USING sum(b)',
    'DESCRIBE SELECT 1 AS query_table',
    'EXPLAIN SELECT 1 AS query',
    'SELECT version(), current_schema() AS show',
  ])('%s is a read that only mentions a name', async (sql) => {
    expect((await worker().answer(sql)).finished.verdict).toMatchObject({ ok: true });
  });
});

describe('table functions that are not allowed', () => {
  it.each([
    ["SELECT * FROM postgres_scan('host=127.0.0.1', 'public', 't')", 'postgres_scan'],
    ["SELECT * FROM postgres_scan_pushdown('host=127.0.0.1', 'public', 't')", 'postgres_scan_pushdown'],
    ["CALL postgres_attach('host=127.0.0.1')", 'postgres_attach'],
    ["SELECT * FROM postgres_query('pg', 'SELECT pg_read_file(''/etc/passwd'')')", 'postgres_query'],
    ["CALL postgres_execute('pg', 'DROP TABLE t')", 'postgres_execute'],
    ["SELECT * FROM mysql_query('my', 'SELECT 1')", 'mysql_query'],
    ["CALL mysql_execute('my', 'DROP TABLE t')", 'mysql_execute'],
    ["SELECT * FROM sqlite_scan('/any/file', 't')", 'sqlite_scan'],
    ["CALL sqlite_attach('/any/file')", 'sqlite_attach'],
    ["SELECT * FROM sqlite_query('s', 'SELECT 1')", 'sqlite_query'],
    ["SELECT * FROM query('SELECT 1')", 'query'],
    ["SELECT * FROM query('SELECT * FROM sqlite' || '_scan(''/any/file'', ''t'')')", 'query'],
    ["SELECT * FROM query_table('t')", 'query_table'],
    [
      "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
      'json_execute_serialized_sql',
    ],
    ['SELECT * FROM arrow_scan(1, 2, 3)', 'arrow_scan'],
    ['SELECT * FROM arrow_scan_dumb(1, 2, 3)', 'arrow_scan_dumb'],
    ["SELECT * FROM seq_scan('t')", 'seq_scan'],
    ['SELECT * FROM duckdb_secrets()', 'duckdb_secrets'],
    ["SELECT * FROM which_secret('s3://x', 's3')", 'which_secret'],
    ['SELECT * FROM duckdb_logs()', 'duckdb_logs'],
    ['CALL enable_logging()', 'enable_logging'],
    ["PRAGMA enable_profiling = 'json'", 'enable_profiling'],
    ['SELECT * FROM checkpoint()', 'checkpoint'],
    ['SELECT * FROM force_checkpoint()', 'force_checkpoint'],
    ["SELECT json_serialize_plan('SELECT 1')", 'json_serialize_plan'],
    [
      "SELECT system.main.json_serialize_plan('SELECT * FROM sqlite' || '_scan(1, 2)')",
      'json_serialize_plan',
    ],
    ["SELECT [x.json_serialize_plan() FOR x IN ['SELECT 1']]", 'json_serialize_plan'],
    ["SELECT write_log('x')", 'write_log'],
  ])('%s is refused', async (sql, name) => {
    expect(await denial(sql)).toEqual(functionDenied(name));
    expect(await denial(sql, true)).toEqual(functionDenied(name));
  });

  const CALL = "('SELECT 1')";
  it.each([
    `SELECT * FROM "query"${CALL}`,
    `SELECT * FROM QuErY${CALL}`,
    `SELECT * FROM "QUERY"${CALL}`,
    `SELECT * FROM main.query${CALL}`,
    `SELECT * FROM system.main.query${CALL}`,
    `SELECT * FROM "system"."main"."query"${CALL}`,
    `SELECT * FROM query ${CALL}`,
    `SELECT * FROM query/* ( */${CALL}`,
    `SELECT * FROM query/* /* */ ( */${CALL}`,
    `SELECT * FROM query--\n${CALL}`,
    `SELECT * FROM query\n\t${CALL}`,
    `SELECT * FROM query\u00a0${CALL}`,
    `SELECT * FROM query\u200b${CALL}`,
    `FROM query${CALL}`,
    `SELECT (SELECT * FROM query${CALL})`,
    `SELECT 1 WHERE 1 IN (FROM query${CALL})`,
    `WITH a AS (FROM query${CALL}) FROM a`,
    `WITH RECURSIVE a AS (SELECT 1 UNION FROM query${CALL}) FROM a`,
    `SELECT * FROM range(1), LATERAL (FROM query${CALL})`,
    `SELECT 1 UNION ALL FROM query${CALL}`,
    `SELECT * FROM (VALUES (1)) t JOIN query${CALL} q ON true`,
    `SELECT 1 ORDER BY (FROM query${CALL})`,
    `SELECT [x for x in (FROM query${CALL})]`,
    `SELECT EXISTS (FROM query${CALL})`,
    `SELECT * FROM query${CALL} AS range`,
    `PIVOT (FROM query${CALL}) ON 1`,
    `PIVOT (SELECT 1 AS a) ON a IN (SELECT * FROM query${CALL}) USING count(*)`,
    `UNPIVOT (FROM query${CALL}) ON a`,
    `DESCRIBE FROM query${CALL}`,
    `SUMMARIZE FROM query${CALL}`,
    `SHOW (FROM query${CALL})`,
    `EXPLAIN FROM query${CALL}`,
    `EXPLAIN ANALYZE FROM query${CALL}`,
    `EXPLAIN (ANALYZE) FROM query${CALL}`,
    `EXPLAIN (FORMAT json) FROM query${CALL}`,
    `explain/**/analyze--\nFROM query${CALL}`,
    `SELECT 1; FROM query${CALL}`,
    `FROM query${CALL}; SELECT 1`,
    `SELECT 1; EXPLAIN FROM query${CALL}`,
    `;FROM query${CALL}`,
    `(FROM query${CALL})`,
    `((FROM query${CALL}))`,
    `VALUES ((FROM query${CALL}))`,
    `TABLE query${CALL}`,
    `SELECT * FROM query${CALL} -- "`,
    `SELECT '/*' FROM query${CALL} -- */`,
    `SELECT $$ $$ FROM query${CALL}`,
    `SELECT e'\\'' FROM query${CALL} --'`,
  ])('cannot be hidden: %s', async (sql) => {
    const { verdict } = (await worker().answer(sql)).finished;
    expect(verdict.ok).toBe(false);
    if (verdict.ok) return;
    if (verdict.code === 'FORBIDDEN') expect(verdict.members.denied).toMatchObject({ kind: 'function' });
    else expect(verdict).toMatchObject({ code: 'SQL_ERROR', members: { duckdb: { type: 'Parser' } } });
  });

  it.each([
    `CREATE VIEW v AS FROM query${CALL}`,
    `CREATE TABLE t AS FROM "query"${CALL}`,
    `CREATE MACRO m(x) AS TABLE FROM query(x)`,
    `INSERT INTO t FROM query${CALL}`,
    `CREATE TEMP MACRO m(x) AS (FROM system.main.query (x))`,
    `PREPARE p AS FROM query${CALL}`,
    `SET VARIABLE x = (FROM query/**/${CALL})`,
    `UPDATE t SET a = (FROM query${CALL})`,
    `CREATE TABLE t (a INTEGER DEFAULT (FROM query${CALL}))`,
    `CALL query${CALL}`,
    `PRAGMA query${CALL}`,
    `PRAGMA import_database('x')`,
  ])('are refused to those who may write, too: %s', async (sql) => {
    expect(await denial(sql, true)).toMatchObject({ code: 'FORBIDDEN', denied: { kind: 'function' } });
  });

  it.each([
    'CREATE TABLE t AS SELECT version() AS v',
    "CREATE OR REPLACE TEMP TABLE t AS (WITH w AS (SELECT 'query(1)' AS q) FROM w) -- query(1)",
    'CREATE VIEW v AS SELECT 1 AS query, version() AS "sqlite_scan("',
    'CREATE MACRO m(a, b) AS TABLE SELECT a AS checkpoint, b, version()',
    'CREATE TABLE t (a VARCHAR DEFAULT (version())); INSERT INTO t (a) SELECT /* query(1) */ version()',
    'CREATE TABLE t AS SELECT 1 AS a; UPDATE t SET a = length(version()) WHERE a = 1',
    "CREATE TABLE t AS SELECT 'x' AS a; DELETE FROM t WHERE a = version() OR a = 'query(1)'",
    'PREPARE p AS SELECT version() AS query',
    'EXPLAIN ANALYZE CREATE TABLE t AS SELECT version() AS query',
  ])('a write that only mentions one is let through: %s', async (sql) => {
    expect((await worker().answer(sql, { write: true })).finished.verdict).toMatchObject({ ok: true });
  });

  it.each([
    `CREATE TABLE t (a VARCHAR DEFAULT (FROM query${CALL})) AS SELECT 1`,
    "CREATE TABLE t AS SELECT version() FROM query('SELECT 1') WITH NO DATA",
    `CREATE TABLE t AS /* */ SELECT version() FROM query${CALL}`,
    `CREATE /* ' */ TABLE t AS SELECT 1 /* ' */ FROM query${CALL}`,
    `CREATE TABLE "a""b" AS SELECT '"' FROM query${CALL} -- "`,
    `CREATE MACRO m() AS TABLE SELECT 1, (a) AS TABLE FROM query${CALL}`,
    `INSERT INTO t SELECT 1 FROM query${CALL} RETURNING version()`,
    "CREATE TABLE t AS SELECT json_serialize_plan('SELECT 1')",
    "UPDATE t SET a = version() || json_serialize_plan('SELECT 1')",
  ])('one that calls one is not: %s', async (sql) => {
    const { code, denied } = await denial(sql, true);
    expect({ code, kind: (denied as { kind?: string } | undefined)?.kind }).toEqual({
      code: 'FORBIDDEN',
      kind: 'function',
    });
  });

  it('is decided in a time that grows with the text alone', async () => {
    for (const hard of [
      '/**/'.repeat(60),
      '/*'.repeat(200),
      'query'.repeat(20_000),
      ' query '.repeat(5_000),
      `SELECT ${'('.repeat(300)}1${')'.repeat(300)}`,
    ]) {
      const started = performance.now();
      await worker().answer(`${hard} x`);
      expect(performance.now() - started).toBeLessThan(5_000);
    }
  });

  it('reads a list of many values that mentions one', async () => {
    const values = Array.from({ length: 150_000 }, (_, index) => index).join(',');
    expect(
      await worker().rows(`SELECT count(*) AS query FROM range(10) t(i) WHERE i IN (${values})`),
    ).toEqual([[10]]);
  }, 60_000);
});

it('what ran before a statement that is refused is gone with it', async () => {
  for (const before of [
    'CREATE TABLE kept AS SELECT 1',
    'CREATE TEMP TABLE kept AS SELECT 1',
    'SET VARIABLE kept = 1',
    'PREPARE kept AS SELECT 1',
    'PIVOT (SELECT 1 AS a) ON a',
  ]) {
    expect(await denial(`${before}; FROM query('SELECT 1')`, true)).toEqual(functionDenied('query'));
    expect((await worker().failure('FROM kept')).code).toBe('SQL_ERROR');
    expect((await worker().failure('EXECUTE kept', { write: true })).code).toBe('SQL_ERROR');
    expect(
      await worker().rows("SELECT getvariable('kept'), count(*)::INT FROM duckdb_types() WHERE NOT internal"),
    ).toEqual([[null, 0]]);
  }
});

describe('doors stay closed', () => {
  it.each([
    ["COPY (SELECT 1) TO '/tmp/x.csv'", 'COPY'],
    ["COPY (SELECT 1) TO 'spill/x.csv'", 'COPY'],
    ["COPY t FROM '/etc/passwd'", 'COPY'],
    ['COPY FROM DATABASE memory TO other', 'COPY'],
    ["EXPORT DATABASE 'spill/x'", 'EXPORT'],
    ["IMPORT DATABASE 'spill/x'", 'IMPORT'],
    ["ATTACH ':memory:' AS x", 'ATTACH'],
    ['DETACH memory', 'DETACH'],
    ["CREATE SECRET s (TYPE s3, ENDPOINT '127.0.0.1:1')", 'CREATE SECRET'],
    ['create or/**/replace temporary secret s (TYPE s3)', 'CREATE SECRET'],
    ['CREATE PERSISTENT SECRET IF NOT EXISTS s (TYPE s3)', 'CREATE SECRET'],
    ['EXPLAIN CREATE SECRET s (TYPE s3)', 'CREATE SECRET'],
    ['DROP PERSISTENT SECRET IF EXISTS s', 'DROP SECRET'],
    ["\u000bCOPY (SELECT 1) TO 'spill/x.csv'", 'COPY'],
    ["SELECT 1;\u000b\u000bATTACH ':memory:' AS x", 'ATTACH'],
    ["ATTACH 'spill/x.db'", 'ATTACH'],
    ["ATTACH 'host=127.0.0.1' AS p (TYPE postgres)", 'ATTACH'],
    ['INSTALL httpfs', 'INSTALL'],
    ['FORCE INSTALL httpfs', 'LOAD'],
    ["LOAD '/tmp/x.duckdb_extension'", 'LOAD'],
    ["EXPLAIN ANALYZE COPY (SELECT 1) TO 'spill/x.csv'", 'COPY'],
    ["PREPARE p AS COPY (SELECT 1) TO 'spill/x.csv'", 'COPY'],
    ["SELECT 1; COPY (SELECT 1) TO 'spill/x.csv'", 'COPY'],
    ["/* */ -- \n cOpY (SELECT 1) TO 'spill/x.csv'", 'COPY'],
  ])('to those who may write as well: %s', async (sql, name) => {
    expect(await denial(sql, true)).toEqual(statementDenied(name));
    const read = await worker().failure(sql);
    expect(read.code).toBe('FORBIDDEN');
  });

  it.each([
    'SET threads = 1',
    "SET GLOBAL memory_limit = '10GB'",
    'SET enable_external_access = true',
    "SET temp_directory = '/tmp'",
    'SET lock_configuration = false',
    "PRAGMA profiling_output = '/tmp/x'",
    'RESET memory_limit',
    'SET errors_as_json = false',
  ])('configuration is locked: %s', async (sql) => {
    expect(await worker().failure(sql, { write: true })).toMatchObject({
      code: 'SQL_ERROR',
      detail: expect.stringMatching(/lock|Cannot change/i),
    });
  });

  it("files and addresses that are nobody's source cannot be read", async () => {
    for (const sql of [
      "SELECT * FROM read_text('/etc/passwd')",
      "FROM '/etc/passwd.csv'",
      "SELECT * FROM glob('/etc/*')",
      "SELECT * FROM read_csv('https://127.0.0.1/x.csv')",
      "SELECT * FROM read_parquet('s3://bucket/x')",
      "SELECT * FROM read_text('/proc/self/environ')",
      "SELECT * FROM glob('*')",
      "SELECT * FROM read_blob('flight-recorder')",
      "SELECT * FROM sniff_csv('/etc/passwd')",
    ]) {
      const { code } = await worker().failure(sql);
      expect(code, sql).toMatch(/^(?:FORBIDDEN|SQL_ERROR)$/);
      if (code === 'SQL_ERROR')
        expect((await worker().failure(sql)).detail).toMatch(/httpfs|https|s3|does not exist|disabled/i);
    }
  });

  it('tell of a file that is no source what it is', async () => {
    expect(await worker().failure("SELECT * FROM read_text('/etc/hostname')")).toMatchObject({
      code: 'FORBIDDEN',
      members: { denied: { kind: 'source', name: '/etc/hostname' } },
    });
  });

  it('functions that could see the process see nothing of it', async () => {
    for (const sql of ["SELECT getenv('HOME')", 'SELECT * FROM duckdb_secrets'])
      expect((await worker().failure(sql)).code).toMatch(/SQL_ERROR|FORBIDDEN/);
  });
});

describe('text that is no statement', () => {
  it.each(['', ' ', ';', '-- comment', '/* comment */ ; ;'])('%j is refused as none', async (sql) => {
    expect(await worker().failure(sql)).toMatchObject({
      code: 'INVALID_REQUEST',
      detail: 'sql: expected a statement, got none',
    });
  });

  it('is refused with a NUL in it, since DuckDB would run what is before it', async () => {
    expect(await worker().failure('SELECT 1 \0; FROM nowhere')).toMatchObject({ code: 'INVALID_REQUEST' });
  });

  it('is an error at its place in the whole text', async () => {
    expect(await worker().failure("SELECT 'ü';\nSELECT 1;\n  SELEC 2")).toMatchObject({
      code: 'SQL_ERROR',
      members: { duckdb: { type: 'Parser', position: 25, line: 3 } },
    });
    expect(await worker().failure('SELECT 1;\nSELECT nope FROM range(1)')).toMatchObject({
      members: { duckdb: { type: 'Binder', position: 17, line: 2 }, did_you_mean: expect.any(Array) },
    });
  });
});

describe('an error', () => {
  it.each(['FATAL', 'INTERNAL', 'INTERRUPT', 'Out of Memory', 'Permission'])(
    'is not %s because a statement says so',
    async (type) => {
      for (const text of [
        `{"exception_type":"${type}","exception_message":"x"}`,
        `${type} Error: x`,
        `${type} Error: {"exception_type":"${type}"}`,
      ]) {
        const { finished } = await worker().answer('SELECT error($1)', { params: [text] });
        expect(finished).toMatchObject({ verdict: { ok: false, code: 'SQL_ERROR', detail: text } });
        expect(finished.retire).toBeUndefined();
      }
    },
  );

  it('quotes a huge value in part', async () => {
    const { detail } = await worker().failure("SELECT error(repeat('x', 1000000))");
    expect(detail.length).toBeLessThan(20_000);
  });
});

describe('operators', () => {
  const open = useWorker({ configure: { allowFunctions: ['QUERY'] } });

  it('may allow a function, and then it is', async () => {
    expect(await open().rows("FROM query('SELECT 42')")).toEqual([[42]]);
    expect((await open().failure("FROM query('SELECT * FROM read_text(''/etc/passwd'')')")).code).toBe(
      'FORBIDDEN',
    );
  });
});
