/** `duckcoop tree`, `workers`, `queries` and `cancel` against a real server, and against one that is none. */
import { existsSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { duckcoop, ROOT, type Running, startDuckcoop, startProgram } from '../support/cli.ts';
import { call, quickPool, startTestServer, type TestServer, until } from '../support/test-server.ts';
import { freePort } from '../support/throwaway.ts';

const ENDLESS = 'SELECT count(*) FROM range(100000000000) t(x) WHERE hash(x) = 1';

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ pools: { interactive: quickPool({ size: 2 }) } });
  await until('all workers are idle', () =>
    server.workers().every(({ status }) => status().state === 'idle'),
  );
});
afterAll(async () => {
  expect(server.events('fault')).toEqual([]);
  // Looks for leaks, the sockets of streams among them.
  await server.stop();
});

const run = (...args: string[]) => duckcoop([...args, '--url', server.url]);

/** What the command has printed so far. */
function outputOf({ process }: Running): { stdout: string; stderr: string } {
  const output = { stdout: '', stderr: '' };
  process.stdout?.on('data', (chunk: Buffer) => {
    output.stdout += chunk;
  });
  process.stderr?.on('data', (chunk: Buffer) => {
    output.stderr += chunk;
  });
  return output;
}

async function killWorker(): Promise<void> {
  const { pid, incarnation } = server.workers()[0]?.status() ?? {};
  process.kill(pid as number, 'SIGSEGV');
  await until('it is replaced', () =>
    server.workers().every(({ status }) => status().state === 'idle' && status().pid !== pid),
  );
  expect(incarnation).toBeGreaterThan(0);
}

describe('duckcoop tree', () => {
  it('draws the tree', async () => {
    const { code, stdout, stderr } = await run('tree');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const [header = '', , ...lines] = stdout.trimEnd().split('\n');
    expect(header).toMatch(/^child +│ state +│ incarnation │ restarts +│ backoff$/);
    const names = lines.map((line) => line.slice(0, header.indexOf('│')).trimEnd());
    expect(names).toEqual([
      'root',
      '├─ telemetry',
      '├─ pools',
      '│  └─ pool:interactive',
      '│     ├─ workers',
      '│     │  ├─ interactive-1',
      '│     │  └─ interactive-2',
      '│     └─ queue',
      '├─ sessions',
      '├─ query-router',
      '├─ egress',
      '└─ http',
    ]);
  });

  it('gives machines the JSON', async () => {
    const { stdout } = await run('tree', '--format', 'json');
    expect(JSON.parse(stdout)).toMatchObject({ path: '/root', state: 'running' });
  });

  it('prints a line for each event where there is no terminal, until Ctrl-C', async () => {
    const running = startDuckcoop(['tree', '--watch', '--url', server.url]);
    const output = outputOf(running);
    await until('it is connected', () => output.stderr === 'connected\n');
    await killWorker();
    await until('it is told', () => output.stdout.includes(' worker.ready '));
    running.process.kill('SIGINT');
    const { code, stdout } = await running.ended;
    expect(code).toBe(0);
    const types = stdout.split('\n').map((line) => line.split(' ')[1]);
    const ofTheWorker = types.slice(0, -1).filter((type) => !/^(pool|crash|query)\./.test(type ?? ''));
    expect(ofTheWorker).toEqual([
      'worker.exited',
      'supervisor.child_exited',
      'supervisor.intensity',
      'supervisor.restart_scheduled',
      'supervisor.child_started',
      'worker.ready',
    ]);
    expect(stdout).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z worker\.exited .*signal=SIGSEGV/m);
  });

  it('prints events as JSON lines, and ends when nobody reads them', async () => {
    const running = startDuckcoop(['tree', '--watch', '--format', 'json', '--url', server.url]);
    const output = outputOf(running);
    await until('it is connected', () => output.stderr === 'connected\n');
    await killWorker();
    await until('it is told', () => output.stdout.includes('"worker.ready"'));
    const told = output.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(told).toContainEqual(expect.objectContaining({ type: 'worker.exited', cause: 'crash' }));
    running.process.stdout?.destroy();
    await killWorker();
    expect((await running.ended).code).toBe(0);
  });

  it.skipIf(!existsSync('/usr/bin/script'))('draws on a terminal, and gives it back at Ctrl-C', async () => {
    // `exec`: not every shell makes way for its last command, and one that stays would end of the Ctrl-C itself.
    const command = `exec ${process.execPath} ${ROOT}bin/duckcoop.js tree --watch --url ${server.url}`;
    const running = startProgram('/usr/bin/script', ['-qfec', command, '/dev/null'], { keepInput: true });
    const output = outputOf(running);
    await until('it is drawn', () => output.stdout.includes('query-router'));
    await killWorker();
    await until('it is drawn again', () => output.stdout.includes('worker.ready'));
    running.process.stdin?.write('\x03');
    const { code, stdout } = await running.ended;
    expect(code).toBe(0);
    expect(stdout).toContain('\x1b[?1049h');
    expect(stdout.lastIndexOf('\x1b[?1049l')).toBeGreaterThan(stdout.lastIndexOf('worker.ready'));
  });
});

describe('duckcoop workers', () => {
  it('lists them', async () => {
    const { code, stdout } = await run('workers');
    expect(code).toBe(0);
    const [header, , ...rows] = stdout.trimEnd().split('\n');
    expect(header?.split('│').map((name) => name.trim())).toEqual([
      ...['worker', 'pool', 'state', 'pid', 'incarnation', 'query', 'memory', 'uptime', 'queries'],
    ]);
    expect(
      rows.map((row) =>
        row
          .split('│')
          .slice(0, 3)
          .map((cell) => cell.trim()),
      ),
    ).toEqual([
      ['interactive-1', 'interactive', 'idle'],
      ['interactive-2', 'interactive', 'idle'],
    ]);
    const { stdout: json } = await run('workers', '--format', 'json');
    expect(JSON.parse(json)).toEqual({ workers: [expect.anything(), expect.anything()] });
  });
});

describe('duckcoop sessions', () => {
  it('opens one, lists it, and ends it', async () => {
    const opened = await run(
      ...[
        'sessions',
        'new',
        '--name',
        'mine',
        '--ttl',
        '1h',
        '--idle-timeout',
        '10m',
        '--memory-limit',
        '200MB',
      ],
    );
    expect(opened).toMatchObject({ code: 0, stderr: '' });
    const id = opened.stdout.trim();
    expect(id).toMatch(/^s-\w+$/);
    const query = await run(
      'query',
      '--session',
      id,
      '--format',
      'csv',
      'CREATE TABLE t AS SELECT 7 AS x; FROM t',
    );
    expect(query).toMatchObject({ code: 0, stdout: 'x\n7\n' });
    const [header, , row] = (await run('sessions')).stdout.trimEnd().split('\n');
    const cells = (line = '') => line.split('│').map((cell) => cell.trim());
    expect(cells(header)).toEqual([
      ...['session', 'name', 'owner', 'state', 'sources', 'disk', 'idle in', 'expires in', 'lost'],
    ]);
    expect(cells(row).slice(0, 5)).toEqual([id, 'mine', 'anonymous', 'ready', '']);
    expect(cells(row).slice(6, 8)).toEqual([
      expect.stringMatching(/^9 min/),
      expect.stringMatching(/^59 min/),
    ]);
    expect(await run('sessions', 'end', id)).toMatchObject({ code: 0, stdout: 'ended\n', stderr: '' });
    expect(JSON.parse((await run('sessions', '--format', 'json')).stdout)).toEqual({ sessions: [] });
    const again = await run('sessions', 'end', id);
    expect(again).toMatchObject({ code: 1, stdout: '' });
    expect(again.stderr).toMatch(/^error SESSION_EXPIRED: /);
  });

  it('takes no time that is none', async () => {
    const { code, stderr } = await run('sessions', 'new', '--ttl', 'long');
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: 'error: --ttl: expected a time such as 30s, 15m or 8h, got long\n',
    });
  });
});

describe('duckcoop queries', () => {
  it('lists them, filtered as asked, and says when there are more', async () => {
    expect((await server.query('SELECT 1', { query_id: 'good' })).status).toBe(200);
    expect((await server.query('SELEC 1', { query_id: 'bad' })).status).toBe(400);
    const failed = await run('queries', '--state', 'failed', '--pool', 'interactive');
    expect(failed.stdout).toMatch(/^bad +│ failed │ SQL_ERROR +│ interactive │ anonymous +│/m);
    expect(failed.stdout).not.toMatch(/^good/m);
    await call(server.url, 'POST', '/v1/queries', { sql: 'SELECT 1', query_id: 'kept' });
    await until(
      'its result is kept',
      async () => (await server.get('/v1/queries/kept')).body.result !== null,
    );
    expect((await run('queries', '--state', 'succeeded')).stdout).toMatch(
      /^kept .* │ \d+ kB │ interactive-\d *$/m,
    );
    const one = await run('queries', '--limit', '1', '--format', 'json');
    expect(JSON.parse(one.stdout).queries).toHaveLength(1);
    expect(one.stderr).toContain('there are more');
    expect((await run('queries', '--state', 'done')).code).toBe(2);
    expect(await run('queries', '--limit', '0')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('limit'),
    });
  });
});

describe('duckcoop cancel', () => {
  it('says honestly what became of the query', async () => {
    const endless = server.query(ENDLESS, { query_id: 'endless' });
    await until('it runs', async () => (await server.get('/v1/queries/endless')).body.state === 'running');
    const cancelled = await run('cancel', 'endless');
    expect(cancelled).toMatchObject({ code: 0, stdout: expect.stringMatching(/^(cancelled|killed: .*)\n$/) });
    expect((await endless).body.code).toBe('QUERY_CANCELLED');
    expect(await run('cancel', 'endless')).toMatchObject({ code: 0, stdout: 'already finished\n' });
    expect((await run('cancel', 'endless', '--format', 'json')).stdout).toBe(
      '{"outcome":"already_finished"}\n',
    );
    const unknown = await run('cancel', '../workers');
    expect(unknown).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('NOT_FOUND') });
  });
});

describe('a server that is none', () => {
  it.each([[['workers']], [['tree', '--watch']]])(
    'and cannot be reached is exit code 3 of %j',
    async (args) => {
      const url = `http://127.0.0.1:${await freePort()}`;
      expect((await duckcoop([...args, '--url', url])).code).toBe(3);
    },
  );

  it.each([
    ['{"path":"/root","state":"running","backoff":null,"children":[{}]}', ['tree']],
    ['{}', ['tree', '--watch']],
    ['{}', ['queries']],
    ['{}', ['cancel', 'q']],
    ['null', ['workers']],
    ['<html>', ['workers']],
  ])('and answers %s is exit code 1 of %j, and no stack trace', async (body, args) => {
    const url = await serve((response) => response.end(body));
    const { code, stdout, stderr } = await duckcoop([...args, '--url', url]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^error: .* did not answer as Duckcoop does\n$/);
  });

  it('never steers the terminal', async () => {
    const evil = 'a\u001b[2J\u009b2J\u202e';
    const worker = { id: evil, pool: { x: evil }, state: [evil], pid: evil };
    const url = await serve((response) => response.end(JSON.stringify({ workers: [worker] })));
    for (const format of ['table', 'json']) {
      const { code, stdout } = await duckcoop(['workers', '--format', format, '--url', url]);
      expect(code).toBe(0);
      for (const character of ['\u001b', '\u009b', '\u202e']) expect(stdout).not.toContain(character);
    }
  });
});

it('tree --watch comes back with the last id it has seen, and waits as long as the server says', async () => {
  const ids: unknown[] = [];
  const url = await serve((response, lastEventId) => {
    ids.push(lastEventId);
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    const n = ids.length;
    response.write(`retry: 100\n\nid: run-${n}\nevent: pool.up\ndata: {"at":0,"n":${n}}\n\n`);
    // Cut, then ended in order; the third lasts.
    if (n === 1) setTimeout(() => response.destroy(), 50);
    if (n === 2) response.end('id: lost\nevent: half');
  });
  const running = startDuckcoop(['tree', '--watch', '--url', url]);
  const output = outputOf(running);
  await until('it came back twice', () => output.stdout.includes('n=3'));
  running.process.kill('SIGTERM');
  expect(await running.ended).toMatchObject({
    code: 0,
    stdout: [1, 2, 3].map((n) => `1970-01-01T00:00:00.000Z pool.up n=${n}\n`).join(''),
  });
  expect(ids).toEqual([undefined, 'run-1', 'run-2']);
  expect(output.stderr.match(/connection lost \(.*\); next attempt in 0\.1 s/g)).toHaveLength(2);
});

async function serve(answer: (response: ServerResponse, lastEventId: unknown) => void): Promise<string> {
  const fake = createServer((request, response) => answer(response, request.headers['last-event-id']));
  await new Promise<void>((resolve) => fake.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    fake.closeAllConnections();
    await new Promise((resolve) => fake.close(resolve));
  });
  return `http://127.0.0.1:${(fake.address() as AddressInfo).port}`;
}
