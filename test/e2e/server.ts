/**
 * `duckcoop serve` as a process: the built command, spoken to over HTTP and with signals as anybody would.
 *
 * Whoever starts one ends it with {@link Served.stop} or {@link Served.assertNothingLeft}, which say what is left behind.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { expect, onTestFinished } from 'vitest';
import { parse, stringify } from 'yaml';
import { readFlightRecord } from '../../src/workers/flight-recorder.ts';
import { type Ended, ROOT } from '../support/cli.ts';
import { temporaryFolder } from '../support/temp.ts';
import { eventually } from './poll.ts';
import { childrenOf, isListenedOn, isRunning, processesIn } from './processes.ts';

export const DUCKCOOP = join(ROOT, 'bin/duckcoop.js');
export const QUICKSTART = join(ROOT, 'examples/quickstart.yaml');

export interface LogLine {
  readonly level: number;
  readonly event?: string;
  readonly [member: string]: unknown;
}

export interface Worker {
  readonly id: string;
  readonly pool: string;
  readonly pid: number;
  readonly state: string;
  readonly incarnation: number;
  readonly query_id: string | null;
  readonly queries: number;
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON; throws where it is none. */
  json<Body = Record<string, unknown>>(): Body;
}

export interface ServeOptions {
  /** The configuration; defaults without one. */
  readonly file?: string;
  /** Its `data_dir`. */
  readonly dataDir: string;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
}

export class Served {
  readonly url: string;
  readonly pid: number;
  readonly dataDir: string;
  readonly ended: Promise<Ended>;
  /** Every reply so far, headers and body: for those who look for what must not be in any. */
  readonly replies: string[] = [];
  readonly #process: ChildProcess;
  readonly #output: { readonly stdout: string; readonly stderr: string };
  #told = false;

  private constructor(
    url: string,
    dataDir: string,
    child: ChildProcess,
    ended: Promise<Ended>,
    output: { readonly stdout: string; readonly stderr: string },
  ) {
    this.url = url;
    this.pid = child.pid as number;
    this.dataDir = dataDir;
    this.ended = ended;
    this.#process = child;
    this.#output = output;
  }

  /** Resolves once it listens and a pool is ready. In a process group of its own, as under a terminal. */
  static async start(options: ServeOptions): Promise<Served> {
    const { file, dataDir, cwd, env = {}, args = ['--port', '0'] } = options;
    const config = file === undefined ? [] : ['--config', file];
    const child = spawn(process.execPath, [DUCKCOOP, 'serve', ...config, ...args], {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const output = { stdout: '', stderr: '' };
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output.stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      output.stderr += text;
    });
    const ended = once(child, 'close').then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
      ...output,
      bytes: Buffer.from(output.stdout),
    }));
    // A test run that ends early leaves nothing running.
    const kill = () => child.kill('SIGKILL');
    process.once('exit', kill);
    void ended.then(() => process.off('exit', kill));
    let over = false;
    void ended.then(() => {
      over = true;
    });
    const url = await eventually(
      () => {
        if (over) throw new Error(`duckcoop serve ended at once:\n${output.stdout}${output.stderr}`);
        return logOf(output.stdout).find(({ msg }) => msg === 'listening')?.url as string | undefined;
      },
      { what: 'the log says that it listens', timeoutMs: 30_000 },
    );
    return new Served(url, dataDir, child, ended, output);
  }

  get wasKilled(): boolean {
    return this.#process.signalCode === 'SIGKILL';
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  /** All lines of the log so far, each of which has to be JSON. */
  log(event?: string): LogLine[] {
    const lines = logOf(this.#output.stdout);
    return event === undefined ? lines : lines.filter((line) => line.event === event);
  }

  /** Everything it has written. */
  get output(): string {
    return this.#output.stdout + this.#output.stderr;
  }

  async request(method: string, path: string, init: Omit<RequestInit, 'method'> = {}): Promise<Reply> {
    const response = await fetch(new URL(path, this.url), { ...init, method });
    const text = await response.text();
    this.replies.push(`${JSON.stringify([...response.headers])}\n${text}`);
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: <Body>() => JSON.parse(text) as Body,
    };
  }

  get(path: string): Promise<Reply> {
    return this.request('GET', path);
  }

  post(path: string, body?: unknown): Promise<Reply> {
    if (body === undefined) return this.request('POST', path);
    return this.request('POST', path, {
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
  }

  query(sql: string, fields: Readonly<Record<string, unknown>> = {}): Promise<Reply> {
    return this.post('/v1/query', { sql, ...fields });
  }

  async workers(): Promise<Worker[]> {
    return (await this.get('/v1/workers')).json<{ workers: Worker[] }>().workers;
  }

  /** The worker that is at a query, as soon as its process has begun it: before that, its death would not cost the query. */
  busyWorker(queryId?: string): Promise<Worker> {
    return eventually(
      async () =>
        (await this.workers()).find(
          (worker) =>
            worker.state === 'busy' &&
            (queryId === undefined || worker.query_id === queryId) &&
            this.#hasBegun(worker),
        ),
      { what: 'a worker is busy' },
    );
  }

  #hasBegun({ id, incarnation }: Worker): boolean {
    return this.#ownFolders().some((folder) => {
      const own = join(this.dataDir, 'run', folder, `${id}-${incarnation}`);
      return !['starting', 'idle'].includes(readFlightRecord(own).phase);
    });
  }

  /** Resolves once so many workers, and one in reserve (the default), are there and have nothing to do; and a spare of sessions, if any. */
  idleWorkers(size: number): Promise<Worker[]> {
    const wanted = [...Array(size).fill('idle'), 'reserve'];
    return eventually(
      async () => {
        const workers = await this.workers();
        const pooled = workers.filter(({ state }) => state !== 'spare');
        const states = pooled.map(({ state }) => state).toSorted();
        return isDeepStrictEqual(states, wanted) ? pooled : undefined;
      },
      { what: `${size} idle workers and one in reserve` },
    );
  }

  /** Names of the run folders of its workers. */
  runFolders(): string[] {
    return this.#ownFolders().flatMap((folder) => readdirSync(join(this.dataDir, 'run', folder)));
  }

  signal(signal: NodeJS.Signals): void {
    this.#told = true;
    this.#process.kill(signal);
  }

  /** Which does not end it. */
  reloadSignal(): void {
    this.#process.kill('SIGHUP');
  }

  /** As a terminal does on Ctrl-C: to the whole process group. */
  signalGroup(signal: NodeJS.Signals): void {
    this.#told = true;
    process.kill(-this.pid, signal);
  }

  /** While it serves: every child is a listed worker, every folder is a worker's, no query is on its way. */
  async assertQuiet(workers: number): Promise<void> {
    await this.idleWorkers(workers);
    const all = await this.workers();
    expect(childrenOf(this.pid).toSorted()).toEqual(all.map(({ pid }) => pid).toSorted());
    expect(this.runFolders().toSorted()).toEqual(
      all.map(({ id, incarnation }) => `${id}-${incarnation}`).toSorted(),
    );
    for (const state of ['queued', 'running']) {
      const { queries } = (await this.get(`/v1/queries?state=${state}`)).json<{ queries: unknown[] }>();
      expect(queries).toEqual([]);
    }
    expect(this.#pairs()).toEqual({ withoutEnd: [], withoutStart: [] });
  }

  /** Ends it with SIGTERM unless it was told already, and holds that it did so in order and left nothing. */
  async stop(): Promise<Ended> {
    if (!this.#told && isRunning(this.pid)) this.signal('SIGTERM');
    const ended = await this.ended;
    expect({ code: ended.code, signal: ended.signal, stderr: ended.stderr }).toEqual({
      code: 0,
      signal: null,
      stderr: '',
    });
    await this.assertNothingLeft();
    expect(this.#pairs()).toEqual({ withoutEnd: [], withoutStart: [] });
    return ended;
  }

  /** No process, no run folder, no socket. */
  async assertNothingLeft(): Promise<void> {
    await this.ended;
    expect(this.#leftProcesses()).toEqual([]);
    expect(this.#ownFolders()).toEqual([]);
    expect(isListenedOn(this.port)).toBe(false);
  }

  /** The workers' processes that still run, by what their folders and the log say. */
  leftWorkers(): number[] {
    return this.#leftProcesses();
  }

  #leftProcesses(): number[] {
    const known = this.log('worker.ready').map(({ pid }) => pid as number);
    const run = join(existsSync(this.dataDir) ? realpathSync(this.dataDir) : this.dataDir, 'run');
    const inFolder = processesIn(run).filter((pid) => childrenOf(this.pid).includes(pid));
    return [...new Set([...known.filter(isRunning), ...inFolder, ...childrenOf(this.pid)])];
  }

  #ownFolders(): string[] {
    const run = join(this.dataDir, 'run');
    return existsSync(run) ? readdirSync(run).filter((name) => name.startsWith(`${this.pid}-`)) : [];
  }

  #pairs(): { withoutEnd: unknown[]; withoutStart: unknown[] } {
    const ids = (event: string) => this.log(event).map(({ query_id }) => query_id);
    const started = ids('query.started');
    const ended = ids('query.ended');
    expect(new Set(started).size).toBe(started.length);
    expect(new Set(ended).size).toBe(ended.length);
    return {
      withoutEnd: started.filter((id) => !ended.includes(id)),
      withoutStart: ended.filter((id) => !started.includes(id)),
    };
  }
}

function logOf(text: string): LogLine[] {
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as LogLine);
}

/** Writes a configuration into a folder; its data lies beside it, and the extensions are the project's. */
export async function writeConfiguration(
  folder: string,
  yaml: string,
): Promise<ServeOptions & { readonly file: string }> {
  const file = join(folder, 'duckcoop.yaml');
  const directory = JSON.stringify(join(ROOT, 'extensions'));
  // Few tests are about sessions, and each spare is one more process to start.
  const sessions = /^sessions:/m.test(yaml) ? '' : 'sessions: { spare: 0 }\n';
  await writeFile(file, `data_dir: ./data\nextensions: { directory: ${directory} }\n${sessions}${yaml}`);
  return { file, dataDir: join(folder, 'data') };
}

/** Serves a configuration until the test ends, and then ends the server if the test has not. */
export async function serve(yaml: string, options: Partial<ServeOptions> = {}): Promise<Served> {
  const written = await writeConfiguration(await temporaryFolder(), yaml);
  return endedWithTest(await Served.start({ ...written, ...options }));
}

/** The configuration that `npm start` serves. */
export async function serveQuickstart(): Promise<Served> {
  return endedWithTest(await startQuickstart());
}

/** The same, but a query whose worker dies hears of it: it has one attempt, however often it crashes. */
export async function serveQuickstartWithoutRetry(): Promise<Served> {
  return await serve(`${await quickstartElsewhere()}retry: { max: 0 }\nquarantine: { crashes: 1000 }\n`);
}

/** The configuration that `npm start` serves, for a file in another folder, with data of its own. */
export async function quickstartElsewhere(): Promise<string> {
  const { data_dir, extensions, server, ...rest } = parse(await readFile(QUICKSTART, 'utf8'));
  const examples = JSON.stringify(dirname(QUICKSTART)).slice(1, -1);
  return stringify(rest).replaceAll('./data/', `${examples}/data/`);
}

export function startQuickstart(): Promise<Served> {
  return Served.start({ file: QUICKSTART, dataDir: join(dirname(dirname(QUICKSTART)), '.duckcoop') });
}

function endedWithTest(served: Served): Served {
  onTestFinished(async () => {
    if (served.wasKilled) await served.assertNothingLeft();
    else await served.stop();
  });
  return served;
}

/** Runs until it is stopped or killed, on all threads, and can be interrupted. */
export const ENDLESS =
  'SELECT count(*) FROM range(100000000000) a(x), range(1000) b(y) WHERE hash(x + y) = 1';
