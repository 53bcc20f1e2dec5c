/**
 * Real PostgreSQL and MariaDB servers for tests.
 *
 * `DUCKCOOP_TEST_PG_HOST`, `_PORT`, `_USER`, `_PASSWORD`, `_DATABASE` (and `DUCKCOOP_TEST_MYSQL_...`) name one, and
 * then it has to answer. Without them one on this machine at the usual port is used, and where none lets us in, a
 * throwaway server is started from installed binaries. Where that is impossible too the answer is undefined, and
 * said on stderr, so that tests skip; with `CI` set it is an error, so that nothing is skipped unseen.
 *
 * ```ts
 * const server = await postgres();
 * describe.skipIf(server === undefined)('...', () => {
 *   it('...', async () => {
 *     const database = await server.createDatabase();
 *     await database.query('CREATE TABLE t (id bigint)');
 *     await database.drop();
 * ```
 */
import { randomBytes } from 'node:crypto';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { startThrowaway, type ThrowawayRecipe } from './throwaway.ts';

export interface Connection {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

export type Row = Record<string, unknown>;

export interface TestDatabase extends Connection {
  /** Runs SQL, several statements too, and gives the rows of the last one that has any. */
  query(sql: string): Promise<Row[]>;
}

export interface OwnDatabase extends TestDatabase {
  /** Drops it, and ends whatever is still connected to it. */
  drop(): Promise<void>;
}

export interface TestServer extends TestDatabase {
  /** An empty database with a name nobody else has. */
  createDatabase(): Promise<OwnDatabase>;
  /** Ends a throwaway server now rather than with this process; leaves any other alone. */
  stop(): Promise<void>;
}

interface Kind {
  readonly title: string;
  /** `DUCKCOOP_TEST_<prefix>_HOST` and so on. */
  readonly prefix: string;
  readonly defaults: Connection;
  /** The database that a new server has. */
  readonly adminDatabase: string;
  readonly recipe: ThrowawayRecipe;
  query(connection: Connection, sql: string): Promise<Row[]>;
  quote(name: string): string;
  dropStatement(quotedName: string): string;
}

const POSTGRES: Kind = {
  title: 'PostgreSQL',
  prefix: 'PG',
  defaults: { host: '127.0.0.1', port: 5432, user: 'root', password: '', database: 'test' },
  adminDatabase: 'postgres',
  recipe: {
    title: 'PostgreSQL',
    binaries: ['initdb', 'postgres'],
    stopSignal: 'INT',
    commands: (binary, folder, port) => [
      [
        binary('initdb'),
        '-D',
        `${folder}/data`,
        '-U',
        'root',
        '-A',
        'trust',
        '-E',
        'UTF8',
        '--locale=C',
        '--no-sync',
      ],
      [binary('postgres'), '-D', `${folder}/data`, '-h', '127.0.0.1', '-p', String(port), '-k', folder, '-F'],
    ],
    ping: async (port) => {
      await queryPostgres({ ...POSTGRES.defaults, port, database: POSTGRES.adminDatabase }, 'SELECT 1');
    },
  },
  query: queryPostgres,
  quote: (name) => `"${name}"`,
  dropStatement: (name) => `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`,
};

const MARIADB: Kind = {
  title: 'MariaDB',
  prefix: 'MYSQL',
  // Every server has the schema `mysql`; tests make databases of their own anyway.
  defaults: { host: '127.0.0.1', port: 3306, user: 'root', password: '', database: 'mysql' },
  adminDatabase: 'mysql',
  recipe: {
    title: 'MariaDB',
    binaries: ['mariadb-install-db', 'mariadbd'],
    stopSignal: 'TERM',
    commands: (binary, folder, port) => [
      [
        binary('mariadb-install-db'),
        '--no-defaults',
        `--datadir=${folder}/data`,
        '--auth-root-authentication-method=normal',
        '--skip-test-db',
      ],
      [
        binary('mariadbd'),
        '--no-defaults',
        `--datadir=${folder}/data`,
        `--socket=${folder}/socket`,
        `--pid-file=${folder}/pid`,
        '--bind-address=127.0.0.1',
        `--port=${port}`,
        '--innodb-flush-log-at-trx-commit=0',
      ],
    ],
    ping: async (port) => {
      await queryMysql({ ...MARIADB.defaults, port }, 'SELECT 1');
    },
  },
  query: queryMysql,
  quote: (name) => `\`${name}\``,
  dropStatement: (name) => `DROP DATABASE IF EXISTS ${name}`,
};

export interface ServerOptions {
  /** Always a throwaway server, for a test that stops or breaks it; the test has to `stop` it. */
  readonly own?: boolean;
}

export function postgres(options: ServerOptions = {}): Promise<TestServer | undefined> {
  return options.own === true ? start(POSTGRES) : remembered(POSTGRES);
}

export function mariadb(options: ServerOptions = {}): Promise<TestServer | undefined> {
  return options.own === true ? start(MARIADB) : remembered(MARIADB);
}

/** One search, and at most one shared throwaway server, for each kind and test process. */
const found = new Map<Kind, Promise<TestServer | undefined>>();

function remembered(kind: Kind): Promise<TestServer | undefined> {
  const server = found.get(kind) ?? find(kind);
  found.set(kind, server);
  return server;
}

async function find(kind: Kind): Promise<TestServer | undefined> {
  const named = fromEnvironment(kind);
  const connection = named ?? kind.defaults;
  try {
    await kind.query(connection, 'SELECT 1');
    return serverAt(kind, connection);
  } catch (error) {
    if (named !== undefined) {
      const where = `${named.user}@${named.host}:${named.port}/${named.database}`;
      throw new Error(`${kind.title} named by DUCKCOOP_TEST_${kind.prefix}_* does not answer: ${where}`, {
        cause: error,
      });
    }
  }
  return start(kind);
}

async function start(kind: Kind): Promise<TestServer | undefined> {
  const throwaway = await startThrowaway(kind.recipe);
  if (throwaway === undefined) return unavailable(kind);
  const { defaults, adminDatabase } = kind;
  const connection = { ...defaults, port: throwaway.port };
  if (defaults.database !== adminDatabase) {
    const create = `CREATE DATABASE ${kind.quote(defaults.database)}`;
    await kind.query({ ...connection, database: adminDatabase }, create);
  }
  return { ...serverAt(kind, connection), stop: throwaway.stop };
}

function unavailable({ title, defaults, recipe }: Kind): undefined {
  const problem =
    `no ${title} for the tests: none lets ${defaults.user} in at ${defaults.host}:${defaults.port}, ` +
    `and ${recipe.binaries.join(', ')} are not all installed`;
  if (!['', 'false'].includes(process.env.CI ?? '')) throw new Error(problem);
  process.stderr.write(`\n### SKIPPING TESTS: ${problem}\n\n`);
  return undefined;
}

function serverAt(kind: Kind, connection: Connection): TestServer {
  return {
    ...databaseAt(kind, connection),
    createDatabase: async () => {
      const name = `duckcoop_${process.pid}_${randomBytes(4).toString('hex')}`;
      await kind.query(connection, `CREATE DATABASE ${kind.quote(name)}`);
      return {
        ...databaseAt(kind, { ...connection, database: name }),
        drop: async () => {
          await kind.query(connection, kind.dropStatement(kind.quote(name)));
        },
      };
    },
    stop: async () => {},
  };
}

function databaseAt(kind: Kind, connection: Connection): TestDatabase {
  return { ...connection, query: (sql) => kind.query(connection, sql) };
}

/** Undefined when nothing is set: what is set overrides the default, and makes the server a demand. */
function fromEnvironment({ prefix, defaults }: Kind): Connection | undefined {
  const value = (name: string) => process.env[`DUCKCOOP_TEST_${prefix}_${name}`];
  const names = ['HOST', 'PORT', 'USER', 'PASSWORD', 'DATABASE'];
  if (names.every((name) => value(name) === undefined)) return undefined;
  return {
    host: value('HOST') ?? defaults.host,
    port: Number(value('PORT') ?? defaults.port),
    user: value('USER') ?? defaults.user,
    password: value('PASSWORD') ?? defaults.password,
    database: value('DATABASE') ?? defaults.database,
  };
}

async function queryPostgres(connection: Connection, sql: string): Promise<Row[]> {
  const client = new pg.Client({ ...connection, connectionTimeoutMillis: 5_000 });
  // A server that goes away on purpose also says so here; the query's own rejection is what counts.
  client.on('error', () => {});
  try {
    await client.connect();
    const results: pg.QueryResult<Row> | pg.QueryResult<Row>[] = await client.query<Row>(sql);
    return Array.isArray(results)
      ? (results.findLast(({ fields }) => fields.length > 0)?.rows ?? [])
      : results.rows;
  } finally {
    await client.end();
  }
}

async function queryMysql(connection: Connection, sql: string): Promise<Row[]> {
  const client = await mysql.createConnection({
    ...connection,
    multipleStatements: true,
    connectTimeout: 5_000,
  });
  try {
    const [results] = await client.query(sql);
    if (!Array.isArray(results)) return [];
    const sets: unknown[] = Array.isArray(results[0]) || !isRow(results[0]) ? results : [results];
    return (sets.findLast((set) => Array.isArray(set)) ?? []) as Row[];
  } finally {
    await client.end();
  }
}

/** With one statement the result is its rows; with several, a list of row lists and of headers. */
function isRow(value: unknown): boolean {
  return value !== undefined && (value as object).constructor.name !== 'ResultSetHeader';
}
