import { describe, expect, it } from 'vitest';
import { type JobAtDeath, judgeDeath, mayBeRetried } from '../../src/actors/worker-death.ts';
import type { WorkerExit } from '../../src/workers/worker-process.ts';

interface Told {
  readonly write?: boolean;
  readonly committed?: boolean;
  readonly stopping?: JobAtDeath['stopping'];
}

function held(seq: number, { write = false, committed = false, stopping }: Told = {}): JobAtDeath {
  const sink = { committed, write: () => undefined, reset: () => undefined, discard: () => undefined };
  return { seq, stopping, job: { statement: { write }, sink } as unknown as JobAtDeath['job'] };
}

function exit(flight: WorkerExit['flight'], told: Partial<WorkerExit> = {}): WorkerExit {
  return {
    pid: 1,
    signal: 'SIGSEGV',
    exitCode: undefined,
    killedFor: undefined,
    exceeded: undefined,
    memoryBytes: undefined,
    peakMemoryBytes: undefined,
    stopped: false,
    flight,
    lastLines: [],
    detail: undefined,
    ...told,
  };
}

const running = (seq: number) => ({ phase: 'running', seq, wrote: false }) as const;
const memory = { what: 'memory', limit: 10, used: 11 } as const;

function judged(died: WorkerExit, jobs: readonly JobAtDeath[], served = true) {
  const { begun, waiting, cause, phase } = judgeDeath(died, { asked: undefined, served, held: jobs });
  return { begun: begun.map(({ seq }) => seq), waiting: waiting.map(({ seq }) => seq), cause, phase };
}

describe('the death of a worker', () => {
  it('is laid to the job it was at, and those that had not begun go elsewhere', () => {
    expect(judged(exit(running(1)), [held(1), held(2), held(3)])).toEqual({
      ...{ begun: [1], waiting: [2, 3] },
      ...{ cause: 'crash', phase: 'running' },
    });
  });

  it('is nobody’s when the worker was idle and had begun nothing', () => {
    const idle = { phase: 'idle', seq: undefined, wrote: false } as const;
    expect(judged(exit(idle), [held(1)])).toMatchObject({ begun: [], waiting: [1], phase: 'idle' });
  });

  it('is laid to a job that was done with but for its verdict', () => {
    const idle = { phase: 'idle', seq: 1, wrote: false } as const;
    expect(judged(exit(idle), [held(1), held(2)])).toMatchObject({ begun: [1], phase: 'replying' });
  });

  it('lets a read that was done before run once more, unseen', () => {
    expect(judged(exit(running(2)), [held(1), held(2)])).toMatchObject({ begun: [2], waiting: [1] });
  });

  it.each([
    ['may have written', { write: true }],
    ['has reached its client', { committed: true }],
    ['was being stopped', { stopping: 'timeout' }],
  ] as const)('is told to one that was done before and %s', (_, told) => {
    expect(judged(exit(running(2)), [held(1, told), held(2)])).toMatchObject({ begun: [1, 2], waiting: [] });
  });

  it('by a kill for one job spares the read that had begun behind it', () => {
    const killed = exit(running(2), { killedFor: 'timeout', signal: 'SIGKILL' });
    expect(judged(killed, [held(1, { stopping: 'timeout' }), held(2)])).toMatchObject({
      ...{ begun: [1], waiting: [2], cause: 'killed' },
    });
  });

  it('at a limit is laid to the job that passed it, though nobody was stopping that', () => {
    expect(judged(exit(running(2), { exceeded: memory }), [held(1), held(2)])).toMatchObject({
      ...{ begun: [2], waiting: [1], cause: 'killed' },
    });
  });

  it('that left no record is laid to the first job, and to every one that may have written', () => {
    const unreadable = { phase: 'starting', seq: undefined, wrote: true } as const;
    const jobs = [held(1), held(2), held(3, { write: true })];
    expect(judged(exit(unreadable), jobs)).toMatchObject({ begun: [1, 3], waiting: [2] });
    expect(judged(exit(unreadable), jobs, false)).toMatchObject({ begun: [], waiting: [1, 2, 3] });
  });
});

describe('another attempt', () => {
  it('is made unless the job may have written', () => {
    const wrote = { phase: 'running', seq: 1, wrote: true } as const;
    expect(mayBeRetried(held(1), exit(wrote))).toBe(true);
    expect(mayBeRetried(held(1, { write: true }), exit(running(1)))).toBe(true);
    expect(mayBeRetried(held(1, { write: true }), exit(wrote))).toBe(false);
  });

  it('is not made of one that the recorder does not speak of, where it may write', () => {
    expect(mayBeRetried(held(1, { write: true }), exit(running(2)))).toBe(false);
  });
});
