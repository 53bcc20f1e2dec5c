/**
 * Database servers of a test's own that speak TLS: with a certificate of the test's authority for `localhost`, and for no address. Users:
 * `secured` with {@link PASSWORD}, over TLS alone; `certified` with a certificate of the same authority, and without a password.
 *
 * The files in tls/ were made with `openssl req` and `openssl x509`, for a hundred years; their keys are no secrets.
 */
import { fileURLToPath } from 'node:url';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { startThrowaway, type ThrowawayServer } from './throwaway.ts';

const tlsFile = (name: string) => fileURLToPath(new URL(`tls/${name}.pem`, import.meta.url));

/** Who vouches for the servers, and for `certified`. */
export const AUTHORITY = tlsFile('authority');
/** Who vouches for neither. */
export const OTHER_AUTHORITY = tlsFile('other-authority');
export const SERVER = { cert: tlsFile('server'), key: tlsFile('server-key') };
export const CLIENT = { cert: tlsFile('client'), key: tlsFile('client-key') };
/** For the same name, by the other authority. */
export const FOREIGN_CLIENT = { cert: tlsFile('foreign-client'), key: tlsFile('foreign-client-key') };

/** Nobody's friend: not libpq's, SQL's, JSON's or a shell's. */
export const PASSWORD = `it's "a" \\ pass=word';\nDROP TABLE t; -- {"x":1} ü 🦆 $(id)`;

/** Without TLS only `root` comes in, who makes the others. */
const PG_HBA = `local all all trust
hostnossl all root 127.0.0.1/32 trust
hostnossl all all all reject
hostssl all certified all cert
hostssl all all all scram-sha-256
`;

/** Copies a key to where only the server reads it, as servers want it, and then is the server. */
const WITH_KEY = 'cp "$1" key.pem && chmod 600 key.pem';

/** Undefined where it is not installed. Database `test` with a table `t` of one row. */
export async function startTlsPostgres(): Promise<ThrowawayServer | undefined> {
  const connection = { host: '127.0.0.1', user: 'root', database: 'postgres' };
  const server = await startThrowaway({
    title: 'PostgreSQL',
    binaries: ['initdb', 'postgres'],
    stopSignal: 'INT',
    commands: (binary, folder, port) => {
      const data = `${folder}/data`;
      const options = Object.entries({
        ssl: 'on',
        ssl_cert_file: SERVER.cert,
        ssl_key_file: `${folder}/key.pem`,
        ssl_ca_file: AUTHORITY,
      });
      return [
        [binary('initdb'), '-D', data, '-U', 'root', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'],
        ['/bin/sh', '-c', `${WITH_KEY} && printf %s "$2" > data/pg_hba.conf`, 'sh', SERVER.key, PG_HBA],
        [
          ...[binary('postgres'), '-D', data, '-h', 'localhost', '-p', String(port), '-k', folder, '-F'],
          ...options.flatMap(([name, value]) => ['-c', `${name}=${value}`]),
        ],
      ];
    },
    ping: (port) => queryPostgres({ ...connection, port }, ['SELECT 1']),
  });
  if (server === undefined) return undefined;
  const quoted = PASSWORD.replaceAll("'", "''");
  await queryPostgres({ ...connection, port: server.port }, ['CREATE DATABASE test']);
  await queryPostgres({ ...connection, port: server.port, database: 'test' }, [
    'CREATE TABLE t AS SELECT 42 AS id',
    `CREATE ROLE secured LOGIN PASSWORD '${quoted}'`,
    'CREATE ROLE certified LOGIN',
    'GRANT SELECT ON t TO secured, certified',
  ]);
  return server;
}

/** Undefined where it is not installed. Database `test` with a table `t` of one row. */
export async function startTlsMariadb(): Promise<ThrowawayServer | undefined> {
  const connection = { host: '127.0.0.1', user: 'root' };
  const server = await startThrowaway({
    title: 'MariaDB',
    binaries: ['mariadb-install-db', 'mariadbd'],
    stopSignal: 'TERM',
    commands: (binary, folder, port) => [
      [
        ...[binary('mariadb-install-db'), '--no-defaults', `--datadir=${folder}/data`],
        ...['--auth-root-authentication-method=normal', '--skip-test-db'],
      ],
      ['/bin/sh', '-c', WITH_KEY, 'sh', SERVER.key],
      [
        ...[binary('mariadbd'), '--no-defaults', `--datadir=${folder}/data`, `--socket=${folder}/socket`],
        ...[`--pid-file=${folder}/pid`, '--bind-address=localhost', `--port=${port}`],
        ...['--innodb-flush-log-at-trx-commit=0', `--ssl-cert=${SERVER.cert}`, `--ssl-key=${folder}/key.pem`],
        `--ssl-ca=${AUTHORITY}`,
      ],
    ],
    ping: (port) => queryMysql({ ...connection, port }, ['SELECT 1']),
  });
  if (server === undefined) return undefined;
  const quoted = PASSWORD.replaceAll('\\', '\\\\').replaceAll("'", "''");
  await queryMysql({ ...connection, port: server.port }, [
    'CREATE DATABASE test',
    'CREATE TABLE test.t AS SELECT 42 AS id',
    `CREATE USER secured@'%' IDENTIFIED BY '${quoted}' REQUIRE SSL`,
    "CREATE USER certified@'%' REQUIRE X509",
    "GRANT SELECT ON test.* TO secured@'%'",
    "GRANT SELECT ON test.* TO certified@'%'",
  ]);
  return server;
}

async function queryPostgres(connection: pg.ClientConfig, statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ ...connection, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

async function queryMysql(connection: mysql.ConnectionOptions, statements: readonly string[]): Promise<void> {
  const client = await mysql.createConnection({ ...connection, connectTimeout: 5_000 });
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}
