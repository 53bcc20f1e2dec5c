/** What operators may open: SQL of a database server's own, source by source, and functions that are on no list. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../support/cli.ts';
import { mariadb, type OwnDatabase, postgres } from '../support/servers.ts';
import { quickPool, startTestServer, type TestServer } from '../support/test-server.ts';

const [pg, my] = await Promise.all([postgres(), mariadb()]);

describe.skipIf(pg === undefined || my === undefined)('operators', () => {
  let people: OwnDatabase;
  let sales: OwnDatabase;
  let server: TestServer;

  beforeAll(async () => {
    if (pg === undefined || my === undefined) return;
    [people, sales] = await Promise.all([pg.createDatabase(), my.createDatabase()]);
    await people.query('CREATE TABLE t (i int); INSERT INTO t VALUES (1), (2)');
    await sales.query('CREATE TABLE t (i int)');
    await sales.query('INSERT INTO t VALUES (3)');
    const source = ({ host, port, user, password, database }: OwnDatabase, kind: string, more = {}) => ({
      ...{ kind, host, port, user, database, ...more },
      ...(password === '' ? {} : { password }),
    });
    server = await startTestServer({
      pools: { interactive: quickPool() },
      sources: {
        open_pg: source(people, 'postgres', { remote_query: true }),
        closed_pg: source(people, 'postgres'),
        open_my: source(sales, 'mysql', { remote_query: true }),
      },
      config: {
        extensions: { directory: join(ROOT, 'extensions') },
        sql: { write: true, allow_functions: ['Query_Table', 'json_serialize_plan'] },
      },
    });
    await server.server.ready;
  });
  afterAll(async () => {
    await server?.stop();
    await Promise.all([people?.drop(), sales?.drop()]);
  });

  const sources = ['open_pg', 'closed_pg', 'open_my'];
  const run = async (sql: string) => (await server.query(sql, { sources })).body;
  const denied = (name: string) => ({ code: 'FORBIDDEN', denied: { kind: 'function', name } });

  it.each([
    ["FROM postgres_query('open_pg', 'SELECT sum(i)::int FROM t')", 3],
    ["FROM postgres_query('OPEN_PG', 'SELECT sum(i)::int FROM t')", 3],
    ["SELECT (FROM system.main.postgres_query('open_pg', $$SELECT count(*)::int FROM t$$))", 2],
    ["WITH w AS (FROM mysql_query('open_my', 'SELECT i FROM t')) FROM w", 3],
  ])('let a source be asked in its own SQL: %s', async (sql, value) => {
    expect((await run(sql)).data).toEqual([[value]]);
  });

  it.each([
    ["FROM postgres_query('closed_pg', 'SELECT 1')", 'postgres_query'],
    ["FROM postgres_query('open_my', 'SELECT 1')", 'postgres_query'],
    ["FROM mysql_query('open_pg', 'SELECT 1')", 'mysql_query'],
    ["FROM postgres_query('open' || '_pg', 'SELECT 1')", 'postgres_query'],
    ["FROM postgres_query(lower('open_pg'), 'SELECT 1')", 'postgres_query'],
    ["FROM postgres_query('open_pg', 'SELECT 1'), postgres_query('closed_pg', 'SELECT 1')", 'postgres_query'],
    ["CALL postgres_execute('open_pg', 'SELECT 1')", 'postgres_execute'],
    ["CALL postgres_query('open_pg', 'SELECT 1')", 'postgres_query'],
    ["FROM mysql_query('open_my', 'LOAD DATA LOCAL INFILE ''/etc/hostname'' INTO TABLE t')", 'mysql_query'],
    [
      "FROM mysql_query('open_my', $$\n load data local infile '/etc/hostname' into table t$$)",
      'mysql_query',
    ],
    [
      "FROM mysql_query('open_my', 'LO' || 'AD DATA LOCAL INFILE ''/etc/hostname'' INTO TABLE t')",
      'mysql_query',
    ],
    ["CREATE TABLE taken AS FROM postgres_query('closed_pg', 'SELECT 1')", 'postgres_query'],
    ["CREATE MACRO taken(a) AS TABLE FROM postgres_query(a, 'SELECT 1')", 'postgres_query'],
  ])('of no other source, and in no other way: %s', async (sql, name) => {
    expect(await run(sql)).toMatchObject(denied(name));
  });

  it('keep a source that is only read from being written to in its own SQL', async () => {
    for (const sql of [
      "FROM postgres_query('open_pg', 'INSERT INTO t VALUES (4) RETURNING i')",
      "FROM postgres_query('open_pg', 'CREATE TABLE trace (i int)')",
      "FROM mysql_query('open_my', 'INSERT INTO t VALUES (4)')",
      "FROM mysql_query('open_my', 'CREATE TABLE trace (i int)')",
    ])
      expect(await run(sql), sql).toMatchObject({
        code: expect.stringMatching(/SQL_ERROR|SOURCE_UNAVAILABLE/),
      });
    expect(await people.query('SELECT count(*)::int AS n FROM t')).toEqual([{ n: 2 }]);
    expect(await sales.query('SELECT count(*) AS n FROM t')).toEqual([{ n: 1 }]);
  });

  it('allow a function, however it is written, and no other by that', async () => {
    expect((await run("CREATE TABLE made AS SELECT 3 AS i; FROM query_table('made')")).data).toEqual([[3]]);
    expect((await run("SELECT length(json_serialize_plan('SELECT 1')::VARCHAR) > 0")).data).toEqual([[true]]);
    expect(await run("FROM query('SELECT 1')")).toMatchObject(denied('query'));
    expect(await run("SELECT write_log('x')")).toMatchObject(denied('write_log'));
  });
});
