// Recovery: from the SIGSEGV of a busy worker to the next answer, with a reserve and without.
//
//   npm run bench:recovery            (after npm test or npm start, which build)
//   CRASHES=100 npm run bench:recovery
//
// With `size: 1` nobody else could answer: what is measured is the end of the process, which frees its memory first, and the
// promotion of the reserve. With `size: 2`, the default, the other worker answers meanwhile. The one that is killed is at a long query when it is killed; the next query is sent
// in the same moment, and its answer ends the measurement. `query alone` is what it takes without a crash.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { quantile, query, start } from './lib/server.js';

const CRASHES = Number(process.env.CRASHES ?? 100);
const LONG = 'SELECT count(*) FROM range(100000000000) a(x), range(1000) b(y) WHERE hash(x + y) = 1';
const here = dirname(fileURLToPath(import.meta.url));

for (const [size, reserve] of [
  [1, 1],
  [2, 1],
  [1, 0],
]) {
  const folder = mkdtempSync(join(tmpdir(), 'duckcoop-bench-'));
  const config = join(folder, 'duckcoop.yaml');
  const restart = '{ intensity: 1000000, backoff: { initial: 100ms, max: 100ms } }';
  const pool = `{ size: ${size}, reserve: ${reserve}, threads: 1, restart: ${restart} }`;
  writeFileSync(
    config,
    `pools: { interactive: ${pool} }\nsessions: { spare: 0 }\nretry: { max: 0 }\nquarantine: { crashes: 1000000 }\n`,
  );
  const serve = [join(here, '../bin/duckcoop.js'), 'serve', '--config', config, '--port', '0'];
  const server = await start('duckcoop', serve, folder);
  try {
    console.log(`size: ${size}, reserve: ${reserve}, ${CRASHES} crashes`);
    const { alone, recovery } = await measure(server.url, size + reserve);
    print('query alone', alone);
    print('SIGSEGV to the next answer', recovery);
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(url, workers) {
  const agent = new Agent({ keepAlive: true });
  const alone = [];
  const recovery = [];
  for (let crash = 0; crash < CRASHES; crash += 1) {
    await workersWhere(
      url,
      (all) => all.length === workers && all.every(({ state }) => state !== 'starting'),
    );
    alone.push(await timed(() => query(url, agent, 'SELECT 42')));
    const doomed = query(url, agent, LONG);
    // Surely begun: a query that only waits in its worker is run by the next one instead.
    await hasRunFor(url, 100);
    const [{ pid }] = await workersWhere(url, (all) => all.some(({ state }) => state === 'busy'));
    const took = await timed(async () => {
      process.kill(pid, 'SIGSEGV');
      const { status, body } = await query(url, agent, 'SELECT 42');
      if (status !== 200) throw new Error(`the next query: ${status} ${body}`);
    });
    recovery.push(took);
    const { status } = await doomed;
    if (status !== 502) throw new Error(`the query that was running: ${status}`);
  }
  agent.destroy();
  return { alone, recovery };
}

async function timed(work) {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** The workers once they are as wanted, the busy ones first. */
async function workersWhere(url, wanted) {
  for (;;) {
    const { workers } = await fetchJson(`${url}/v1/workers`);
    if (wanted(workers)) return workers.toSorted((one) => (one.state === 'busy' ? -1 : 1));
    await sleep(10);
  }
}

async function hasRunFor(url, ms) {
  for (;;) {
    const { queries } = await fetchJson(`${url}/v1/queries?state=running`);
    if (queries.some(({ run_ms }) => run_ms >= ms)) return;
    await sleep(10);
  }
}

function fetchJson(url) {
  return new Promise((resolve, reject) => {
    get(url, (incoming) => {
      const pieces = [];
      incoming.on('data', (piece) => pieces.push(piece));
      incoming.once('end', () => resolve(JSON.parse(Buffer.concat(pieces))));
    }).once('error', reject);
  });
}

function print(label, values) {
  const [p50, p99, max] = [0.5, 0.99, 1].map((q) => quantile(values, q).toFixed(1));
  console.log(`  ${label}: p50 ${p50} ms, p99 ${p99} ms, max ${max} ms`);
}
