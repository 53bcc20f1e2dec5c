/**
 * What an attack is after, all of it real: files outside of every source, other databases of the servers, listeners that count who
 * comes. Each holds a canary that no statement has in it, or is made to leave a trace that is looked for.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { S3_KEYS, type S3Server, startS3Server } from '../support/s3-server.ts';
import type { TestServer as DatabaseServer, OwnDatabase } from '../support/servers.ts';
import { tcpProxy } from '../support/tcp-proxy.ts';
import { makeFolder } from '../support/temp.ts';
import { loadScanners } from './scanners.ts';

/** What attacks have to know of the targets to name them. */
export interface Places {
  /** The folder that no source has, with `canary.txt`, `.csv`, `.json`, `.parquet`, `.sqlite` and `.duckdb` (table `canary`). */
  readonly folder: string;
  /** The folder of `own.duckdb`, `neighbour.duckdb` and `catalog.ducklake`. The first and the last are sources. */
  readonly stored: string;
  /** Of the way to a PostgreSQL server, counted, with the database `database` and its table `canary`. */
  readonly postgres: { readonly port: number; readonly database: string; readonly user: string };
  readonly mysql: { readonly port: number; readonly database: string; readonly user: string };
  /** Of an HTTP server that has the canary everywhere but below `/open/`, which is a source. */
  readonly http: number;
  /** Of an S3 server with the bucket `lake`, of which `open/` is a source, and the bucket `closed`. */
  readonly s3: number;
  /** Of a listener that says nothing. */
  readonly tcp: number;
  /** Two texts: where they come out as one, somebody evaluated a text. */
  readonly halves: readonly [string, string];
}

export interface Targets {
  readonly places: Places;
  /** The databases that the server's own sources are. */
  readonly own: { readonly postgres: OwnDatabase; readonly mysql: OwnDatabase };
  /** Folder of a `files` source, and a SQLite file that is one. */
  readonly files: string;
  readonly sqlite: string;
  /** Settings of the sources of object storage and of the web. */
  readonly remote: Readonly<Record<'lk1' | 'web1', Readonly<Record<string, unknown>>>>;
  /** And of those of DuckDB: a file, a lake of which one table is said to be elsewhere, and a file with views that open others. */
  readonly stored: Readonly<Record<'dk1' | 'dl1' | 'hs1', Readonly<Record<string, unknown>>>>;
  /** The password of a source. It is wanted as well. */
  readonly password: string;
  /** The texts that nobody may get to see. */
  readonly canaries: readonly string[];
  /** What somebody touched since the last time. */
  touched(): Promise<string[]>;
  close(): Promise<void>;
}

export async function makeTargets(servers: {
  readonly postgres: DatabaseServer;
  readonly mysql: DatabaseServer;
}): Promise<Targets> {
  const { path, remove } = await makeFolder();
  const canary = `canary${randomBytes(8).toString('hex')}`;
  const password = `word${randomBytes(8).toString('hex')}`;
  const halves = [`left${randomBytes(4).toString('hex')}`, `right${randomBytes(4).toString('hex')}`] as const;
  const at = (name: string) => join(path, name);
  for (const folder of ['closed', 'files', 'stored']) await mkdir(at(folder));
  await writeFiles(at('closed'), at('files'), at('shop.sqlite'), canary);
  await writeStored(at('stored'), at('closed'), canary);
  const [ownPostgres, ownMysql, postgres, mysql] = await Promise.all([
    servers.postgres.createDatabase(),
    servers.mysql.createDatabase(),
    servers.postgres.createDatabase(),
    servers.mysql.createDatabase(),
  ]);
  await ownPostgres.query("CREATE TABLE shown (a text); INSERT INTO shown VALUES ('shown')");
  await ownMysql.query('CREATE TABLE shown (a varchar(40))');
  for (const database of [postgres, mysql]) {
    await database.query('CREATE TABLE canary (a varchar(40))');
    await database.query(`INSERT INTO canary VALUES ('${canary}')`);
  }
  const doors = {
    postgres: await countedProxy(servers.postgres),
    mysql: await countedProxy(servers.mysql),
    http: await countedHttp(`a\n${canary}\n`),
    tcp: await countedListener(),
  };
  const s3 = await startS3Server(['lake', 'closed']);
  await putObjects(s3, canary);
  const seen = new Map<string, number>();
  const contentsNow = async () => [await contentsOf(at('closed')), await contentsOf(at('stored'))].join('\n');
  const contents = await contentsNow();
  return {
    places: {
      folder: at('closed'),
      stored: at('stored'),
      postgres: { port: doors.postgres.port, database: postgres.database, user: postgres.user },
      mysql: { port: doors.mysql.port, database: mysql.database, user: mysql.user },
      http: doors.http.port,
      s3: Number(s3.endpoint.split(':')[1]),
      tcp: doors.tcp.port,
      halves,
    },
    own: { postgres: ownPostgres, mysql: ownMysql },
    files: at('files'),
    sqlite: at('shop.sqlite'),
    remote: {
      lk1: {
        ...{
          kind: 's3',
          bucket: 'lake',
          prefix: 'open',
          endpoint: s3.endpoint,
          url_style: 'path',
          use_ssl: false,
        },
        ...S3_KEYS,
      },
      web1: { kind: 'http', url: `http://127.0.0.1:${doors.http.port}/open/`, bearer_token: password },
    },
    stored: {
      dk1: { kind: 'duckdb', path: at('stored/own.duckdb') },
      dl1: { kind: 'ducklake', catalog: at('stored/catalog.ducklake'), data_path: at('stored/data') },
      hs1: { kind: 'duckdb', path: at('stored/hostile.duckdb') },
    },
    password,
    canaries: [canary, password, halves.join('')],
    touched: async () => {
      const touched: string[] = [];
      for (const [name, { count }] of Object.entries(doors)) {
        if (count() !== (seen.get(name) ?? 0)) touched.push(name);
        seen.set(name, count());
      }
      if ((await contentsNow()) !== contents) touched.push('files');
      const [trace] = await ownPostgres.query("SELECT to_regclass('trace') AS found");
      if (trace?.found !== null) touched.push('postgres source');
      if ((await ownMysql.query("SHOW TABLES LIKE 'trace'")).length > 0) touched.push('mysql source');
      return touched;
    },
    close: async () => {
      await Promise.all(Object.values(doors).map((door) => door.close()));
      await s3.stop();
      await Promise.all([ownPostgres, ownMysql, postgres, mysql].map((database) => database.drop()));
      await remove();
    },
  };
}

async function writeFiles(closed: string, files: string, sqlite: string, canary: string): Promise<void> {
  await writeFile(join(files, 'shown.csv'), 'a\nshown\n');
  for (const name of ['canary.txt', 'canary.csv']) await writeFile(join(closed, name), `a\n${canary}\n`);
  await writeFile(join(closed, 'canary.json'), JSON.stringify({ a: canary }));
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  await loadScanners(connection, ['sqlite_scanner']);
  const sql = [
    `COPY (SELECT '${canary}' AS a) TO '${join(closed, 'canary.parquet')}'`,
    `ATTACH '${join(closed, 'canary.sqlite')}' AS one (TYPE sqlite)`,
    `ATTACH '${join(closed, 'canary.duckdb')}' AS two`,
    `ATTACH '${sqlite}' AS shop (TYPE sqlite)`,
    `CREATE TABLE one.canary AS SELECT '${canary}' AS a`,
    `CREATE TABLE two.canary AS SELECT '${canary}' AS a`,
    "CREATE TABLE shop.shown AS SELECT 'shown' AS a",
  ];
  for (const statement of sql) await connection.run(statement);
  connection.closeSync();
  instance.closeSync();
}

async function writeStored(stored: string, closed: string, canary: string): Promise<void> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  await loadScanners(connection, ['sqlite_scanner', 'ducklake']);
  const catalog = join(stored, 'catalog.ducklake');
  const sqlite = `sqlite_scan('${join(closed, 'canary.sqlite')}', 'canary')`;
  const sql = [
    `ATTACH '${join(stored, 'own.duckdb')}' AS own`,
    "CREATE TABLE own.shown AS SELECT 'shown' AS a",
    `CREATE VIEW own.leads_out AS FROM read_text('${join(closed, 'canary.txt')}')`,
    `ATTACH '${join(stored, 'neighbour.duckdb')}' AS neighbour`,
    `CREATE TABLE neighbour.canary AS SELECT '${canary}' AS a`,
    `ATTACH '${join(stored, 'hostile.duckdb')}' AS hostile`,
    "CREATE TABLE hostile.shown AS SELECT 'shown' AS a",
    `CREATE VIEW hostile.scanned AS FROM ${sqlite}`,
    "CREATE MACRO hostile.scan(place) AS TABLE FROM sqlite_scan(place, 'canary')",
    `ATTACH 'ducklake:${catalog}' AS lake (DATA_PATH '${join(stored, 'data')}')`,
    "CREATE TABLE lake.shown AS SELECT 'shown' AS a",
    "CREATE TABLE lake.elsewhere AS SELECT 'shown' AS a FROM range(100)",
    'DETACH lake',
    `ATTACH '${catalog}' AS catalog`,
    `UPDATE catalog.ducklake_data_file SET path = '${join(closed, 'canary.parquet')}', path_is_relative = false`,
  ];
  for (const statement of sql) await connection.run(statement);
  connection.closeSync();
  instance.closeSync();
}

async function putObjects(s3: S3Server, canary: string): Promise<void> {
  await s3.put('s3://lake/open/shown.csv', "SELECT 'shown' AS a");
  for (const url of ['s3://lake/canary.csv', 's3://closed/canary.csv', 's3://closed/canary.parquet'])
    await s3.put(url, `SELECT '${canary}' AS a`);
}

/** Names, sizes and bytes of all files. */
async function contentsOf(folder: string): Promise<string> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries.flatMap((entry) => (entry.isFile() ? [entry.name] : [])).sort();
  const files = names.map(async (name) => {
    const path = join(folder, name);
    return [name, (await stat(path)).mtimeMs, (await readFile(path)).toString('latin1')];
  });
  return JSON.stringify(await Promise.all(files));
}

interface Counted {
  readonly port: number;
  readonly count: () => number;
  readonly close: () => Promise<unknown>;
}

/** Whoever comes is counted, and passed on. */
async function countedProxy(server: DatabaseServer): Promise<Counted> {
  const proxy = await tcpProxy(server);
  return { port: proxy.port, count: () => proxy.accepted, close: () => proxy.close() };
}

/** Whoever asks for what is not below `/open/` is counted. */
async function countedHttp(body: string): Promise<Counted> {
  let count = 0;
  const server = createHttpServer(({ url = '' }, response) => {
    if (url === '/open/shown.csv') return response.end('a\nshown\n');
    if (url === '/open/away.csv') return response.writeHead(302, { Location: '/canary.csv' }).end();
    count += 1;
    return response.end(body);
  });
  return { ...(await counted(server)), count: () => count };
}

async function countedListener(): Promise<Counted> {
  return await counted(createServer());
}

async function counted(server: Server): Promise<Counted> {
  let count = 0;
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    count += 1;
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    count: () => count,
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}
