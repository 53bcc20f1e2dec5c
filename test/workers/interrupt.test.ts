import { describe, expect, it } from 'vitest';
import { at, busy, LONG, TestWorker, UNREACHABLE, useRunFolders, useWorker } from './worker-harness.ts';

const folders = useRunFolders();
const worker = useWorker();

const interrupted = { finished: { verdict: { ok: false, code: 'INTERRUPTED' } } };

describe('an interruption', () => {
  it('ends ordinary statements within moments, whatever they are doing', async () => {
    const statements = [
      LONG,
      'SELECT i FROM range(1000000000000) t(i) WHERE hash(i) = 1',
      'SELECT * FROM range(1000000000) t(i) ORDER BY hash(i)',
      'SELECT count(*) FROM range(10000000) a(i) JOIN range(10000000) b(i) ON a.i % 100 = b.i % 100',
      'WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r) SELECT max(i) FROM r',
      'SELECT 1; SELECT count(*) FROM range(1000000000000) t(i) WHERE hash(i) = 1; SELECT 2',
    ];
    for (const sql of statements) {
      const sent = worker().send(sql, { maxBytes: 1e12 });
      await at(worker(), 'running');
      const started = performance.now();
      worker().process.interrupt(sent.seq);
      expect(await sent.end, sql).toMatchObject(interrupted);
      expect(performance.now() - started, sql).toBeLessThan(1_000);
      expect(await worker().rows('SELECT 42')).toEqual([[42]]);
    }
  }, 60_000);

  it('ends a statement that is sending its rows', async () => {
    const sent = worker().send("SELECT i, 'some text' FROM range(1000000000000) t(i)", { maxBytes: 1e12 });
    await at(worker(), 'replying');
    worker().process.interrupt(sent.seq);
    expect(await sent.end).toMatchObject(interrupted);
    expect(await worker().rows('SELECT 42')).toEqual([[42]]);
  });

  it('is never lost, at whatever moment it comes', async () => {
    for (let time = 0; time < 150; time += 1) {
      const sent = worker().send(LONG);
      // From before the statement is taken up to some milliseconds into it.
      const end = performance.now() + (time % 30) / 5;
      while (performance.now() < end) await new Promise((resolve) => setImmediate(resolve));
      worker().process.interrupt(sent.seq);
      expect(await sent.end).toMatchObject(interrupted);
    }
  }, 60_000);

  it('that comes late reaches nothing of the next statement', async () => {
    for (let time = 0; time < 100; time += 1) {
      const first = worker().send('SELECT count(*) FROM range(10000) t(i) WHERE hash(i) % 3 = 1');
      const second = worker().send('SELECT count(*) FROM range(300000) t(i) WHERE i % 3 = 1');
      const end = performance.now() + (time % 20) / 4;
      while (performance.now() < end) await new Promise((resolve) => setImmediate(resolve));
      worker().process.interrupt(first.seq);
      await first.end;
      worker().process.interrupt(first.seq);
      expect(await second.end).toMatchObject({
        finished: { verdict: { ok: true } },
        text: expect.stringContaining('[[100000]]'),
      });
    }
  }, 60_000);

  it('of a statement that is over, or never was, does nothing', async () => {
    const sent = worker().send('SELECT 1');
    await sent.end;
    worker().process.interrupt(sent.seq);
    worker().process.interrupt(4_000_000);
    expect(await worker().rows('SELECT 42')).toEqual([[42]]);
  });

  it('gives back a statement that waits, and leaves the running one alone', async () => {
    const running = worker().send('SELECT count(*) FROM range(30000000) t(i) WHERE hash(i) % 3 = 1');
    const waiting = worker().send('SELECT 1');
    worker().process.interrupt(waiting.seq);
    expect(await waiting.end).toBe('withdrawn');
    expect(await running.end).toMatchObject({ finished: { verdict: { ok: true } } });
  });

  it('does not reach all of DuckDB, and then a kill does', async () => {
    const stuck = await new TestWorker({ folders: folders() }).started();
    const sent = stuck.send(UNREACHABLE);
    const waiting = stuck.send('SELECT 1');
    await at(stuck, 'preparing');
    await busy(stuck);
    stuck.process.interrupt(sent.seq);
    await at(stuck, 'cancelling');
    // The control side lives on beside it: what waits is given back.
    stuck.process.withdraw(waiting.seq);
    expect(await waiting.end).toBe('withdrawn');
    stuck.process.kill('cancelled');
    const exit = await stuck.exited;
    expect(exit).toMatchObject({ killedFor: 'cancelled', flight: { phase: 'cancelling', seq: sent.seq } });
    expect(await sent.end).toBe(exit);
  });
});

describe('the dispatch window', () => {
  it('runs statements one at a time in the order they were sent', async () => {
    const from = worker().log.length;
    const sent = Array.from({ length: 40 }, (_, index) =>
      worker().send(`SELECT ${index} FROM range(${(index % 4) * 1_000 + 1})`),
    );
    const ends = await Promise.all(sent.map(({ end }) => end));
    for (const [index, end] of ends.entries())
      expect(end).toMatchObject({ text: expect.stringContaining(`[[${index}]`) });
    expect(worker().log.slice(from)).toEqual(sent.map(({ seq }) => `finished ${seq}`));
  });

  it('gives back what has not begun, exactly once, and keeps what has', async () => {
    const from = worker().log.length;
    const first = worker().send(LONG);
    const [second, third, fourth] = [2, 3, 4].map((number) => worker().send(`SELECT ${number}`));
    await at(worker(), 'running');
    worker().process.withdraw(first.seq);
    worker().process.withdraw(third?.seq as number);
    worker().process.withdraw(third?.seq as number);
    expect(await third?.end).toBe('withdrawn');
    worker().process.interrupt(first.seq);
    await fourth?.end;
    expect(worker().log.slice(from)).toEqual([
      ...[
        `withdrawn ${third?.seq}`,
        `finished ${first.seq}`,
        `finished ${second?.seq}`,
        `finished ${fourth?.seq}`,
      ],
    ]);
  });

  it('has every statement answered or given back exactly once, whatever is taken back when', async () => {
    const from = worker().log.length;
    const sent = Array.from({ length: 60 }, (_, index) => worker().send(`SELECT ${index} FROM range(3000)`));
    for (const { seq } of sent.filter((_, index) => index % 2 === 1)) {
      worker().process.withdraw(seq);
      if (seq % 3 === 0) worker().process.interrupt(seq);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const ends = await Promise.all(sent.map(({ end }) => end));
    const told = worker()
      .log.slice(from)
      .map((line) => Number(line.split(' ')[1]));
    expect(told.sort((a, b) => a - b)).toEqual(sent.map(({ seq }) => seq));
    for (const [index, end] of ends.entries())
      if (index % 2 === 0) expect(end).toMatchObject({ finished: { verdict: { ok: true } } });
  });
});

describe('the control side of a worker', () => {
  it('hears the parent while DuckDB is busy and while results are encoded', async () => {
    const busy = worker().send(
      "SELECT i, 'text ' || i, {'a': [i, NULL], 'b': i::DECIMAL(38,2)} FROM range(150000) t(i)",
      { maxBytes: 1e12 },
    );
    let slowest = 0;
    let done = false;
    void busy.end.then(() => {
      done = true;
    });
    while (!done) {
      const probe = worker().send('SELECT 1');
      const started = performance.now();
      worker().process.withdraw(probe.seq);
      await probe.end;
      if (!done) slowest = Math.max(slowest, performance.now() - started);
    }
    expect(await busy.end).toMatchObject({ finished: { verdict: { ok: true, rows: 150_000 } } });
    expect(slowest).toBeLessThan(1_500);
  }, 60_000);
});
