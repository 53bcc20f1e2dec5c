// Neighbours: one client sends a statement that crashes its worker, in a loop; another sends SELECT 1. How the second one fares
// before the statement is in quarantine, after it, and where there is no quarantine at all.
//
//   npm run bench:neighbours            (after npm test or npm start, which build)
//   SECONDS=20 npm run bench:neighbours
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { quantile, query, start } from './lib/server.js';

const SECONDS = Number(process.env.SECONDS ?? 10);
const CRASHING = "SELECT json_structure(repeat('[', 500000) || repeat(']', 500000))";
const here = dirname(fileURLToPath(import.meta.url));

await scene('quarantine after 5 crashes', 'quarantine: { crashes: 5 }');
await scene('no quarantine', 'quarantine: { crashes: 1000000 }');

async function scene(label, settings) {
  const folder = mkdtempSync(join(tmpdir(), 'duckcoop-bench-'));
  const config = join(folder, 'duckcoop.yaml');
  // The default policy: five restarts within ten seconds, one worker in reserve.
  writeFileSync(config, `pools: { interactive: { size: 2, threads: 1 } }\nretry: { max: 0 }\n${settings}\n`);
  const serve = [join(here, '../bin/duckcoop.js'), 'serve', '--config', config, '--port', '0'];
  const server = await start('duckcoop', serve, folder);
  const agent = new Agent({ keepAlive: true });
  try {
    await sleep(1_000);
    console.log(`${label}, ${SECONDS} s`);
    let goesOn = true;
    const crashes = new Map();
    let quarantinedAt = Number.POSITIVE_INFINITY;
    const bad = (async () => {
      while (goesOn) {
        const { body } = await query(server.url, agent, CRASHING);
        const { code } = JSON.parse(body);
        crashes.set(code, (crashes.get(code) ?? 0) + 1);
        if (code === 'QUERY_QUARANTINED') {
          quarantinedAt = Math.min(quarantinedAt, performance.now());
          await sleep(5);
        }
      }
    })();
    const replies = [];
    const good = (async () => {
      while (goesOn) {
        const at = performance.now();
        const { status } = await query(server.url, agent, 'SELECT 1');
        replies.push({ at, ms: performance.now() - at, ok: status === 200 });
      }
    })();
    await sleep(SECONDS * 1_000);
    goesOn = false;
    await Promise.all([bad, good]);
    console.log(`  the crashing client: ${JSON.stringify(Object.fromEntries(crashes))}`);
    print(
      'the other, before',
      replies.filter(({ at }) => at < quarantinedAt),
    );
    print(
      'the other, after',
      replies.filter(({ at }) => at >= quarantinedAt),
    );
  } finally {
    agent.destroy();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function print(label, replies) {
  if (replies.length === 0) return;
  const ok = replies.filter((reply) => reply.ok).length;
  const ms = replies.map((reply) => reply.ms);
  const rate = ((100 * ok) / replies.length).toFixed(2);
  const [p50, p99] = [0.5, 0.99].map((q) => quantile(ms, q).toFixed(1));
  console.log(`  ${label}: ${replies.length} queries, ${rate} % succeeded, p50 ${p50} ms, p99 ${p99} ms`);
}
