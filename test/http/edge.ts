/**
 * A real listening server over scripted services, clients that speak HTTP or anything else to it, and the check
 * that nothing of all that is left behind.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { afterEach, beforeEach, expect } from 'vitest';
import type { ResultSink } from '../../src/actors/job.ts';
import type {
  QueryRequest,
  QueryResult,
  QueryService,
  QueryStats,
  QueryView,
} from '../../src/actors/query.ts';
import type { AuthConfig } from '../../src/config/auth.ts';
import { Failure } from '../../src/failures.ts';
import { createApp } from '../../src/http/app.ts';
import type { AuthFailure } from '../../src/http/auth.ts';
import { EventStreams } from '../../src/http/event-streams.ts';
import { Listener, type ListenerOptions } from '../../src/http/listener.ts';
import type {
  CrashService,
  HttpLimits,
  HttpServices,
  OperationsService,
  RequestEvent,
  SourceService,
} from '../../src/http/services.ts';
import { mayUseSource, type Principal } from '../../src/principal.ts';
import type { SupervisionNode } from '../../src/supervisors/supervisor-handle.ts';
import { EventLog } from '../../src/telemetry/event-log.ts';
import { Events } from '../../src/telemetry/events.ts';

export const STATS: QueryStats = {
  queueMs: 0.4,
  runMs: 1.6,
  totalMs: 2.2,
  rows: 1,
  bytes: 42,
  peakMemoryBytes: 4096,
  worker: 'interactive-1',
  attempts: 1,
};

export const TREE: SupervisionNode = {
  path: '/',
  kind: 'supervisor',
  state: 'running',
  strategy: 'one_for_one',
  restart: null,
  incarnation: 1,
  restarts: 0,
  intensity: 3,
  period_ms: 5000,
  backoff: null,
  children: [],
};

/** A result around the bytes of `data`, as a worker encodes it. */
export function resultOf(data = '[[42]]', ...more: Uint8Array[]): QueryResult {
  const columns = Buffer.from('"columns":[{"name":"42","type":"INTEGER"}],');
  return {
    body: [columns, Buffer.from(`"data":${data}`), ...more],
    rowCount: 1,
    truncated: false,
    stats: STATS,
  };
}

/** A result of `bytes` and a little more, in a single piece. */
export function largeResult(bytes: number): QueryResult {
  const body = Buffer.alloc(bytes, 'x');
  body.write('"columns":[],"data":[["');
  body.write('"]]', bytes - 3);
  return { body: [body], rowCount: 1, truncated: false, stats: STATS };
}

/** Answers as it is told to, and remembers what it was asked. */
export class ScriptedQueries implements QueryService {
  answer: (request: QueryRequest, sink?: ResultSink) => Promise<QueryResult> = () =>
    Promise.resolve(resultOf());
  readonly requests: QueryRequest[] = [];
  readonly abandoned: string[] = [];
  readonly views = new Map<string, QueryView>();
  readonly filters: unknown[] = [];
  readonly cancelled: [string, string][] = [];
  /** Who asked for views and lists. */
  readonly askers: string[] = [];

  follow() {
    return undefined;
  }

  submit(): Promise<QueryView> {
    return Promise.reject(new Failure('DISK_LIMIT', 'No results are kept here.'));
  }

  async ended() {}

  open() {
    return undefined;
  }

  dropResult() {
    return false;
  }

  async idle() {}

  run(request: QueryRequest, sink?: ResultSink) {
    this.requests.push(request);
    const { queryId } = request;
    return { queryId, result: this.answer(request, sink), abandon: () => void this.abandoned.push(queryId) };
  }

  get(queryId: string, { name }: Principal) {
    this.askers.push(name);
    return this.views.get(queryId);
  }

  list(filter: Parameters<QueryService['list']>[0], { name }: Principal) {
    this.askers.push(name);
    if (filter.cursor === 'bad') throw new Failure('INVALID_REQUEST', 'This cursor is not ours.');
    this.filters.push(filter);
    return { queries: [...this.views.values()], next: filter.cursor === undefined ? 'page-2' : undefined };
  }

  async cancel(queryId: string, { name }: Principal) {
    this.cancelled.push([queryId, name]);
    return this.views.has(queryId) ? ('killed' as const) : undefined;
  }
}

export interface Edge {
  readonly url: string;
  readonly port: number;
  readonly queries: ScriptedQueries;
  readonly listener: Listener;
  readonly errors: unknown[];
  readonly events: RequestEvent[];
  /** Why requests were refused for their key. */
  readonly authFailures: AuthFailure[];
  /** What happens in the server behind it. */
  readonly serverEvents: Events;
  readonly eventStreams: EventStreams;
}

export interface EdgeOptions {
  readonly limits?: Partial<HttpLimits>;
  readonly listener?: Partial<ListenerOptions>;
  readonly operations?: Partial<OperationsService>;
  readonly sources?: Partial<SourceService>;
  readonly crashes?: Partial<CrashService>;
  /** No authentication without. */
  readonly auth?: () => AuthConfig;
  /** Any name in `Host` without. */
  readonly allowedHosts?: () => readonly string[];
  readonly eventStreams?: { readonly keep?: number; readonly max?: number; readonly heartbeatMs?: number };
}

const NO_KEYS: AuthConfig = { mode: 'none', principals: {}, inline_sources: [] };

const opened: (() => Promise<void>)[] = [];
let before: Map<string, number>;

/** Starts a server that the leak check stops. */
export async function openEdge(options: EdgeOptions = {}): Promise<Edge> {
  const queries = new ScriptedQueries();
  const errors: unknown[] = [];
  const events: RequestEvent[] = [];
  const authFailures: AuthFailure[] = [];
  const known = [
    { alias: 'pg1', kind: 'postgres' },
    { alias: 'landing', kind: 'files' },
  ];
  const serverEvents = new Events();
  const { keep = 1_000, ...streams } = options.eventStreams ?? {};
  const eventLog = new EventLog({ events: serverEvents, run: 'run1', keep, now: () => 1_700_000_000_000 });
  const eventStreams = new EventStreams(streams);
  const services: HttpServices = {
    queries,
    sources: {
      list: (principal) => known.filter(({ alias }) => mayUseSource(principal, alias)),
      has: (alias) => known.some((source) => source.alias === alias),
      check: async () => ({ ok: true, ms: 3.7 }),
      replaceCredentials: async () => ({ version: 2 }),
      tables: async () => ({ tables: [], next: undefined }),
      columns: async () => ({ sql: '', columns: [] }),
      ...options.sources,
    },
    // What sessions do is held on the real server.
    sessions: {
      list: async () => [],
      open: noSession,
      get: noSession,
      change: noSession,
      close: noSession,
    },
    // Nor what exports do.
    exports: {
      list: () => [],
      create: noExport,
      get: () => {
        throw nothingThere();
      },
      delete: noExport,
    },
    operations: {
      ready: () => ({ ready: true, pools: { interactive: 'up' } }),
      metrics: async () => ({ contentType: 'text/plain; version=0.0.4', body: 'up 1\n' }),
      supervision: async () => TREE,
      workers: () => [],
      config: () => ({ pools: {} }),
      reload: async () => ({ version: 2, changes: [], warnings: [] }),
      isDraining: () => false,
      restart: () => ({ path: '/root/x', incarnation: 1 }),
      ...options.operations,
    },
    crashes: {
      list: () => ({ crashes: [], next: undefined }),
      get: async () => undefined,
      quarantined: () => [],
      lift: () => 0,
      ...options.crashes,
    },
    chaos: { requireEnabled: () => undefined, find: (name) => ({ worker: name }), inject: () => 'a-1' },
    auth: options.auth ?? (() => NO_KEYS),
    ...(options.allowedHosts && { allowedHosts: options.allowedHosts }),
    eventStreams,
    eventLog,
    limits: { maxBodyBytes: 1_000_000, maxResultBytes: 64_000_000, ...options.limits },
    onError: (error) => errors.push(error),
    onRequest: (event) => events.push(event),
    onAuthFailure: (why) => authFailures.push(why),
  };
  const listener = new Listener(createApp(services).callback(), {
    clientWriteTimeoutMs: 30_000,
    ...options.listener,
  });
  const { url, port } = await listener.listen('127.0.0.1', 0);
  opened.push(() => listener.drain(0));
  return { url, port, queries, listener, errors, events, authFailures, serverEvents, eventStreams };
}

/** A client that the leak check closes. */
export function openAgent(options: Agent.Options = {}): Agent {
  const agent = new Agent(options);
  opened.unshift(() => agent.destroy());
  return agent;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** The body as JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into documents of many shapes
  readonly json: any;
}

export interface Ask {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer | NodeJS.ReadableStream;
  readonly agent?: Agent;
}

export async function ask(
  url: string,
  { method = 'GET', headers = {}, body, agent }: Ask = {},
): Promise<Answer> {
  const reply = await request(url, {
    method: method as 'GET',
    headers,
    body: (body ?? null) as string | null,
    dispatcher: agent ?? openAgent(),
  });
  const text = await reply.body.text();
  const type = String(reply.headers['content-type'] ?? '');
  return {
    status: reply.statusCode,
    headers: reply.headers,
    text,
    json: /[/+]json/.test(type) && text !== '' ? JSON.parse(text) : undefined,
  };
}

/** `POST /v1/query` with a JSON body, or with a text that claims to be one. */
export function postQuery(edge: Edge, body: unknown, more: Ask = {}): Promise<Answer> {
  return ask(`${edge.url}/v1/query`, {
    ...more,
    method: 'POST',
    headers: { 'content-type': 'application/json', ...more.headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

/** A bare connection. */
export class RawClient {
  readonly socket: Socket;
  text = '';
  closed = false;

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.setEncoding('latin1');
    this.socket.on('data', (piece) => {
      this.text += piece;
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.closed = true;
    });
    opened.unshift(async () => void this.socket.destroy());
  }

  write(bytes: string | Buffer): this {
    this.socket.write(bytes);
    return this;
  }

  /** Resolves with all that came once the server has closed the connection. */
  async untilClosed(): Promise<string> {
    await until(() => expect(this.closed).toBe(true));
    return this.text;
  }
}

/** The problem document at the end of a bare reply. */
export function problemOf(reply: string): { code: string; status: number } {
  return JSON.parse(reply.slice(reply.lastIndexOf('\r\n\r\n') + 4));
}

/** Polls. No timer of its own is pending while the assertion looks, so it may count timers. */
export async function until(assertion: () => void): Promise<void> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    try {
      assertion();
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await pause(5);
    }
  }
}

/** Call once at the top of a test file. */
export function checkForLeaks(): void {
  beforeEach(() => {
    before = resources();
  });
  afterEach(async () => {
    for (const close of opened.splice(0)) await close();
    await until(() => {
      for (const [kind, count] of resources()) expect(count, kind).toBeLessThanOrEqual(before.get(kind) ?? 0);
    });
  });
}

function resources(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (/TCP|Timeout/.test(kind)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

function nothingThere(): Failure {
  return new Failure('NOT_FOUND', 'There is no such export.');
}

async function noExport(): Promise<never> {
  throw nothingThere();
}

async function noSession(): Promise<never> {
  throw new Failure('NOT_FOUND', 'There is no such session.');
}
