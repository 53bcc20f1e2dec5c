// A crash with no fault injected: a join over PostgreSQL and MariaDB, a column of PostgreSQL that gets another type, the same join
// again. In a process that keeps its attachments that is SIGSEGV; then the same in a session and in a pool of Duckcoop, four times.
//
//   npm run bench:alter-column      (after npm test or npm start, which build and get the extensions)
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mysqlDatabase, postgresDatabase, sourceOf } from './lib/databases.js';
import { extensionsFolder, openEmbedded } from './lib/embedded.js';
import { query, send, start } from './lib/server.js';

const TYPES = ['bigint', 'int', 'bigint', 'smallint'];
const here = dirname(fileURLToPath(import.meta.url));

if (process.argv[2] === 'bare') await bare(...JSON.parse(process.argv[3]));
else await main();

async function main() {
  const name = `duckcoop_alter_${process.pid}`;
  const [people, sales] = [await postgresDatabase(name), await mysqlDatabase(name)];
  try {
    await people.query(`CREATE TABLE t (id bigint, name text)`);
    await people.query(`INSERT INTO t SELECT i, '😀' || i FROM generate_series(1, 5000) i`);
    await sales.query('CREATE TABLE s AS SELECT CAST(seq AS int) AS id FROM seq_1_to_100');
    console.log('node-api that keeps its attachments:');
    console.log(`  ${await runBare(people, sales)}`);
    await inDuckcoop(people, sales);
  } finally {
    await people.drop();
    await sales.drop();
  }
}

function join100(database) {
  return `SELECT count(*) AS n, sum(t.id) AS s, min(t.name) AS m FROM pg1.public.t t JOIN my1.${database}.s s ON s.id = t.id`;
}

/** The process that dies, as a child of this one. */
async function runBare(people, sales) {
  const plain = ({ host, port, user, password, database }) => ({ host, port, user, password, database });
  const args = [fileURLToPath(import.meta.url), 'bare', JSON.stringify([plain(people), plain(sales)])];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = [];
  const types = TYPES.slice(1);
  child.stdout.setEncoding('utf8').on('data', async (text) => {
    answers.push(text.trim());
    const type = types.shift();
    if (type !== undefined) await people.query(`ALTER TABLE t ALTER COLUMN id TYPE ${type}`);
    if (type === undefined) child.stdin.end();
    else child.stdin.write('again\n');
  });
  child.stdin.on('error', () => undefined);
  const how = await new Promise((resolve) => {
    child.once('close', (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  await people.query('ALTER TABLE t ALTER COLUMN id TYPE bigint');
  return `${answers.join(', then ')}, then ${how}`;
}

async function bare(people, sales) {
  const connection = await (await openEmbedded(people, sales)).connect();
  const answer = async () => {
    const [row] = (await connection.runAndReadAll(join100(sales.database))).getRowsJson();
    process.stdout.write(`${row.join(' ')}\n`);
  };
  await answer();
  for await (const _ of process.stdin) await answer();
  process.exit(0);
}

async function inDuckcoop(people, sales) {
  const folder = mkdtempSync(join(tmpdir(), 'duckcoop-bench-'));
  const config = join(folder, 'duckcoop.yaml');
  writeFileSync(
    config,
    `extensions: { directory: ${JSON.stringify(extensionsFolder)} }
pools: { interactive: { size: 1, reserve: 0 } }
sources: { pg1: ${sourceOf('postgres', people)}, my1: ${sourceOf('mysql', sales)} }\n`,
  );
  const serve = [join(here, '../bin/duckcoop.js'), 'serve', '--config', config, '--port', '0'];
  const server = await start('duckcoop', serve, folder);
  const agent = new Agent({ keepAlive: true });
  const sources = ['pg1', 'my1'];
  try {
    const opened = await send(server.url, agent, 'POST', '/v1/sessions', { sources });
    const { session_id: session } = JSON.parse(opened.body);
    for (const [title, fields] of [
      ['a session', { session }],
      ['a pool, whose instance stays attached', { sources }],
    ]) {
      let right = 0;
      for (const type of TYPES) {
        await people.query(`ALTER TABLE t ALTER COLUMN id TYPE ${type}`);
        const { body } = await query(server.url, agent, join100(sales.database), fields);
        if (String(JSON.parse(body).data) === '100,5050,😀1') right += 1;
        else console.log(`  ${body}`);
      }
      console.log(`${title}: ${right} of ${TYPES.length} answers right`);
    }
  } finally {
    agent.destroy();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
