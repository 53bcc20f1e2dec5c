// Sessions: how long it takes to open one, with the warm spare and without; what a crash costs one with a table of a million rows;
// and what is left of one that has expired.
//
//   npm run bench:sessions            (after npm test or npm start, which build)
//   ROUNDS=20 npm run bench:sessions
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { quantile, query, send, start } from './lib/server.js';

const ROUNDS = Number(process.env.ROUNDS ?? 10);
const SECRET = 'not-in-any-file';
const here = dirname(fileURLToPath(import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'duckcoop-bench-'));
const config = join(folder, 'duckcoop.yaml');
writeFileSync(
  config,
  `data_dir: ./data
budget: { memory: 64GB }
quarantine: { crashes: 1000000 }
sources: { db: { kind: postgres, host: 127.0.0.1, user: nobody, password: ${SECRET}, database: none } }
`,
);
const serve = [join(here, '../bin/duckcoop.js'), 'serve', '--config', config, '--port', '0'];
const server = await start('duckcoop', serve, folder);
const agent = new Agent({ keepAlive: true });

try {
  await opening('with the spare', {});
  // What no spare has: its process is started for it.
  await opening('without (its own process)', { threads: 1 });
  await crash();
  await expiry();
} finally {
  agent.destroy();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}

async function opening(name, fields) {
  const open = [];
  const result = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await until(async () => (await workers()).some(({ state }) => state === 'spare'));
    // Its start is over, and takes nothing of the machine any more.
    await sleep(300);
    const started = performance.now();
    const session = await opened(fields);
    open.push(performance.now() - started);
    await ran(session, 'SELECT 42');
    result.push(performance.now() - started);
    await ask('DELETE', `/v1/sessions/${session}`);
  }
  console.log(`open a session ${name}: ${spread(open)}; to its first result: ${spread(result)}`);
}

async function crash() {
  const recovery = [];
  let lost;
  let rows;
  // One each time: a session that crashes again and again is restarted ever later.
  for (let round = 0; round < ROUNDS; round += 1) {
    const session = await opened({});
    await ran(session, 'CREATE TABLE t AS SELECT i, random() AS r, uuid() AS u FROM range(1000000) s(i)');
    await ran(session, 'CREATE OR REPLACE TEMP TABLE tt AS SELECT 1; SET VARIABLE v = 1');
    const before = await workerOf(session);
    const started = performance.now();
    process.kill(before.pid, 'SIGSEGV');
    await until(async () => (await workerOf(session))?.pid !== before.pid);
    rows = (await ran(session, 'SELECT count(*), count(DISTINCT u) FROM t', { queue_timeout_ms: 30_000 }))
      .data;
    recovery.push(performance.now() - started);
    ({ lost } = await ask('GET', `/v1/sessions/${session}`));
    await ask('DELETE', `/v1/sessions/${session}`);
  }
  console.log(
    `SIGSEGV to the worker of a session with 1,000,000 rows, to the next answer: ${spread(recovery)}`,
  );
  console.log(`  the table: ${JSON.stringify(rows)}; lost: ${JSON.stringify(lost)}`);
}

async function expiry() {
  const session = await opened({ sources: ['db'], ttl_ms: 2_000 });
  const { pid } = await workerOf(session);
  // It fails to connect; what it would connect with has reached the process.
  await query(server.url, agent, 'SELECT 1', { session });
  await ask('PATCH', `/v1/sessions/${session}`, { sources: [] });
  const late = await query(
    server.url,
    agent,
    'SELECT count(*) FROM range(1e11::BIGINT) a(x) WHERE hash(x) = 1',
    {
      session,
      queue_timeout_ms: 5_000,
    },
  );
  await until(async () => (await ask('GET', `/v1/sessions/${session}`)).code === 'SESSION_EXPIRED');
  await until(
    async () => !filesBelow(join(folder, 'data', 'sessions')).some((name) => name.includes(session)),
  );
  const left = {
    process: isRunning(pid),
    files: filesBelow(join(folder, 'data')).filter((name) => name.includes(session)).length,
    secret: secretsBelow(join(folder, 'data')),
  };
  console.log(`expired: its query heard ${JSON.parse(late.body).code}; left over: ${JSON.stringify(left)}`);
}

async function opened(fields) {
  const { session_id } = await ask('POST', '/v1/sessions', fields);
  return session_id;
}

async function ran(session, sql, fields = {}) {
  const { status, body } = await query(server.url, agent, sql, { session, ...fields });
  if (status !== 200) throw new Error(`${sql}: ${status} ${body}`);
  return JSON.parse(body);
}

async function ask(method, path, fields) {
  const { body } = await send(server.url, agent, method, path, fields ?? {});
  return JSON.parse(body);
}

async function workers() {
  return (await ask('GET', '/v1/workers')).workers;
}

async function workerOf(session) {
  return (await workers()).find(({ session_id }) => session_id === session);
}

async function until(holds) {
  while (!(await holds())) await sleep(5);
}

function isRunning(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function filesBelow(root) {
  return readdirSync(root, { recursive: true }).map(String);
}

/** Files with the password in them. */
function secretsBelow(root) {
  return readdirSync(root, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && readFileSync(join(entry.parentPath, entry.name)).includes(SECRET),
  ).length;
}

function spread(values) {
  const [p50, max] = [0.5, 1].map((q) => quantile(values, q).toFixed(0));
  return `p50 ${p50} ms, max ${max} ms`;
}
