// Health beside bulk: how long /healthz takes while two clients stream results as fast as they can and an export is made, next to the same
// server with nothing to do. Both in one run; prints the quantiles and their ratio.
//
//   npm run bench:health            (after npm test or npm start, which build)
//   SECONDS=20 npm run bench:health
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { quantile, start } from './lib/server.js';

const SECONDS = Number(process.env.SECONDS ?? 10);
const SQL = 'SELECT i, hash(i) AS h, hash(i + 1)::VARCHAR AS t FROM range(1000000000) r(i)';
const here = dirname(fileURLToPath(import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'duckcoop-bench-'));
const config = join(folder, 'duckcoop.yaml');
writeFileSync(
  config,
  'pools: { interactive: { size: 2, reserve: 0, threads: 1 }, exports: { size: 1, threads: 1 } }\nexports: { egress: { port: 0 } }\n',
);
const serve = [join(here, '../bin/duckcoop.js'), 'serve', '--config', config, '--port', '0'];
const server = await start('duckcoop', serve, folder);
try {
  await probe(2);
  const idle = await probe(SECONDS);
  const bulk = await begin('/v1/exports', { sql: SQL });
  const streams = await Promise.all([1, 2].map(() => begin('/v1/query', { sql: SQL, format: 'ndjson' })));
  let bytes = 0;
  for (const { reply } of [bulk, ...streams]) reply.on('data', (piece) => (bytes += piece.length));
  await sleep(1_000);
  bytes = 0;
  const busy = await probe(SECONDS);
  console.log(
    `streamed meanwhile      ${(bytes / 1e6 / SECONDS).toFixed(0)} MB/s to two clients, beside one export`,
  );
  for (const { asked } of streams) asked.destroy();
  print('idle', idle);
  print('two streams, an export', busy);
  const ratio = (q) => (quantile(busy, q) / quantile(idle, q)).toFixed(1);
  console.log(`ratio                   p50 ${ratio(0.5)}x, p99 ${ratio(0.99)}x`);
} finally {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}

/** Milliseconds that each of many requests took, one after the other. */
async function probe(seconds) {
  const taken = [];
  const end = performance.now() + seconds * 1_000;
  while (performance.now() < end) {
    const started = performance.now();
    const { reply } = await begin('/healthz', undefined);
    if (reply.statusCode !== 200) throw new Error(`/healthz said ${reply.statusCode}`);
    for await (const _ of reply);
    taken.push(performance.now() - started);
    await sleep(5);
  }
  return taken;
}

/** Resolves once the header of the reply is here. */
function begin(path, body) {
  return new Promise((resolve, reject) => {
    const method = body === undefined ? 'GET' : 'POST';
    const headers = { 'Content-Type': 'application/json' };
    const asked = request(`${server.url}${path}`, { method, headers, agent: false }, (reply) => {
      reply.on('error', () => undefined);
      resolve({ asked, reply });
    });
    asked.on('error', reject);
    asked.end(body && JSON.stringify(body));
  });
}

function print(label, taken) {
  const figures = [0.5, 0.99, 1].map((q) => quantile(taken, q).toFixed(1));
  console.log(
    `${label.padEnd(23)} p50 ${figures[0]} ms, p99 ${figures[1]} ms, max ${figures[2]} ms (${taken.length} requests)`,
  );
}
