/** The egress process in its place in the tree: killed, restarted, configured anew, and gone with the server. */
import { mkdirSync, readdirSync, realpathSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import type { SupervisionNode } from '../../src/supervisors/supervisor-handle.ts';
import { download, ID } from '../egress/egress-harness.ts';
import { quickPool, startTestServer, type TestServer, until } from '../support/test-server.ts';
import { freePort } from '../support/throwaway.ts';

const POOLS = { interactive: quickPool(), exports: quickPool() };
const egressOf = (egress: Readonly<Record<string, unknown>>) => ({ exports: { egress } });

async function serve(config: Readonly<Record<string, unknown>>, pools = POOLS): Promise<TestServer> {
  const server = await startTestServer({ pools, config });
  onTestFinished(() => server.stop());
  return server;
}

/** An exported file, and the link to it. */
function exported(server: TestServer, content: string): string {
  const root = join(realpathSync(server.dataDir), 'exports');
  const folder = join(root, readdirSync(root)[0] as string, ID);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'a.csv'), content);
  return server.server.egress.sign(ID, 'a.csv', Date.now() + 60_000);
}

async function egressNode(server: TestServer): Promise<SupervisionNode> {
  const { children } = (await server.get('/v1/supervision')).body as SupervisionNode;
  return children.find(({ path }) => path === '/root/egress') as SupervisionNode;
}

const untilUp = (server: TestServer, starts: number) =>
  until('it is up', () => server.events('egress.started').length === starts);

it('a process that is killed comes back on its port, however often, and the links go on working', async () => {
  const server = await serve(egressOf({ port: 0 }));
  const { egress } = server.server;
  const link = exported(server, 'exported');
  const { url } = egress;
  for (let kills = 1; kills <= 3; kills += 1) {
    process.kill(egress.pid as number, 'SIGKILL');
    await until('it is down', () => egress.url === undefined);
    expect(exported(server, 'exported')).toContain(`${url}/${ID}/a.csv?`);
    await untilUp(server, kills + 1);
  }
  expect(egress.url).toBe(url);
  expect((await download(link)).body.toString()).toBe('exported');
  expect(await egressNode(server)).toMatchObject({
    intensity: null,
    restarts: 3,
    children: [{ path: '/root/egress/process', state: 'running', incarnation: 4, restart: 'permanent' }],
  });
  expect(server.events('egress.exited')).toHaveLength(3);
  expect(server.events('egress.exited')[0]).toMatchObject({ cause: 'crash', signal: 'SIGKILL' });
  expect(server.events('fault')).toEqual([]);
  expect((await server.query('SELECT 42')).status).toBe(200);
  await server.stop();
  expect(server.events('egress.exited').at(-1)).toMatchObject({ cause: 'shutdown', exit_code: 0 });
});

it('without a pool for exports there is no process; it comes and goes with that pool', async () => {
  const server = await serve({}, { interactive: quickPool() } as typeof POOLS);
  const config = egressOf({ port: 0 });
  expect(await egressNode(server)).toMatchObject({ state: 'running', children: [] });
  await server.rewrite({ pools: POOLS, config });
  expect((await server.reload()).status).toBe(200);
  await untilUp(server, 1);
  const link = exported(server, 'exported');
  expect((await download(link)).status).toBe(200);
  await server.rewrite({ pools: { interactive: quickPool() }, config: {} });
  expect((await server.reload()).status).toBe(200);
  expect(await egressNode(server)).toMatchObject({ children: [] });
  await expect(download(link)).rejects.toThrow('ECONNREFUSED');
});

it('another address is listened on at once, when it can be had; what the links begin with is said by url', async () => {
  const server = await serve(egressOf({ port: 0 }));
  const { egress } = server.server;
  const other = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void other.close());
  await until('it listens', () => other.listening);
  const { port: taken } = other.address() as { port: number };
  await server.rewrite({ config: egressOf({ port: taken }) });
  expect((await server.reload()).body.changes).toContainEqual({
    path: 'exports.egress.port',
    effect: 'in_place',
  });
  await until('it failed', () => server.events('egress.exited').length > 2);
  expect(server.events('egress.exited').at(-1)).toMatchObject({ cause: 'failed', exit_code: 1 });
  expect(server.events('egress.exited').at(-1)?.detail).toContain('EADDRINUSE');
  other.close();
  await untilUp(server, 2);
  expect(egress.url).toBe(`http://127.0.0.1:${taken}`);
  expect((await download(exported(server, 'a'))).status).toBe(200);

  const port = await freePort();
  await server.rewrite({ config: egressOf({ port, url: 'https://files.example.com/exports/' }) });
  await server.reload();
  await untilUp(server, 3);
  const link = exported(server, 'a');
  expect(link).toMatch(/^https:\/\/files\.example\.com\/exports\/x-/);
  const inside = link.replace('https://files.example.com/exports', `http://127.0.0.1:${port}`);
  expect((await download(inside)).status).toBe(200);
});

it('a server whose egress port is taken does not start, and says which it is', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void other.close());
  await until('it listens', () => other.listening);
  const { port } = other.address() as { port: number };
  await expect(startTestServer({ pools: POOLS, config: egressOf({ port }) })).rejects.toThrow(
    new RegExp(`the egress process cannot listen on 127.0.0.1:${port}.*EADDRINUSE`),
  );
});
