/** Who ran what: the audit log of a real server. */
import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { fingerprint } from '../../src/crashes/fingerprint.ts';
import { bearer, keyHash } from '../support/principals.ts';
import { makeFolder } from '../support/temp.ts';
import {
  call,
  type Reply,
  type Settings,
  startTestServer,
  type TestServer,
  until,
} from '../support/test-server.ts';

const KEYS = { alice: 'the-key-of-alice', ops: 'the-key-of-ops' } as const;
const SECRET = 'a literal of somebody';

let server: TestServer;
let folder: { readonly path: string; remove(): Promise<void> };

const config = (audit: string | boolean, audit_sql = false) => ({
  auth: {
    mode: 'api_keys',
    principals: {
      alice: { key_hash: keyHash(KEYS.alice), role: 'reader' },
      ops: { key_hash: keyHash(KEYS.ops), role: 'operator' },
    },
  },
  telemetry: { audit, audit_sql },
});

beforeAll(async () => {
  folder = await makeFolder();
  server = await startTestServer({ config: config(true) });
  await until('a worker is idle', () => server.workers().some(({ status }) => status().state === 'idle'));
});

afterAll(async () => {
  await server.stop();
  await folder.remove();
});

const as = (who: keyof typeof KEYS, method: string, path: string, body?: Settings): Promise<Reply> =>
  call(server.url, method, path, body, undefined, bearer(KEYS[who]));
const run = (sql: string, fields: Settings = {}) => as('alice', 'POST', '/v1/query', { sql, ...fields });
const fileOf = () => join(server.dataDir, 'audit.jsonl');

async function linesOf(path = fileOf()): Promise<Record<string, unknown>[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function line(what: Settings, path?: string): Promise<Record<string, unknown>> {
  const found = async () =>
    (await linesOf(path)).find((one) => Object.entries(what).every(([key, value]) => one[key] === value));
  await until(
    `there is a line of ${JSON.stringify(what)}`,
    async () => (await found()) !== undefined,
    10_000,
  );
  return (await found()) as Record<string, unknown>;
}

it('each query is a line: who, from where, what, and what became of it', async () => {
  const sql = `SELECT '${SECRET}' AS x, 7`;
  expect((await run(sql, { query_id: 'good' })).status).toBe(200);
  expect(await line({ query_id: 'good' })).toEqual({
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    event: 'query',
    query_id: 'good',
    principal: 'alice',
    role: 'reader',
    client: '127.0.0.1',
    session_id: null,
    fingerprint: fingerprint(sql, []),
    sources: [],
    pool: 'interactive',
    outcome: 'succeeded',
    code: null,
    ms: expect.any(Number),
    queue_ms: expect.any(Number),
    run_ms: expect.any(Number),
    rows: 1,
    bytes: expect.any(Number),
    attempts: 1,
  });
  await run(`SELECT nothing('${SECRET}')`, { query_id: 'bad' });
  expect(await line({ query_id: 'bad' })).toMatchObject({ outcome: 'failed', code: 'SQL_ERROR' });
  await run('SELECT 1', { query_id: 'denied', pool: 'nothing' });
  expect(await line({ query_id: 'denied' })).toMatchObject({ outcome: 'refused', code: 'INVALID_REQUEST' });
});

it('what a session, an operator and a stranger did is told as well, and neither a key nor a literal is', async () => {
  const { body } = await as('alice', 'POST', '/v1/sessions', {});
  await run('SELECT 1', { query_id: 'inside', session: body.session_id });
  expect(await line({ query_id: 'inside' })).toMatchObject({
    session_id: body.session_id,
    principal: 'alice',
  });
  await as('ops', 'DELETE', `/v1/sessions/${body.session_id}`);
  expect(await line({ event: 'request', method: 'DELETE' })).toMatchObject({
    principal: 'ops',
    role: 'operator',
    route: '/v1/sessions/{id}',
    target: { id: body.session_id },
    status: 200,
  });
  expect(await line({ event: 'session.ended' })).toMatchObject({ principal: 'alice', why: 'deleted' });
  await as('alice', 'GET', '/v1/workers');
  expect(await line({ route: '/v1/workers' })).toMatchObject({ principal: 'alice', code: 'FORBIDDEN' });
  for (let n = 0; n < 50; n += 1) await call(server.url, 'GET', '/v1/queries');
  expect(await line({ code: 'UNAUTHENTICATED' })).toMatchObject({ principal: null, client: '127.0.0.1' });
  const text = await readFile(fileOf(), 'utf8');
  for (const never of [SECRET, ...Object.values(KEYS)]) expect(text).not.toContain(never);
  const strangers = (await linesOf()).filter(({ code }) => code === 'UNAUTHENTICATED');
  expect(strangers.length).toBeLessThan(50);
});

it('a reload opens the file anew, moves it, turns it off, and adds the SQL where the operator wants it', async () => {
  await rename(fileOf(), `${fileOf()}.1`);
  await as('ops', 'POST', '/v1/config/reload');
  await run('SELECT 1', { query_id: 'rotated' });
  await line({ query_id: 'rotated' });
  expect((await linesOf(`${fileOf()}.1`)).some(({ query_id }) => query_id === 'rotated')).toBe(false);

  const other = join(folder.path, 'other.jsonl');
  await server.rewrite({ config: config(other, true) });
  await as('ops', 'POST', '/v1/config/reload');
  await run(`SELECT '${SECRET}'`, { query_id: 'told' });
  expect(await line({ query_id: 'told' }, other)).toMatchObject({ sql: `SELECT '${SECRET}'` });

  await server.rewrite({ config: config(false) });
  await as('ops', 'POST', '/v1/config/reload');
  await run('SELECT 1', { query_id: 'untold' });
  expect(await readFile(other, 'utf8')).not.toContain('untold');
});

it('a full disk stops no query, and is told once', async () => {
  await server.rewrite({ config: config('/dev/full') });
  await as('ops', 'POST', '/v1/config/reload');
  const faults = () => server.events('fault').filter(({ where }) => where === 'audit log');
  for (let n = 0; n < 20; n += 1) expect((await run('SELECT 1')).status).toBe(200);
  await until('it is told', () => faults().length > 0);
  for (let n = 0; n < 20; n += 1) expect((await run('SELECT 1')).status).toBe(200);
  expect(faults()).toHaveLength(1);
  expect(JSON.stringify(faults())).toContain('ENOSPC');
});
