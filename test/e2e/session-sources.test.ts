/** Sources that a session keeps attached, while their tables change under it: right answers each time, and no crash. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../support/cli.ts';
import { mariadb, postgres } from '../support/servers.ts';
import { call, quickPool, testServer } from '../support/test-server.ts';

const [pg, my] = await Promise.all([postgres(), mariadb()]);

test.skipIf(pg === undefined || my === undefined)(
  'a column that gets another type between two runs of a join is read as what it is',
  async () => {
    if (pg === undefined || my === undefined) return;
    const [people, sales] = await Promise.all([pg.createDatabase(), my.createDatabase()]);
    try {
      await people.query(
        "CREATE TABLE t (id bigint, name text); INSERT INTO t SELECT i, '😀' || i FROM generate_series(1, 5000) i",
      );
      await sales.query('CREATE TABLE s (id bigint)');
      await sales.query(
        `INSERT INTO s VALUES ${Array.from({ length: 100 }, (_, i) => `(${i + 1})`).join(',')}`,
      );
      const source = ({ host, port, user, password, database }: typeof people, kind: string) => ({
        ...{ kind, host, port, user, database },
        ...(password === '' ? {} : { password }),
      });
      const server = await testServer({
        pools: { interactive: quickPool() },
        config: { extensions: { directory: join(ROOT, 'extensions') } },
        sources: { pg1: source(people, 'postgres'), my1: source(sales, 'mysql') },
      });
      const opened = await call(server.url, 'POST', '/v1/sessions', { sources: ['pg1', 'my1'] });
      const session = opened.body.session_id;
      const sql = `SELECT count(*), sum(t.id), min(t.name) FROM pg1.public.t t JOIN my1.${sales.database}.s s ON s.id = t.id`;
      const answers = [];
      for (const type of [undefined, 'int', 'bigint', 'smallint']) {
        if (type !== undefined) await people.query(`ALTER TABLE t ALTER COLUMN id TYPE ${type}`);
        const { body } = await server.query(sql, { session });
        answers.push(body.data ?? body);
      }
      expect(answers).toEqual(Array(4).fill([[100, 5050, '😀1']]));
      const { lost, state } = (await server.get(`/v1/sessions/${session}`)).body;
      expect({ lost, state }).toEqual({ lost: [], state: 'ready' });
      expect(server.events('worker.exited')).toEqual([]);
      expect((await call(server.url, 'DELETE', `/v1/sessions/${session}`)).status).toBe(200);
      await server.stop();
    } finally {
      await Promise.all([people.drop(), sales.drop()]);
    }
  },
);
