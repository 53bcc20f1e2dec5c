import { describe, expect, it } from 'vitest';
import { MB, until, useRunFolders, useWorker } from './worker-harness.ts';

useRunFolders();
const worker = useWorker();

/** Twice, so that the second and third time run what the first one left prepared. */
async function thrice<Value>(run: () => Promise<Value>): Promise<Value[]> {
  return [await run(), await run(), await run()];
}

describe('a read that comes again with the same text', () => {
  it('gives what it gave the first time', async () => {
    const runs = await thrice(() => worker().body("SELECT 42 AS answer, 'duck' AS name"));
    expect(new Set(runs.map((run) => JSON.stringify(run))).size).toBe(1);
  });

  it('takes its own parameters, and not those of the time before', async () => {
    const sql = 'SELECT $1 + 1 AS next, $2 AS text';
    for (const [number, text] of [
      [1, 'one'],
      [2, 'two'],
      [40, null],
      [3.5, 'half'],
    ] as const) {
      const [row] = await worker().rows(sql, { params: [number, text] });
      expect(row).toEqual([number + 1, text]);
    }
  });

  it('is refused without parameters, though it had some the time before', async () => {
    await thrice(() => worker().rows('SELECT $a AS a', { params: { a: 1 } }));
    expect(await worker().failure('SELECT $a AS a')).toMatchObject({ code: 'INVALID_REQUEST' });
    expect(await worker().rows('SELECT $a AS a', { params: { a: 2 } })).toEqual([[2]]);
  });

  it('is whole when it was small before and is large now', async () => {
    const sql = 'SELECT * FROM range($1)';
    for (const rows of [1, 2, 100_000, 0, 2_048, 2_049, 5_000, 3]) {
      const result = await worker().rows(sql, { params: [rows] });
      expect(result).toHaveLength(rows);
      if (rows > 0) expect(result.at(-1)).toEqual([rows - 1]);
    }
  });

  it('stops at its own row limit and byte limit', async () => {
    const sql = 'SELECT * FROM range(5)';
    await thrice(() => worker().rows(sql));
    expect(await worker().body(sql, { rowLimit: 2 })).toMatchObject({ data: [[0], [1]], truncated: true });
    expect(await worker().body(sql, { byteLimit: 7 })).toMatchObject({ data: [[0], [1]], truncated: true });
    expect(await worker().body(sql)).toMatchObject({ truncated: false, data: [[0], [1], [2], [3], [4]] });
  });

  it('is refused with RESULT_TOO_LARGE when it was small before and is too large now', async () => {
    const sql = 'SELECT * FROM range($1)';
    await thrice(() => worker().rows(sql, { params: [1] }));
    const failure = await worker().failure(sql, { params: [1_000_000], maxBytes: MB });
    expect(failure).toMatchObject({ code: 'RESULT_TOO_LARGE', members: { limit: MB } });
    expect(await worker().rows(sql, { params: [1] })).toEqual([[0]]);
  });

  it('fails each time for itself, and is right again after that', async () => {
    const sql = 'SELECT CAST($1 AS INTEGER) AS number';
    expect(await worker().rows(sql, { params: ['1'] })).toEqual([[1]]);
    expect(await worker().failure(sql, { params: ['duck'] })).toMatchObject({ code: 'SQL_ERROR' });
    expect(await worker().rows(sql, { params: ['2'] })).toEqual([[2]]);
  });

  it('is evaluated anew: the time moves on', async () => {
    const now = async () => (await worker().rows('SELECT epoch_us(now())'))[0];
    const first = await now();
    await until('a later time', async () => JSON.stringify(await now()) > JSON.stringify(first));
  });

  it('draws other random numbers, also after one that seeds them', async () => {
    const draw = async () => JSON.stringify(await worker().rows('SELECT random()'));
    const seed = () => worker().rows('SELECT setseed(0.5)');
    await seed();
    const first = await draw();
    await seed();
    expect(await draw()).not.toBe(first);
  });

  it('can be stopped, and runs to its end the next time', async () => {
    const sql = 'SELECT count(*) FROM range($1::BIGINT) t(i) WHERE hash(i) = 1';
    await thrice(() => worker().rows(sql, { params: [10] }));
    const sent = worker().send(sql, { params: [10_000_000_000_000] });
    worker().process.interrupt(sent.seq);
    expect(await sent.end).toMatchObject({ finished: { verdict: { ok: false, code: 'INTERRUPTED' } } });
    expect(await worker().rows(sql, { params: [10] })).toEqual([[0]]);
  });

  it('is one of many: the oldest go, and all are right', async () => {
    for (let round = 0; round < 2; round += 1) {
      for (let number = 0; number < 150; number += 1) {
        expect(await worker().rows(`SELECT ${number} AS number`)).toEqual([[number]]);
      }
    }
  });

  it('is checked like the first time where it was refused the first time', async () => {
    const refused = () => worker().failure("FROM query('SELECT 1')");
    for (const failure of await thrice(refused)) expect(failure).toMatchObject({ code: 'FORBIDDEN' });
  });
});
