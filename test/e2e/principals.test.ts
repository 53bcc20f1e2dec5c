/** Two readers, a writer and an operator on one server: what each may do, and what none learns of the others. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ENDLESS } from '../chaos/deaths.ts';
import { duckcoop } from '../support/cli.ts';
import { bearer, keyHash } from '../support/principals.ts';
import { makeFolder, temporaryFolder } from '../support/temp.ts';
import {
  call,
  quickPool,
  type Reply,
  type Settings,
  startTestServer,
  type TestServer,
  until,
} from '../support/test-server.ts';

const KEYS = { alice: 'key-of-alice', bob: 'key-of-bob', carol: 'key-of-carol', ops: 'key-of-ops' } as const;
type Name = keyof typeof KEYS;

interface Client {
  get(path: string): Promise<Reply>;
  query(sql: string, fields?: Settings): Promise<Reply>;
  cancel(queryId: string): Promise<Reply>;
  check(alias: string): Promise<Reply>;
  post(path: string): Promise<Reply>;
}

const principal = (name: Name, given: Settings = {}) => ({ key_hash: keyHash(KEYS[name]), ...given });

const CONFIG = {
  sql: { write: true },
  auth: {
    mode: 'api_keys',
    principals: {
      alice: principal('alice', { sources: ['ours'], pools: ['batch'] }),
      bob: principal('bob', { sources: ['theirs'] }),
      carol: principal('carol', { role: 'writer' }),
      ops: principal('ops', { role: 'operator' }),
    },
  },
};

const replies: string[] = [];
const clients = {} as Record<Name, Client>;
let server: TestServer;
let folder: { readonly path: string; remove(): Promise<void> };

function client(name: Name): Client {
  const request = async (method: string, path: string, body?: Settings) => {
    const reply = await call(server.url, method, path, body, undefined, bearer(KEYS[name]));
    replies.push(JSON.stringify([reply.headers, reply.body]));
    return reply;
  };
  return {
    get: (path) => request('GET', path),
    query: (sql, fields) => request('POST', '/v1/query', { sql, ...fields }),
    cancel: (queryId) => request('DELETE', `/v1/queries/${queryId}`),
    check: (alias) => request('POST', `/v1/sources/${alias}/check`),
    post: (path) => request('POST', path),
  };
}

beforeAll(async () => {
  folder = await makeFolder();
  for (const alias of ['ours', 'theirs']) {
    await mkdir(join(folder.path, alias));
    await writeFile(join(folder.path, alias, 'rows.csv'), `owner\n${alias}\n`);
  }
  server = await startTestServer({
    pools: { interactive: quickPool(), batch: quickPool() },
    sources: {
      ours: { kind: 'files', path: join(folder.path, 'ours') },
      theirs: { kind: 'files', path: join(folder.path, 'theirs') },
    },
    config: CONFIG,
  });
  for (const name of Object.keys(KEYS) as Name[]) clients[name] = client(name);
  await until('all workers are idle', () =>
    server.workers().every(({ status }) => ['idle', 'reserve'].includes(status().state)),
  );
});

afterAll(async () => {
  // Checks for leaks.
  await server.stop();
  await folder.remove();
});

const ids = ({ body }: Reply) => body.queries.map(({ query_id }: { query_id: string }) => query_id);

it('each sees, reads and checks its own sources, and does not learn which others there are', async () => {
  const { alice, carol } = clients;
  expect((await alice.get('/v1/sources')).body.sources).toEqual([{ alias: 'ours', kind: 'files' }]);
  expect((await carol.get('/v1/sources')).body.sources).toHaveLength(2);
  const own = await alice.query('SELECT owner FROM ours.rows', { sources: ['ours'] });
  expect(own).toMatchObject({ status: 200, body: { data: [['ours']] } });
  expect((await alice.check('ours')).body).toMatchObject({ alias: 'ours', ok: true });

  for (const alias of ['theirs', 'nothing']) {
    const denied = { kind: 'source', name: alias };
    const expected = { status: 403, body: { code: 'FORBIDDEN', denied } };
    expect(await alice.query('SELECT 1', { sources: [alias] })).toMatchObject(expected);
    expect(await alice.check(alias)).toMatchObject(expected);
  }
  // Neither an unknown name, nor one that DuckDB does not know, tells of the other source.
  const unattached = await alice.query('SELECT * FROM theirs.rows');
  expect(unattached).toMatchObject({ status: 400, body: { code: 'SQL_ERROR' } });
  expect(unattached.body.detail).not.toContain('configured source');
  expect((await carol.query('SELECT * FROM theirs.rows')).body.detail).toContain('configured source');
  expect(await carol.query('SELECT 1', { sources: ['nothing'] })).toMatchObject({ status: 400 });
  expect(await carol.check('nothing')).toMatchObject({ status: 404 });
});

it('each runs in its own pools, the first of them where it names none', async () => {
  const { alice, carol } = clients;
  expect((await alice.query('SELECT 1')).body.stats.worker).toMatch(/^batch-/);
  expect((await carol.query('SELECT 1')).body.stats.worker).toMatch(/^interactive-/);
  for (const pool of ['interactive', 'nothing']) {
    const reply = await alice.query('SELECT 1', { pool });
    expect(reply).toMatchObject({ status: 403, body: { denied: { kind: 'pool', name: pool } } });
    expect(reply.body.detail).not.toMatch(/interactive.*batch|batch.*interactive/);
  }
});

it('only a writer and an operator may write', async () => {
  const sql = 'CREATE TABLE t (i INTEGER)';
  const { alice, carol, ops } = clients;
  expect(await alice.query(sql)).toMatchObject({
    status: 403,
    body: { code: 'FORBIDDEN', denied: { kind: 'statement', name: 'CREATE' } },
  });
  expect((await carol.query(sql)).status).toBe(200);
  expect((await ops.query(sql)).status).toBe(200);
});

it('a query is seen and cancelled by its owner and by operators, and is not there for anybody else', async () => {
  const { alice, bob, ops } = clients;
  const running = alice.query(ENDLESS, { query_id: 'of-alice' });
  await until('it runs', async () => (await alice.get('/v1/queries/of-alice')).body.state === 'running');

  const nothing = await bob.get('/v1/queries/of-nobody');
  const hidden = await bob.get('/v1/queries/of-alice');
  expect([hidden.status, nothing.status]).toEqual([404, 404]);
  expect(JSON.stringify(hidden.body).replaceAll('of-alice', 'of-nobody')).toBe(JSON.stringify(nothing.body));
  expect((await bob.cancel('of-alice')).status).toBe(404);
  expect(ids(await bob.get('/v1/queries?limit=1000'))).not.toContain('of-alice');
  expect(ids(await alice.get('/v1/queries?state=running'))).toEqual(['of-alice']);
  expect(ids(await ops.get('/v1/queries?state=running'))).toEqual(['of-alice']);

  const reused = await bob.query('SELECT 1', { query_id: 'of-alice' });
  expect(reused).toMatchObject({ status: 409, body: { code: 'QUERY_ID_REUSED' } });
  expect(JSON.stringify(reused.body)).not.toMatch(/batch|"alice"|running/);

  expect((await alice.get('/v1/queries/of-alice')).body).toMatchObject({
    state: 'running',
    principal: 'alice',
  });
  expect((await ops.cancel('of-alice')).body).toEqual({ outcome: 'cancelled' });
  expect(await running).toMatchObject({
    status: 409,
    body: { code: 'QUERY_CANCELLED', cancelled_by: 'ops' },
  });
});

it('pages of one lead to no query of another', async () => {
  const { alice, bob, ops } = clients;
  for (const who of [alice, bob, alice, bob]) await who.query('SELECT 1');
  const all = ids(await ops.get('/v1/queries?limit=1000'));
  const seen: string[] = [];
  for (let cursor = ''; ; ) {
    const page = await bob.get(`/v1/queries?limit=1${cursor}`);
    seen.push(...ids(page));
    if (page.body.next === null) break;
    cursor = `&cursor=${page.body.next}`;
    expect(all).toContain(Buffer.from(page.body.next, 'base64url').toString());
    expect(seen.at(-1)).toBe(Buffer.from(page.body.next, 'base64url').toString());
  }
  const owners = (await ops.get('/v1/queries?limit=1000')).body.queries;
  const ofBob = owners.filter(({ principal }: { principal: string }) => principal === 'bob');
  expect(seen).toEqual(ofBob.map(({ query_id }: { query_id: string }) => query_id));
});

it('the command line sends the key of a file or of the environment, and says what is wrong with it', async () => {
  const file = join(await temporaryFolder(), 'key');
  const query = (args: string[], env = {}) =>
    duckcoop(['query', 'SELECT 42', '--url', server.url, ...args], { env });
  await writeFile(file, `${KEYS.alice}\n`);
  expect(await query(['--key-file', file])).toMatchObject({ code: 0, stdout: expect.stringContaining('42') });
  expect(await query([], { DUCKCOOP_KEY: KEYS.bob })).toMatchObject({ code: 0 });

  const missing = await query([]);
  expect({ code: missing.code, stdout: missing.stdout }).toEqual({ code: 1, stdout: '' });
  expect(missing.stderr).toMatch(
    /^error UNAUTHENTICATED: the server asks for a key: set DUCKCOOP_KEY.*--key-file\n$/,
  );
  await writeFile(file, 'wrong-key');
  const wrong = await query(['--key-file', file]);
  expect({ code: wrong.code, stderr: wrong.stderr }).toEqual({
    code: 1,
    stderr: `error UNAUTHENTICATED: the server does not take the key of ${file}\n`,
  });
  expect(await query([], { DUCKCOOP_KEY: 'wrong-key' })).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('the key of DUCKCOOP_KEY\n'),
  });
});

it('refused keys are counted, queries are logged by name, and no key or hash is in any log or reply', async () => {
  const { ops } = clients;
  const before = (await ops.get('/metrics')).body as string;
  await call(server.url, 'GET', '/v1/sources');
  await call(server.url, 'GET', '/v1/sources', undefined, undefined, { Authorization: 'Basic a2V5' });
  await call(server.url, 'GET', '/v1/sources', undefined, undefined, bearer('wrong-key'));
  const after = (await ops.get('/metrics')).body as string;
  const count = (text: string, reason: string) =>
    Number(new RegExp(`^duckcoop_auth_failures_total{reason="${reason}"} (\\d+)$`, 'm').exec(text)?.[1]);
  for (const reason of ['missing', 'malformed', 'unknown']) {
    expect(count(after, reason) - count(before, reason), reason).toBe(1);
  }
  await clients.carol.query("SELECT 'mine'", { query_id: 'of-carol' });
  expect(server.log).toContainEqual(
    expect.objectContaining({ event: 'query.started', query_id: 'of-carol', principal: 'carol' }),
  );
  await ops.get('/v1/config');
  const said = [...replies, ...server.log.map((line) => JSON.stringify(line))].join('\n');
  expect(said).toContain('[secret]');
  for (const key of [...Object.values(KEYS), 'wrong-key']) {
    expect(said).not.toContain(key);
    expect(said).not.toContain(keyHash(key).slice('sha256:'.length));
  }
  expect(server.events('fault')).toEqual([]);
});

it('a key that a reload removes is worth nothing at once, and one that it adds is worth something', async () => {
  const before = (await clients.ops.get('/v1/queries')).body.queries.length;
  expect(before).toBeGreaterThan(0);
  const others = { bob: principal('bob'), ops: principal('ops', { role: 'operator' }) };
  await server.rewrite({ config: { ...CONFIG, auth: { mode: 'api_keys', principals: others } } });
  expect((await clients.carol.get('/v1/sources')).status).toBe(200);
  expect((await clients.carol.post('/v1/config/reload')).status).toBe(403);
  expect((await clients.ops.post('/v1/config/reload')).status).toBe(200);
  expect((await clients.carol.get('/v1/sources')).status).toBe(401);
  expect((await clients.bob.get('/v1/sources')).body.sources).toHaveLength(2);
  // Nor does anything else let it in: a file that asks for no keys is for a server that starts with it.
  await server.rewrite({ config: { ...CONFIG, auth: { mode: 'none' } } });
  const { body } = await clients.ops.post('/v1/config/reload');
  expect(body.changes).toContainEqual({ path: 'auth.mode', effect: 'restart_needed' });
  for (const who of Object.values(clients)) expect((await who.get('/v1/sources')).status).toBe(401);
});
