import { chmod, readdir } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { temporaryFolder } from './temp.ts';
import { freePort } from './throwaway.ts';

/** Each test searches afresh: the module remembers what it found. */
async function servers() {
  vi.resetModules();
  return import('./servers.ts');
}

const KINDS = [
  { kind: 'postgres', prefix: 'PG' },
  { kind: 'mariadb', prefix: 'MYSQL' },
] as const;

beforeEach(() => {
  for (const name of Object.keys(process.env))
    if (name.startsWith('DUCKCOOP_TEST_')) vi.stubEnv(name, undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  for (const module of ['./throwaway.ts', 'pg', 'mysql2/promise']) vi.doUnmock(module);
});

describe.each(KINDS)('a test server of the kind $kind', ({ kind, prefix }) => {
  it('makes databases that share nothing and are gone after drop', async (context) => {
    const server = await (await servers())[kind]();
    if (server === undefined) return context.skip('no server');
    const [one, two] = await Promise.all([server.createDatabase(), server.createDatabase()]);
    await one.query("CREATE TABLE t (id int, name varchar(20)); INSERT INTO t VALUES (1, 'ünï'), (2, NULL)");
    expect(await one.query('SELECT id, name FROM t ORDER BY id')).toEqual([
      { id: 1, name: 'ünï' },
      { id: 2, name: null },
    ]);
    await expect(two.query('SELECT * FROM t')).rejects.toThrow(/exist/);
    await Promise.all([one.drop(), two.drop()]);
    await expect(one.query('SELECT 1')).rejects.toThrow(one.database);
  });

  it('gives the rows of the last statement that has any', async (context) => {
    const server = await (await servers())[kind]();
    if (server === undefined) return context.skip('no server');
    const database = await server.createDatabase();
    expect(await database.query('CREATE TABLE t (id int)')).toEqual([]);
    expect(await database.query('SELECT id FROM t')).toEqual([]);
    expect(await database.query('SELECT 1 AS a; SELECT 2 AS a; DROP TABLE t')).toEqual([{ a: 2 }]);
    await database.drop();
  });

  it('is demanded when the environment names it', async () => {
    vi.stubEnv(`DUCKCOOP_TEST_${prefix}_PORT`, String(await freePort()));
    await expect((await servers())[kind]()).rejects.toThrow(`DUCKCOOP_TEST_${prefix}_* does not answer`);
  });

  it('can be one of its own, which leaves no folder and no listener behind', async (context) => {
    const folder = await temporaryFolder();
    await chmod(folder, 0o1777); // As /tmp: the server runs as another user when the tests run as root.
    vi.stubEnv('TMPDIR', folder);
    const server = await (await servers())[kind]({ own: true });
    if (server === undefined) return context.skip('no server');
    const database = await server.createDatabase();
    expect(await database.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(await readdir(folder)).toHaveLength(1);
    await server.stop();
    await expect(server.query('SELECT 1')).rejects.toThrow(/ECONNREFUSED/);
    expect(await readdir(folder)).toEqual([]);
  });

  it('is an error in CI where there is none and none can be started', async () => {
    vi.stubEnv('CI', 'true');
    await expect((await serversWhereThereAreNone())[kind]()).rejects.toThrow('are not all installed');
  });

  it('is undefined outside CI, and loudly so', async () => {
    vi.stubEnv('CI', undefined);
    const stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    expect(await (await serversWhereThereAreNone())[kind]()).toBeUndefined();
    expect(stderr.mock.calls.join()).toContain('### SKIPPING TESTS: no ');
  });
});

/** A machine where nothing listens and nothing is installed. */
async function serversWhereThereAreNone() {
  const refuse = () => Promise.reject(new Error('connect ECONNREFUSED'));
  vi.doMock('./throwaway.ts', () => ({ startThrowaway: () => Promise.resolve(undefined) }));
  vi.doMock('pg', () => ({
    default: {
      Client: class {
        on() {}
        connect = refuse;
        end() {}
      },
    },
  }));
  vi.doMock('mysql2/promise', () => ({ default: { createConnection: refuse } }));
  return servers();
}
