/** How the server ends, whoever ends it: in order, or all at once without leaving anything behind. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ROOT } from '../support/cli.ts';
import { temporaryFolder } from '../support/temp.ts';
import { eventually } from './poll.ts';
import { childrenOf, isRunning } from './processes.ts';
import { ENDLESS, Served, serve, writeConfiguration } from './server.ts';

/** A second or two of work for one thread. */
const LONG = 'SELECT count(*) AS found FROM range(150000000) t(x) WHERE hash(x) % 7 = 3';

const ONE_WORKER = `
server: { drain_timeout: 60s }
pools: { interactive: { size: 1, threads: 1 } }
`;

/** What a new client is told: that the server is going, in so many words or by a closed door. */
async function newQuery(served: Served): Promise<string> {
  try {
    const reply = await served.query('SELECT 1');
    return String(reply.json().code ?? reply.status);
  } catch (error) {
    return ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code ?? String(error);
  }
}

describe.each([
  { how: 'SIGTERM', end: (served: Served) => served.signal('SIGTERM') },
  { how: 'Ctrl-C, to its whole process group,', end: (served: Served) => served.signalGroup('SIGINT') },
])('$how', ({ how, end }) => {
  it('lets running and waiting queries finish, takes no new ones, and ends with 0', async () => {
    const served = await serve(ONE_WORKER);
    const running = served.query(LONG, { query_id: 'running' });
    await served.busyWorker('running');
    const waiting = served.query('SELECT 42 AS answer', { query_id: 'waiting' });
    await eventually(async () => (await served.get('/v1/queries/waiting')).json().state === 'queued', {
      what: 'the second query waits',
    });

    end(served);
    await eventually(() => served.log('stopping').length > 0, { what: 'it has heard the signal' });
    expect(served.log('query.ended')).toEqual([]);
    expect(await newQuery(served)).toMatch(/^(SHUTTING_DOWN|ECONNREFUSED|ECONNRESET|UND_ERR_SOCKET)$/);

    expect((await running).status).toBe(200);
    expect((await waiting).json()).toMatchObject({ data: [[42]] });
    const { stdout } = await served.stop();
    expect(stdout.trimEnd().split('\n').at(-1)).toContain('"event":"stopped"');
    const [worker] = served.log('worker.exited');
    expect(worker).toMatchObject({ cause: 'shutdown', exit_code: 0 });
    expect(served.log('stopping')[0]?.signal).toBe(how === 'SIGTERM' ? 'SIGTERM' : 'SIGINT');
  });
});

it('drains on Ctrl-C at npm start too, where the signal comes twice: from the terminal and from npm', async () => {
  const npm = spawn('npm', ['--silent', 'start', '--', '--port', '0'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  onTestFinished(() => {
    if (npm.exitCode === null && npm.signalCode === null) process.kill(-(npm.pid as number), 'SIGKILL');
  });
  let log = '';
  npm.stdout.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const closed = once(npm, 'close');
  const url = await eventually(() => /"url":"([^"]+)"/.exec(log)?.[1], {
    what: 'it listens',
    timeoutMs: 30_000,
  });
  const [server = 0] = childrenOf(npm.pid as number);
  const workers = childrenOf(server);
  // Three of the pool, and perhaps the spare of sessions by now.
  expect(workers.length).toBeGreaterThanOrEqual(3);
  const running = fetch(`${url}/v1/query`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/sql' },
    body: LONG,
  });
  await eventually(() => log.includes('"event":"query.started"'), { what: 'the query has begun' });
  process.kill(-(npm.pid as number), 'SIGINT');
  expect((await running).status).toBe(200);
  await closed;
  expect(log.match(/"event":"stopping"/g)).toHaveLength(1);
  expect(log).toContain('"event":"stopped"');
  expect([server, ...workers].filter(isRunning)).toEqual([]);
});

it('ends at once when it is told again, and leaves no worker', async () => {
  const options = await writeConfiguration(await temporaryFolder(), ONE_WORKER);
  const served = await Served.start(options);
  const lost = expect(served.query(ENDLESS)).rejects.toThrow('fetch failed');
  const { pid } = await served.busyWorker();
  await eventually(
    () => {
      if (isRunning(served.pid)) served.signal('SIGTERM');
      return !isRunning(served.pid);
    },
    { what: 'it has ended' },
  );
  await lost;
  expect(await served.ended).toMatchObject({ code: null, signal: 'SIGTERM' });
  await eventually(() => !isRunning(pid), { what: 'the worker is gone', timeoutMs: 2_000 });
  await (await Served.start(options)).stop();
  await served.assertNothingLeft();
});

it('turns a query away that outlives the drain timeout, and says so in the log', async () => {
  const served = await serve('server: { drain_timeout: 300ms }\npools: { interactive: { size: 1 } }');
  const reply = served.query(ENDLESS, { query_id: 'endless' });
  await served.busyWorker('endless');
  const start = performance.now();
  await served.stop();
  // Drain timeout, grace of the cancelled query, and the ends of worker and process.
  expect(performance.now() - start).toBeLessThan(4_000);
  expect(await reply).toMatchObject({ status: 503 });
  expect(served.log('query.ended')).toMatchObject([{ query_id: 'endless', outcome: 'SHUTTING_DOWN' }]);
});

it('leaves no worker when it is killed, busy ones included, and sweeps its folder at the next start', async () => {
  const options = await writeConfiguration(
    await temporaryFolder(),
    'pools: { interactive: { size: 2, threads: 1 } }',
  );
  const killed = await Served.start(options);
  await killed.idleWorkers(2);
  const lost = expect(killed.query(ENDLESS)).rejects.toThrow('fetch failed');
  await killed.busyWorker();
  const session = (await killed.post('/v1/sessions', {})).json().session_id as string;
  const table = await killed.query('CREATE TABLE t AS SELECT 1', { session });
  expect(table.status).toBe(200);
  const left = () =>
    ['run', 'sessions'].flatMap((folder) =>
      readdirSync(join(options.dataDir, folder)).filter((name) => name.startsWith(`${killed.pid}-`)),
    );
  const all = (await killed.workers()).map(({ pid }) => pid);

  killed.signal('SIGKILL');
  await lost;
  await eventually(() => all.every((pid) => !isRunning(pid)), {
    what: 'the workers are gone',
    timeoutMs: 2_000,
  });
  expect(await killed.ended).toMatchObject({ signal: 'SIGKILL' });
  expect(left()).toHaveLength(2);

  const next = await Served.start(options);
  expect(left()).toEqual([]);
  expect((await next.query('SELECT 1')).status).toBe(200);
  await killed.assertNothingLeft();
  await next.assertQuiet(2);
  await next.stop();
  for (const folder of ['run', 'sessions']) expect(readdirSync(join(options.dataDir, folder))).toEqual([]);
});
