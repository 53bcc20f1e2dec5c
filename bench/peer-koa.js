// The peer: what a team writes first. One process, Koa, DuckDB embedded through @duckdb/node-api.
import { DuckDBInstance } from '@duckdb/node-api';
import Koa from 'koa';
import { openEmbedded } from './lib/embedded.js';
import { listen, sqlOf } from './lib/peer.js';

// With servers it attaches them once, and keeps them so.
const servers = process.env.BENCH_SERVERS;
const instance =
  servers === undefined
    ? await DuckDBInstance.create(':memory:', { threads: '2' })
    : await openEmbedded(...JSON.parse(servers));
const app = new Koa();

app.use(async (ctx) => {
  const sql = await sqlOf(ctx);
  const connection = await instance.connect();
  try {
    const reader = await connection.runAndReadAll(sql);
    ctx.body = {
      columns: reader.columnNames(),
      data: reader.getRowsJson(),
      row_count: reader.currentRowCount,
    };
  } finally {
    connection.closeSync();
  }
});

listen(app);
