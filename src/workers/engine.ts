/**
 * The engine of a worker process: statements in the order they come, one at a time, each ending in exactly one verdict.
 *
 * ```
 *  idle -> attaching -> preparing -> running -> replying -> (verdict) -> idle
 *             |            |            |           |
 *             +------------+-- interrupt: cancelling+--------> (verdict) -> idle
 * ```
 *
 * A statement's token is its own: an interrupt that comes late reaches nothing.
 */
import { readFileSync } from 'node:fs';
import type { DuckDBConnection } from '@duckdb/node-api';
import { abandon } from './duckdb/abandon.ts';
import type { ArrowLane } from './duckdb/arrow-result.ts';
import type { ChunkSource } from './duckdb/chunks.ts';
import { failedVerdict, isFatal, memoryLimit, readDuckDBError } from './duckdb/duckdb-error.ts';
import { exportStatements } from './duckdb/export-result.ts';
import type { Instances, Lease, LeaseRequest } from './duckdb/instances.ts';
import { type JsonResultOptions, type JsonResultSummary, writeJsonResult } from './duckdb/json-result.ts';
import { keepResult, pageOf } from './duckdb/kept-result.ts';
import type { ReusableStatement } from './duckdb/prepared-cache.ts';
import { progressOf } from './duckdb/progress.ts';
import { Refusal } from './duckdb/refusal.ts';
import { isRemotePath } from './duckdb/remote-paths.ts';
import { mayRunBesidePipe } from './duckdb/result-text.ts';
import { isServer, sourceFailure, unavailable, withoutSecrets } from './duckdb/source-failure.ts';
import { SourceWatch } from './duckdb/source-watch.ts';
import { LostFailure, type Outcome, runStatements, type StatementSteps } from './duckdb/statement.ts';
import { streamStatements } from './duckdb/stream-result.ts';
import { DamagedWorkspaceError } from './duckdb/workspace.ts';
import { allocatedBytesNow } from './folder-size.ts';
import type { PipedResults } from './piped-results.ts';
import type { Configure, FailedVerdict, Finished, Phase, Progress, Run } from './protocol.ts';
import { Reply } from './reply.ts';
import { boundedVerdict } from './verdict-bounds.ts';

export interface EngineOptions {
  readonly configure: Configure;
  readonly instances: Instances;
  readonly lane: JsonResultOptions['lane'];
  readonly arrow: ArrowLane;
  /** Told of every phase before it begins; `wrote` when a statement of that request that is no pure read has begun to run. */
  readonly onPhase: (phase: Phase, seq: number | undefined, wrote: boolean) => void;
  /** Takes result bytes; resolves when there is room for more. */
  readonly write: (seq: number, bytes: Uint8Array) => Promise<void>;
  readonly piped: Pick<PipedResults, 'begin' | 'end' | 'open' | 'close'>;
  readonly finished: (result: Omit<Finished, 'type'>) => void;
  readonly withdrawn: (seq: number) => void;
}

/** A statement that ends before that is never heard of in between. */
const TELLS_PROGRESS_AFTER_MS = 200;

/** Statements that take less do not change what memory the process holds by much, and looking costs 8 us. */
const SAMPLED_MS = 20;

const INTERRUPT_AGAIN_MS = 10;

/** The one thing a read can do to its connection: seed the random numbers of those after it. */
const CHANGES_CONNECTION = /setseed/i;

interface Execution {
  readonly verdict: Finished['verdict'];
  /** Why this worker is not to be used again: DuckDB itself says so, or a call into it does not come back. */
  readonly retire?: 'broken' | 'stuck';
  /** All of it was reads, to their end. */
  readonly clean?: boolean;
}

/** Of a session: what it has in memory alone after a statement, and what of that was lost before it. */
interface InMemory {
  readonly volatile?: readonly string[] | undefined;
  readonly lost?: readonly string[] | undefined;
}

interface Token {
  readonly seq: number;
  /** On the clock of `performance.now()`. */
  readonly startedAt: number;
  readonly watch: SourceWatch;
  connection: DuckDBConnection | undefined;
  interrupted: boolean;
  /** Its verdict is told while a call into DuckDB goes on: what comes of that is nobody's. */
  abandoned: boolean;
  wrote: boolean;
  /** Interrupts again until the statement has ended. */
  interrupting: NodeJS.Timeout | undefined;
  /** Bytes that its session had on disk before it; undefined where it has none. */
  readonly diskBefore: number | undefined;
  /** It was interrupted because it made those too many. */
  overgrown: boolean;
  /** Where in the text the statement at hand begins, in bytes. */
  offset: number;
  readonly reply: Reply;
  /** Of the file that the result is kept in, so far. */
  keptBytes: number | undefined;
  peakMemoryBytes: number;
}

export class Engine {
  readonly #options: EngineOptions;
  readonly #waiting: Run[] = [];
  #current: Token | undefined;
  #retired = false;
  #memoryBytes = process.memoryUsage.rss();

  constructor(options: EngineOptions) {
    this.#options = options;
  }

  /** A statement that comes after the one that retired this worker is given back. */
  run(statement: Run): void {
    if (this.#retired) {
      this.#options.withdrawn(statement.seq);
      return;
    }
    this.#waiting.push(statement);
    if (this.#current === undefined) void this.#work();
  }

  /** Stops the statement if it runs; one that waits is given back. */
  interrupt(seq: number): void {
    this.withdraw(seq);
    const token = this.#current;
    if (token === undefined || token.seq !== seq) return;
    this.#options.onPhase('cancelling', seq, token.wrote);
    if (token.interrupted) return;
    token.interrupted = true;
    token.watch.stop();
    token.connection?.interrupt();
    // DuckDB forgets an interruption that comes just before it begins with a statement.
    token.interrupting = setInterval(() => token.connection?.interrupt(), INTERRUPT_AGAIN_MS);
  }

  /** The first bytes that its COPY wrote have come to the parent. */
  flowing(seq: number): void {
    const token = this.#current;
    if (token?.seq === seq && !token.interrupted) this.#options.onPhase('replying', seq, token.wrote);
  }

  /** Gives a statement back that has not begun; says nothing if it has. */
  withdraw(seq: number): void {
    const waiting = this.#waiting.findIndex((statement) => statement.seq === seq);
    if (waiting === -1) return;
    this.#waiting.splice(waiting, 1);
    this.#options.withdrawn(seq);
  }

  /** Notes what memory this process holds now; to be called now and then, and after a statement that took its time. */
  sampleMemory(): void {
    this.#memoryBytes = process.memoryUsage.rss();
    if (this.#current !== undefined) {
      this.#current.peakMemoryBytes = Math.max(this.#current.peakMemoryBytes, this.#memoryBytes);
    }
  }

  /** Stops a statement that takes more of the disk than its session may have; to be called now and then. */
  watchDisk(): void {
    const token = this.#current;
    if (token?.diskBefore === undefined || token.interrupted) return;
    if (this.#options.instances.room?.isOvergrown(token.diskBefore) !== true) return;
    token.overgrown = true;
    this.interrupt(token.seq);
  }

  /** Where the statement is that runs; undefined where none has run for long. */
  progress(): Omit<Progress, 'type'> | undefined {
    const token = this.#current;
    if (token === undefined || performance.now() - token.startedAt < TELLS_PROGRESS_AFTER_MS)
      return undefined;
    this.sampleMemory();
    return {
      seq: token.seq,
      ...progressOf(token.connection),
      bytes: token.keptBytes ?? token.reply.sentBytes,
      memoryBytes: this.#memoryBytes,
    };
  }

  async #work(): Promise<void> {
    for (let statement = this.#waiting.shift(); statement !== undefined; statement = this.#waiting.shift()) {
      const token: Token = {
        seq: statement.seq,
        startedAt: performance.now(),
        watch: new SourceWatch(statement.attachments),
        connection: undefined,
        interrupted: false,
        abandoned: false,
        wrote: false,
        interrupting: undefined,
        diskBefore: this.#options.instances.room?.usedBytes(),
        overgrown: false,
        offset: 0,
        reply: new Reply((bytes) => (token.abandoned ? NEVER : this.#options.write(token.seq, bytes))),
        keptBytes: undefined,
        peakMemoryBytes: 0,
      };
      this.#current = token;
      const { verdict, retire, volatile, lost } = await this.#executeWatched(statement, token);
      const { body, bytes } =
        verdict.ok && token.keptBytes === undefined
          ? await token.reply.finish(statement.output === undefined)
          : { body: undefined, bytes: token.reply.sentBytes };
      const runMs = performance.now() - token.startedAt;
      if (runMs > SAMPLED_MS) this.sampleMemory();
      clearInterval(token.interrupting);
      this.#current = undefined;
      const retirement = retire === undefined ? this.#retirement(verdict) : { retire };
      this.#options.finished({
        seq: token.seq,
        ...(token.keptBytes === undefined ? {} : { keptBytes: token.keptBytes }),
        verdict: verdict.ok ? verdict : boundedVerdict(verdict),
        bytes,
        ...(body === undefined ? {} : { body }),
        runMs,
        peakMemoryBytes: Math.max(token.peakMemoryBytes, this.#memoryBytes),
        ...(volatile === undefined ? {} : { volatile: [...volatile] }),
        ...(lost === undefined ? {} : { lost: [...lost] }),
        ...retirement,
      });
      // With its number: a verdict that is lost because the process dies now is not that of a statement that never began.
      this.#options.onPhase('idle', token.seq, token.wrote);
      if (retirement.retire !== undefined) this.#giveAllBack();
    }
  }

  #giveAllBack(): void {
    this.#retired = true;
    for (const { seq } of this.#waiting.splice(0)) this.#options.withdrawn(seq);
  }

  /** Where a server is found gone that a call into DuckDB waits for, that call is left behind, and its process with it. */
  async #executeWatched(statement: Run, token: Token): Promise<Execution & InMemory> {
    const { watch } = token;
    const { instances } = this.#options;
    // Most statements read from no server and are in no session: there is nothing to watch, nor anything to look into behind them.
    if (!watch.isNeeded && !instances.isSession) return await this.#execute(statement, token);
    const gone = watch.silent.catch((refusal: Refusal): Execution => {
      token.abandoned = true;
      token.interrupted = true;
      return { verdict: refusal.verdict, retire: 'stuck' };
    });
    const execution = await Promise.race([this.#execute(statement, token), gone]);
    if (execution.retire !== undefined) return execution;
    // Looking into the session may wait for its sources as well; the statement's own end stands.
    const volatile = await Promise.race([
      instances.volatile({ sql: statement.sql, readOnly: execution.clean === true }),
      gone.then((): 'stuck' => 'stuck'),
    ]);
    if (volatile === 'stuck' || !(await watch.end())) return { ...execution, retire: 'stuck' };
    if (volatile === 'unusable') return { ...execution, retire: 'broken' };
    return { ...execution, volatile, lost: instances.takeLost() };
  }

  async #execute(request: Run, token: Token): Promise<Execution> {
    let statement = request;
    const { instances } = this.#options;
    const checkpoint = () => {
      if (token.interrupted) throw new Refusal('INTERRUPTED', 'The statement was interrupted.');
    };
    const phase = (name: Phase) => {
      if (!token.interrupted) this.#options.onPhase(name, token.seq, token.wrote);
    };
    const onConnection = (connection: DuckDBConnection) => {
      token.connection = connection;
      checkpoint();
    };
    let lease: Lease | undefined;
    let spoiled: Parameters<Lease['release']>[0] = 'instance';
    let reusable: ReusableStatement | undefined;
    try {
      if (statement.attachments.length > 0) phase('attaching');
      lease = await this.#lease(statement, onConnection, token.watch);
      token.watch.begin(lease.beside);
      if (statement.kept !== undefined) {
        statement = { ...statement, sql: await pageOf(lease.connection, statement.kept) };
        checkpoint();
      }
      const steps: StatementSteps = {
        preparing: (offset) => {
          token.offset = offset;
          phase('preparing');
        },
        running: (reads) => {
          token.wrote ||= !reads;
          phase('running');
        },
        admit: async (type) => instances.room?.require(type, (lease as Lease).beside),
        checkpoint,
      };
      if (statement.output !== undefined) {
        const { clean, ...summary } = await streamStatements(lease, {
          instances,
          statement,
          output: statement.output,
          steps,
          arrow: this.#options.arrow,
          write: firstly(
            () => phase('replying'),
            (bytes) => token.reply.write(bytes),
          ),
          onConnection: (connection) => {
            token.connection = connection;
          },
          pipe: {
            begin: () => this.#options.piped.begin(token.seq),
            end: () => this.#options.piped.end(token.seq),
            open: () => this.#options.piped.open(token.seq),
            close: (descriptor) => this.#options.piped.close(token.seq, descriptor),
          },
        });
        checkpoint();
        const same = !summary.truncated && !CHANGES_CONNECTION.test(statement.sql);
        if (clean) spoiled = same ? 'nothing' : 'connection';
        return { verdict: { ok: true, ...summary }, clean };
      }
      if (statement.export !== undefined) {
        const { bytes, ...summary } = await exportStatements(lease, {
          ...{ guard: instances.guard, statement, spec: statement.export, steps },
          replying: () => phase('replying'),
          onBytes: (soFar) => {
            token.keptBytes = soFar;
          },
        });
        token.keptBytes = bytes;
        checkpoint();
        return { verdict: { ok: true, ...summary }, clean: false };
      }
      const outcome = await runStatements(lease, instances.guard, statement, steps);
      ({ reusable } = outcome);
      if (statement.keep !== undefined) {
        const { keptBytes, ...summary } = await keepResult(outcome.result, {
          ...{ instances, keep: statement.keep, rowLimit: statement.rowLimit },
          source: this.#source(lease.connection, outcome, checkpoint),
          onConnection: (connection) => {
            token.connection = connection ?? lease?.connection;
          },
          replying: () => phase('replying'),
          onBytes: (bytes) => {
            token.keptBytes = bytes;
          },
        });
        token.keptBytes = keptBytes;
        // The statement is prepared no more, and its connection is as it was.
        if (outcome.clean) spoiled = summary.truncated || token.interrupted ? 'connection' : 'nothing';
        return { verdict: { ok: true, ...summary }, clean: outcome.clean };
      }
      const summary = await this.#reply(lease.connection, outcome, statement, token, checkpoint, () =>
        phase('replying'),
      );
      if (outcome.clean) {
        const same = !summary.truncated && !token.interrupted && !CHANGES_CONNECTION.test(statement.sql);
        spoiled = same ? 'nothing' : 'connection';
        if (same && reusable !== undefined) {
          lease.kept?.keep(statement.sql, reusable, summary.rows);
          reusable = undefined;
        }
      }
      return { verdict: { ok: true, ...summary }, clean: outcome.clean };
    } catch (error) {
      const { verdict, broken } = this.#failed(error, statement, token, lease);
      // What a failed write left behind is not known, nor is an instance that ran out of memory. What was refused has left nothing.
      const { code } = verdict;
      const short = code === 'MEMORY_LIMIT' || code === 'DISK_LIMIT';
      // Nor are the connections of one whose source failed, or that was stopped while it waited for one.
      const apart =
        statement.attachments.length > 0 && (code === 'SOURCE_UNAVAILABLE' || code === 'INTERRUPTED');
      const harmless = !statement.write || (code === 'FORBIDDEN' && !token.wrote);
      if (harmless && !broken && !short && !apart) spoiled = 'connection';
      return broken ? { verdict, retire: 'broken' } : { verdict };
    } finally {
      token.connection = undefined;
      if (reusable !== undefined) lease?.kept?.drop(statement.sql, reusable);
      // Closing what a native call is at would wait for that call.
      if (!token.abandoned) lease?.release(spoiled);
    }
  }

  /** Of a kept result, its file with nothing of a client beside it; else what the statement of a client runs on. */
  #lease(
    statement: Run,
    onConnection: (connection: DuckDBConnection) => void,
    watch: SourceWatch,
  ): Promise<Lease> {
    const { instances } = this.#options;
    const { kept, attachments, owner, attachAnew = false, allViews = false } = statement;
    const { memoryLimit, threads, sql, output } = statement;
    const target = statement.export?.folder;
    const folder = target === undefined || isRemotePath(target) ? undefined : target;
    if (kept !== undefined) {
      return instances.leaseScratch({ path: kept.path, readOnly: true }).then((lease) => {
        onConnection(lease.connection);
        return lease;
      });
    }
    const copies = output !== undefined && output.format !== 'arrow' && mayRunBesidePipe(sql);
    const connecting: LeaseRequest['connecting'] = (source, work) => watch.connecting(source, work);
    return instances.lease({
      ...{ attachments, owner, attachAnew, allViews, memoryLimit, threads, sql, copies, folder },
      onConnection,
      connecting,
    });
  }

  #source(connection: DuckDBConnection, { failure }: Outcome, checkpoint: () => void): ChunkSource {
    return { checkpoint, failure, abandon: (abandoned) => abandon(connection, abandoned) };
  }

  #reply(
    connection: DuckDBConnection,
    outcome: Outcome,
    statement: Run,
    token: Token,
    checkpoint: () => void,
    replying: () => void,
  ): Promise<JsonResultSummary> {
    return writeJsonResult(outcome.result, {
      rowFormat: statement.rowFormat,
      rowLimit: statement.rowLimit,
      byteLimit: statement.byteLimit,
      maxBytes: statement.maxBytes,
      lane: this.#options.lane,
      write: firstly(replying, (bytes) => token.reply.write(bytes)),
      ...this.#source(connection, outcome, checkpoint),
    });
  }

  #failed(
    error: unknown,
    statement: Run,
    token: Token,
    lease: Lease | undefined,
  ): { verdict: FailedVerdict; broken: boolean } {
    const { room } = this.#options.instances;
    if (token.overgrown && room !== undefined) return { verdict: room.exceeded(), broken: false };
    if (error instanceof Refusal) return { verdict: error.verdict, broken: false };
    // The next process finds out whether it is the file: the session ends if it is.
    if (error instanceof DamagedWorkspaceError) return { verdict: unopened(error), broken: true };
    const { configure } = this.#options;
    const used = process.memoryUsage.rss();
    if (isAllocationFailure(error)) {
      const verdict = memoryLimit(error.message, { memoryLimit: configure.memoryHardLimit, used });
      return { verdict, broken: false };
    }
    const { attachments } = statement;
    const servers = attachments.filter(isServer);
    if (error instanceof LostFailure && servers[0] !== undefined)
      return { verdict: unavailable(servers[0], BROKE_OFF).verdict, broken: false };
    const plain = readDuckDBError(error);
    const message = withoutSecrets(plain.message, attachments);
    const info = { ...plain, message: room?.withoutPlace(message) ?? message };
    const failure = sourceFailure(info, attachments);
    if (failure !== undefined) return { verdict: failure.verdict, broken: false };
    const lacking = room?.lacking(info);
    if (lacking !== undefined) return { verdict: lacking, broken: false };
    const verdict = failedVerdict(info, {
      sql: statement.sql,
      offset: token.offset,
      memoryLimit: lease?.limits.memoryLimit ?? configure.memoryLimit,
      tempLimit: configure.tempLimit,
      used,
      diskUsed: () => allocatedBytesNow(configure.folder),
    });
    return { verdict, broken: isFatal(info) };
  }

  /**
   * The allocator keeps address space that it once had; with most of the limit gone, later allocations fail in places that
   * cannot say so (a thread that does not start ends the process). Such a worker is replaced in peace, but for one of a session
   * that would lose something by it: that goes on, at its own risk.
   */
  #retirement(verdict: Finished['verdict']): Pick<Finished, 'retire'> {
    if (verdict.ok || verdict.code !== 'MEMORY_LIMIT') return {};
    const { configure, instances } = this.#options;
    if (instances.holdsForOwner || dataSegment() <= configure.memoryHardLimit / 2) return {};
    return { retire: 'memory' };
  }
}

function unopened({ message }: DamagedWorkspaceError): FailedVerdict {
  const detail = `The workspace could not be opened anew, and the statement has not run. ${message}`;
  return { ok: false, code: 'SQL_ERROR', detail, members: { duckdb: { type: 'IO' } } };
}

/** Nobody takes the bytes of a statement whose verdict has been told. */
const NEVER = new Promise<never>(() => undefined);
const BROKE_OFF = 'the result broke off after some of its rows, and did not when it was read once more';

/** Calls `before` before the first `write`. */
function firstly(before: () => void, write: (bytes: Uint8Array) => Promise<void>): typeof write {
  let isFirst = true;
  return (bytes) => {
    if (isFirst) before();
    isFirst = false;
    return write(bytes);
  };
}

/**
 * Neither JavaScript, for a buffer, nor C++ could get the memory. An error of DuckDB's is never a RangeError, whatever a query calls
 * it, and what DuckDB says itself has a type, as C++'s own exceptions have not.
 */
function isAllocationFailure(error: unknown): error is Error {
  if (error instanceof Error && error.message === 'std::bad_alloc') return true;
  if (!(error instanceof RangeError)) return false;
  const { code, message } = error as NodeJS.ErrnoException;
  return code === 'ERR_MEMORY_ALLOCATION_FAILED' || message === 'Array buffer allocation failed';
}

/** Bytes of this process's data segment, as its limit counts them (proc(5), status: VmData, in KiB). */
function dataSegment(): number {
  try {
    const kib = /^VmData:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    return Number(kib ?? 0) * 1_024;
  } catch {
    return 0;
  }
}
