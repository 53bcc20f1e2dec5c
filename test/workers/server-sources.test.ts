import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Attachment } from '../../src/workers/protocol.ts';
import { mariadb, type OwnDatabase, postgres } from '../support/servers.ts';
import { freePort } from '../support/throwaway.ts';
import { at, EXTENSIONS, TestWorker, until, useRunFolders, useWorker } from './worker-harness.ts';

const servers = { postgres: await postgres(), mysql: await mariadb() };
const folders = useRunFolders();
const configure = { extensions: { directory: EXTENSIONS, names: ['postgres_scanner', 'mysql_scanner'] } };
const worker = useWorker({ configure });

type Kind = keyof typeof servers;
type Options = Partial<Extract<Attachment, { kind: Kind }>>;

/** A password that is none of libpq's, SQL's or JSON's friends. */
const PASSWORD = `it's "a" \\ pass=word; -- {"x":1} ü`;

describe.each(['postgres', 'mysql'] as const)('a %s server', (kind) => {
  const server = servers[kind];
  let database: OwnDatabase;
  const user = `duckcoop_${process.pid}`;

  const source = (options: Options = {}): Attachment => ({
    kind,
    alias: 'db',
    host: database.host,
    port: database.port,
    user: database.user,
    ...(database.password === '' ? {} : { password: database.password }),
    database: database.database,
    options: kind === 'postgres' ? { connect_timeout: '3' } : {},
    readOnly: true,
    ...options,
  });
  const schema = () => (kind === 'postgres' ? 'public' : database.database);
  const table = () => `db.${schema()}.t`;
  const sourced = (options: Options = {}, more = {}) => ({ attachments: [source(options)], ...more });

  beforeAll(async () => {
    if (server === undefined) return;
    database = await server.createDatabase();
    await database.query(
      'CREATE TABLE t (id bigint, name varchar(50), amount decimal(12,2), made timestamp NULL)',
    );
    await database.query(
      "INSERT INTO t VALUES (1, 'ünï 🦆', 1.50, '2024-01-02 03:04:05'), (9007199254740993, NULL, NULL, NULL)",
    );
    const quoted = PASSWORD.replaceAll("'", "''");
    await database.query(
      kind === 'postgres'
        ? `CREATE ROLE ${user} LOGIN PASSWORD '${quoted}'; GRANT ALL ON t TO ${user}; GRANT ALL ON SCHEMA public TO ${user}`
        : `CREATE USER ${user}@'%' IDENTIFIED BY '${quoted.replaceAll('\\', '\\\\')}'; GRANT ALL ON \`${database.database}\`.* TO ${user}@'%'`,
    );
  });
  afterAll(async () => {
    if (server === undefined) return;
    await database.query(
      kind === 'postgres' ? `DROP OWNED BY ${user}; DROP ROLE ${user}` : `DROP USER ${user}@'%'`,
    );
    await database.drop();
  });

  it.skipIf(server === undefined)('is read, joined and counted under its alias', async () => {
    expect(
      await worker().rows(`SELECT id, name, amount, made FROM ${table()} ORDER BY id`, sourced()),
    ).toEqual([
      [1, 'ünï 🦆', 1.5, expect.stringMatching(/^2024-01-02T03:04:05/)],
      ['9007199254740993', null, null, null],
    ]);
    expect(
      await worker().rows(`SELECT count(*) FROM ${table()} JOIN range(5) r(id) USING (id)`, sourced()),
    ).toEqual([[1]]);
    expect(
      await worker().rows(`SELECT count(*) FROM "my ""db".${schema()}.t`, sourced({ alias: 'my "db' })),
    ).toEqual([[2]]);
  });

  it.skipIf(server === undefined)('is gone in the next statement', async () => {
    await worker().rows(`SELECT count(*) FROM ${table()}`, sourced());
    expect(await worker().failure(`SELECT count(*) FROM ${table()}`)).toMatchObject({ code: 'SQL_ERROR' });
  });

  it.skipIf(server === undefined)('is only written to where it may be', async () => {
    const insert = `INSERT INTO ${table()} (id) VALUES (77)`;
    expect(await worker().failure(insert, sourced({ readOnly: false }))).toMatchObject({ code: 'FORBIDDEN' });
    expect((await worker().failure(insert, sourced({}, { write: true }))).detail).toMatch(/read-only/);
    expect(await database.query('SELECT id FROM t WHERE id = 77')).toEqual([]);
    await worker().body(insert, sourced({ readOnly: false }, { write: true }));
    expect(await database.query('SELECT count(*) AS n FROM t WHERE id = 77')).toMatchObject([
      { n: expect.toSatisfy((n) => Number(n) === 1) },
    ]);
    await database.query('DELETE FROM t WHERE id = 77');
  });

  it.skipIf(server === undefined)('takes no SQL of its own through DuckDB', async () => {
    for (const sql of [
      `SELECT * FROM ${kind}_query('db', 'SELECT 1')`,
      `CALL ${kind}_execute('db', 'DROP TABLE t')`,
    ])
      expect(await worker().failure(sql, sourced({ readOnly: false }, { write: true }))).toMatchObject({
        code: 'FORBIDDEN',
        members: { denied: { kind: 'function' } },
      });
  });

  it.skipIf(server === undefined)('lets in a user whose password has every character there is', async () => {
    expect(
      await worker().rows(`SELECT count(*) FROM ${table()}`, sourced({ user, password: PASSWORD })),
    ).toEqual([[2]]);
  });

  it.skipIf(server === undefined)('keeps the password from everything that SQL can see', async () => {
    const password = PASSWORD;
    const lists = ['databases', 'settings', 'tables', 'views', 'schemas', 'variables', 'columns']
      .map((what) => `(SELECT list(d) FROM duckdb_${what}() d)`)
      .join(', ');
    const visible = [
      `SELECT ${lists}, current_query(), (SELECT list(s) FROM pg_catalog.pg_settings s)`,
      'SHOW DATABASES',
      'SHOW ALL TABLES',
      `EXPLAIN (ANALYZE, FORMAT json) SELECT * FROM ${table()}`,
    ];
    for (const sql of visible) {
      const { text, finished } = await worker().answer(sql, sourced({ user, password }));
      expect(`${text} ${JSON.stringify(finished)}`, sql).not.toMatch(/pass=word/);
    }
    expect(
      await worker().failure('SELECT * FROM duckdb_secrets()', sourced({ user, password })),
    ).toMatchObject({ code: 'FORBIDDEN' });
    expect(
      await worker().failure("FROM which_secret('postgres', 'postgres')", sourced({ user, password })),
    ).toMatchObject({ code: 'FORBIDDEN' });
    for (const sql of [
      `SELECT * FROM db.${schema()}.nowhere`,
      'SELECT * FROM db.nowhere.t',
      `SELECT nope FROM ${table()}`,
    ])
      expect(JSON.stringify(await worker().failure(sql, sourced({ user, password })))).not.toMatch(
        /pass=word/,
      );
  });

  it.each([
    "it's wrong",
    'back\\slash',
    'new\nline and \t tab',
    '"quoted" password=other host=elsewhere',
    "x' OR '1'='1",
    '🦆',
  ])('that is sent the password %j tells nobody which it was', async (password) => {
    if (server === undefined) return;
    // A server that trusts everybody does not look at it.
    const { finished } = await worker().answer(
      `SELECT count(*) FROM ${table()}`,
      sourced({ user, password: `${password} secret`, database: `gone_${process.pid}` }),
    );
    expect(finished.verdict).toMatchObject({
      ok: false,
      code: 'SOURCE_UNAVAILABLE',
      members: { source: 'db' },
    });
    const told = JSON.stringify(finished);
    expect(told).not.toContain(JSON.stringify(password).slice(1, -1));
    expect(told).not.toContain('secret');
  });

  it.skipIf(server === undefined || kind === 'postgres')(
    'with a wrong password is unavailable, and says so',
    async () => {
      expect(await worker().failure('SELECT 1', sourced({ user, password: 'wrong' }))).toMatchObject({
        code: 'SOURCE_UNAVAILABLE',
        detail: expect.stringMatching(/^db: .*Access denied/s),
        members: { source: 'db' },
      });
    },
  );

  it.skipIf(server === undefined)(
    'that is not there, or does not have the database or the user, is unavailable with the reason',
    async () => {
      const reason = async (options: Options) => {
        const verdict = await worker().failure('SELECT 1', sourced(options));
        expect(verdict).toMatchObject({ code: 'SOURCE_UNAVAILABLE', members: { source: 'db' } });
        return verdict.detail;
      };
      expect(await reason({ port: await freePort() })).toMatch(/refused|Can't connect|\b111\b/i);
      expect(await reason({ database: 'no_such_database' })).toMatch(/no_such_database/);
      expect(await reason({ user: 'no_such_user', password: 'x' })).toMatch(/no_such_user|Access denied/);
      expect(await reason({ host: 'no-such-host.invalid' })).toMatch(/no-such-host/);
      expect(await worker().rows('SELECT 42')).toEqual([[42]]);
    },
  );

  it('that accepts and says nothing holds up no control side, and a kill ends it', async () => {
    const silent: Server = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const sockets: { destroy(): void }[] = [];
    silent.on('connection', (socket) => sockets.push(socket));
    const stuck = await new TestWorker({
      folders: folders(),
      heartbeatTimeoutMs: 1_000,
      configure,
    }).started();
    const address = silent.address() as { port: number };
    const sent = stuck.send('SELECT 1', {
      attachments: [
        { kind, alias: 'db', host: '127.0.0.1', port: address.port, user: 'x', options: {}, readOnly: true },
      ],
    });
    await at(stuck, 'attaching');
    await until('it waits for an answer', () => sockets.length > 0);
    stuck.process.interrupt(sent.seq);
    await at(stuck, 'cancelling');
    stuck.process.kill('timeout');
    expect(await sent.end).toMatchObject({
      killedFor: 'timeout',
      flight: { phase: 'cancelling', seq: sent.seq },
    });
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => silent.close(resolve));
  });
});
