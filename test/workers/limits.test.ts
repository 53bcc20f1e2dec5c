/** What a worker process may take, and what becomes of it when it takes more. */

import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { diskQuota } from '../../src/workers/limits.ts';
import { causeOf } from '../../src/workers/worker-exit.ts';
import { temporaryFolder } from '../support/temp.ts';
import { at, LONG, MB, TestWorker, until, useRunFolders, type WorkerOptions } from './worker-harness.ts';

const folders = useRunFolders();

const start = (configure: WorkerOptions['configure'] = {}) =>
  new TestWorker({ folders: folders(), configure: { memoryHardLimit: 700 * MB, ...configure } }).started();

const folderOf = (worker: TestWorker) => readlinkSync(`/proc/${worker.pid}/cwd`);

/** Takes memory that DuckDB's own limit does not count. */
const HOG = 'SELECT mode(hash(range)) FROM range(50000000)';
/** A worker keeps it prepared, with its constant of twenty megabytes. */
const keptLarge = (n: number) =>
  `SELECT count(*) FROM range(2) WHERE repeat('x', ${20_000_000 + n}) = range::VARCHAR`;
/** Scans that threads can share. */
const SHARED =
  'CREATE TEMP TABLE t AS SELECT range AS i FROM range(3000000); SELECT count(*) FROM t, range(1000000) r WHERE hash(i + r.range) = 1';
/** Sorts more than fits into memory. */
const SPILLS = 'SELECT max(h) FROM (SELECT md5(i::VARCHAR) AS h FROM range(6000000) t(i) ORDER BY h)';

describe('memory', () => {
  it('that native code cannot get is an honest error, or an end that says so', async () => {
    const worker = await start({ memoryHardLimit: 330 * MB });
    const end = await worker.send(HOG).end;
    if (end === 'withdrawn') throw new Error('it had begun');
    // An allocation that fails while C++ cleans up after the first one ends the process.
    if ('finished' in end) expect(end.finished.verdict).toMatchObject({ ok: false, code: 'MEMORY_LIMIT' });
    else expect(end).toMatchObject({ signal: 'SIGABRT', exceeded: { what: 'memory', limit: 330 * MB } });
    await worker.stop();
  });

  it('beyond the hard limit is ended by the parent, where the data-segment limit does not know of it', async () => {
    const limit = 300 * MB;
    const worker = await new TestWorker({
      folders: folders(),
      configure: { memoryHardLimit: limit },
      worker: 'maps-much',
      main: join(import.meta.dirname, 'rogue-worker.js'),
    }).started();
    worker.send('SELECT 1');
    const exit = await worker.exited;
    expect(exit).toMatchObject({
      signal: 'SIGKILL',
      killedFor: 'memory',
      exceeded: { what: 'memory', limit },
      stopped: false,
    });
    const { exceeded, memoryBytes, peakMemoryBytes } = exit;
    expect(exceeded?.used).toBeGreaterThan(limit);
    expect([memoryBytes, peakMemoryBytes]).toEqual([exceeded?.used, exceeded?.used]);
  });

  it('of a worker is known from outside, while it lives and after', async () => {
    const worker = await start();
    await until('it has been looked at', () => worker.process.memory);
    const { rssBytes = 0, dataBytes = 0 } = worker.process.memory ?? {};
    expect(rssBytes).toBeGreaterThan(40 * MB);
    expect(dataBytes).toBeGreaterThan(40 * MB);
    const exit = await worker.stop();
    expect(exit.memoryBytes).toBeGreaterThan(40 * MB);
    expect(exit.peakMemoryBytes).toBeGreaterThanOrEqual(exit.memoryBytes as number);
    expect(exit.exceeded).toBeUndefined();
  });

  it('that does not come back when a query is over is noticed', async () => {
    const worker = await start({ memoryHardLimit: 600_000_000 });
    for (let n = 0; n < 15; n += 1) expect(await worker.rows(keptLarge(n))).toEqual([[0]]);
    await until('it is noticed', () => worker.swollen);
    expect(await worker.rows('SELECT 42')).toEqual([[42]]);
    expect(await worker.stop()).toMatchObject({
      stopped: true,
      detail: expect.stringMatching(/^it held \d+ bytes with nothing to do/),
    });
  });
});

describe('memory of a session', () => {
  it('is what its owner has made it hold: nobody replaces the worker for it', async () => {
    const workspace = join(await temporaryFolder(), 'workspace.duckdb');
    const worker = await start({ workspace, memoryHardLimit: 450 * MB, memoryLimit: 256 * MB });
    const table = 'CREATE TEMP TABLE t AS SELECT range AS i, random() AS r FROM range(12000000)';
    await worker.answer(table, { write: true });
    const { finished } = await worker.answer("SELECT length(repeat('x', 2000000000))");
    expect(finished.verdict).toMatchObject({ ok: false, code: 'MEMORY_LIMIT' });
    expect(finished.retire).toBeUndefined();
    // So long it would take to say of another one that its memory does not come back.
    const idleSince = performance.now();
    await until('it has been idle for long', () => performance.now() - idleSince > 1_500);
    expect(worker.swollen).toBe(false);
    expect(await worker.rows('SELECT count(*)::INTEGER FROM t')).toEqual([[12_000_000]]);
    await worker.stop();
  });
});

describe('disk', () => {
  it('is limited for each file, beyond which a write is an error and no signal', async () => {
    const worker = await start({ tempLimit: 100 * MB });
    const quota = diskQuota(100 * MB);
    const limits = readFileSync(`/proc/${worker.pid}/limits`, 'utf8');
    const bytes = Number(/^Max file size +(\d+)/m.exec(limits)?.[1]);
    expect(bytes).toBeGreaterThanOrEqual(quota);
    expect(bytes).toBeLessThan(quota + 1_024);
    const ignored = /^SigIgn:\s+([0-9a-f]+)/m.exec(readFileSync(`/proc/${worker.pid}/status`, 'utf8'))?.[1];
    const SIGXFSZ = 25n;
    expect((BigInt(`0x${ignored}`) >> (SIGXFSZ - 1n)) & 1n).toBe(1n);
    await worker.stop();
  });

  it('beyond the limit of the whole run folder ends the worker, whoever wrote it', async () => {
    const worker = await start({ tempLimit: 1 * MB });
    const sent = worker.send(LONG);
    await at(worker, 'running');
    for (const name of ['one', 'two', 'three']) {
      writeFileSync(join(folderOf(worker), 'spill', name), Buffer.alloc(9 * MB, 1));
    }
    const exit = await worker.exited;
    expect(await sent.end).toBe(exit);
    expect(exit).toMatchObject({
      signal: 'SIGKILL',
      killedFor: 'disk',
      exceeded: { what: 'disk', limit: 1 * MB },
      flight: { phase: 'running', seq: sent.seq },
    });
    expect(exit.exceeded?.used).toBeGreaterThanOrEqual(27 * MB);
    expect(causeOf(exit, undefined)).toBe('killed');
  });

  it('that is full fails a query that spills, and no other', async () => {
    const worker = await start({ memoryLimit: 64 * MB, tempLimit: 1_000 * MB });
    const spill = join(folderOf(worker), 'spill');
    worker.fault('disk-full');
    for (let turn = 0; turn < 2; turn += 1) {
      const verdict = await worker.failure(SPILLS);
      expect(verdict).toMatchObject({ code: 'DISK_LIMIT', members: { limit: 1_000 * MB } });
      // Not DuckDB's own words, which name the file.
      expect(JSON.stringify(verdict)).not.toContain(spill);
      expect(await worker.rows('SELECT 42')).toEqual([[42]]);
    }
    // The flight recorder is written on: it had its bytes before.
    await at(worker, 'idle');
    process.kill(worker.pid, 'SIGKILL');
    expect(await worker.exited).toMatchObject({ flight: { phase: 'idle', seq: 4 }, lastLines: [] });
  });

  it('that is full fails a query whose result is kept, and no other', async () => {
    const worker = await start({ tempLimit: 1_000 * MB });
    const folder = await temporaryFolder();
    worker.fault('disk-full');
    for (let turn = 0; turn < 2; turn += 1) {
      const keep = { path: join(folder, `${turn}.duckdb`), maxBytes: 1_000 * MB };
      const verdict = await worker.failure('SELECT hash(i) AS h FROM range(2000000) r(i)', { keep });
      expect(verdict).toMatchObject({ code: 'DISK_LIMIT' });
      expect(JSON.stringify(verdict)).not.toContain(folder);
      expect(await worker.rows('SELECT 42')).toEqual([[42]]);
    }
    await worker.stop();
  });

  it('is not what a query complains of that only says so', async () => {
    const worker = await start();
    const forged = `SELECT error('{"exception_type":"IO","exception_message":"full","errno":"28"}')`;
    expect(await worker.failure(forged)).toMatchObject({ code: 'SQL_ERROR' });
    await worker.stop();
  });
});

describe('processor time', () => {
  it('is lowered for every thread of a worker, those of its engine too', async () => {
    const worker = await start({ niceness: 9, threads: 3 });
    await worker.rows('SELECT sum(hash(i)) FROM range(5000000) t(i)');
    const nices = threadsOf(worker).map(({ nice }) => nice);
    expect(nices.length).toBeGreaterThan(5);
    expect(new Set(nices)).toEqual(new Set([9]));
    await worker.stop();
  });

  it.each([1, 3])('is taken by as many threads at a time as it may have: %i', async (threads) => {
    const worker = await start({ threads });
    const before = new Map(threadsOf(worker).map(({ thread, ticks }) => [thread, ticks]));
    const spent = () => threadsOf(worker).map(({ thread, ticks }) => ticks - (before.get(thread) ?? 0));
    const sent = worker.send(SHARED, { write: true });
    // In ticks of 10 ms; each of them has its share of a machine that has fewer processors.
    await until('they have worked', () => spent().filter((ticks) => ticks >= 15).length >= threads);
    const busy = spent().filter((ticks) => ticks >= 15).length;
    expect(busy).toBe(threads);
    worker.process.interrupt(sent.seq);
    await sent.end;
    await worker.stop();
  });
});

interface Thread {
  readonly thread: string;
  readonly nice: number;
  /** Of processor time. */
  readonly ticks: number;
}

/** From proc(5), /proc/PID/task/TID/stat. */
function threadsOf(worker: TestWorker): Thread[] {
  return readdirSync(`/proc/${worker.pid}/task`).map((thread) => {
    const stat = readFileSync(`/proc/${worker.pid}/task/${thread}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { thread, nice: Number(fields[16]), ticks: Number(fields[11]) + Number(fields[12]) };
  });
}
