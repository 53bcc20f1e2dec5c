/** Names and files that mean something else to somebody: aliases that are SQL, and links that lead out of a folder. */
import { copyFileSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadText, pathsOf } from '../config/text.ts';
import { makeFolder } from '../support/temp.ts';
import { call, quickPool, startTestServer, type TestServer } from '../support/test-server.ts';
import { EXTENSIONS } from '../workers/worker-harness.ts';
import { QUICKSTART } from './server.ts';

const KEYWORDS = ['select', 'table', 'order', 'FROM', 'null', 'user', 'default', 'primary'];
const INJECTIONS = [
  'a"; DROP TABLE t; --',
  "a'; DROP TABLE t; --",
  'a.b',
  'a b',
  'a"b',
  'a--',
  'a/**/',
  'a\nb',
  'a\\',
  '',
  'ä',
  '1a',
  'main',
  'TEMP',
  '__proto__',
];

let folder: string;
let remove: () => Promise<void>;
let server: TestServer;
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  ({ path: folder, remove } = await makeFolder());
  const shop = at('shop.db');
  copyFileSync(join(dirname(QUICKSTART), 'data/shop.db'), shop);
  for (const name of ['files', 'files/parts', 'secret']) mkdirSync(at(name));
  for (const name of ['files/plain.csv', 'files/parts/1.csv']) writeFileSync(at(name), 'a\nshown\n');
  for (const name of ['secret/plain.csv', 'secret/1.csv']) writeFileSync(at(name), 'a\ncanary\n');
  server = await startTestServer({
    pools: { interactive: quickPool() },
    sources: {
      ...Object.fromEntries(KEYWORDS.map((alias) => [alias, { kind: 'sqlite', path: shop }])),
      folder: { kind: 'files', path: at('files') },
    },
    config: { extensions: { directory: EXTENSIONS } },
  });
  await server.server.ready;
});
afterAll(async () => {
  await server?.stop();
  await remove();
});

describe('an alias', () => {
  it('that is a keyword is read in quotes, with others like it, in a request and in a session', async () => {
    const sql = `SELECT ${KEYWORDS.map((alias) => `(SELECT count(*) > 0 FROM "${alias}".main.customers)`).join(', ')}`;
    const rows = [KEYWORDS.map(() => true)];
    const once = await server.query(sql, { sources: KEYWORDS });
    expect([once.status, once.body.data], JSON.stringify(once.body)).toEqual([200, rows]);
    const { body } = await call(server.url, 'POST', '/v1/sessions', { sources: KEYWORDS });
    const kept = await server.query(sql, { session: body.session_id });
    expect([kept.status, kept.body.data], JSON.stringify(kept.body)).toEqual([200, rows]);
    await call(server.url, 'DELETE', `/v1/sessions/${body.session_id}`);
  });

  it('that is a keyword is checked and listed as any other', async () => {
    for (const alias of ['select', 'FROM']) {
      expect((await call(server.url, 'POST', `/v1/sources/${alias}/check`)).body).toMatchObject({ ok: true });
      const { body } = await server.get(`/v1/sources/${alias}/tables`);
      expect(body.tables[0].sql).toMatch(new RegExp(`^"${alias}"\\."main"\\."\\w+"$`));
      const columns = await server.get(`/v1/sources/${alias}/tables/main.customers`);
      expect(columns.body.columns.length).toBeGreaterThan(0);
    }
  });

  it.each(INJECTIONS)('that would be SQL is none: %j', async (alias) => {
    const sources = { [alias]: { kind: 'sqlite', path: './a.db' } };
    const text =
      alias === '__proto__' ? '{ sources: { __proto__: { kind: sqlite } } }' : JSON.stringify({ sources });
    expect(pathsOf(loadText(text))).toHaveLength(1);
    const { status, body } = await server.query('SELECT 1', { sources: [alias] });
    expect([status, body.code]).toEqual([400, 'INVALID_REQUEST']);
    expect(body.errors).toMatchObject([{ path: 'sources[0]' }]);
    const session = await call(server.url, 'POST', '/v1/sessions', { sources: [alias] });
    expect([session.status, session.body.code]).toEqual([400, 'INVALID_REQUEST']);
    for (const [method, path] of [
      ['POST', 'check'],
      ['GET', 'tables'],
      ['GET', 'tables/main.customers'],
    ] as const) {
      const reply = await call(server.url, method, `/v1/sources/${encodeURIComponent(alias)}/${path}`);
      expect([reply.status, reply.body.code], path).toEqual([404, 'NOT_FOUND']);
    }
  });
});

describe('a folder that a session has attached', () => {
  it('is not read where a link has taken the place of a file, or of a folder, since', async () => {
    const { body } = await call(server.url, 'POST', '/v1/sessions', { sources: ['folder'] });
    const run = (sql: string) => server.query(sql, { session: body.session_id });
    const reads = [
      'FROM folder.plain',
      'FROM folder.parts',
      `FROM read_csv('${at('files/plain.csv')}')`,
      `FROM read_csv('${at('files/parts/1.csv')}')`,
      `FROM read_csv('${at('files/parts/*.csv')}')`,
      `FROM '${at('files/plain.csv')}'`,
    ];
    for (const sql of reads) expect((await run(sql)).body.data, sql).toEqual([['shown']]);
    // As somebody would who can write into the folder and read nothing else.
    symlinkSync(at('secret/plain.csv'), at('link'));
    renameSync(at('link'), at('files/plain.csv'));
    rmSync(at('files/parts'), { recursive: true });
    symlinkSync(at('secret'), at('files/parts'));
    for (const sql of [...reads, `FROM glob('${at('files/parts/*')}')`]) {
      const reply = await run(sql);
      expect(JSON.stringify(reply.body), sql).not.toContain('canary');
      if (reply.status === 200) expect(reply.body.data, sql).toEqual([]);
      else expect(['FORBIDDEN', 'SQL_ERROR', 'SOURCE_UNAVAILABLE'], sql).toContain(reply.body.code);
    }
    await call(server.url, 'DELETE', `/v1/sessions/${body.session_id}`);
    const anew = await server.query('FROM folder.plain', { sources: ['folder'] });
    expect(anew.status).toBe(400);
    expect(JSON.stringify(anew.body)).not.toContain('canary');
  });
});
