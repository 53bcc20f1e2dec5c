/**
 * Database servers that are gone, or as good as gone: each query hears so in the time that its source has (`connect_timeout`), or that
 * itself has, and no worker stays behind. A pool that gives up at the first failure of a worker shows that none of these is one.
 */
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../support/cli.ts';
import { type TestServer as Database, mariadb, type OwnDatabase, postgres } from '../support/servers.ts';
import { type TcpProxy, tcpProxy } from '../support/tcp-proxy.ts';
import {
  call,
  quickPool,
  type Reply,
  startTestServer,
  type TestServer,
  until,
} from '../support/test-server.ts';
import { freePort } from '../support/throwaway.ts';

const KINDS = ['postgres', 'mysql'] as const;
type Kind = (typeof KINDS)[number];

const [pgServer, myServer] = await Promise.all([postgres(), mariadb()]);
const ROWS = 120_000;
const LIMITED = `limited_${process.pid}`;

describe.skipIf(pgServer === undefined || myServer === undefined)('a database server', () => {
  let databases: Readonly<Record<Kind, OwnDatabase>>;
  let proxies: Readonly<Record<Kind, TcpProxy>>;
  let server: TestServer;

  beforeAll(async () => {
    const made = await Promise.all([
      (pgServer as Database).createDatabase(),
      (myServer as Database).createDatabase(),
    ]);
    databases = { postgres: made[0], mysql: made[1] };
    await Promise.all([
      made[0].query(
        `CREATE TABLE t AS SELECT i AS id, repeat('x', 50) || i AS name FROM generate_series(1, ${ROWS}) i;
         CREATE ROLE ${LIMITED} LOGIN CONNECTION LIMIT 1; GRANT SELECT ON t TO ${LIMITED}`,
      ),
      made[1].query(
        `CREATE TABLE t AS SELECT seq AS id, concat(repeat('x', 50), seq) AS name FROM seq_1_to_${ROWS};
         CREATE USER ${LIMITED}@'%' WITH MAX_USER_CONNECTIONS 1; GRANT SELECT ON ${made[1].database}.* TO ${LIMITED}@'%'`,
      ),
    ]);
    proxies = { postgres: await tcpProxy(made[0]), mysql: await tcpProxy(made[1]) };
    const source = (kind: Kind, more = {}) => {
      const { host, port, user, password, database } = databases[kind];
      const access = password === '' ? {} : { password };
      return {
        kind,
        host,
        port,
        user,
        ...access,
        database,
        connect_timeout: '1s',
        remote_query: true,
        ...more,
      };
    };
    const sources = KINDS.flatMap((kind) => [
      [kind, source(kind)],
      [
        `${kind}_proxied`,
        source(kind, { host: '127.0.0.1', port: proxies[kind].port, connect_timeout: '500ms' }),
      ],
      [`${kind}_limited`, source(kind, { user: LIMITED })],
      [`${kind}_unnamed`, source(kind, { host: 'no-such-host.invalid' })],
    ]);
    server = await startTestServer({
      pools: {
        interactive: quickPool({ size: 3, restart: { intensity: 0, backoff: { initial: '0ms' } } }),
      },
      config: { extensions: { directory: join(ROOT, 'extensions') } },
      sources: {
        ...Object.fromEntries(sources),
        postgres_impatient: source('postgres', { statement_timeout: '300ms' }),
        postgres_stopped: source('postgres', { host: '127.0.0.1', port: await freePort() }),
        mysql_stopped: source('mysql', { host: '127.0.0.1', port: await freePort() }),
      },
    });
    await server.server.ready;
  });

  afterEach(async () => {
    for (const proxy of Object.values(proxies)) {
      proxy.set('pass');
      proxy.cut();
    }
    // A check asks whatever was found out before.
    for (const kind of KINDS)
      expect(await call(server.url, 'POST', `/v1/sources/${kind}_proxied/check`)).toMatchObject({
        status: 200,
      });
    // Nobody is stuck, and nobody's end was a failure.
    await until('all workers are idle', () =>
      server.workers().every(({ status }) => status().state === 'idle'),
    );
    expect((await server.get('/readyz')).body).toMatchObject({ pools: { interactive: 'up' } });
    const failed = server
      .events('worker.exited')
      .filter(({ cause }) => cause === 'crash' || cause === 'unresponsive');
    expect(failed).toEqual([]);
    for (const kind of KINDS) expect((await count(kind)).body.data).toEqual([[ROWS]]);
  });

  afterAll(async () => {
    await server?.stop();
    await Promise.all(Object.values(proxies ?? {}).map((proxy) => proxy.close()));
    await databases?.postgres.query(`DROP OWNED BY ${LIMITED}; DROP ROLE ${LIMITED}`);
    await databases?.mysql.query(`DROP USER ${LIMITED}@'%'`);
    await Promise.all(Object.values(databases ?? {}).map((database) => database.drop()));
  });

  const table = (kind: Kind, alias: string) =>
    `${alias}.${kind === 'postgres' ? 'public' : databases.mysql.database}.t`;
  const count = (kind: Kind, alias: string = kind, fields = {}) =>
    server.query(`SELECT count(*) FROM ${table(kind, alias)}`, { sources: [alias], ...fields });
  const unavailable = (source: string, detail?: RegExp) => ({
    code: 'SOURCE_UNAVAILABLE',
    status: 502,
    retryable: true,
    source,
    detail: expect.stringMatching(detail ?? new RegExp(`^${source}: `)),
  });
  const address = (kind: Kind) => {
    const { host, port, database } = databases[kind];
    return { host, port, database };
  };
  /** The one that the user may have. */
  const holdConnection: Readonly<Record<Kind, () => Promise<() => Promise<void>>>> = {
    postgres: async () => {
      const client = new pg.Client({ ...address('postgres'), user: LIMITED });
      await client.connect();
      return () => client.end();
    },
    mysql: async () => {
      const client = await mysql.createConnection({ ...address('mysql'), user: LIMITED });
      return () => client.end();
    },
  };
  const exits = () => server.events('worker.exited').length;

  it.each(KINDS)(
    '%s that is stopped, unknown by name or full is unavailable at once, and costs no worker',
    async (kind) => {
      const before = exits();
      const release = await holdConnection[kind]();
      const replies = await Promise.all(
        ['stopped', 'unnamed', 'limited'].map((what) => count(kind, `${kind}_${what}`)),
      );
      await release();
      expect(replies.map(({ body }) => body)).toMatchObject(
        ['stopped', 'unnamed', 'limited'].map((what) => unavailable(`${kind}_${what}`)),
      );
      expect(exits()).toBe(before);
    },
  );

  it('that accepts and says nothing is unavailable within its connect_timeout, while others are read', async () => {
    // From here on its worker has it attached.
    await count('postgres');
    for (const proxy of Object.values(proxies)) proxy.set('silent');
    const before = exits();
    let answered = 0;
    const silent = Promise.all(
      KINDS.map(async (kind) => {
        const first = await count(kind, `${kind}_proxied`);
        answered += 1;
        return { first, second: await count(kind, `${kind}_proxied`) };
      }),
    );
    const other = await count('postgres');
    expect(other.body.data).toEqual([[ROWS]]);
    expect(answered).toBe(0);
    const replies = await silent;
    for (const [index, { first, second }] of replies.entries()) {
      const alias = `${KINDS[index]}_proxied`;
      expect(first.body).toMatchObject({ ...unavailable(alias), reason: 'no_answer' });
      // Who asks again is turned away, and takes no worker to find out the same.
      expect(second.body).toMatchObject(unavailable(alias, /is not asked again before/));
      expect(second.headers).toHaveProperty('retry-after');
    }
    expect(exits()).toBeLessThanOrEqual(before + 1);
  });

  it('that accepts and says nothing is no reason to pass the time that the query has', async () => {
    for (const proxy of Object.values(proxies)) proxy.set('silent');
    const replies = await Promise.all(
      KINDS.map((kind) => count(kind, `${kind}_proxied`, { timeout_ms: 300 })),
    );
    for (const { body } of replies) expect(body).toMatchObject({ code: 'QUERY_TIMEOUT', limit_ms: 300 });
  });

  /** Reads all of the table, which no server can count by itself. MariaDB compresses it. */
  const everything = (kind: Kind, fields = {}): Promise<Reply> => {
    const alias = `${kind}_proxied`;
    return server.query(`SELECT count(DISTINCT hash(name)) FROM ${table(kind, alias)}`, {
      sources: [alias],
      ...fields,
    });
  };

  it.each(KINDS)(
    '%s whose connections break in mid-result is unavailable, and back at once',
    async (kind) => {
      proxies[kind].after(200_000, 'cut');
      const reply = await everything(kind);
      expect(reply.body, JSON.stringify(reply.body)).toMatchObject(unavailable(`${kind}_proxied`));
      expect((await count(kind, `${kind}_proxied`)).body.data).toEqual([[ROWS]]);
    },
  );

  it('that falls silent in mid-result is unavailable, its worker is replaced, and a session recovers', async () => {
    const opened = await call(server.url, 'POST', '/v1/sessions', { sources: ['postgres_proxied'] });
    const session: string = opened.body.session_id;
    await server.query('CREATE TEMP TABLE mine (i INT)', { session });
    const before = exits();
    for (const proxy of Object.values(proxies)) proxy.after(200_000, 'silent');
    const replies = await Promise.all([
      ...KINDS.map((kind) => everything(kind)),
      everything('postgres', { session }),
    ]);
    expect(replies.map(({ body }) => body)).toMatchObject(
      [...KINDS, 'postgres'].map((kind) => unavailable(`${kind}_proxied`, /has not answered for 500 ms/)),
    );
    await until('all are gone', () => exits() === before + 3);
    const causes = server.events('worker.exited').map(({ cause }) => cause);
    expect(causes.slice(before)).toEqual(['recycled', 'recycled', 'recycled']);
    for (const proxy of Object.values(proxies)) proxy.set('pass');
    const again = await count('postgres', 'postgres_proxied', {
      session,
      sources: [],
      queue_timeout_ms: 20_000,
    });
    expect(again.body.data).toEqual([[ROWS]]);
    expect((await server.get(`/v1/sessions/${session}`)).body.lost).toEqual(['temporary table mine']);
    await call(server.url, 'DELETE', `/v1/sessions/${session}`);
  });

  it('that makes a query wait for a lock is there: it waits for as long as the source or the query says', async () => {
    const client = new pg.Client({ ...databases.postgres });
    await client.connect();
    await client.query('BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE');
    try {
      const [impatient, patient] = await Promise.all([
        count('postgres', 'postgres_impatient'),
        // Longer than its server is asked twice whether it is there.
        count('postgres', 'postgres', { timeout_ms: 3_500 }),
      ]);
      expect(impatient.body).toMatchObject(unavailable('postgres_impatient', /statement timeout/));
      expect(patient.body).toMatchObject({ code: 'QUERY_TIMEOUT', limit_ms: 3_500 });
    } finally {
      await client.query('ROLLBACK');
      await client.end();
    }
  });
});
