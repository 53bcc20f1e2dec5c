// The peer of the formats: one process, Koa, DuckDB embedded through @duckdb/node-api, rows streamed as NDJSON by chunks. Its other
// path writes Parquet with DuckDB's own COPY to a file, in the same process and with as many threads.
import { rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { DuckDBInstance } from '@duckdb/node-api';
import Koa from 'koa';
import { listen, sqlOf } from './lib/peer.js';

const instance = await DuckDBInstance.create(':memory:', { threads: '2' });
const app = new Koa();

app.use(async (ctx) => {
  const sql = await sqlOf(ctx);
  const connection = await instance.connect();
  if (ctx.path === '/copy') {
    const file = `copy-${process.pid}.parquet`;
    await connection.run(`COPY (${sql}) TO '${file}' (FORMAT parquet)`);
    await rm(file);
    connection.closeSync();
    ctx.body = 'done';
    return;
  }
  const result = await connection.stream(sql);
  ctx.type = 'application/x-ndjson';
  ctx.body = Readable.from(lines(result, connection));
});

async function* lines(result, connection) {
  for await (const rows of result.yieldRowObjectJson()) {
    yield rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  }
  connection.closeSync();
}

listen(app);
