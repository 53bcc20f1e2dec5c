/**
 * Real worker processes for tests: started with short timeouts and chaos on, spoken to statement by statement, and
 * at the end of every test nothing may be left of them.
 *
 * ```ts
 * const worker = useWorker();
 * it('...', async () => {
 *   expect(await worker().rows('SELECT 42')).toEqual([[42]]);
 * ```
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { readFlightRecord } from '../../src/workers/flight-recorder.ts';
import { WORKER_MAIN } from '../../src/workers/launch.ts';
import type {
  Configure,
  FailedVerdict,
  Finished,
  InjectedFault,
  Phase,
  Ready,
  Run,
} from '../../src/workers/protocol.ts';
import { RunFolders } from '../../src/workers/run-folder.ts';
import { type WorkerExit, WorkerProcess } from '../../src/workers/worker-process.ts';
import { expectNothingLeaked, type Footprint, footprint } from '../support/leak-check.ts';
import { makeFolder } from '../support/temp.ts';

export const MB = 1024 * 1024;

/** The extensions this checkout has. */
export const EXTENSIONS = fileURLToPath(new URL('../../extensions', import.meta.url));

export interface Body {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  readonly data: readonly unknown[];
}

/** A statement that has been answered. */
export interface Answer {
  readonly finished: Finished;
  /** The result's text, `"columns":[...],"data":[...]`. */
  readonly text: string;
  readonly bytes: Buffer;
}

export type RunOptions = Partial<Omit<Run, 'type' | 'seq' | 'sql'>>;

export interface Sent {
  readonly seq: number;
  /** How it ended: answered, given back without having begun, or gone with its worker. */
  readonly end: Promise<Answer | 'withdrawn' | WorkerExit>;
}

export interface WorkerOptions {
  readonly folders: RunFolders;
  readonly configure?: Partial<Configure>;
  readonly main?: string;
  readonly worker?: string;
  readonly incarnation?: number;
  readonly startTimeoutMs?: number;
  readonly heartbeatTimeoutMs?: number;
}

export class TestWorker {
  readonly process: WorkerProcess;
  readonly ready: Promise<Ready>;
  readonly exited: Promise<WorkerExit>;
  /** Every exit that was told: there must only ever be one. */
  readonly exits: WorkerExit[] = [];
  /** What happened to statements, in order: `finished 1`, `withdrawn 2`. */
  readonly log: string[] = [];
  /** Told that its memory does not come back. */
  swollen = false;
  readonly #pieces = new Map<number, Buffer[]>();
  readonly #pending = new Map<number, (end: Answer | 'withdrawn' | WorkerExit) => void>();
  #lastSeq = 0;

  constructor(options: WorkerOptions) {
    const ready = deferred<Ready>();
    const exited = deferred<WorkerExit>();
    this.ready = ready.promise;
    this.exited = exited.promise;
    const settle = (seq: number, end: Answer | 'withdrawn' | WorkerExit) => {
      this.#pending.get(seq)?.(end);
      this.#pending.delete(seq);
    };
    const { configure, folders, ...rest } = options;
    this.process = new WorkerProcess(
      {
        worker: 'worker',
        incarnation: 1,
        main: WORKER_MAIN,
        startTimeoutMs: 30_000,
        heartbeatTimeoutMs: 10_000,
        ...rest,
        folders,
        configure: {
          threads: 2,
          memoryLimit: 256 * MB,
          memoryHardLimit: 1_536 * MB,
          tempLimit: 256 * MB,
          extensions: { directory: EXTENSIONS, names: [] },
          allowFunctions: [],
          heartbeatMs: 50,
          niceness: 5,
          chaos: true,
          ...configure,
        },
      },
      {
        ready: (versions) => ready.resolve(versions),
        bytes: (seq, bytes) => {
          const pieces = this.#pieces.get(seq) ?? [];
          pieces.push(Buffer.from(bytes));
          this.#pieces.set(seq, pieces);
        },
        finished: (finished) => {
          this.log.push(`finished ${finished.seq}`);
          const piped = Buffer.concat(this.#pieces.get(finished.seq) ?? []);
          this.#pieces.delete(finished.seq);
          expect(piped.length).toBe(finished.bytes);
          const bytes = finished.body === undefined ? piped : Buffer.from(finished.body);
          settle(finished.seq, { finished, text: bytes.toString('utf8'), bytes });
        },
        progress: () => undefined,
        swollen: () => {
          this.swollen = true;
        },
        withdrawn: (seq) => {
          this.log.push(`withdrawn ${seq}`);
          settle(seq, 'withdrawn');
        },
        exit: (exit) => {
          this.exits.push(exit);
          for (const seq of [...this.#pending.keys()]) settle(seq, exit);
          exited.resolve(exit);
        },
      },
    );
  }

  /** Resolves when it takes statements; rejects where it ends instead. */
  async started(): Promise<this> {
    const first = await Promise.race([this.ready, this.exited]);
    if ('killedFor' in first) throw new Error(`the worker did not start: ${JSON.stringify(first)}`);
    return this;
  }

  get pid(): number {
    return this.process.pid as number;
  }

  send(sql: string, options: RunOptions = {}): Sent {
    this.#lastSeq += 1;
    const seq = this.#lastSeq;
    const { promise, resolve } = deferred<Answer | 'withdrawn' | WorkerExit>();
    this.#pending.set(seq, resolve);
    this.process.run({
      seq,
      sql,
      rowFormat: 'arrays',
      maxBytes: 64 * MB,
      attachments: [],
      write: false,
      ...options,
    });
    return { seq, end: promise };
  }

  /** The answer to a statement; rejects where the worker ended over it. */
  async answer(sql: string, options?: RunOptions): Promise<Answer> {
    const end = await this.send(sql, options).end;
    if (end === 'withdrawn' || !('finished' in end)) throw new Error(`no answer: ${JSON.stringify(end)}`);
    return end;
  }

  /** The result of a statement that succeeds. */
  async body(sql: string, options?: RunOptions): Promise<Body & { readonly truncated: boolean }> {
    const { finished, text } = await this.answer(sql, options);
    const { verdict } = finished;
    if (!verdict.ok) throw new Error(`${sql}: ${verdict.code}: ${verdict.detail}`);
    const body = JSON.parse(`{${text}}`) as Body;
    expect(body.data).toHaveLength(verdict.rows);
    return { ...body, truncated: verdict.truncated };
  }

  async rows(sql: string, options?: RunOptions): Promise<readonly unknown[]> {
    return (await this.body(sql, options)).data;
  }

  /** The verdict on a statement that fails. */
  async failure(sql: string, options?: RunOptions): Promise<FailedVerdict> {
    const { verdict } = (await this.answer(sql, options)).finished;
    if (verdict.ok) throw new Error(`${sql}: succeeded with ${verdict.rows} rows`);
    return verdict;
  }

  fault(fault: InjectedFault, phase?: Phase, seq?: number): void {
    this.process.injectFault(fault, phase, seq);
  }

  /** Ends it in peace, or by force where it does not end. */
  async stop(): Promise<WorkerExit> {
    this.process.stop();
    const timer = setTimeout(() => this.process.kill('shutdown'), 3_000);
    const exit = await this.exited;
    clearTimeout(timer);
    return exit;
  }
}

/** A data folder for the tests of a file, and a check after each that nothing of its workers is left. */
export function useRunFolders(): () => RunFolders {
  let folders: RunFolders;
  let dataDir: string;
  let remove: () => Promise<void>;
  let before: Footprint;
  beforeAll(async () => {
    ({ path: dataDir, remove } = await makeFolder());
    folders = await RunFolders.open(dataDir);
  });
  afterAll(async () => {
    await folders.close();
    await remove();
  });
  beforeEach(async () => {
    before = await footprint({ dataDir });
  });
  afterEach(async () => {
    await expectNothingLeaked(before, { dataDir });
  });
  return () => folders;
}

/** One worker for all tests of a file that leave it as it was. */
export function useWorker(options: Omit<WorkerOptions, 'folders'> = {}): () => TestWorker {
  let worker: TestWorker;
  let folders: RunFolders;
  let remove: () => Promise<void>;
  beforeAll(async () => {
    const folder = await makeFolder();
    ({ remove } = folder);
    folders = await RunFolders.open(folder.path);
    worker = await new TestWorker({ ...options, folders }).started();
  });
  afterAll(async () => {
    const before = worker.exits.length;
    const exit = await worker.stop();
    await folders.close();
    await remove();
    expect({ before, exit }).toMatchObject({ before: 0, exit: { stopped: true, lastLines: [] } });
  });
  return () => worker;
}

/** Waits until a worker is at a phase of a statement, as its own flight recorder says. */
export async function at(worker: TestWorker, phase: Phase): Promise<void> {
  const folder = readlinkSync(`/proc/${worker.pid}/cwd`);
  await until(`at ${phase}`, () => readFlightRecord(folder).phase === phase);
}

/** Waits until a worker that had nothing to do is at work, and past what can still be taken back. */
export async function busy(worker: TestWorker): Promise<void> {
  // Ticks of 10 ms that its threads have run (proc(5), fields 14 and 15 of stat).
  const ticks = () => {
    const stat = readFileSync(`/proc/${worker.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(fields[11]) + Number(fields[12]);
  };
  const before = ticks();
  await until('busy', () => ticks() > before + 20);
}

/** True when the process has ended, whether or not its parent has taken note. */
export function isGone(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return true;
  }
}

/** Runs until it is interrupted, which takes a moment. */
export const LONG = 'SELECT count(*) FROM range(1000000000000) t(i) WHERE hash(i) = 1';
/** Runs for minutes, and no interruption reaches it. */
export const UNREACHABLE = "SELECT levenshtein(repeat('a', 300000), repeat('b', 300000))";

/** A promise and what settles it. */
export function deferred<Value>(): { readonly promise: Promise<Value>; resolve(value: Value): void } {
  let resolve: (value: Value) => void = () => undefined;
  const promise = new Promise<Value>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** Polls until `condition` gives something. */
export async function until<Value>(
  what: string,
  condition: () => Value | undefined | false | null | Promise<Value | undefined | false | null>,
  withinMs = 45_000,
): Promise<Value> {
  const end = performance.now() + withinMs;
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== false && value !== null) return value;
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(5);
  }
}
