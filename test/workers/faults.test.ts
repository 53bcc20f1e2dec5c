import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DEADLY_FAULTS, type DeadlyFault, type Phase } from '../../src/workers/protocol.ts';
import { causeOf } from '../../src/workers/worker-exit.ts';
import { at, isGone, LONG, MB, TestWorker, useRunFolders, type WorkerOptions } from './worker-harness.ts';

const folders = useRunFolders();

const start = (options: Partial<WorkerOptions> = {}) =>
  new TestWorker({
    heartbeatTimeoutMs: 500,
    ...options,
    configure: { memoryHardLimit: 600 * MB, ...options.configure },
    folders: folders(),
  }).started();

describe('a fault', () => {
  const SQL: Partial<Record<Phase, string>> = {
    preparing: 'SELECT 1',
    running: 'SELECT 1',
    replying: 'SELECT 1',
    idle: 'SELECT 1',
    cancelling: LONG,
  };
  const LIVES_ON: ReadonlySet<DeadlyFault> = new Set(['heartbeat-loss', 'channel-garbage', 'channel-close']);
  interface Expectation {
    readonly signal?: string;
    readonly exitCode?: number;
    readonly killedFor?: string;
    readonly exceeded?: object;
  }
  const ENDS: Record<DeadlyFault, Expectation> = {
    sigsegv: { signal: 'SIGSEGV' },
    sigabrt: { signal: 'SIGABRT' },
    sigkill: { signal: 'SIGKILL' },
    sigstop: { signal: 'SIGKILL', killedFor: 'unresponsive' },
    exit: { exitCode: 1 },
    'exit-0': { exitCode: 0 },
    'exit-1': { exitCode: 1 },
    hang: { signal: 'SIGKILL', killedFor: 'unresponsive' },
    oom: { signal: 'SIGABRT', exceeded: { what: 'memory', limit: 600 * MB } },
    'channel-garbage': { signal: 'SIGKILL', killedFor: 'protocol' },
    'channel-close': { signal: 'SIGKILL' },
    'heartbeat-loss': { signal: 'SIGKILL', killedFor: 'unresponsive' },
  };

  it.each(
    DEADLY_FAULTS.flatMap((fault) =>
      (Object.keys(SQL) as Phase[])
        .filter((phase) => phase === 'running' || fault === 'sigsegv')
        .map((phase) => ({ fault, phase })),
    ),
  )('$fault at $phase is one exit, blamed on the statement that was at it', async ({ fault, phase }) => {
    const worker = await start();
    expect(await worker.rows('SELECT 41')).toEqual([[41]]);
    worker.fault(fault, phase);
    // A worker that lives on for a while has to be at something when it is found out.
    const sent = worker.send(LIVES_ON.has(fault) ? LONG : (SQL[phase] as string));
    const waiting = phase === 'idle' ? undefined : worker.send('SELECT 43');
    if (phase === 'cancelling') {
      await at(worker, 'running');
      worker.process.interrupt(sent.seq);
    }
    const exit = await worker.exited;
    const { signal, exitCode, killedFor, exceeded } = ENDS[fault];
    expect(exit).toMatchObject({
      signal,
      exitCode,
      killedFor,
      exceeded,
      stopped: false,
      flight: { phase, seq: sent.seq },
    });
    const cause = exceeded === undefined ? 'crash' : 'killed';
    expect(causeOf(exit, undefined)).toBe(killedFor === 'unresponsive' ? 'unresponsive' : cause);
    if (phase !== 'idle') expect(await sent.end).toBe(exit);
    if (waiting !== undefined) expect(await waiting.end).toBe(exit);
    expect(worker.exits).toHaveLength(1);
    expect(isGone(exit.pid as number)).toBe(true);
    expect(readdirSync(folders().own)).toEqual([]);
  });

  it.each(DEADLY_FAULTS)(
    '%s of a worker that has nothing to do is an exit that nothing is blamed for',
    async (fault) => {
      const worker = await start();
      worker.fault(fault);
      const exit = await worker.exited;
      expect(exit).toMatchObject({ ...ENDS[fault], flight: { phase: 'idle', seq: undefined } });
    },
  );

  it('at attaching is blamed on the statement that brought the source', async () => {
    const worker = await start();
    worker.fault('sigsegv', 'attaching');
    const sent = worker.send('SELECT 1', {
      attachments: [{ kind: 'files', alias: 'f', path: import.meta.dirname, views: [] }],
    });
    expect(await worker.exited).toMatchObject({
      signal: 'SIGSEGV',
      flight: { phase: 'attaching', seq: sent.seq },
    });
  });

  it('is not had where chaos is not allowed', async () => {
    const worker = await start({ configure: { chaos: false } });
    worker.fault('sigsegv');
    expect(await worker.rows('SELECT 42')).toEqual([[42]]);
    await worker.stop();
  });
});

describe('native crashes', () => {
  it('a SIGSEGV inside DuckDB ends its worker, and the report says at what', async () => {
    const worker = await start();
    const sent = worker.send("SELECT json_structure(repeat('[', 100000) || repeat(']', 100000))");
    const exit = await worker.exited;
    expect(exit).toMatchObject({
      signal: 'SIGSEGV',
      killedFor: undefined,
      stopped: false,
      flight: { seq: sent.seq },
    });
    expect(['preparing', 'running']).toContain(exit.flight.phase);
    expect(await sent.end).toBe(exit);
  });

  it('a signal from outside while DuckDB runs is a crash with its name', async () => {
    for (const signal of ['SIGSEGV', 'SIGBUS', 'SIGILL', 'SIGKILL', 'SIGTERM'] as const) {
      const worker = await start();
      const sent = worker.send(LONG);
      await at(worker, 'running');
      process.kill(worker.pid, signal);
      expect(await worker.exited).toMatchObject({
        signal,
        killedFor: undefined,
        flight: { phase: 'running', seq: sent.seq },
      });
    }
  });
});
