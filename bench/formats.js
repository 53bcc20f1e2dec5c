// Formats: a million rows of six columns, in each format, next to plain Koa + @duckdb/node-api in one run. Prints rows a second, and ratios.
//
//   npm run bench:formats            (after npm test or npm start, which build)
//   ROUNDS=7 npm run bench:formats
//
// NDJSON, CSV and Arrow are held against the NDJSON that the peer streams (getRowObjectsJson by chunks), Parquet against DuckDB's own
// COPY to a file in the peer's process. The client only counts bytes. A round measures all of them in turn; the ratio of a round counts.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median, start } from './lib/server.js';

const ROUNDS = Number(process.env.ROUNDS ?? 5);
const ROWS = 1_000_000;
const SQL = `SELECT i AS id, i * 0.5::DOUBLE AS amount, 'customer ' || (i % 1000) AS name, DATE '2020-01-01' + (i % 1000)::INT AS day,
  (i % 10000)::DECIMAL(9, 2) AS price, i % 2 = 0 AS paid FROM range(${ROWS}) r(i)`;
const WANTED = { ndjson: 4, csv: 4, arrow: 7, parquet: 0.8 };
const here = dirname(fileURLToPath(import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'duckcoop-bench-'));
const config = join(folder, 'duckcoop.yaml');
writeFileSync(config, 'pools: { interactive: { size: 1, reserve: 0, threads: 2 } }\n');
const serve = [join(here, '../bin/duckcoop.js'), 'serve', '--config', config, '--port', '0'];
const duckcoop = await start('duckcoop', serve, folder);
const koa = await start('koa', [join(here, 'peer-ndjson.js')], folder);
try {
  const rounds = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const seconds = { koa: await timed(koa.url, '/', {}), copy: await timed(koa.url, '/copy', {}) };
    for (const format of Object.keys(WANTED)) {
      seconds[format] = await timed(duckcoop.url, '/v1/query', { format });
    }
    // The first one warms both up.
    if (round > 0) rounds.push(seconds);
  }
  const rate = (name) => `${(ROWS / 1e6 / median(rounds.map((round) => round[name]))).toFixed(2)} M rows/s`;
  console.log(`plain Koa, NDJSON       ${rate('koa')}`);
  console.log(`DuckDB's COPY, Parquet  ${rate('copy')}`);
  for (const [format, wanted] of Object.entries(WANTED)) {
    const peer = format === 'parquet' ? 'copy' : 'koa';
    const ratio = median(rounds.map((round) => round[peer] / round[format]));
    console.log(
      `${format.padEnd(23)} ${rate(format)}, ${ratio.toFixed(2)}x of ${peer === 'copy' ? 'that COPY' : 'plain Koa'} (wanted: at least ${wanted}x)`,
    );
  }
} finally {
  for (const server of [duckcoop, koa]) await server.stop();
  rmSync(folder, { recursive: true, force: true });
}

/** Seconds until the last byte of the reply is here. Rejects where it was cut, or has not all rows. */
function timed(url, path, fields) {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Type': 'application/json' };
    const asked = request(`${url}${path}`, { method: 'POST', headers, agent: false }, (reply) => {
      reply.on('data', () => undefined);
      reply.on('error', reject);
      reply.on('end', () => {
        const rows = reply.trailers['x-query-rows'] ?? String(ROWS);
        if (reply.statusCode !== 200 || rows !== String(ROWS)) {
          reject(new Error(`${path}: ${reply.statusCode}, ${rows} rows`));
          return;
        }
        resolve((performance.now() - started) / 1_000);
      });
    });
    asked.on('error', reject);
    asked.end(JSON.stringify({ sql: SQL, ...fields }));
  });
}
