/** The warm spare of sessions: taken once, replaced, restarted like any worker, and never in anybody's way. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { call, quickPool, startTestServer, type TestServer, until } from '../support/test-server.ts';

const GB = 1_000_000_000;
/** Of a session of 256 MB. */
const HARD = 704_000_000;
const POOLS = { interactive: quickPool({ memory_hard_limit: '1GB' }) };
const config = (sessions: object, memory = '64GB') => ({
  pools: POOLS,
  config: { budget: { memory }, sessions: { spare: 1, memory_limit: '256MB', ...sessions } },
});

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer(config({}));
});
afterAll(() => server.stop());

interface Worker {
  readonly id: string;
  readonly pid: number;
  readonly state: string;
  readonly session_id: string | null;
  readonly incarnation: number;
}

const workers = async (): Promise<Worker[]> =>
  (await server.get('/v1/workers')).body.workers.filter(({ pool }: { pool: string }) => pool === 'sessions');
const spares = async () => (await workers()).filter(({ state }) => state === 'spare');
const open = (fields: object = {}) => call(server.url, 'POST', '/v1/sessions', { ...fields });
const close = (id: string) => call(server.url, 'DELETE', `/v1/sessions/${id}`);
const folders = () => readdirSync(join(server.dataDir, 'sessions'), { recursive: true });

async function warm(): Promise<Worker> {
  await until('there is a spare', async () => (await spares()).length === 1);
  return (await spares())[0] as Worker;
}

test('a session takes the spare, which is ready, and another one comes in its place', async () => {
  const spare = await warm();
  expect(spare.session_id).toBeNull();
  const { children } = (await server.get('/v1/supervision')).body;
  const sessions = children.find(({ path }: { path: string }) => path === '/root/sessions');
  expect(sessions.children).toMatchObject([{ note: 'spare', state: 'running' }]);
  expect((await server.get('/v1/sessions')).body).toEqual({ sessions: [] });

  const { body } = await open();
  expect(body.state).toBe('ready');
  const [own] = (await workers()).filter(({ session_id }) => session_id === body.session_id);
  expect(own).toMatchObject({ pid: spare.pid, id: spare.id, state: 'idle' });
  const sql = 'CREATE TABLE t AS SELECT 1 AS x; SELECT x FROM t';
  expect((await server.query(sql, { session: body.session_id })).body.data).toEqual([[1]]);

  const next = await warm();
  expect(next.pid).not.toBe(spare.pid);
  const other = (await open()).body.session_id;
  expect((await server.query('FROM t', { session: other })).body.code).toBe('SQL_ERROR');
  await Promise.all([close(body.session_id), close(other)]);
  await until('only the spare is left', async () =>
    (await workers()).every(({ state }) => state === 'spare'),
  );
  expect(folders().filter((name) => String(name).includes(body.session_id))).toEqual([]);
});

test('sessions opened at once each have a worker of their own', async () => {
  await warm();
  const replies = await Promise.all([open(), open(), open({ threads: 1 })]);
  const ids = replies.map(({ body }) => body.session_id);
  expect(new Set(ids).size).toBe(3);
  const pids = await Promise.all(
    ids.map(async (session) => (await server.query('SELECT 1', { session })).body.stats.worker),
  );
  expect(new Set(pids).size).toBe(3);
  await Promise.all(ids.map(close));
});

test('a spare that dies is restarted as any worker is, and then as good as new', async () => {
  const { id, pid } = await warm();
  process.kill(pid, 'SIGSEGV');
  await until('it is back', async () =>
    (await spares()).some((spare) => spare.id === id && spare.incarnation === 2),
  );
  const { body } = await open();
  expect((await workers()).find(({ session_id }) => session_id === body.session_id)?.id).toBe(id);
  expect((await server.query('SELECT 1', { session: body.session_id })).body.data).toEqual([[1]]);
  expect((await server.get(`/v1/sessions/${body.session_id}`)).body.lost).toEqual([]);
  await close(body.session_id);
});

test('a spare counts towards the budget, and makes way for a session that needs its room', async () => {
  await server.rewrite(config({}, String(GB + HARD)));
  expect((await server.reload()).status).toBe(200);
  const spare = await warm();
  const { body } = await open({ threads: 1 });
  expect(body.session_id).toBeDefined();
  expect((await server.query('SELECT 1', { session: body.session_id })).body.data).toEqual([[1]]);
  expect((await workers()).map(({ pid }) => pid)).not.toContain(spare.pid);
  const refused = await open();
  expect(refused.body).toMatchObject({ code: 'OVERLOADED', limit: GB + HARD, used: GB + HARD });
  expect(refused.body.detail).toMatch(
    /256MB may take 704MB .* 0B are left of budget\.memory, 1704MB: .* 1GB, .* 704MB\./,
  );
  await close(body.session_id);
  await warm();
});

test('a reload that gives sessions something else replaces the spare', async () => {
  const { id } = await warm();
  await server.rewrite(config({ memory_limit: '200MB' }));
  await server.reload();
  await until('another one is there', async () => (await spares()).some((spare) => spare.id !== id));
  await server.rewrite(config({ spare: 0 }));
  await server.reload();
  await until('there is none', async () => (await workers()).length === 0);
  await until('its files are gone', () => !folders().some((name) => String(name).includes('s-')));
});
