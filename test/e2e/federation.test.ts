/**
 * One statement over a real MariaDB and a real PostgreSQL: its answer, its crash, and where its credentials are not.
 *
 * The MariaDB is a throwaway of this file's own: the query names the database `analytics`, and so nobody else's is touched.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { duckcoop } from '../support/cli.ts';
import { mariadb, type OwnDatabase, postgres, type TestServer } from '../support/servers.ts';
import { makeFolder } from '../support/temp.ts';
import { freePort } from '../support/throwaway.ts';
import { FEDERATION_QUERY } from './federation-query.ts';
import { eventually } from './poll.ts';
import { childrenOf, cpuMsOf, isRunning, mappedFilesOf } from './processes.ts';
import { visibleOf } from './secret-search.ts';
import { Served, writeConfiguration } from './server.ts';

const EVENTS = 50_000;
const USERS = 10_000;
/** User ids of events go round from 1 to 12,500, four times: four in five are users. */
const JOINED = 40_000;

const token = randomBytes(6).toString('hex');
const PG_PASSWORD = `pg-Pässwort'"\\ ${token}`;
const MY_PASSWORD = `my-Pässwort'"\\ ${token}`;
const ROLE = `duckcoop_${token}`;

const pgServer = await postgres();
const SOURCES = { sources: ['my1', 'pg1'] };

describe.skipIf(pgServer === undefined)('a statement over MariaDB and PostgreSQL', () => {
  let my: TestServer | undefined;
  let pg: OwnDatabase;
  let served: Served;
  let remove: () => Promise<void> = async () => undefined;

  beforeAll(async () => {
    const folder = await makeFolder();
    ({ remove } = folder);
    [my, pg] = await Promise.all([mariadb({ own: true }), (pgServer as TestServer).createDatabase()]);
    await Promise.all([my?.query(myTables()), pg.query(pgTables())]);
    // One password comes by a file and one by the environment of the API process.
    await writeFile(join(folder.path, 'my-password'), `${MY_PASSWORD}\n`, { mode: 0o600 });
    const yaml = configuration(pg, my?.port ?? 3306, await freePort());
    served = await Served.start({
      ...(await writeConfiguration(folder.path, yaml)),
      env: { DUCKCOOP_TEST_E2E_PASSWORD: PG_PASSWORD },
    });
  });

  afterEach(() => served.assertQuiet(2));

  afterAll(async () => {
    await served?.stop();
    await pg?.query(`REASSIGN OWNED BY ${ROLE} TO CURRENT_USER; DROP OWNED BY ${ROLE}`);
    await pg?.drop();
    await pgServer?.query(`DROP ROLE IF EXISTS ${ROLE}`);
    await my?.stop();
    await remove();
  });

  it('answers the query this project began with, as it is written', async (context) => {
    if (my === undefined) return context.skip('no MariaDB');
    const reply = await served.query(FEDERATION_QUERY, SOURCES);
    expect(reply.json()).toMatchObject({
      columns: [
        { name: 'mysql_events', type: 'BIGINT' },
        { name: 'pg_users', type: 'BIGINT' },
        { name: 'join_5m_count', type: 'BIGINT' },
      ],
      data: [[EVENTS, USERS, JOINED]],
    });
    const { code, stdout } = await duckcoop([
      ...['query', '--url', served.url, '--source', 'my1,pg1', FEDERATION_QUERY],
    ]);
    expect(code).toBe(0);
    expect(stdout.split('\n')[2]).toMatch(/^ +50000 │ +10000 │ +40000$/);
  });

  it('loses its worker in the middle of the join, and is answered the next time', async (context) => {
    if (my === undefined) return context.skip('no MariaDB');
    const endless = `
      SELECT count(*) FROM my1.analytics.events m JOIN pg1.public.users p ON p.id = m.user_id,
      range(100000000) r(x) WHERE hash(m.event_id + p.id + x) = 42`;
    for (const [ask, said] of [
      [
        async () => (await served.query(endless, SOURCES)).text,
        /"code":"WORKER_CRASHED".*"signal":"SIGSEGV"/,
      ],
      [
        async () => {
          const { code, stderr } = await duckcoop([
            ...['query', '--url', served.url, '--source', 'my1,pg1', endless],
          ]);
          return `${code} ${stderr}`;
        },
        /^1 error WORKER_CRASHED: .*died of SIGSEGV while it was running/,
      ],
    ] as const) {
      await served.idleWorkers(2);
      const asked = ask();
      const worker = await served.busyWorker();
      const before = cpuMsOf(worker.pid);
      // Attaching takes a fraction of this: it joins.
      await eventually(() => cpuMsOf(worker.pid) - before > 500, { what: 'the worker is at the join' });
      process.kill(worker.pid, 'SIGSEGV');
      expect(await asked).toMatch(said);
      expect((await served.get('/healthz')).status).toBe(200);
      const next = await served.query(FEDERATION_QUERY, SOURCES);
      expect(next.json()).toMatchObject({ data: [[EVENTS, USERS, JOINED]] });
      expect(isRunning(worker.pid)).toBe(false);
    }
    expect(served.log('worker.exited')).toMatchObject([{ phase: 'running' }, { phase: 'running' }]);
  });

  it('sees a column whose type was changed in the meantime', async (context) => {
    if (my === undefined) return context.skip('no MariaDB');
    await pg.query('ALTER TABLE users ALTER COLUMN id TYPE bigint');
    const reply = await served.query(FEDERATION_QUERY, SOURCES);
    expect(reply.json()).toMatchObject({ data: [[EVENTS, USERS, JOINED]] });
  });

  it('lists its sources, and says which can be reached and what is wrong with the others', async (context) => {
    if (my === undefined) return context.skip('no MariaDB');
    expect((await served.get('/v1/sources')).json()).toEqual({
      sources: [
        { alias: 'my1', kind: 'mysql' },
        { alias: 'pg1', kind: 'postgres' },
        { alias: 'bad_password', kind: 'mysql' },
        { alias: 'bad_database', kind: 'postgres' },
        { alias: 'nobody_there', kind: 'postgres' },
      ],
    });
    for (const alias of ['my1', 'pg1']) {
      const reply = await served.post(`/v1/sources/${alias}/check`);
      expect(reply.json()).toEqual({ alias, ok: true, ms: expect.any(Number) });
    }
    for (const [alias, why] of [
      ['bad_password', 'Access denied'],
      ['bad_database', 'does not exist'],
      ['nobody_there', 'refused'],
    ] as const) {
      const reply = await served.post(`/v1/sources/${alias}/check`);
      expect(reply.json(), alias).toMatchObject({
        status: 502,
        code: 'SOURCE_UNAVAILABLE',
        retryable: true,
        source: alias,
        detail: expect.stringContaining(why),
      });
    }
    // A source that is wrong is nobody's matter but its own.
    expect((await served.query('SELECT count(*) FROM pg1.public.users', { sources: ['pg1'] })).status).toBe(
      200,
    );
  });

  it('writes to no source that is read_only, which is the default', async () => {
    const reply = await served.query("INSERT INTO pg1.public.users VALUES (0, 'nobody')", {
      sources: ['pg1'],
    });
    expect(reply.status).toBeGreaterThanOrEqual(400);
    expect((await pg.query('SELECT count(*)::int AS n FROM users WHERE id = 0'))[0]).toEqual({ n: 0 });
  });

  it('has its credentials nowhere: not in logs, replies, errors, arguments, environments or files', async () => {
    await served.query('SELECT nope FROM pg1.public.users', { sources: ['pg1'] });
    await served.query('FROM duckdb_databases()', SOURCES);
    await served.query('FROM duckdb_secrets()', SOURCES);
    await served.query('FROM duckdb_settings()', SOURCES);
    await served.query("SELECT * FROM postgres_query('pg1', 'SELECT 1')", SOURCES);
    await served.query("CALL postgres_attach('')", SOURCES);
    for (const path of [
      '/v1/config',
      '/v1/queries',
      '/v1/workers',
      '/v1/supervision',
      '/v1/sources',
      '/metrics',
    ]) {
      await served.get(path);
    }
    const places = visibleOf(served);
    // The token is in both passwords, however a text may quote them.
    for (const [place, text] of Object.entries(places)) {
      expect(text.replaceAll(ROLE, '').includes(token), place).toBe(false);
    }
    expect(places.replies).toContain('"password":"[secret]"');
    expect(Object.keys(places).length).toBeGreaterThan(6);
  });

  it('never brings libduckdb or a scanner into the API process', () => {
    expect(mappedFilesOf(served.pid).filter((path) => /duckdb/i.test(path))).toEqual([]);
    const [worker = 0] = childrenOf(served.pid);
    const mapped = mappedFilesOf(worker).join('\n');
    for (const library of ['libduckdb', 'postgres_scanner', 'mysql_scanner'])
      expect(mapped).toContain(library);
  });
});

/** In a string of SQL, for either server. */
function quoted(text: string, backslash: boolean): string {
  const escaped = backslash ? text.replaceAll('\\', '\\\\') : text;
  return `'${escaped.replaceAll("'", "''")}'`;
}

function myTables(): string {
  return `
    CREATE DATABASE analytics;
    USE analytics;
    CREATE TABLE events (event_id bigint PRIMARY KEY, user_id int NOT NULL, kind varchar(20), at datetime);
    INSERT INTO events SELECT seq, 1 + (seq * 7919) % 12500, 'view', '2024-01-01' FROM seq_1_to_${EVENTS};
    CREATE USER app@'%' IDENTIFIED BY ${quoted(MY_PASSWORD, true)};
    GRANT SELECT ON analytics.* TO app@'%';`;
}

function pgTables(): string {
  return `
    CREATE ROLE ${ROLE} LOGIN PASSWORD ${quoted(PG_PASSWORD, false)};
    CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, ${USERS}) i;
    GRANT SELECT, INSERT ON users TO ${ROLE};`;
}

function configuration(pg: OwnDatabase, myPort: number, closedPort: number): string {
  const pgSource = (database: string, port: number) =>
    `{ kind: postgres, host: ${pg.host}, port: ${port}, user: ${ROLE}, password: "\${env:DUCKCOOP_TEST_E2E_PASSWORD}", database: ${database}, connect_timeout: 5s }`;
  const mySource = (password: string) =>
    `{ kind: mysql, host: 127.0.0.1, port: ${myPort}, user: app, password: "${password}", database: analytics }`;
  return `
sql: { write: true }
retry: { max: 0 }
telemetry: { log_level: trace }
sources:
  my1: ${mySource(`\${file:./my-password}`)}
  pg1: ${pgSource(pg.database, pg.port)}
  bad_password: ${mySource(`wrong-${token}`)}
  bad_database: ${pgSource('duckcoop_not_there', pg.port)}
  nobody_there: ${pgSource(pg.database, closedPort)}
`;
}
