/** The real server with real workers, on a free port and a data folder of its own, with short patience and chaos allowed. */
import { writeFile } from 'node:fs/promises';
import { type IncomingHttpHeaders, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, onTestFinished } from 'vitest';
import { stringify } from 'yaml';
import type { RosterEntry, WorkerRoster } from '../../src/actors/worker-roster.ts';
import { loadConfig } from '../../src/config/load.ts';
import { loadConfigAside } from '../../src/config/load-aside.ts';
import { formatProblems } from '../../src/config/problems.ts';
import { type Server, startServer } from '../../src/main.ts';
import type { Fault, Phase } from '../../src/workers/protocol.ts';
import { expectNothingLeaked, type Footprint, footprint } from './leak-check.ts';
import { makeFolder } from './temp.ts';

export type Settings = Readonly<Record<string, unknown>>;
export type LogLine = Readonly<Record<string, unknown>>;

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  // biome-ignore lint/suspicious/noExplicitAny: what a reply holds is what its test says
  readonly body: any;
  readonly ms: number;
}

export interface TestServer {
  readonly url: string;
  readonly dataDir: string;
  readonly server: Server;
  readonly roster: WorkerRoster;
  /** What it logged, oldest first. */
  readonly log: LogLine[];
  /** `POST /v1/query`. Rejects where there was no reply; aborting `signal` is a client that goes away. */
  query(sql: string, fields?: Settings, signal?: AbortSignal): Promise<Reply>;
  get(path: string): Promise<Reply>;
  /** Writes another configuration to its file, settings beside those it began with replaced as a whole. */
  rewrite(options: TestServerOptions): Promise<void>;
  /** `POST /v1/config/reload`. */
  reload(): Promise<Reply>;
  cancel(queryId: string): Promise<Reply>;
  workers(pool?: string): readonly RosterEntry[];
  /** Tells every worker of the pool to have the fault; with a phase, when it next enters that. */
  fault(pool: string, fault: Fault, phase?: Phase): void;
  /** The events of this name in the log. */
  events(name: string): LogLine[];
  footprint(): Promise<Footprint>;
  expectNothingLeaked(before: Footprint): Promise<void>;
  /** Stops it and checks that nothing is left of what there was not before it started. Safe to call again. */
  stop(): Promise<void>;
}

/** A pool as chaos needs it: small, patient enough for a busy machine, quick to come back. */
export function quickPool(settings: Settings = {}): Settings {
  const { restart, ...rest } = settings as { restart?: Settings };
  return {
    size: 1,
    reserve: 0,
    threads: 1,
    nice: 0,
    memory_limit: '256MB',
    memory_hard_limit: '1500MB',
    timeout: '20s',
    cancel_grace: '100ms',
    start_timeout: '20s',
    heartbeat: { interval: '50ms', timeout: '1500ms' },
    queue: { max: 100, timeout: '20s' },
    restart: {
      intensity: 10_000,
      period: '10s',
      shutdown: '2s',
      ...restart,
      backoff: { initial: '5ms', max: '50ms', jitter: 0, ...(restart?.backoff as Settings | undefined) },
    },
    ...rest,
  };
}

export interface TestServerOptions {
  readonly pools?: Readonly<Record<string, Settings>>;
  readonly sources?: Settings;
  readonly config?: Settings;
}

/** Resolves once every worker of every pool is idle. Stopped, and checked for leaks, when the test ends. */
export async function testServer(options: TestServerOptions = {}): Promise<TestServer> {
  const server = await startTestServer(options);
  onTestFinished(() => server.stop());
  await untilIdle(server);
  return server;
}

/**
 * One for all tests of a file or of a `describe`: started before the first of them, stopped and checked for leaks after the last.
 * Every test finds all workers of it idle.
 */
export function useServer(options: TestServerOptions = {}): () => TestServer {
  let server: TestServer | undefined;
  beforeAll(async () => {
    server = await startTestServer(options);
  });
  beforeEach(() => untilIdle(server as TestServer));
  afterAll(() => server?.stop());
  return () => server as TestServer;
}

function untilIdle(server: TestServer): Promise<void> {
  return until(
    'all workers are idle',
    () =>
      server.workers().every(({ status }) => ['idle', 'reserve'].includes(status().state)) &&
      server.workers().some(({ status }) => status().state === 'idle'),
  );
}

/** Links lead to a port of their own, unless a test says which. */
function exportsOf(config: Settings | undefined): Settings {
  const { egress, ...rest } = (config?.exports ?? {}) as { egress?: Settings };
  return { ...rest, egress: { port: 0, ...egress } };
}

/** As {@link testServer}, but at once, and for the caller to stop. */
export async function startTestServer(options: TestServerOptions): Promise<TestServer> {
  const folder = await makeFolder();
  const file = join(folder.path, 'duckcoop.yaml');
  const dataDir = join(folder.path, 'data');
  const rewrite = ({ pools, sources, config }: TestServerOptions) =>
    writeFile(
      file,
      stringify({
        server: { port: 0, drain_timeout: '5s' },
        data_dir: dataDir,
        budget: { memory: '64GB' },
        chaos: { enabled: true },
        // A test that is about one of these says so itself.
        retry: { max: 0 },
        quarantine: { crashes: 1_000_000 },
        ...(sources === undefined ? {} : { sources }),
        ...config,
        sessions: { spare: 0, ...(config?.sessions as Settings | undefined) },
        pools: pools ?? { interactive: quickPool() },
        ...(pools?.exports === undefined ? {} : { exports: exportsOf(config) }),
      }),
    );
  await rewrite(options);
  const loaded = loadConfig({ file });
  if (!loaded.ok) throw new Error(formatProblems(loaded.problems, file));
  const log: LogLine[] = [];
  const logger = pino({ base: null }, { write: (line) => log.push(JSON.parse(line) as LogLine) });

  const before = await footprint({ dataDir });
  const server = await startServer(loaded.config, logger, () => loadConfigAside({ file })).catch(
    async (error: unknown) => {
      await folder.remove();
      throw error;
    },
  );
  const { url, roster } = server;
  const workers = (pool?: string) => (pool === undefined ? roster.all() : roster.ofPool(pool));
  let stopped: Promise<void> | undefined;
  return {
    url,
    dataDir,
    server,
    roster,
    log,
    query: (sql, fields = {}, signal) => call(url, 'POST', '/v1/query', { sql, ...fields }, signal),
    get: (path) => call(url, 'GET', path),
    rewrite: (changed) => rewrite({ ...options, ...changed }),
    reload: () => call(url, 'POST', '/v1/config/reload'),
    cancel: (queryId) => call(url, 'DELETE', `/v1/queries/${queryId}`),
    workers,
    fault: (pool, fault, phase) => {
      for (const { ref } of workers(pool)) ref.tell({ type: 'fault', fault, phase });
    },
    events: (name) => log.filter(({ event }) => event === name),
    footprint: () => footprint({ dataDir, url }),
    expectNothingLeaked: (then) => expectNothingLeaked(then, { dataDir, url }),
    stop: () => {
      const stop = async () => {
        await server.stop();
        await expectNothingLeaked(before, { dataDir });
        await folder.remove();
      };
      stopped ??= stop();
      return stopped;
    },
  };
}

/** One request on a connection of its own, so that nothing of it is left when it is answered. */
export function call(
  url: string,
  method: string,
  path: string,
  body?: Settings,
  signal?: AbortSignal,
  more: Readonly<Record<string, string>> = {},
): Promise<Reply> {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? more : { 'Content-Type': 'application/json', ...more };
    const asked = request(`${url}${path}`, { method, headers, agent: false, ...(signal && { signal }) });
    asked.on('error', reject);
    asked.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('error', reject);
      response.on('end', () => {
        const { statusCode: status = 0, headers } = response;
        const isJson = /[/+]json/.test(headers['content-type'] ?? '');
        resolve({
          status,
          headers,
          body: isJson ? JSON.parse(text) : text,
          ms: performance.now() - started,
        });
      });
    });
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Polls; what does not come true in time is an error that says what did not. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  withinMs = 45_000,
): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${withinMs} ms in vain until ${what}`);
    await sleep(5);
  }
}
