/** Credentials that change while the server runs, and where none of them, old or new, can be seen. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mariadb, type OwnDatabase, postgres, type TestServer } from '../support/servers.ts';
import { makeFolder } from '../support/temp.ts';
import { freePort } from '../support/throwaway.ts';
import { visibleOf } from './secret-search.ts';
import { type Reply, Served, writeConfiguration } from './server.ts';

/** In each of the secrets, whatever quotes a text puts around it. */
const token = randomBytes(6).toString('hex');
const secret = (name: string) => `${name}-ß'"\\ ${token}`;
const ROLE = `duckcoop_${process.pid}_${randomBytes(3).toString('hex')}`;

const [pgServer, myServer] = await Promise.all([postgres(), mariadb()]);

describe.skipIf(pgServer === undefined || myServer === undefined)('credentials', () => {
  let pg: OwnDatabase;
  let my: OwnDatabase;
  let served: Served;
  let remove: () => Promise<void> = async () => undefined;

  const inSql = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
  const put = (alias: string, body: unknown): Promise<Reply> =>
    served.request('PUT', `/v1/sources/${alias}/credentials`, {
      headers: { 'Content-Type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  const count = (fields: Readonly<Record<string, unknown>>) =>
    served.query(`SELECT count(*) AS n FROM my1.${my.database}.t`, fields);

  beforeAll(async () => {
    const folder = await makeFolder();
    ({ remove } = folder);
    [pg, my] = await Promise.all([
      (pgServer as TestServer).createDatabase(),
      (myServer as TestServer).createDatabase(),
    ]);
    await pg.query(`CREATE ROLE ${ROLE}_a LOGIN; CREATE ROLE ${ROLE}_b LOGIN`);
    await my.query(
      `CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2);
       CREATE USER ${ROLE}@'%' IDENTIFIED BY ${inSql(secret('my'))}; GRANT SELECT ON \`${my.database}\`.* TO ${ROLE}@'%'`,
    );
    await writeFile(join(folder.path, 'my-password'), `${secret('my')}\n`, { mode: 0o600 });
    const closed = await freePort();
    const reference = (name: string) => `"\${env:DUCKCOOP_TEST_${name}}"`;
    const yaml = `
sessions: { spare: 0 }
retry: { max: 0 }
telemetry: { log_level: trace }
sources:
  pg1: { kind: postgres, host: ${pg.host}, port: ${pg.port}, user: ${ROLE}_a, password: ${reference('PG')}, database: ${pg.database}, remote_query: true }
  my1: { kind: mysql, host: ${my.host}, port: ${my.port}, user: ${ROLE}, password: "\${file:./my-password}", database: ${my.database} }
  bucket: { kind: s3, bucket: b, endpoint: "127.0.0.1:${closed}", use_ssl: false, key_id: ${reference('S3_ID')}, secret: ${reference('S3')}, session_token: ${reference('S3_TOKEN')} }
  web: { kind: http, url: "http://127.0.0.1:${closed}/", bearer_token: ${reference('WEB')} }
`;
    const names = ['PG', 'S3_ID', 'S3', 'S3_TOKEN', 'WEB'];
    served = await Served.start({
      ...(await writeConfiguration(folder.path, yaml)),
      env: Object.fromEntries(names.map((name) => [`DUCKCOOP_TEST_${name}`, secret(name)])),
    });
  });

  afterAll(async () => {
    await served?.stop();
    await pg?.query(`DROP ROLE ${ROLE}_a; DROP ROLE ${ROLE}_b`);
    await my?.query(`DROP USER ${ROLE}@'%'`);
    await Promise.all([pg?.drop(), my?.drop()]);
    await remove();
  });

  it("are another user's for queries that begin from then on, in sessions too", async () => {
    const whose = async (fields: Readonly<Record<string, unknown>>) => {
      const reply = await served.query("FROM postgres_query('pg1', 'SELECT current_user::text')", fields);
      return reply.json<{ data: unknown }>().data;
    };
    const opened = await served.post('/v1/sessions', { sources: ['pg1'] });
    const { session_id: session } = opened.json<{ session_id: string }>();
    const fields = [{ sources: ['pg1'] }, { session }];
    for (const each of fields) expect(await whose(each)).toEqual([[`${ROLE}_a`]]);
    const reply = await put('pg1', { user: `${ROLE}_b`, password: secret('pg-put') });
    expect(reply.json()).toEqual({ alias: 'pg1', version: 2 });
    for (const each of fields) expect(await whose(each)).toEqual([[`${ROLE}_b`]]);
    // A file that says what it said before is no reason to go back.
    expect((await served.post('/v1/config/reload')).json()).toMatchObject({ changes: [] });
    for (const each of fields) expect(await whose(each)).toEqual([[`${ROLE}_b`]]);
    await served.request('DELETE', `/v1/sessions/${session}`);
  });

  it('are rotated while queries run, and none of those hears of it', async () => {
    const opened = await served.post('/v1/sessions', { sources: ['my1'] });
    const { session_id: session } = opened.json<{ session_id: string }>();
    const inLine = { session, queue_timeout_ms: 20_000 };
    const loads = [{ sources: ['my1'] }, { sources: ['my1'] }, inLine];
    // Attached once, they stay so.
    await Promise.all(loads.map(count));
    let goesOn = true;
    const statuses: number[] = [];
    const load = loads.map(async (fields) => {
      while (goesOn) statuses.push((await count(fields)).status);
    });
    await my.query(`ALTER USER ${ROLE}@'%' IDENTIFIED BY ${inSql(secret('my-put'))}`);
    expect((await served.post('/v1/sources/my1/check')).json()).toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    expect((await put('my1', { password: secret('my-put') })).status).toBe(200);
    expect((await served.post('/v1/sources/my1/check')).status).toBe(200);
    const soFar = statuses.length;
    while (statuses.length < soFar + 20) await count(inLine);
    goesOn = false;
    await Promise.all(load);
    expect(new Set(statuses)).toEqual(new Set([200]));
    await served.request('DELETE', `/v1/sessions/${session}`);
  });

  it('that are none of the source are refused, and not repeated', async () => {
    for (const [alias, body, status] of [
      ['my1', secret('no json'), 400],
      ['my1', { pasword: secret('typo') }, 400],
      ['my1', { password: secret('x'), [secret('key')]: 1 }, 400],
      ['bucket', { password: secret('of another kind') }, 400],
      ['nowhere', { password: secret('x') }, 404],
    ] as const) {
      const reply = await put(alias, body);
      expect(reply.status).toBe(status);
      expect(reply.text).not.toContain(token);
    }
    const { status } = await served.request('PUT', '/v1/sources/my1/credentials?password=x', { body: '{}' });
    expect(status).toBe(400);
  });

  it('are nowhere to be seen: not in logs, errors, replies, crash reports, arguments, environments, files', async () => {
    const s3 = { key_id: secret('id-put'), secret: secret('s3-put'), session_token: secret('token-put') };
    expect((await put('bucket', s3)).status).toBe(200);
    expect((await put('web', { bearer_token: secret('web-put') })).status).toBe(200);
    const all = { sources: ['pg1', 'my1'] };
    for (const [sql, fields] of [
      ['SELECT nope FROM pg1.public.t', all],
      ['FROM duckdb_databases()', all],
      ['FROM duckdb_secrets()', all],
      ['FROM duckdb_settings()', all],
      ["FROM postgres_query('pg1', 'SELECT nope')", all],
      ["FROM read_parquet('s3://b/x.parquet')", { sources: ['bucket'] }],
      ["FROM read_json('http://127.0.0.1:1/x.json')", { sources: ['web'] }],
      [`SELECT '${token.slice(0, 3)}'`, all],
    ] as const) {
      await served.query(sql, fields);
    }
    // One more worker dies with all of them in its memory.
    const dying = served.query(`SELECT count(*) FROM my1.${my.database}.t, range(1000000000000)`, all);
    process.kill((await served.busyWorker()).pid, 'SIGSEGV');
    expect((await dying).json()).toMatchObject({ code: 'WORKER_CRASHED' });
    const { crashes } = (await served.get('/v1/crashes')).json<{ crashes: { crash_id: string }[] }>();
    for (const { crash_id } of crashes) await served.get(`/v1/crashes/${crash_id}`);
    for (const path of ['config', 'queries', 'sessions', 'workers', 'supervision', 'sources', 'quarantine'])
      await served.get(`/v1/${path}`);
    await served.get('/metrics');
    for (const [place, text] of Object.entries(visibleOf(served)))
      expect(text.includes(token), place).toBe(false);
    expect(crashes).toHaveLength(1);
    expect(
      served.replies.join('').match(/"(?:password|bearer_token|session_token)":"\[secret\]"/g)?.length,
    ).toBeGreaterThan(3);
  });
});
