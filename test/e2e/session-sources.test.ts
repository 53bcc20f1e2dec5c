/** Sources that stay attached while their tables change under them: right answers each time, and no crash. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { poolOfSession } from '../../src/sessions/session-pool.ts';
import { ROOT } from '../support/cli.ts';
import { mariadb, type OwnDatabase, postgres } from '../support/servers.ts';
import { call, quickPool, startTestServer, type TestServer, until } from '../support/test-server.ts';

const [pg, my] = await Promise.all([postgres(), mariadb()]);

describe.skipIf(pg === undefined || my === undefined)(
  'a column that gets another type between two runs of a join',
  () => {
    let people: OwnDatabase;
    let sales: OwnDatabase;
    let server: TestServer;

    beforeAll(async () => {
      if (pg === undefined || my === undefined) return;
      [people, sales] = await Promise.all([pg.createDatabase(), my.createDatabase()]);
      await people.query(
        "CREATE TABLE t (id bigint, name text); INSERT INTO t SELECT i, '😀' || i FROM generate_series(1, 5000) i",
      );
      await sales.query('CREATE TABLE s (id bigint)');
      const rows = Array.from({ length: 100 }, (_, i) => `(${i + 1})`).join(',');
      await sales.query(`INSERT INTO s VALUES ${rows}`);
      const source = ({ host, port, user, password, database }: OwnDatabase, kind: string) => ({
        ...{ kind, host, port, user, database },
        ...(password === '' ? {} : { password }),
      });
      server = await startTestServer({
        // The bytes of a name taken for a length are more than 4 GB: with less to be had they would be an error.
        pools: { interactive: quickPool({ memory_limit: '6GB', memory_hard_limit: '9GB' }) },
        config: {
          extensions: { directory: join(ROOT, 'extensions') },
          sessions: { memory_limit: '6GB' },
        },
        sources: { pg1: source(people, 'postgres'), my1: source(sales, 'mysql') },
      });
      await server.server.ready;
    });

    afterAll(async () => {
      await server?.stop();
      await Promise.all([people?.drop(), sales?.drop()]);
    });

    const sources = ['pg1', 'my1'];
    const RIGHT = [[100, 5050, '😀1']];
    const joined = async (fields: Readonly<Record<string, unknown>>) => {
      const sql = `SELECT count(*), sum(t.id), min(t.name) FROM pg1.public.t t JOIN my1.${sales.database}.s s ON s.id = t.id`;
      const { body } = await server.query(sql, fields);
      return body.data ?? body;
    };
    const alter = (type: string) => people.query(`ALTER TABLE t ALTER COLUMN id TYPE ${type}`);
    const open = async () => (await call(server.url, 'POST', '/v1/sessions', { sources })).body.session_id;

    test('is read as what it is, in a session and where instances stay attached', async () => {
      const session = await open();
      for (const fields of [{ session }, { sources }]) {
        const answers = [await joined(fields)];
        for (const type of ['int', 'bigint', 'smallint']) {
          await alter(type);
          answers.push(await joined(fields));
        }
        expect(answers).toEqual(Array(4).fill(RIGHT));
      }
      const { lost, state } = (await server.get(`/v1/sessions/${session}`)).body;
      expect({ lost, state }).toEqual({ lost: [], state: 'ready' });
      expect(server.events('worker.exited')).toEqual([]);
      expect((await call(server.url, 'DELETE', `/v1/sessions/${session}`)).status).toBe(200);
    });

    test('is a crash of the one worker that believes what it has read before, and its session is back', async () => {
      const session = await open();
      for (const [pool, fields] of [
        [poolOfSession(session), { session }],
        ['interactive', { sources }],
      ] as const) {
        await alter('bigint');
        expect(await joined(fields)).toEqual(RIGHT);
        server.fault(pool, 'stale-catalogs');
        await alter('int');
        expect(await joined(fields)).toMatchObject({
          code: 'WORKER_CRASHED',
          worker: { signal: 'SIGSEGV', phase: 'running' },
        });
        await until('a worker is there again', () =>
          server.workers(pool).some(({ status }) => status().state === 'idle'),
        );
        expect(await joined(fields)).toEqual(RIGHT);
      }
      expect((await call(server.url, 'DELETE', `/v1/sessions/${session}`)).status).toBe(200);
    });
  },
);
