/** Instances that stay attached to their sources: for whom, for how long, and what never crosses from one statement to the next. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import type { Attachment } from '../../src/workers/protocol.ts';
import { mariadb, type OwnDatabase, postgres } from '../support/servers.ts';
import { tcpProxy } from '../support/tcp-proxy.ts';
import { temporaryFolder } from '../support/temp.ts';
import { EXTENSIONS, type RunOptions, until, useWorker } from './worker-harness.ts';

const servers = { postgres: await postgres(), mysql: await mariadb() };
const extensions = { directory: EXTENSIONS, names: ['postgres_scanner', 'mysql_scanner', 'sqlite_scanner'] };
const worker = useWorker({ configure: { extensions, attached: { max: 2, idleMs: 3_600_000 } } });
const forgetful = useWorker({ configure: { extensions, attached: { max: 2, idleMs: 50 } } });

describe.each(['postgres', 'mysql'] as const)('a %s server', (kind) => {
  const server = servers[kind];
  const serverTest = it.skipIf(server === undefined);
  let database: OwnDatabase;

  beforeAll(async () => {
    if (server === undefined) return;
    database = await server.createDatabase();
    await database.query('CREATE TABLE t (id bigint)');
    const rows = Array.from({ length: 20_000 }, (_, i) => `(${i})`).join(',');
    await database.query(`INSERT INTO t VALUES ${rows}`);
  });
  afterAll(async () => database?.drop());

  const source = (options: Partial<Extract<Attachment, { kind: typeof kind }>> = {}): Attachment => ({
    kind,
    alias: 'db',
    host: database.host,
    port: database.port,
    user: database.user,
    ...(database.password === '' ? {} : { password: database.password }),
    database: database.database,
    options: {},
    readOnly: true,
    remoteQuery: true,
    ...options,
  });
  const table = () => `db.${kind === 'postgres' ? 'public' : database.database}.t`;
  const mine = (more: RunOptions = {}): RunOptions => ({ attachments: [source()], owner: 'me', ...more });
  /** Tells one connection to the server from another. */
  const connection = async (options: RunOptions, of = worker) => {
    const id = kind === 'postgres' ? 'pg_backend_pid()' : 'connection_id()';
    const rows = await of().rows(`FROM ${kind}_query('db', 'SELECT ${id}')`, options);
    return Number((rows as unknown[][])[0]?.[0]);
  };
  /** Those that there are to the database, of whomever. */
  const connections = async () => {
    const sql =
      kind === 'postgres'
        ? `SELECT pid AS id FROM pg_stat_activity WHERE datname = '${database.database}'`
        : `SELECT id FROM information_schema.processlist WHERE db = '${database.database}'`;
    return (await (server ?? database).query(sql)).map(({ id }) => Number(id));
  };

  serverTest('stays attached for the one whose it is, and for nobody else', async () => {
    const first = await connection(mine());
    expect(await connection(mine())).toBe(first);
    expect(await connection(mine({ owner: 'somebody else' }))).not.toBe(first);
    expect(await connection(mine())).toBe(first);
    expect(await connection(mine({ threads: 1 }))).not.toBe(first);
    expect(await connection(mine({ attachAnew: true }))).not.toBe(first);
    const { owner: _, ...nobodys } = mine();
    expect(await connection(nobodys)).not.toBe(first);
  });

  serverTest('is let go where it has other credentials by now', async () => {
    const first = await connection(mine());
    await connection(mine({ attachments: [source({ password: 'another one' })] })).catch(() => undefined);
    await until('its connection is closed', async () => !(await connections()).includes(first));
    expect(await connection(mine())).not.toBe(first);
  });

  serverTest('is let go when it was idle for too long', async () => {
    const first = await connection(mine(), forgetful);
    await until('its connection is closed', async () => !(await connections()).includes(first));
  });

  serverTest('is kept by so many instances and no more', async () => {
    const owners: number[] = [];
    for (const owner of ['a', 'b', 'c', 'd']) owners.push(await connection(mine({ owner })));
    await until('the others are closed', async () => (await connections()).length === 2);
    expect((await connections()).sort()).toEqual(owners.slice(2).sort());
  });

  serverTest('shows its tables as they are now', async () => {
    await database.query('CREATE TABLE u (a int)');
    const columns = () => worker().body(`SELECT * FROM ${table().replace(/t$/, 'u')}`, mine());
    const names = async () => (await columns()).columns.map(({ name }) => name);
    expect(await names()).toEqual(['a']);
    await database.query('ALTER TABLE u ADD b int');
    expect(await names()).toEqual(['a', 'b']);
    await database.query('DROP TABLE u');
    expect(await worker().failure(`SELECT * FROM ${table().replace(/t$/, 'u')}`, mine())).toMatchObject({
      code: 'SQL_ERROR',
    });
    expect(await worker().rows(`SELECT count(*) FROM ${table()}`, mine())).toEqual([[20_000]]);
  });

  serverTest('is read right after results that were cut, and statements that failed', async () => {
    for (let round = 0; round < 5; round += 1) {
      const cut = await worker().body(`SELECT * FROM ${table()}`, mine({ rowLimit: 10 }));
      expect(cut).toMatchObject({ truncated: true });
      expect(await worker().rows(`SELECT count(*), sum(id) FROM ${table()}`, mine())).toEqual([
        [20_000, 199_990_000],
      ]);
      await worker().failure(`SELECT nope FROM ${table()}`, mine());
      await worker().failure(`SELECT sum(id::UTINYINT) FROM ${table()}`, mine());
    }
    const first = await connection(mine());
    await worker().body(`SELECT * FROM ${table()}`, mine({ rowLimit: 10 }));
    await worker().failure(`SELECT nope FROM ${table()}`, mine());
    expect(await connection(mine())).toBe(first);
  });

  serverTest('has nothing in it of a statement that was more than a read', async () => {
    const write = mine({ write: true });
    await worker().rows(`CREATE TEMP TABLE left_behind AS SELECT 1; SELECT count(*) FROM ${table()}`, write);
    expect(await worker().failure('FROM left_behind', write)).toMatchObject({ code: 'SQL_ERROR' });
    await worker().rows(`SELECT setseed(0.5); SELECT count(*) FROM ${table()}`, mine());
    const random = await worker().rows('SELECT random()', mine());
    await worker().rows(`SELECT setseed(0.5); SELECT count(*) FROM ${table()}`, mine());
    expect(await worker().rows('SELECT random()', mine())).not.toEqual(random);
  });

  serverTest('whose connections broke meanwhile is connected to anew', async () => {
    const proxy = await tcpProxy(database);
    const proxied = mine({ attachments: [source({ host: '127.0.0.1', port: proxy.port })] });
    const count = () => worker().rows(`SELECT count(*) FROM ${table()}`, proxied);
    expect(await count()).toEqual([[20_000]]);
    expect(proxy.open).toBeGreaterThan(0);
    proxy.cut();
    expect(await count()).toEqual([[20_000]]);
    await proxy.close();
    expect(await worker().failure(`SELECT count(*) FROM ${table()}`, proxied)).toMatchObject({
      code: 'SOURCE_UNAVAILABLE',
      members: { source: 'db' },
    });
  });
});

test('a SQLite file stays attached, is read as it is now, and is missed when it is gone', async () => {
  const path = join(await temporaryFolder(), 'shop.db');
  // An empty file is an empty database.
  await writeFile(path, '');
  const attached = (readOnly: boolean): RunOptions => ({
    attachments: [{ kind: 'sqlite', alias: 's', path, readOnly }],
    owner: 'me',
    write: !readOnly,
  });
  const write = (sql: string) => worker().answer(sql, attached(false));
  /** Transactions of its instance so far, and the rows. */
  const read = async () => {
    const [row] = await worker().rows('SELECT txid_current(), (SELECT max(n) FROM s.main.t)', attached(true));
    return row as [number, unknown];
  };
  await write('CREATE TABLE s.main.t (n INTEGER); INSERT INTO s.main.t VALUES (1)');
  const [first, one] = await read();
  await write('DROP TABLE s.main.t; CREATE TABLE s.main.t (n VARCHAR)');
  await write("INSERT INTO s.main.t VALUES ('two')");
  const [second, two] = await read();
  expect([one, two]).toEqual([1, 'two']);
  expect(second).toBeGreaterThan(first);
  await rm(path);
  expect(await worker().failure('FROM s.main.t', attached(true))).toMatchObject({
    code: 'SOURCE_UNAVAILABLE',
    members: { source: 's' },
  });
});
