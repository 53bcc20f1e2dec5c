/** Sources that requests bring along: who may, what they reach, and where their credentials are not. */
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../support/cli.ts';
import { bearer, keyHash } from '../support/principals.ts';
import { S3_KEYS, type S3Server, startS3Server } from '../support/s3-server.ts';
import { mariadb, type OwnDatabase, postgres, type TestServer } from '../support/servers.ts';
import { makeFolder } from '../support/temp.ts';
import { freePort } from '../support/throwaway.ts';
import { startWebServer } from '../support/web-server.ts';
import { eventually } from './poll.ts';
import { visibleOf } from './secret-search.ts';
import { type Reply, Served, writeConfiguration } from './server.ts';

const token = randomBytes(6).toString('hex');
/** In each of the secrets, whatever quotes a text puts around it. */
const secret = (name: string) => `${name}-ß'"\\ sslmode=disable ${token}`;
const ROLE = `duckcoop_${process.pid}_${randomBytes(3).toString('hex')}`;
const KEYS = { ann: 'key-of-ann', bob: 'key-of-bob', eve: 'key-of-eve' } as const;
type Name = keyof typeof KEYS;
type Fields = Readonly<Record<string, unknown>>;

const [pgServer, myServer] = await Promise.all([postgres(), mariadb()]);

describe.skipIf(pgServer === undefined || myServer === undefined)('an inline source', () => {
  let pg: OwnDatabase;
  let my: OwnDatabase;
  let s3: S3Server;
  let folder: { readonly path: string; remove(): Promise<void> };
  let served: Served;
  let own: Readonly<Record<'pg' | 'my' | 'bucket' | 'files' | 'sqlite', Fields>>;

  const inSql = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
  const ask = (name: Name, path: string, body: Fields): Promise<Reply> =>
    served.request('POST', path, {
      headers: { 'Content-Type': 'application/json', ...bearer(KEYS[name]) },
      body: JSON.stringify(body),
    });
  const query = (name: Name, sql: string, fields: Fields) => ask(name, '/v1/query', { sql, ...fields });
  const get = (path: string) => served.request('GET', path, { headers: bearer(KEYS.eve) });
  const rows = async (reply: Promise<Reply>) => {
    const { status, text, json } = await reply;
    expect(status, text).toBe(200);
    return json<{ data: unknown[][] }>().data;
  };
  /** The worker of this query dies when it runs, once. */
  const dies = async (queryId: string) => {
    const order = { target: { query: queryId, phase: 'running' }, fault: 'sigsegv' };
    expect((await ask('eve', '/v1/chaos', order)).status).toBe(202);
    return { query_id: queryId };
  };
  const crashes = async () =>
    (await get('/v1/crashes')).json<{ crashes: { crash_id: string; query_id: string }[] }>().crashes;

  beforeAll(async () => {
    folder = await makeFolder();
    [pg, my, s3] = await Promise.all([
      (pgServer as TestServer).createDatabase(),
      (myServer as TestServer).createDatabase(),
      startS3Server(['own', 'theirs']),
    ]);
    await pg.query(`CREATE TABLE t AS SELECT i AS id, 'pg' || i AS name FROM generate_series(1, 100) i`);
    await my.query(
      `CREATE TABLE t AS SELECT seq AS id, concat('my', seq) AS name FROM seq_1_to_50;
       CREATE USER ${ROLE}@'%' IDENTIFIED BY ${inSql(secret('my'))}; GRANT SELECT ON \`${my.database}\`.* TO ${ROLE}@'%'`,
    );
    await s3.put('s3://own/t.csv', 'SELECT 2 AS id, 7 AS n');
    for (const [name, owner] of [
      ['own', 'own'],
      ['configured', 'configured'],
    ] as const) {
      await mkdir(join(folder.path, name));
      await writeFile(join(folder.path, name, 'rows.csv'), `id,owner\n1,${owner}\n2,${owner}\n`);
    }
    const principal = (name: Name, more: string) =>
      `    ${name}: { key_hash: "${keyHash(KEYS[name])}", role: operator, ${more} }`;
    const yaml = `
sessions: { spare: 0 }
budget: { memory: 64GB }
retry: { max: 1 }
chaos: { enabled: true }
crashes: { include_sql: true }
telemetry: { log_level: trace, audit: true }
pools: { interactive: { size: 2 }, exports: { size: 1 } }
exports: { egress: { port: 0 } }
sources:
  shared: { kind: files, path: ./configured }
  crm: { kind: files, path: ./configured }
auth:
  mode: api_keys
  principals:
${principal('ann', 'inline_sources: [postgres, mysql, s3, files, http, sqlite, duckdb, ducklake]')}
${principal('bob', 'inline_sources: [files, mysql]')}
${principal('eve', 'inline_sources: []')}
`;
    served = await Served.start(await writeConfiguration(folder.path, yaml));
    const { host, port, user, database } = pg;
    own = {
      pg: { alias: 'crm', kind: 'postgres', host, port, user, password: secret('pg'), database },
      my: {
        ...{ alias: 'shop', kind: 'mysql', host: my.host, port: my.port },
        ...{ user: ROLE, password: secret('my'), database: my.database },
      },
      bucket: {
        ...{ alias: 'lake', kind: 's3', bucket: 'own', endpoint: s3.endpoint, url_style: 'path' },
        ...{ use_ssl: false, ...S3_KEYS, views: { t: 't.csv' } },
      },
      files: { alias: 'crm', kind: 'files', path: join(folder.path, 'own') },
      sqlite: { alias: 'crm', kind: 'sqlite', path: join(folder.path, 'none.db') },
    };
  });

  afterEach(async () => {
    const at = (state: string) =>
      get(`/v1/queries?state=${state}`).then((reply) => reply.json<{ queries: unknown[] }>());
    for (const state of ['queued', 'running']) expect((await at(state)).queries).toEqual([]);
  });

  afterAll(async () => {
    await served?.stop();
    await my?.query(`DROP USER ${ROLE}@'%'`);
    await Promise.all([pg?.drop(), my?.drop(), s3?.stop()]);
    await folder?.remove();
  });

  it('is joined with configured ones and others of its kind and of another', async () => {
    const sql = `SELECT p.name, m.name, l.n, s.owner FROM crm.public.t p
      JOIN shop."${my.database}".t m USING (id) JOIN lake.t l USING (id) JOIN shared.rows s USING (id)`;
    const sources = [own.pg, 'shared', own.my, own.bucket];
    const expected = [['pg2', 'my2', 7, 'configured']];
    expect(await rows(query('ann', sql, { sources }))).toEqual(expected);
    // It is attached still, and is used again.
    expect(await rows(query('ann', sql, { sources }))).toEqual(expected);
    const kept = (await ask('ann', '/v1/queries', { sql, sources })).json<{ query_id: string }>();
    const result = await eventually(
      async () => {
        const reply = await served.request('GET', `/v1/queries/${kept.query_id}/result`, {
          headers: bearer(KEYS.ann),
        });
        return reply.status === 409 ? undefined : reply;
      },
      { what: 'the result is there' },
    );
    expect(result.json()).toMatchObject({ data: expected });
    const created = await ask('ann', '/v1/exports', { sql, sources, format: 'csv' });
    expect(created.status, created.text).toBe(202);
    const { export_id } = created.json<{ export_id: string }>();
    const made = await eventually(
      async () => {
        const view = (await get(`/v1/exports/${export_id}`)).json<{ state: string }>();
        return ['queued', 'running'].includes(view.state) ? undefined : view;
      },
      { what: 'the export has ended' },
    );
    expect(made).toMatchObject({ state: 'succeeded', rows: 1 });
  });

  it('is a file, or a web server, as well', async () => {
    const web = await startWebServer((asked) => (asked === '/in/t.csv' ? 'id,n\n1,2\n' : 404));
    const file = join(folder.path, 'own.db');
    const instance = await DuckDBInstance.create(file);
    const connection = await instance.connect();
    await connection.run('CREATE TABLE t AS SELECT 1 AS id, 3 AS n');
    connection.closeSync();
    instance.closeSync();
    const sources = [
      { alias: 'web', kind: 'http', url: `${web.url}/in/`, views: { t: 't.csv' } },
      { alias: 'ducks', kind: 'duckdb', path: file },
      { alias: 'lite', kind: 'sqlite', path: join(ROOT, 'examples/data/shop.db') },
      own.pg,
    ];
    const sql =
      'SELECT w.n, d.n, (SELECT count(*) > 0 FROM lite.main.customers), p.name FROM web.t w JOIN ducks.t d USING (id) JOIN crm.public.t p USING (id)';
    const reply = await query('ann', sql, { sources });
    const { sources: configured } = (await get('/v1/sources')).json<{ sources: { alias: string }[] }>();
    await web.stop();
    expect(reply.json()).toMatchObject({ data: [[2, 3, true, 'pg1']] });
    expect(configured.map(({ alias }) => alias)).toEqual(['shared', 'crm']);
  });

  it('is let in by its kind, for each principal', async () => {
    const denied = { code: 'FORBIDDEN', denied: { kind: 'source', name: 'crm' } };
    expect((await query('bob', 'SELECT 1', { sources: [own.pg] })).json()).toMatchObject(denied);
    expect((await query('eve', 'SELECT 1', { sources: [own.files] })).json()).toMatchObject(denied);
    expect((await ask('eve', '/v1/queries', { sql: 'SELECT 1', sources: [own.pg] })).json()).toMatchObject(
      denied,
    );
    const exported = await ask('eve', '/v1/exports', { sql: 'SELECT 1', sources: [own.pg] });
    expect(exported.json()).toMatchObject(denied);
    expect(await rows(query('bob', 'SELECT DISTINCT owner FROM crm.rows', { sources: [own.files] }))).toEqual(
      [['own']],
    );
  });

  it('takes the place of a configured one of the same alias, in its own request alone', async () => {
    const sql = 'SELECT DISTINCT owner FROM crm.rows';
    for (const [sources, owner] of [
      [[own.files], 'own'],
      [['crm'], 'configured'],
      [[own.files], 'own'],
    ] as const)
      expect(await rows(query('ann', sql, { sources }))).toEqual([[owner]]);
    const twice = await query('ann', sql, { sources: ['crm', own.files] });
    expect(twice.json()).toMatchObject({ code: 'INVALID_REQUEST', errors: [{ path: 'sources[1].alias' }] });
    // That there is one of that alias is no hint for somebody who has brought their own.
    const missing = await query('ann', 'FROM crm.nope', { sources: [own.files] });
    expect(missing.json().detail).not.toContain('configured source');
  });

  it('is refused in a session, which keeps its own', async () => {
    const opened = await ask('ann', '/v1/sessions', { sources: ['shared'] });
    expect(opened.status).toBe(201);
    const { session_id: session } = opened.json<{ session_id: string }>();
    const reply = await query('ann', 'SELECT 1', { session, sources: [own.files] });
    expect(reply.json()).toMatchObject({
      code: 'INVALID_REQUEST',
      errors: [{ path: 'sources', message: 'a session takes no inline sources' }],
    });
    expect((await ask('ann', '/v1/sessions', { sources: [own.files] })).status).toBe(400);
    await served.request('DELETE', `/v1/sessions/${session}`, { headers: bearer(KEYS.ann) });
  });

  it('with another password, or of another principal, is connected to anew', async () => {
    const sql = `SELECT count(*) FROM shop."${my.database}".t`;
    expect(await rows(query('ann', sql, { sources: [own.my] }))).toEqual([[50]]);
    for (const password of [secret('wrong'), undefined])
      for (const name of ['ann', 'bob'] as const) {
        const reply = await query(name, sql, { sources: [{ ...own.my, password }] });
        expect(reply.json()).toMatchObject({
          code: 'SOURCE_UNAVAILABLE',
          source: 'shop',
          reason: 'authentication',
        });
      }
    expect(await rows(query('bob', sql, { sources: [own.my] }))).toEqual([[50]]);
  });

  it('that nobody answers for is unavailable, and says nothing of the configured one of its alias', async () => {
    const port = await freePort();
    for (const given of [
      { ...own.pg, port },
      { ...own.my, alias: 'crm', port },
    ]) {
      const reply = await query('ann', 'SELECT 1', { sources: [given] });
      expect(reply.json()).toMatchObject({ code: 'SOURCE_UNAVAILABLE', source: 'crm', reason: 'refused' });
    }
    expect(served.log('source.silent')).toEqual([]);
    expect((await query('ann', 'FROM crm.rows', { sources: ['crm'] })).status).toBe(200);
  });

  it('is there again for the second attempt of a query whose worker died', async () => {
    const sql = 'SELECT count(*) FROM crm.public.t';
    const reply = await query('ann', sql, { sources: [own.pg], ...(await dies('retried')) });
    expect(reply.json()).toMatchObject({ data: [[100]], stats: { attempts: 2 } });
    const [crash] = await crashes();
    expect((await get(`/v1/crashes/${crash?.crash_id}`)).json()).toMatchObject({
      query_id: 'retried',
      sources: ['inline:crm'],
    });
  });

  it("that crashed a worker twice is in nobody's way but its principal's", async () => {
    const sql = 'SELECT max(id), 1 FROM crm.rows';
    for (const attempt of [1, 2])
      await query('bob', sql, { sources: [own.files], ...(await dies(`suspect-${attempt}`)) });
    const again = await query('bob', sql, { sources: [own.files] });
    expect(again.json()).toMatchObject({ code: 'QUERY_QUARANTINED' });
    expect(await rows(query('ann', sql, { sources: [own.files] }))).toEqual([[2, 1]]);
    expect(await rows(query('bob', sql, { sources: ['crm'] }))).toEqual([[2, 1]]);
  });

  it('is told apart in what is sent once more with the same query_id', async () => {
    const sql = 'SELECT 1';
    const sent = (source: Fields) => ask('ann', '/v1/queries', { sql, query_id: 'same', sources: [source] });
    expect((await sent(own.my as Fields)).status).toBe(202);
    expect((await sent(own.my as Fields)).status).toBe(202);
    const other = await sent({ ...own.my, password: secret('other') });
    expect(other.json()).toMatchObject({ code: 'QUERY_ID_REUSED' });
    const gone = '/v1/queries/same';
    await served.request('DELETE', gone, { headers: bearer(KEYS.ann) });
  });

  it('has credentials that are nowhere to be seen: not in logs, errors, replies, reports, arguments, environments, files', async () => {
    const ascii = (name: string) => `${name}-'"\\ ${token}`;
    const closed = await freePort();
    const bucket = {
      ...{ alias: 'lake', kind: 's3', bucket: 'b', endpoint: `127.0.0.1:${closed}`, use_ssl: false },
      ...{ key_id: ascii('id'), secret: ascii('s3'), session_token: ascii('session') },
    };
    const web = {
      ...{ alias: 'web', kind: 'http', url: `http://127.0.0.1:${closed}/` },
      ...{ bearer_token: ascii('web'), headers: { 'X-Key': ascii('header') } },
    };
    const lake = {
      ...{ alias: 'ducks', kind: 'ducklake', catalog: 'crm', data_path: 's3://b/ducks' },
    };
    const all = [own.pg, own.my, bucket, web];
    const wrong = all.map((source) => ({ ...source, database: secret('database'), port: closed }));
    const fails: [string, readonly unknown[]][] = [
      ['SELECT nope FROM crm.public.t', all],
      ['FROM duckdb_databases()', all],
      ['FROM duckdb_secrets()', all],
      ['FROM duckdb_settings()', all],
      ["FROM read_parquet('s3://b/x.parquet')", all],
      [`FROM read_json('http://127.0.0.1:${closed}/x.json')`, all],
      ['FROM ducks.t', [own.pg, bucket, lake]],
      ['SELECT 1', wrong],
      ...wrong.map((source): [string, unknown[]] => ['SELECT 1', [source]]),
      ...all.map((source): [string, unknown[]] => ['SELECT 1', [{ ...source, [secret('key')]: 1 }]]),
      ...all.map((source): [string, unknown[]] => ['SELECT 1', [{ ...source, alias: secret('alias') }]]),
      ['SELECT 1', [{ ...own.pg, password: `\${env:${token}}` }]],
      ['SELECT 1', [{ ...own.pg, host: secret('host') }]],
      ['SELECT 1', [{ ...own.my, connect_timeout: secret('timeout') }]],
      ['SELECT 1', [{ ...web, url: `http://u:${token}@h/` }]],
    ];
    for (const [sql, sources] of fails) await query('ann', sql, { sources });
    for (const [sql, sources] of fails) await ask('eve', '/v1/queries', { sql, sources });
    for (const [sql, sources] of fails.slice(0, 3)) await ask('ann', '/v1/exports', { sql, sources });
    // One more worker dies with all of them in its memory, of a statement that repeats one.
    const literal = `'${ascii('web').replaceAll("'", "''")}'`;
    const name = `"${ascii('s3').replaceAll('"', '""')}"`;
    const sql = `SELECT id, ${literal} AS ${name} FROM crm.public.t`;
    const died = await query('ann', sql, { sources: all, ...(await dies('dies')) });
    expect(died.json()).toMatchObject({ stats: { attempts: 2 } });
    // What was asked for is not what is looked for.
    served.replies.pop();
    const reports = await crashes();
    for (const { crash_id } of reports) await get(`/v1/crashes/${crash_id}`);
    for (const path of [
      'config',
      'queries',
      'exports',
      'sessions',
      'workers',
      'supervision',
      'sources',
      'quarantine',
    ])
      await get(`/v1/${path}`);
    await get('/metrics');
    const seen = visibleOf(served);
    expect(seen.log).toContain('inline:crm');
    for (const [place, text] of Object.entries(seen)) expect(text.includes(token), place).toBe(false);
  });
});
