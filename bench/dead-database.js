// A database that dies: what queries hear, how soon, and what becomes of the workers. With a PostgreSQL of its own.
//
//   npm run bench:dead-database      (after npm test or npm start, which build and get the extensions)
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { extensionsFolder } from './lib/embedded.js';
import { ownPostgres } from './lib/own-postgres.js';
import { quantile, query, send, start } from './lib/server.js';

const here = dirname(fileURLToPath(import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'duckcoop-bench-'));
const agent = new Agent({ keepAlive: true, maxSockets: 32 });
const database = await ownPostgres();
const sources = ['pg1'];
const COUNT = 'SELECT count(*) AS n FROM pg1.public.t';
/** Its rows are sorted by PostgreSQL for some seconds, and then are more than sockets hold. */
const LONG =
  "SELECT count(DISTINCT name) FROM postgres_query('pg1', 'SELECT name FROM t ORDER BY md5(name), name')";
let server;
try {
  await database.query(
    "CREATE ROLE app LOGIN PASSWORD 'p0'; CREATE TABLE t AS SELECT i AS id, repeat('x', 40) || i AS name FROM generate_series(1, 1000000) i; CREATE TABLE small AS SELECT * FROM t LIMIT 1000; GRANT SELECT ON t, small TO app",
  );
  const config = join(folder, 'duckcoop.yaml');
  writeFileSync(
    config,
    `extensions: { directory: ${JSON.stringify(extensionsFolder)} }
pools: { interactive: { size: 2, reserve: 1, timeout: 60s, restart: { intensity: 0 } } }
sources:
  pg1: { kind: postgres, host: 127.0.0.1, port: ${database.port}, user: app, password: p0, database: postgres, remote_query: true }
`,
  );
  const serve = [join(here, '../bin/duckcoop.js'), 'serve', '--config', config, '--port', '0'];
  server = await start('duckcoop', serve, folder);
  await sleep(2_000);
  console.log(
    'connect_timeout: 5s (the default), restart.intensity: 0, which forgives no failure of a worker',
  );
  await rotated();
  await stopped();
  await frozen();
  await restartedInMidQuery();
  await frozenInMidResult();
} finally {
  agent.destroy();
  await server?.stop();
  await database.remove();
  rmSync(folder, { recursive: true, force: true });
}

async function rotated() {
  const session = await openSession();
  const loads = [...Array(4).fill({ sources }), { session, queue_timeout_ms: 20_000 }];
  const sql = 'SELECT count(*) AS n FROM pg1.public.small';
  await Promise.all(loads.map((fields) => query(server.url, agent, sql, fields)));
  let goesOn = true;
  const replies = [];
  const load = loads.map(async (fields) => {
    while (goesOn) {
      const sentAt = performance.now();
      replies.push({ sentAt, inSession: fields.session !== undefined, ...(await ask(sql, fields)) });
    }
  });
  const rotations = [];
  for (let version = 1; version <= 10; version += 1) {
    await sleep(1_000);
    const from = performance.now();
    await database.query(`ALTER ROLE app PASSWORD 'p${version}'`);
    await send(server.url, agent, 'PUT', '/v1/sources/pg1/credentials', { password: `p${version}` });
    rotations.push({ from, to: performance.now() });
  }
  goesOn = false;
  await Promise.all(load);
  await send(server.url, agent, 'DELETE', `/v1/sessions/${session}`, {});
  // Sent before the new password was put, and answered after the old one was worth nothing.
  const underWay = ({ sentAt, ms }) => rotations.some(({ from, to }) => sentAt < to && sentAt + ms > from);
  const failed = replies.filter(({ code }) => code !== 'ok');
  const codes = [...new Set(failed.map(({ code }) => code))].join(', ');
  await told('password rotated 10 times under load (4 clients and a session)', [
    `${replies.length} replies, ${replies.filter(({ inSession }) => inSession).length} of them in the session; ${failed.length} failed ${codes}`,
    `of those that failed ${failed.filter(underWay).length} were under way in a rotation, ${failed.filter((one) => !underWay(one)).length} were not`,
  ]);
}

async function stopped() {
  await ask(COUNT, { sources });
  await database.stop();
  const replies = [];
  for (let attempt = 0; attempt < 20; attempt += 1) replies.push(await ask(COUNT, { sources }));
  await told('stopped: 20 queries', [summary(replies)]);
  await database.start();
  await answersAgain();
}

async function frozen() {
  const session = await openSession();
  await ask(COUNT, { session });
  database.freeze();
  const first = await Promise.all([
    ask(COUNT, { sources }),
    ask(COUNT, { sources }),
    ask(COUNT, { session }),
  ]);
  const then = [];
  for (let attempt = 0; attempt < 5; attempt += 1) then.push(await ask(COUNT, { sources }));
  const others = await ask('SELECT 1', {});
  await told('black hole (SIGSTOP): two queries on kept attachments and one in a session, then 5 more', [
    summary(first),
    `then ${summary(then)}`,
    `SELECT 1 meanwhile: ${summary([others])}`,
  ]);
  database.thaw();
  await send(server.url, agent, 'DELETE', `/v1/sessions/${session}`, {});
  await answersAgain();
}

async function restartedInMidQuery() {
  const asked = ask(LONG, { sources });
  await sleep(700);
  await database.stop();
  await database.start();
  const reply = await asked;
  await told('restarted in mid-query', [summary([reply])]);
  await answersAgain();
}

async function frozenInMidResult() {
  const asked = ask('SELECT count(DISTINCT name) FROM pg1.public.t', { sources });
  await sleep(150);
  database.freeze();
  const reply = await asked;
  await told('black hole in mid-result', [summary([reply])]);
  database.thaw();
  await answersAgain();
}

async function answersAgain() {
  const begun = performance.now();
  for (;;) {
    const { code } = await ask(COUNT, { sources });
    if (code === 'ok') break;
    await sleep(50);
  }
  console.log(`  answered again after ${Math.round(performance.now() - begun)} ms`);
}

async function ask(sql, fields) {
  const begun = performance.now();
  const { status, body } = await query(server.url, agent, sql, fields);
  const { code = status === 200 ? 'ok' : String(status), detail, retryable } = JSON.parse(body);
  return { code, detail, retryable, ms: performance.now() - begun };
}

async function openSession() {
  return JSON.parse((await send(server.url, agent, 'POST', '/v1/sessions', { sources })).body).session_id;
}

function summary(replies) {
  const codes = [...new Set(replies.map(({ code }) => code))].join(', ');
  const [low, median, high] = [0, 0.5, 1].map((q) =>
    Math.round(
      quantile(
        replies.map(({ ms }) => ms),
        q,
      ),
    ),
  );
  const [detail] = replies.flatMap((reply) => reply.detail ?? []);
  const said = detail === undefined ? '' : `; ${detail.replaceAll(/\s+/g, ' ').slice(0, 140)}`;
  return `${replies.length} x ${codes} in ${low} to ${high} ms, median ${median}${said}`;
}

async function told(title, lines) {
  const busy = await workers((all) => all.every(({ state }) => state !== 'busy'));
  const { body } = await read('/readyz');
  console.log(
    `${title}\n  ${lines.join('\n  ')}\n  workers: ${busy}; pool ${JSON.parse(body).pools.interactive}`,
  );
}

/** Their states, once `when` holds; within ten seconds it has to. */
async function workers(when) {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const all = JSON.parse((await read('/v1/workers')).body).workers.filter(
      ({ pool }) => pool === 'interactive',
    );
    const states = all.map(({ state, incarnation }) => `${state} (${incarnation})`).join(', ');
    if (when(all)) return states;
    if (attempt === 199) return `STUCK: ${states}`;
    await sleep(50);
  }
  return undefined;
}

function read(path) {
  return new Promise((resolve, reject) => {
    get(`${server.url}${path}`, { agent }, (incoming) => {
      let body = '';
      incoming.setEncoding('utf8').on('data', (text) => {
        body += text;
      });
      incoming.once('end', () => resolve({ body }));
    }).once('error', reject);
  });
}
