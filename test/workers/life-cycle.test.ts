import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PROTOCOL_VERSION } from '../../src/workers/protocol.ts';
import { RunFolders } from '../../src/workers/run-folder.ts';
import { causeOf } from '../../src/workers/worker-exit.ts';
import type { WorkerExit } from '../../src/workers/worker-process.ts';
import { temporaryFolder } from '../support/temp.ts';
import {
  isGone,
  TestWorker,
  UNREACHABLE,
  until,
  useRunFolders,
  type WorkerOptions,
} from './worker-harness.ts';

const folders = useRunFolders();

const start = (options: Partial<WorkerOptions> = {}) =>
  new TestWorker({ heartbeatTimeoutMs: 500, ...options, folders: folders() }).started();

/** A small program in place of a worker's, which does wrong what it is named after. */
const rogue = (wrong: string, options: Partial<WorkerOptions> = {}) =>
  new TestWorker({
    ...options,
    folders: folders(),
    worker: wrong,
    main: join(import.meta.dirname, 'rogue-worker.js'),
  });

describe('a start', () => {
  it('tells the versions it is made of', async () => {
    const worker = await start();
    expect(await worker.ready).toEqual({
      type: 'ready',
      version: PROTOCOL_VERSION,
      duckdb: expect.stringMatching(/^v1\.5\./),
      node: process.version,
    });
    expect(await worker.stop()).toMatchObject({
      stopped: true,
      exitCode: 0,
      signal: undefined,
      killedFor: undefined,
      flight: { phase: 'idle', seq: undefined, wrote: false },
    });
  });

  it('that takes too long is ended', async () => {
    const worker = new TestWorker({ folders: folders(), startTimeoutMs: 20 });
    const exit = await worker.exited;
    expect(exit).toMatchObject({ killedFor: 'start-timeout', signal: 'SIGKILL', stopped: false });
    expect(causeOf(exit, undefined)).toBe('unresponsive');
  });

  it('of a program that says nothing is ended', async () => {
    expect(await rogue('silent', { startTimeoutMs: 200 }).exited).toMatchObject({
      killedFor: 'start-timeout',
    });
  });

  it('of a program that is not there says so', async () => {
    const worker = new TestWorker({ folders: folders(), main: '/nowhere/main.js' });
    const exit = await worker.exited;
    expect(exit).toMatchObject({ exitCode: 1, killedFor: undefined, flight: { phase: 'starting' } });
    expect(exit.lastLines.join('\n')).toContain('/nowhere/main.js');
    expect(causeOf(exit, undefined)).toBe('crash');
  });

  it('without a folder to work in says so', async () => {
    const blocked = await RunFolders.open(await temporaryFolder());
    await blocked.close();
    writeFileSync(blocked.own, 'no folder');
    const exit = await new TestWorker({ folders: blocked }).exited;
    expect(exit).toMatchObject({
      pid: undefined,
      detail: expect.stringMatching(/^could not start: ENOTDIR/),
    });
    expect(causeOf(exit, undefined)).toBe('crash');
  });

  it('of a worker of another version is refused', async () => {
    expect(await rogue('other-version').exited).toMatchObject({ killedFor: 'protocol' });
  });

  it('with settings that DuckDB refuses says what they are', async () => {
    const worker = new TestWorker({
      folders: folders(),
      configure: { tempLimit: 2 ** 52, threads: 1, memoryLimit: 2 ** 52, niceness: 500 },
    });
    expect(await worker.exited).toMatchObject({ exitCode: 1, detail: expect.stringMatching(/priority/) });
  });

  it('may be stopped before it has begun, and at any moment after', async () => {
    for (const delay of [0, 1, 5, 30, 80, 160, 300]) {
      const worker = new TestWorker({ folders: folders() });
      if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
      worker.process.stop();
      const timer = setTimeout(() => worker.process.kill('shutdown'), 5_000);
      const exit = await worker.exited;
      clearTimeout(timer);
      expect(causeOf(exit, undefined), JSON.stringify(exit)).toBe('shutdown');
      expect(worker.exits).toHaveLength(1);
    }
  });

  it('may be killed before it has begun, and at any moment after', async () => {
    for (const delay of [0, 1, 20, 100, 250]) {
      const worker = new TestWorker({ folders: folders() });
      if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
      worker.process.kill('recycled');
      worker.process.kill('timeout');
      expect(await worker.exited).toMatchObject({ killedFor: 'recycled', stopped: false });
      expect(worker.exits).toHaveLength(1);
    }
  });
});

describe('a worker that falls silent', () => {
  it('because it was stopped is killed as unresponsive', async () => {
    const worker = await start();
    process.kill(worker.pid, 'SIGSTOP');
    expect(await worker.exited).toMatchObject({ killedFor: 'unresponsive', signal: 'SIGKILL' });
  });

  it('is not one that runs a long statement', async () => {
    const worker = await start();
    const sent = worker.send(UNREACHABLE);
    const started = performance.now();
    await until('longer than the heartbeat may be late', () => performance.now() - started > 1_200);
    expect(worker.exits).toEqual([]);
    worker.process.kill('timeout');
    expect(await sent.end).toMatchObject({
      killedFor: 'timeout',
      flight: { phase: expect.stringMatching(/preparing|running/) },
    });
  });

  it('is not one whose parent was held up', async () => {
    const worker = await start();
    const end = performance.now() + 1_500;
    while (performance.now() < end);
    expect(await worker.rows('SELECT 42')).toEqual([[42]]);
    await worker.stop();
  });
});

describe('a worker that breaks the protocol ends alone', () => {
  it.each([
    ['garbage-control', /no message of the protocol/],
    ['unknown-message', /no message of the protocol/],
    ['endless-line', /a line is longer than/],
    ['garbage-data', /frame of \d+ bytes/],
    ['unasked-verdict', /a verdict of statement 99/],
    ['unasked-withdrawal', /a withdrawal of statement 99/],
    ['unasked-bytes', /bytes of statement 99/],
    ['too-many-bytes', /bytes of statement 1/],
    ['unasked-pipe', /a pipe of statement 99/],
    ['unasked-end-of-pipe', /the end of a pipe of statement 1,/],
    ['no-pipe', /ENOENT/],
    ['link-for-a-pipe', /ELOOP/],
    ['file-for-a-pipe', /no pipe/],
    ['twice', /a verdict of statement 1,/],
    ['closes-control', /closed its control channel and lived on/],
  ])('%s', async (wrong, detail) => {
    const neighbour = await start();
    const worker = await rogue(wrong).started();
    const sent = worker.send('SELECT 1');
    const exit = await worker.exited;
    expect(exit).toMatchObject({
      killedFor: 'protocol',
      signal: 'SIGKILL',
      detail: expect.stringMatching(detail),
    });
    expect(causeOf(exit, undefined)).toBe('crash');
    const end = await sent.end;
    if (wrong === 'twice') expect(worker.log).toEqual(['finished 1']);
    else expect(end).toBe(exit);
    expect(await neighbour.rows('SELECT 42')).toEqual([[42]]);
    await neighbour.stop();
  });

  it('a verdict that says more bytes than come is never told', async () => {
    const worker = await rogue('too-few-bytes').started();
    const sent = worker.send('SELECT 1');
    await until('its last line', async () => (worker.process.pid !== undefined ? isGone(worker.pid) : false));
    const exit = await worker.exited;
    expect(exit).toMatchObject({ exitCode: 0, killedFor: undefined, stopped: false });
    expect(await sent.end).toBe(exit);
  });

  it('the last lines it wrote are kept, and no more than that', async () => {
    const exit = await rogue('talkative').exited;
    expect(exit.lastLines).toHaveLength(40);
    expect(exit.lastLines.at(-1)).toBe('the end, without a newline');
    expect(exit.lastLines.at(-2)).toBe('line 9999');
    expect(Math.max(...exit.lastLines.map((line) => line.length))).toBeLessThanOrEqual(1_000);
  });

  it('somebody who holds its pipes open does not hold up the news of its death', async () => {
    const started = performance.now();
    const exit = await rogue('leaves-a-child').exited;
    expect(exit).toMatchObject({ exitCode: 3 });
    expect(performance.now() - started).toBeLessThan(10_000);
    process.kill(Number(exit.lastLines.at(-1)), 'SIGKILL');
  });
});

describe('when the parent dies', () => {
  const parent = async (fault: 'none' | 'hang' | 'query', dataDir: string) => {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'parent.js'), dataDir, fault], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (bytes: Buffer) => {
      text += bytes.toString();
    });
    const pid = Number(await until('the worker of the parent', () => /ready (\d+)/.exec(text)?.[1]));
    const exited = new Promise((resolve) => child.once('close', resolve));
    return { child, pid, exited };
  };

  it.each(['none', 'hang', 'query'] as const)(
    'by SIGKILL its worker is gone, whatever it is at: %s',
    async (fault) => {
      const dataDir = await temporaryFolder();
      const { child, pid, exited } = await parent(fault, dataDir);
      expect(isGone(pid)).toBe(false);
      child.kill('SIGKILL');
      await exited;
      await until('the worker is gone', () => isGone(pid));
      // Its folder is left, until the next one that starts sweeps it.
      expect(readdirSync(join(dataDir, 'run'))).toHaveLength(1);
      const next = await RunFolders.open(dataDir);
      expect(readdirSync(join(dataDir, 'run'))).toEqual([next.own.split('/').at(-1)]);
      await next.close();
    },
  );
});

describe('run folders', () => {
  it('of processes that run are left alone, and so is what is no run folder', async () => {
    const dataDir = await temporaryFolder();
    const own = await RunFolders.open(dataDir);
    const namespace = own.own.split('-').at(-1);
    // The last one is of a process in another container.
    const keep = ['notes', 'a-b', 'lost+found', `${process.pid}`, '999999999-1-1'];
    const stale = ['999999999', `${process.pid}`, '1'].map((process) => `${process}-1-${namespace}`);
    for (const name of [...keep, ...stale])
      mkdirSync(join(dataDir, 'run', name, 'worker-1', 'spill'), { recursive: true });
    const again = await RunFolders.open(dataDir);
    expect(again.own).toBe(own.own);
    expect(readdirSync(join(dataDir, 'run')).sort()).toEqual([...keep, own.own.split('/').at(-1)].sort());
    await own.close();
    expect(existsSync(own.own)).toBe(false);
  });

  it('are empty and private each time, and gone when their process is', async () => {
    const worker = await start({ worker: 'again', incarnation: 3 });
    const folder = readlinkSync(`/proc/${worker.pid}/cwd`);
    expect(folder).toMatch(/again-3$/);
    process.kill(worker.pid, 'SIGKILL');
    await worker.exited;
    expect(existsSync(folder)).toBe(false);
  });

  it('may have a relative path', async () => {
    const dataDir = await temporaryFolder();
    const before = process.cwd();
    process.chdir(dataDir);
    const relative = await RunFolders.open('data');
    process.chdir(before);
    const worker = await new TestWorker({ folders: relative }).started();
    expect(readlinkSync(`/proc/${worker.pid}/cwd`)).toBe(
      join(dataDir, 'data', 'run', relative.own.split('/').at(-1) as string, 'worker-1'),
    );
    await worker.stop();
    await relative.close();
  });
});

describe('the cause of an exit', () => {
  const tooMuch = { what: 'memory', limit: 1, used: 2 } as const;
  const exit = (part: Partial<WorkerExit>): WorkerExit => ({
    pid: 1,
    signal: undefined,
    exitCode: undefined,
    killedFor: undefined,
    exceeded: undefined,
    memoryBytes: undefined,
    peakMemoryBytes: undefined,
    stopped: false,
    flight: { phase: 'idle', seq: undefined, wrote: false },
    lastLines: [],
    detail: undefined,
    ...part,
  });

  it.each([
    [exit({ signal: 'SIGSEGV' }), undefined, 'crash'],
    [exit({ exitCode: 0 }), undefined, 'crash'],
    [exit({ exitCode: 0 }), 'shutdown', 'crash'],
    [exit({ exitCode: 0, stopped: true }), undefined, 'shutdown'],
    [exit({ exitCode: 0, stopped: true }), 'shutdown', 'shutdown'],
    [exit({ exitCode: 0, stopped: true }), 'recycle', 'recycled'],
    [exit({ killedFor: 'timeout' }), 'shutdown', 'killed'],
    [exit({ killedFor: 'cancelled' }), undefined, 'killed'],
    [exit({ killedFor: 'unresponsive' }), undefined, 'unresponsive'],
    [exit({ killedFor: 'start-timeout' }), undefined, 'unresponsive'],
    [exit({ killedFor: 'protocol' }), undefined, 'crash'],
    [exit({ killedFor: 'recycled' }), undefined, 'recycled'],
    [exit({ killedFor: 'shutdown' }), undefined, 'shutdown'],
    [
      exit({ killedFor: 'memory', exceeded: tooMuch, flight: { phase: 'running', seq: 1, wrote: false } }),
      undefined,
      'killed',
    ],
    [
      exit({ signal: 'SIGABRT', exceeded: tooMuch, flight: { phase: 'preparing', seq: 1, wrote: false } }),
      'recycle',
      'killed',
    ],
    // No query was at work: were it not counted, a worker that cannot even start would be started for ever.
    [
      exit({
        killedFor: 'memory',
        exceeded: tooMuch,
        flight: { phase: 'starting', seq: undefined, wrote: false },
      }),
      undefined,
      'crash',
    ],
    [
      exit({ killedFor: 'disk', exceeded: tooMuch, flight: { phase: 'idle', seq: 1, wrote: false } }),
      undefined,
      'crash',
    ],
  ] as const)('%o after %s is %s', (ended, asked, cause) => {
    expect(causeOf(ended, asked)).toBe(cause);
  });
});
