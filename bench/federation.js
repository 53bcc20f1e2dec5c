// Federation: one statement over a MariaDB and a PostgreSQL, in a row, on the ways there are to run it, next to a plain Koa process
// that attached both when it started and keeps them so, all in one run.
//
//   npm run bench:federation      (after npm test or npm start, which build and get the extensions)
//   EVENTS=1000000 USERS=100000 RUNS=10 npm run bench:federation
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { mysqlDatabase, postgresDatabase, sourceOf } from './lib/databases.js';
import { extensionsFolder } from './lib/embedded.js';
import { median, query, send, start } from './lib/server.js';

const EVENTS = Number(process.env.EVENTS ?? 5_000);
const USERS = Number(process.env.USERS ?? 2_000);
const RUNS = Number(process.env.RUNS ?? 10);
const ROUNDS = Number(process.env.ROUNDS ?? 5);
const here = dirname(fileURLToPath(import.meta.url));

const name = `duckcoop_bench_${process.pid}`;
const [my, pg] = [await mysqlDatabase(name), await postgresDatabase(name)];
const SQL = `SELECT
  (SELECT COUNT(*) FROM my1.${name}.events) AS mysql_events,
  (SELECT COUNT(*) FROM pg1.public.users) AS pg_users,
  (SELECT COUNT(*)
   FROM my1.${name}.events m
   JOIN pg1.public.users p ON p.id = m.user_id
   WHERE m.event_id <= 5000000) AS join_5m_count;`;
const folder = mkdtempSync(join(tmpdir(), 'duckcoop-bench-'));
const agent = new Agent({ keepAlive: true });
const servers = [];
try {
  await seed();
  const [cold, warm, peer] = [
    await duckcoop('cold', 'attached: { max: 0 }'),
    await duckcoop('warm', ''),
    await koa(),
  ];
  // Their reserves and spares are there by then.
  await sleep(2_000);
  const sources = ['my1', 'pg1'];
  const ways = [
    ['attached for each request (attached.max: 0)', cold, async () => ({ sources })],
    ['a pool, whose instance stays attached', warm, async () => ({ sources })],
    ['a session', warm, () => session(warm, sources)],
    ['plain Koa and node-api, attached at its start', peer, async () => ({})],
  ];
  const firsts = new Map(ways.map(([title]) => [title, []]));
  const laters = new Map(ways.map(([title]) => [title, []]));
  for (const [title, server, open] of ways) firsts.get(title).push(await timed(server, await open()));
  // One after the other, round by round: what slows the machine down slows all of them.
  const fields = new Map();
  for (const [title, , open] of ways) fields.set(title, await open());
  for (const [title, server] of ways) await timed(server, fields.get(title));
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [title, server] of ways) {
      for (let run = 1; run < RUNS; run += 1) laters.get(title).push(await timed(server, fields.get(title)));
    }
  }
  const baseline = median(laters.get(ways.at(-1)[0]));
  console.log(
    `${EVENTS} events in MariaDB, ${USERS} users in PostgreSQL; first run, then ${ROUNDS} times ${RUNS - 1} in a row, ms`,
  );
  for (const [title] of ways) {
    const later = laters.get(title);
    const [low, high] = [Math.min(...later), Math.max(...later)].map((ms) => ms.toFixed(1));
    const ratio = (median(later) / baseline).toFixed(2);
    console.log(
      `  ${title.padEnd(46)} first ${firsts.get(title)[0].toFixed(1).padStart(6)}   later, median ${median(later).toFixed(1).padStart(6)} (${low} to ${high})   ${ratio}x`,
    );
  }
} finally {
  agent.destroy();
  for (const server of servers) await server.stop();
  rmSync(folder, { recursive: true, force: true });
  await my.drop();
  await pg.drop();
}

async function seed() {
  await my.query(
    `CREATE TABLE events (event_id bigint PRIMARY KEY, user_id int NOT NULL, kind varchar(20), at datetime);
     INSERT INTO events SELECT seq, 1 + (seq * 7919) % ${Math.ceil(USERS * 1.25)}, 'view', '2024-01-01' FROM seq_1_to_${EVENTS}`,
  );
  await pg.query(`CREATE TABLE users (id int PRIMARY KEY, name text)`);
  await pg.query(`INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, ${USERS}) i`);
}

async function duckcoop(title, pool) {
  const own = join(folder, title);
  const config = `${own}.yaml`;
  writeFileSync(
    config,
    `data_dir: ${JSON.stringify(own)}
extensions: { directory: ${JSON.stringify(extensionsFolder)} }
pools: { interactive: { size: 1, reserve: 0, ${pool} } }
sources: { pg1: ${sourceOf('postgres', pg)}, my1: ${sourceOf('mysql', my)} }\n`,
  );
  const serve = [join(here, '../bin/duckcoop.js'), 'serve', '--config', config, '--port', '0'];
  return started(await start(title, serve, folder));
}

async function koa() {
  const address = ({ host, port, user, password, database }) => ({ host, port, user, password, database });
  const env = { ...process.env, BENCH_SERVERS: JSON.stringify([address(pg), address(my)]) };
  return started(await start('koa', [join(here, 'peer-koa.js')], folder, env));
}

function started(server) {
  servers.push(server);
  return server;
}

async function session(server, sources) {
  const { body } = await send(server.url, agent, 'POST', '/v1/sessions', { sources });
  const { session_id } = JSON.parse(body);
  await query(server.url, agent, 'SELECT 1', { session: session_id });
  return { session: session_id };
}

async function timed(server, fields) {
  const begun = performance.now();
  const { status, body } = await query(server.url, agent, SQL, fields);
  if (status !== 200) throw new Error(`${server.name}: ${body}`);
  return performance.now() - begun;
}
