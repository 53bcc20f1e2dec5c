/**
 * Whether the database servers that a statement reads from are still there.
 *
 * A client library that waits for a server which says nothing waits for ever, and no interruption reaches it: DuckDB's MySQL
 * extension has no timeouts at all, and libpq's end with the connecting. So each source's `connect_timeout` is held up here:
 *
 * - While a source is attached, which is when its server is first spoken to.
 * - From then on: where this process has had next to nothing to do for as long as that, it waits for somebody. Each server is
 *   asked `SELECT 1` on a connection of its own. A server that answers, be it with a refusal, is there (what the statement waits for
 *   is a lock, a sort on the server, or a client that does not read), and the question is put again later and later.
 *
 * The native call that hangs cannot be ended: a worker that has one is thrown away.
 */
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Attachment } from '../protocol.ts';
import { readDuckDBError } from './duckdb-error.ts';
import { literal } from './quote.ts';
import type { Refusal } from './refusal.ts';
import { isGone, isServer, noAnswer, type Server } from './source-failure.ts';

/** Of the time that has passed: a process that takes less of its core waits for somebody. */
const WAITING_CPU = 0.1;
const LATER = 2;
const MOST_MS = 60_000;
/** What libpq may take beyond what it was told: it counts whole seconds, and two of them at least. */
const LIBPQ_SLACK_MS = 250;
/** A question that is under way when the statement ends has this long to be answered. */
const LAST_ANSWER_MS = 100;

export class SourceWatch {
  /** Rejects with a {@link Refusal} once a server is found gone, while a native call waits for it. */
  readonly silent: Promise<never>;
  readonly #servers: readonly WatchedServer[];
  #giveUp: (refusal: Refusal) => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #question: Promise<void> | undefined;
  #ended = false;

  constructor(attachments: readonly Attachment[]) {
    this.#servers = attachments.filter(isWatched);
    this.silent = new Promise((_, reject) => {
      this.#giveUp = reject;
    });
    this.silent.catch(() => undefined);
  }

  /** Whether there is a server to watch. */
  get isNeeded(): boolean {
    return this.#servers.length > 0;
  }

  /** Runs what attaches a source. Where that takes too long its promise is left behind, and `silent` says why. */
  async connecting<Value>(source: Attachment, work: () => Promise<Value>): Promise<Value> {
    if (!isWatched(source)) return await work();
    const timer = setTimeout(() => this.#gone(source), patience(source));
    try {
      return await work();
    } finally {
      clearTimeout(timer);
    }
  }

  /** From now on the statement runs; `connect` gives a connection beside its own. */
  begin(connect: () => Promise<DuckDBConnection>): void {
    if (this.isNeeded) this.#lookAfter(this.#soonest(), connect);
  }

  /** Nobody wants the statement's result any more: whoever stops it says what became of it. */
  stop(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
  }

  /** The statement has ended. False where a call of ours still waits for a server. */
  async end(): Promise<boolean> {
    this.stop();
    if (this.#question === undefined) return true;
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), LAST_ANSWER_MS);
    });
    const answered = await Promise.race([this.#question.then(() => true), tooLate]);
    clearTimeout(timer);
    return answered;
  }

  #soonest(): number {
    return Math.min(...this.#servers.map(({ connectTimeoutMs }) => connectTimeoutMs));
  }

  #lookAfter(ms: number, connect: () => Promise<DuckDBConnection>): void {
    const cpu = process.cpuUsage();
    const since = performance.now();
    this.#timer = setTimeout(async () => {
      const { user, system } = process.cpuUsage(cpu);
      const share = (user + system) / 1_000 / (performance.now() - since);
      let next = this.#soonest();
      if (share < WAITING_CPU) {
        this.#question = this.#askAll(connect);
        await this.#question;
        this.#question = undefined;
        next = Math.min(ms * LATER, MOST_MS);
      }
      if (!this.#ended) this.#lookAfter(next, connect);
    }, ms);
  }

  async #askAll(connect: () => Promise<DuckDBConnection>): Promise<void> {
    for (const server of this.#servers) {
      if (this.#ended) return;
      const timer = setTimeout(() => this.#gone(server), server.connectTimeoutMs);
      const answered = await ask(server, connect);
      clearTimeout(timer);
      if (!answered) this.#gone(server);
    }
  }

  #gone(server: WatchedServer): void {
    if (this.#ended) return;
    this.stop();
    const { connectTimeoutMs } = server;
    const why = `its server has not answered for ${connectTimeoutMs} ms (connect_timeout)`;
    this.#giveUp(noAnswer(server, why));
  }
}

type WatchedServer = Server & { readonly connectTimeoutMs: number };

function isWatched(source: Attachment): source is WatchedServer {
  return isServer(source) && source.connectTimeoutMs !== undefined;
}

/** Milliseconds; libpq's own time-out, which costs no worker, is to come first. */
function patience({ kind, connectTimeoutMs }: WatchedServer): number {
  if (kind === 'mysql') return connectTimeoutMs;
  return Math.max(2, Math.ceil(connectTimeoutMs / 1_000)) * 1_000 + LIBPQ_SLACK_MS;
}

/** Whether the server is there. */
async function ask(
  { kind, alias }: WatchedServer,
  connect: () => Promise<DuckDBConnection>,
): Promise<boolean> {
  let connection: DuckDBConnection | undefined;
  try {
    connection = await connect();
    await connection.run(`FROM ${kind}_query(${literal(alias)}, 'SELECT 1')`);
    return true;
  } catch (error) {
    return !isGone(readDuckDBError(error));
  } finally {
    connection?.closeSync();
  }
}
