/** `duckcoop chaos` against real servers: one that keeps its promises, one that does not, and one that allows none of it. */
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import type { Report } from '../../src/cli/chaos/report.ts';
import { duckcoop, startDuckcoop } from '../support/cli.ts';
import { quickPool, testServer, until } from '../support/test-server.ts';

const pools = { interactive: quickPool({ size: 2, reserve: 1 }) };

it('a storm of faults breaks no promise and leaves nothing, and the report says what there was', async () => {
  const server = await testServer({ pools, config: { retry: { max: 1 } } });
  const before = await server.footprint();
  const { code, stdout, stderr } = await duckcoop([
    ...['chaos', '--url', server.url, '--faults', 'sigsegv,sigkill,exit,hang,channel-garbage'],
    ...['--rate', '5', '--duration', '4s', '--concurrency', '8', '--format', 'json'],
  ]);
  const report = JSON.parse(stdout) as Report;
  expect({ code, violations: report.violations, leaks: report.leaks }, stderr).toEqual({
    ...{ code: 0, violations: [], leaks: [] },
  });
  const deaths = Object.values(report.deaths).reduce((sum, count) => sum + count, 0);
  expect(deaths).toBeGreaterThan(0);
  expect(deaths).toBe(server.events('worker.exited').length);
  expect(report.recovery_ms).toMatchObject({ recovered: deaths, open: 0 });
  expect(report.outcomes.succeeded).toBeGreaterThan(0);
  expect(report).toMatchObject({ processes_checked: true, interrupted: false, lost_events: 0 });
  expect(server.events('fault')).toEqual([]);
  await server.expectNothingLeaked(before);
});

it('replies that break the contract are found, told and fail the command', async () => {
  const server = await testServer({ pools });
  const { url } = await lyingProxy(server.url);
  const { code, stdout, stderr } = await duckcoop([
    ...['chaos', '--url', url, '--rate', '0.01', '--duration', '2s', '--concurrency', '4'],
  ]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/error: the contract was broken \d+ times; 0 leaks/);
  for (const what of [/violation: row 0 is/, /violation: .*the body is empty/, /violation: no whole reply/]) {
    expect(stdout).toMatch(what);
  }
  expect(stdout).toMatch(/\n {2}request: .*"sql":/);
});

it('Ctrl-C ends it early, with the report', async () => {
  const server = await testServer({ pools });
  const { process: child, ended } = startDuckcoop([
    ...['chaos', '--url', server.url, '--faults', 'sigkill', '--rate', '1', '--duration', '10m'],
    ...['--concurrency', '2', '--format', 'json'],
  ]);
  await until('there is load', async () => {
    const { queries } = (await server.get('/v1/queries?state=succeeded')).body;
    return queries.length > 0;
  });
  child.kill('SIGINT');
  const { code, stdout } = await ended;
  expect(JSON.parse(stdout)).toMatchObject({ interrupted: true, violation_count: 0, leaks: [] });
  expect(code).toBe(0);
});

it('without chaos.enabled it does nothing, and says so', async () => {
  const server = await testServer({ config: { chaos: { enabled: false } } });
  const { code, stdout, stderr } = await duckcoop(['chaos', '--url', server.url]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(/does not allow chaos: .*chaos\.enabled: true/);
  expect((await server.get('/v1/queries')).body.queries).toEqual([]);
});

it.each([
  [['--faults', 'sigsegv,earthquake'], 2, /there is no fault "earthquake"/],
  [['--duration', 'long'], 2, /expected a duration/],
  [['--rate', '0'], 2, /Expected a number above 0/],
  [['--concurrency', '0'], 2, /expected a concurrency of 1 or more/],
  [['--url', 'http://127.0.0.1:1'], 3, /cannot reach/],
])('wrong usage is told: %s', async (args, exitCode, message) => {
  const { code, stderr } = await duckcoop(['chaos', ...args]);
  expect(code).toBe(exitCode);
  expect(stderr).toMatch(message);
});

/** Passes everything on, but every few results: those it cuts, empties or alters. */
async function lyingProxy(target: string): Promise<{ readonly url: string }> {
  let results = 0;
  const proxy = createServer((asked, answer) => {
    const { method, headers, url } = asked;
    const passedOn = request(new URL(url ?? '/', target), { method, headers, agent: false }, (reply) => {
      const isResult = url === '/v1/query' && reply.statusCode === 200;
      if (isResult) results += 1;
      if (!isResult || results % 4 === 0) {
        answer.writeHead(reply.statusCode ?? 0, reply.headers);
        reply.pipe(answer);
        return;
      }
      const chunks: Buffer[] = [];
      reply.on('data', (chunk: Buffer) => chunks.push(chunk));
      reply.on('end', () => {
        const lie = results % 4;
        const { 'content-length': _, ...rest } = reply.headers;
        answer.writeHead(200, lie === 1 ? reply.headers : rest);
        if (lie === 1) answer.write(chunks[0]?.subarray(0, 20) ?? '', () => answer.destroy());
        else if (lie === 2) answer.end();
        else answer.end(Buffer.concat(chunks).toString().replace('"data":[[', '"data":[[null,'));
      });
    });
    passedOn.on('error', () => answer.destroy());
    answer.on('close', () => passedOn.destroy());
    asked.pipe(passedOn);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
  });
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` };
}
