// Point query: Duckcoop next to plain Koa + @duckdb/node-api, in turn, in one run. Prints medians and their ratios.
//
//   npm run bench            (after npm test or npm start, which build)
//   ROUNDS=7 SECONDS=4 npm run bench
//
// Both have as many DuckDB threads: two workers with one each, one process with two. Workers are not replaced meanwhile (every 10,000
// queries, by default): a start takes a third of a second of a core, which is what 600 of these queries take.
// RECYCLE=10000 npm run bench shows it with that.
// Latency: one connection, one request after the other. Throughput: 16 connections. A round measures both servers, in
// alternating order, so that a machine that slows down slows both; the ratio of a round is what counts.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median, quantile, query, start } from './lib/server.js';

const ROUNDS = Number(process.env.ROUNDS ?? 5);
const SECONDS = Number(process.env.SECONDS ?? 3);
const CONNECTIONS = 16;
const here = dirname(fileURLToPath(import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'duckcoop-bench-'));
const config = join(folder, 'duckcoop.yaml');
const recycle = `{ max_queries: ${process.env.RECYCLE ?? 10_000_000} }`;
writeFileSync(
  config,
  `pools: { interactive: { size: 2, threads: ${process.env.THREADS ?? 1}, recycle: ${recycle} } }\n`,
);
const serve = [join(here, '../bin/duckcoop.js'), 'serve', '--config', config, '--port', '0'];
const duckcoop = await start('duckcoop', serve, folder);
const koa = await start('koa', [join(here, 'peer-koa.js')], folder);
try {
  for (const server of [duckcoop, koa]) await load(server.url, CONNECTIONS, 1_000);
  const rounds = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const order = round % 2 === 0 ? [duckcoop, koa] : [koa, duckcoop];
    const measured = {};
    for (const server of order) {
      const alone = await load(server.url, 1, SECONDS * 1_000);
      const crowd = await load(server.url, CONNECTIONS, SECONDS * 1_000);
      measured[server.name] = {
        p50: quantile(alone, 0.5),
        p99: quantile(alone, 0.99),
        rate: crowd.length / SECONDS,
      };
    }
    rounds.push(measured);
    print(`round ${round + 1}`, measured.duckcoop, measured.koa);
  }
  print('median ', middle(rounds, 'duckcoop'), middle(rounds, 'koa'));
  const ratio = (of) => median(rounds.map(of)).toFixed(2);
  console.log(
    `latency p50    ${ratio((r) => r.duckcoop.p50 / r.koa.p50)}x of plain Koa (wanted: at most 1.25x)`,
  );
  console.log(
    `throughput     ${ratio((r) => r.duckcoop.rate / r.koa.rate)}x of plain Koa (wanted: at least 0.9x)`,
  );
} finally {
  for (const server of [duckcoop, koa]) await server.stop();
  rmSync(folder, { recursive: true, force: true });
}

/** Requests one after the other on each connection for `ms`; the latencies of all, in milliseconds. */
async function load(url, connections, ms) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const latencies = [];
  const end = performance.now() + ms;
  const client = async () => {
    while (performance.now() < end) {
      const started = performance.now();
      const { status } = await query(url, agent, 'SELECT 42');
      if (status !== 200) throw new Error(`status ${status}`);
      latencies.push(performance.now() - started);
    }
  };
  await Promise.all(Array.from({ length: connections }, client));
  agent.destroy();
  return latencies;
}

function middle(rounds, name) {
  const of = (figure) => median(rounds.map((round) => round[name][figure]));
  return { p50: of('p50'), p99: of('p99'), rate: of('rate') };
}

function print(label, ...servers) {
  const figures = servers.map(
    ({ p50, p99, rate }) => `p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, ${Math.round(rate)}/s`,
  );
  console.log(`${label}  duckcoop: ${figures[0]}   koa: ${figures[1]}`);
}
