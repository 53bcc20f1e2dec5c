// PostgreSQL and MariaDB for benchmarks: databases of their own on the servers that the tests use as well (test/support/servers.ts).
import mysql from 'mysql2/promise';
import pg from 'pg';

const PG = { host: '127.0.0.1', port: 5432, user: 'root', password: '', database: 'test' };
const MYSQL = { host: '127.0.0.1', port: 3306, user: 'root', password: '', database: 'mysql' };

/** Where a server is: `DUCKCOOP_TEST_PG_HOST`, `_PORT`, `_USER`, `_PASSWORD`, `_DATABASE`, and the same with `MYSQL`. */
function address(prefix, defaults) {
  const value = (name) => process.env[`DUCKCOOP_TEST_${prefix}_${name.toUpperCase()}`];
  const entries = Object.entries(defaults).map(([name, otherwise]) => [name, value(name) ?? otherwise]);
  const found = Object.fromEntries(entries);
  return { ...found, port: Number(found.port) };
}

/** An empty PostgreSQL database; `query` runs SQL in it. */
export async function postgresDatabase(name) {
  const server = address('PG', PG);
  const admin = new pg.Client(server);
  await admin.connect();
  await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
  await admin.query(`CREATE DATABASE ${name}`);
  const client = new pg.Client({ ...server, database: name });
  await client.connect();
  return {
    ...server,
    database: name,
    query: async (sql) => (await client.query(sql)).rows,
    drop: async () => {
      await client.end();
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      await admin.end();
    },
  };
}

/** An empty MariaDB or MySQL database; `query` runs SQL in it. */
export async function mysqlDatabase(name) {
  const server = address('MYSQL', MYSQL);
  const client = await mysql.createConnection({ ...server, multipleStatements: true });
  await client.query(`DROP DATABASE IF EXISTS ${name}; CREATE DATABASE ${name}; USE ${name}`);
  return {
    ...server,
    database: name,
    query: async (sql) => (await client.query(sql))[0],
    drop: async () => {
      await client.query(`DROP DATABASE ${name}`);
      await client.end();
    },
  };
}

/** As a source of the configuration, in YAML's flow style. */
export function sourceOf(kind, { host, port, user, password, database }) {
  const access = password === '' ? '' : `password: ${JSON.stringify(password)}, `;
  return `{ kind: ${kind}, host: ${host}, port: ${port}, user: ${user}, ${access}database: ${database} }`;
}
