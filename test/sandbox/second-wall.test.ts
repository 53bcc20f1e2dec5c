/**
 * The wall behind the sandbox: what whoever took over DuckDB would find in its process. Looked at from outside, as the kernel
 * knows it (proc(5)), after queries with one source while there are secrets of others.
 */
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLineOf, environmentOf } from '../e2e/processes.ts';
import { ROOT } from '../support/cli.ts';
import { bearer, keyHash } from '../support/principals.ts';
import { type OwnDatabase, postgres } from '../support/servers.ts';
import { call, quickPool, type Settings, startTestServer, type TestServer } from '../support/test-server.ts';

const pg = await postgres();
const KEY = 'key-of-somebody-in-particular';
/** Passwords: of the source that is used, and of one that is not. */
const USED = 'the-password-that-is-used';
const OTHER = 'the-password-of-the-other-source';
const VARIABLE = 'DUCKCOOP_TEST_SECOND_WALL';

describe.skipIf(pg === undefined)('a worker process', () => {
  let database: OwnDatabase;
  let server: TestServer;
  let idle: number;
  let asked: number;
  let ofSession: number;

  beforeAll(async () => {
    if (pg === undefined) return;
    database = await pg.createDatabase();
    await database.query('CREATE TABLE t (i int)');
    process.env[VARIABLE] = OTHER;
    const source = {
      kind: 'postgres',
      host: pg.host,
      port: pg.port,
      user: pg.user,
      database: database.database,
    };
    server = await startTestServer({
      pools: { interactive: quickPool({ attached: { max: 1 } }), unused: quickPool() },
      sources: {
        used: { ...source, password: pg.password || USED },
        other: { ...source, password: `\${env:${VARIABLE}}` },
      },
      config: {
        extensions: { directory: join(ROOT, 'extensions') },
        auth: { mode: 'api_keys', principals: { somebody: { key_hash: keyHash(KEY), role: 'reader' } } },
      },
    });
    await server.server.ready;
    const post = (path: string, body: Settings) =>
      call(server.url, 'POST', path, body, undefined, bearer(KEY));
    const sql = 'SELECT count(*) FROM used.public.t';
    const sources = ['used'];
    expect((await post('/v1/query', { sql, sources })).status).toBe(200);
    const session: string = (await post('/v1/sessions', { sources })).body.session_id;
    expect((await post('/v1/query', { sql, session })).status).toBe(200);
    const pidOf = (pool: RegExp) =>
      server
        .workers()
        .map(({ status }) => status())
        .find((status) => pool.test(status.pool))?.pid as number;
    [idle, asked, ofSession] = [pidOf(/^unused$/), pidOf(/^interactive$/), pidOf(/session/)];
  });
  afterAll(async () => {
    delete process.env[VARIABLE];
    await server?.stop();
    await database?.drop();
  });

  it('has the credentials of sources that it was asked to read, and of no others', () => {
    const secrets = [USED, OTHER, KEY, keyHash(KEY).slice('sha256:'.length)];
    const inMemory = (pid: number) => secrets.filter((secret) => memoryHas(pid, secret));
    // Nor what else belongs to the configuration: its keys, and the environment of the server.
    expect(inMemory(idle)).toEqual([]);
    for (const pid of [asked, ofSession]) expect(inMemory(pid)).toEqual(pg?.password === '' ? [USED] : []);
    // So the search finds what there is to be found.
    expect(memoryHas(process.pid, OTHER)).toBe(true);
  });

  it('has none in its arguments and its environment, which other processes may read', () => {
    for (const pid of [idle, asked, ofSession])
      for (const secret of [USED, OTHER, KEY])
        expect(`${commandLineOf(pid)}\n${environmentOf(pid)}`).not.toContain(secret);
  });

  it('has no file open outside of its own folder, and no descriptor of the server', () => {
    for (const pid of [idle, asked, ofSession]) {
      const folder = readlinkSync(`/proc/${pid}/cwd`);
      const files = openIn(pid).filter(
        (target) => target.startsWith('/') && !target.startsWith(`${folder}/`),
      );
      expect(
        files.filter(
          (file) => !/^\/dev\/(?:null|urandom)$|^\/proc\/\d+\//.test(file) && !isOwnWorkspace(pid, file),
        ),
      ).toEqual([]);
    }
    const server = new Set(openIn(process.pid).filter((target) => target.startsWith('socket:')));
    for (const pid of [idle, asked, ofSession])
      expect(openIn(pid).filter((target) => server.has(target))).toEqual([]);
  });

  it('has a folder that nobody else may enter, and so is all above it up to the data folder', () => {
    for (const pid of [idle, asked, ofSession]) {
      for (
        let folder = readlinkSync(`/proc/${pid}/cwd`);
        folder !== server.dataDir;
        folder = join(folder, '..')
      ) {
        if (folder !== join(server.dataDir, 'run'))
          expect([folder, statSync(folder).mode & 0o077]).toEqual([folder, 0]);
      }
    }
  });

  const isOwnWorkspace = (pid: number, file: string) =>
    pid === ofSession && file.startsWith(join(server.dataDir, 'sessions'));
});

function openIn(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((name) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${name}`);
    } catch {
      return []; // Closed since.
    }
  });
}

const PIECE = 1 << 24;

/** Whether the text stands somewhere in what a process can write to, in one byte a character. */
function memoryHas(pid: number, text: string): boolean {
  const wanted = Buffer.from(text, 'latin1');
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    const buffer = Buffer.alloc(PIECE + wanted.length);
    for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
      const [, from = '', to = '', mode = ''] = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(line) ?? [];
      if (!mode.startsWith('rw')) continue;
      for (let start = Number.parseInt(from, 16); start < Number.parseInt(to, 16); start += PIECE) {
        const length = Math.min(buffer.length, Number.parseInt(to, 16) - start);
        try {
          const read = readSync(memory, buffer, 0, length, start);
          if (buffer.subarray(0, read).includes(wanted)) return true;
        } catch {
          // A guard page, or gone.
        }
      }
    }
    return false;
  } finally {
    closeSync(memory);
  }
}
