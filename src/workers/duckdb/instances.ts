/**
 * The DuckDB instances of a worker: one that is open for plain reads, and a spare for what needs its own.
 *
 * ```
 *   spare (unlocked, extensions loaded) --attach, limits, lock--> one statement with sources --> closed, or kept for its owner
 *   plain (locked) --reads--> plain        plain --anything else--> dirty --> closed, a new plain in its place
 * ```
 *
 * An instance is locked before a statement of a user runs on it: no files, no network, no configuration. New ones are made off
 * the request's path. State never crosses from one statement to another: only a pure read leaves an instance in use,
 * and one with sources is kept for the same principal alone (attached-instances.ts).
 */
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Attachment, Configure } from '../protocol.ts';
import { extensionsOf } from '../source-extensions.ts';
import { type AttachedInstance, AttachedInstances, type Purpose } from './attached-instances.ts';
import { readDuckDBError } from './duckdb-error.ts';
import { Extensions } from './extensions.ts';
import { Guard } from './guard.ts';
import { KEPT } from './kept-database.ts';
import type { Lake } from './lake-source.ts';
import { close, connect, lock, type OpenInstance, openBare, openPlain, openSpare } from './open-instance.ts';
import { NOWHERE } from './parquet-limit.ts';
import { PreparedCache } from './prepared-cache.ts';
import { KEEPS_COUNT } from './progress.ts';
import { literal } from './quote.ts';
import { Refusal } from './refusal.ts';
import { type AttachRequest, attach, makeNamedViews, refreshCatalogs, requireFile } from './sources.ts';
import { codeOfLake, StoredCodeReader, storesCode, storingFirst } from './stored-code.ts';
import type { RanStatement } from './volatile.ts';
import { DamagedWorkspaceError, Workspace } from './workspace.ts';
import { WorkspaceRoom } from './workspace-room.ts';

export interface Limits {
  /** Bytes. */
  readonly memoryLimit: number;
  readonly threads: number;
}

export interface Lease {
  readonly connection: DuckDBConnection;
  /** Statements that are prepared on it; undefined where nothing may be kept. */
  readonly kept: PreparedCache | undefined;
  readonly limits: Limits;
  /** Another connection to the same instance, for the engine's own questions. */
  readonly beside: () => Promise<DuckDBConnection>;
  /** The pipe that COPY may write to, where the statement may run beside it. */
  readonly pipe: string | undefined;
  /** Gives it back, saying what may not be used again: nothing (only reads ran, to their end), its connection, or all of it. */
  release(spoiled: 'nothing' | 'connection' | 'instance'): void;
}

export interface LeaseRequest {
  readonly attachments: readonly Attachment[];
  /** Whose statement it is: what is attached for it is kept for nobody else. Undefined where nothing is kept. */
  readonly owner: string | undefined;
  /** Connects to its sources, whatever is kept. */
  readonly attachAnew: boolean;
  /** Makes every view of a folder. */
  readonly allViews: boolean;
  /** Undefined where the worker's own limits do. */
  readonly memoryLimit: number | undefined;
  readonly threads: number | undefined;
  readonly sql: string;
  /** The result is to go through the pipe, and nothing in the statement can open that by itself. */
  readonly copies: boolean;
  /** A folder that the statement may write to; undefined for none. */
  readonly folder: string | undefined;
  /** Told each connection that may have to be interrupted. */
  readonly onConnection: (connection: DuckDBConnection) => void;
  /** Runs what attaches a source, and watches over it. */
  readonly connecting: <Value>(source: Attachment, work: () => Promise<Value>) => Promise<Value>;
}

export class Instances {
  readonly #configure: Configure;
  readonly #extensions: Extensions;
  readonly guard: Guard;
  readonly #pipe: string | undefined;
  #plain: Promise<OpenInstance>;
  /** Of the plain instance, for as long as nothing but reads ran on it, to their end. */
  #plainConnection: DuckDBConnection | undefined;
  readonly #kept = new PreparedCache();
  /** As the plain one, for reads whose result goes through the pipe. Opened for the first of them. */
  #copying: Promise<OpenInstance> | undefined;
  #spare: Promise<OpenInstance>;
  /** The session's own, where this worker is one's. */
  readonly #workspace: Workspace | undefined;
  /** Of the session, on disk. */
  readonly room: WorkspaceRoom | undefined;
  readonly #attached: AttachedInstances;
  readonly #storedCode = new StoredCodeReader();
  #staleCatalogs = false;

  private constructor(
    configure: Configure,
    guard: Guard,
    plain: OpenInstance,
    spare: OpenInstance,
    pipe: string | undefined,
  ) {
    this.#configure = configure;
    this.#extensions = new Extensions(configure, guard, spare);
    this.guard = guard;
    this.#pipe = pipe;
    this.#plain = Promise.resolve(plain);
    this.#spare = Promise.resolve(spare);
    const { workspace: file, attached = { max: 0, idleMs: 0 } } = configure;
    this.#attached = new AttachedInstances(attached);
    this.room = file === undefined ? undefined : new WorkspaceRoom(configure, file);
    if (file !== undefined) {
      // Extensions are loaded by then, and the next one is made ready for when the session's sources change.
      const open = () => {
        const spare = this.#spare.catch(() => openSpare(this.#withExtensions()));
        return spare.finally(() => void this.#openSpare());
      };
      this.#workspace = new Workspace({
        file,
        open,
        extensions: this.#extensions,
        attach: (connection, source, request) => this.#attach(connection, source, request, 'database'),
        refresh: (connection, attachments) => this.#refresh(connection, attachments),
      });
    }
  }

  /**
   * Opens the first instances. `pipe` is the path that COPY may write to, if there is one. Rejects where an extension or
   * a setting is refused.
   */
  static async open(configure: Configure, pipe?: string): Promise<Instances> {
    const spare = await openSpare(configure);
    const connection = await spare.instance.connect();
    const keepsDefinitions = configure.workspace !== undefined;
    const guard = await Guard.create(connection, configure.allowFunctions, keepsDefinitions);
    connection.closeSync();
    return new Instances(configure, guard, await openPlain(configure), spare, pipe);
  }

  /** A connection for one statement, on an instance that is locked. */
  async lease(request: LeaseRequest): Promise<Lease> {
    if (this.#workspace !== undefined) {
      const open = await this.#workspace.open(request);
      const limits = this.#configure;
      return { ...open, kept: undefined, limits, pipe: undefined, release: () => undefined };
    }
    const ownLimits = request.memoryLimit !== undefined || request.threads !== undefined;
    if (request.attachments.length > 0 || ownLimits || request.folder !== undefined) {
      const purpose = this.#purposeOf(request);
      const kept = purpose && !request.attachAnew ? this.#attached.take(purpose) : undefined;
      return await (kept === undefined ? this.#leaseOwn(request) : this.#leaseAttached(request, kept));
    }
    const copies = request.copies && this.#pipe !== undefined;
    return await (copies ? this.#leaseCopying(request) : this.#leasePlain(request));
  }

  /**
   * An instance with nothing in it but the file of a kept result, if there is one: for a result on its way out, and for no
   * statement of a client. Thrown away when it is given back.
   */
  async leaseScratch(file?: { readonly path: string; readonly readOnly: boolean }): Promise<Lease> {
    const own = await openBare(this.#configure);
    const connection = await own.instance.connect();
    const release = () => {
      connection.closeSync();
      close(own);
    };
    try {
      await connection.run(KEEPS_COUNT);
      // Of the latest version: older ones cannot store every type.
      const mode = file?.readOnly === true ? 'READ_ONLY' : "STORAGE_VERSION 'latest'";
      if (file?.readOnly === false) {
        // The statement whose result it takes has its own limit beside this one, and both have to stay within the process's.
        const { memoryLimit, memoryHardLimit } = this.#configure;
        const share = Math.floor(Math.min(memoryLimit, Math.max(memoryHardLimit - memoryLimit, A_SHARE)) / 2);
        await connection.run(`SET memory_limit=${literal(`${share}B`)}`);
      }
      if (file !== undefined) await connection.run(`ATTACH ${literal(file.path)} AS ${KEPT} (${mode})`);
      await lock(own.instance, [], this.#pipe === undefined ? [NOWHERE] : [this.#pipe, NOWHERE]);
    } catch (error) {
      release();
      throw error;
    }
    const beside = () => own.instance.connect();
    return { connection, beside, kept: undefined, limits: this.#configure, pipe: this.#pipe, release };
  }

  /** Chaos: from now on what is kept attached believes the catalogs that it has read. */
  keepStaleCatalogs(): void {
    this.#staleCatalogs = true;
  }

  async #refresh(connection: DuckDBConnection, attachments: readonly Attachment[]): Promise<void> {
    if (!this.#staleCatalogs) await refreshCatalogs(connection, attachments);
    // The catalog of a lake is a database that others write to meanwhile.
    for (const source of attachments)
      if (source.kind === 'ducklake') await this.#checkLake(connection, source, attachments);
  }

  /** Why the session's workspace cannot be opened, by this process or any other; undefined where it can, or there is none. */
  async openWorkspace(): Promise<string | undefined> {
    try {
      const nothing = { attachments: [], sql: '', onConnection: () => undefined };
      await this.#workspace?.open({ ...nothing, connecting: (_, work) => work() });
    } catch (error) {
      if (error instanceof DamagedWorkspaceError) return error.message;
      // Memory or disk that is short now may be there for the first statement.
    }
    return undefined;
  }

  /** Whether this worker is a session's. */
  get isSession(): boolean {
    return this.#workspace !== undefined;
  }

  /**
   * What a session would lose with this process, after that statement; `unusable` where it has to; undefined where there is no
   * session, or nothing new to it.
   */
  async volatile(statement: RanStatement): Promise<readonly string[] | 'unusable' | undefined> {
    return await this.#workspace?.volatile(statement);
  }

  /** Whether a session would lose something with this process. */
  get holdsForOwner(): boolean {
    return this.#workspace?.isHolding === true;
  }

  /** What it has lost since the last statement, its sources being others by now. */
  takeLost(): readonly string[] | undefined {
    return this.#workspace?.takeLost();
  }

  /** What ran to its end was a read, or the instance is not used again. */
  async #leaseCopying(request: LeaseRequest): Promise<Lease> {
    this.#copying ??= quietly(openPlain(this.#configure, this.#pipe));
    const opening = this.#copying;
    const forget = () => {
      if (this.#copying === opening) this.#copying = undefined;
    };
    const open = await opening.catch((error: unknown) => {
      forget();
      throw error;
    });
    const connection = await connect(open);
    request.onConnection(connection);
    return {
      connection,
      beside: () => open.instance.connect(),
      kept: undefined,
      limits: this.#configure,
      pipe: this.#pipe,
      release: (spoiled) => {
        connection.closeSync();
        if (spoiled === 'nothing') return;
        forget();
        close(open);
      },
    };
  }

  async #leasePlain(request: LeaseRequest): Promise<Lease> {
    const plain = await this.#plain.catch(() => this.#openPlain());
    const connection = this.#plainConnection ?? (await connect(plain));
    this.#plainConnection = connection;
    request.onConnection(connection);
    return {
      connection,
      beside: () => plain.instance.connect(),
      kept: this.#kept,
      limits: this.#configure,
      pipe: undefined,
      release: (spoiled) => {
        if (spoiled === 'nothing') return;
        this.#kept.clear();
        connection.closeSync();
        this.#plainConnection = undefined;
        if (spoiled === 'connection') return;
        close(plain);
        void this.#openPlain();
      },
    };
  }

  async #leaseOwn(request: LeaseRequest): Promise<Lease> {
    const usesSpare = request.attachments.some((source) => extensionsOf(source).length > 0);
    const own = await (usesSpare ? this.#spare.catch(() => this.#openSpare()) : openBare(this.#configure));
    const pipe = request.copies ? this.#pipe : undefined;
    const limits: Limits = {
      memoryLimit: Math.min(request.memoryLimit ?? Number.POSITIVE_INFINITY, this.#configure.memoryLimit),
      threads: Math.min(request.threads ?? Number.POSITIVE_INFINITY, this.#configure.threads),
    };
    // Only one statement runs at a time, so the next one finds the promise of the next spare.
    const renew = () => {
      if (usesSpare) void this.#openSpare();
    };
    let connection: DuckDBConnection | undefined;
    try {
      connection = await own.instance.connect();
      request.onConnection(connection);
      for (const source of storingFirst(request.attachments)) {
        await this.#extensions.require(source, own, connection);
        const attaching = connection;
        await request.connecting(source, () => this.#attach(attaching, source, request));
      }
      await makeNamedViews(connection, request);
      await connection.run(`SET memory_limit=${literal(`${limits.memoryLimit}B`)}`);
      await connection.run(`SET threads=${limits.threads}`);
      connection.closeSync();
      const folders = request.folder === undefined ? [] : [request.folder];
      // The folder itself as well: DuckDB asks whether it is there before it writes to it.
      const paths = pipe === undefined ? folders : [pipe, ...folders];
      await lock(own.instance, request.attachments, paths, folders);
      connection = await connect(own);
      request.onConnection(connection);
    } catch (error) {
      connection?.closeSync();
      close(own);
      renew();
      throw error;
    }
    return this.#leaseOf({ open: own, connection, limits, pipe, purpose: this.#purposeOf(request), renew });
  }

  /** One that was kept has read its sources' catalogs when it was used last, and they may have changed. */
  async #leaseAttached(request: LeaseRequest, kept: AttachedInstance): Promise<Lease> {
    const { open, purpose } = kept;
    let { connection } = kept;
    try {
      connection ??= await connect(open);
      request.onConnection(connection);
      for (const source of request.attachments) await requireFile(source);
      await this.#refresh(connection, request.attachments);
      const pipe = purpose.copies ? this.#pipe : undefined;
      return this.#leaseOf({ open, connection, limits: this.#configure, pipe, purpose });
    } catch (error) {
      connection?.closeSync();
      close(open);
      throw error;
    }
  }

  #leaseOf({ open, connection, limits, pipe, purpose, renew }: OwnLease): Lease {
    return {
      connection,
      beside: () => open.instance.connect(),
      kept: undefined,
      limits,
      pipe,
      release: (spoiled) => {
        const keeps = purpose !== undefined && spoiled !== 'instance';
        if (!keeps || spoiled === 'connection') connection.closeSync();
        if (keeps)
          this.#attached.keep({
            purpose,
            open,
            connection: spoiled === 'connection' ? undefined : connection,
          });
        else close(open);
        renew?.();
      },
    };
  }

  /** Undefined where the instance is for one statement alone. */
  #purposeOf(request: LeaseRequest): Purpose | undefined {
    const { owner, attachments, memoryLimit, threads, copies, folder } = request;
    const hasOwnLimits = memoryLimit !== undefined || threads !== undefined;
    const isKept = owner !== undefined && !hasOwnLimits && folder === undefined;
    if (!isKept || !this.#attached.keeps(attachments)) return undefined;
    return { owner, attachments, copies: copies && this.#pipe !== undefined };
  }

  async #checkLake(
    connection: DuckDBConnection,
    lake: Lake,
    attachments: readonly Attachment[],
  ): Promise<void> {
    try {
      const code = await codeOfLake(connection, lake);
      await this.guard.checkStored(connection, lake, code, attachments);
    } catch (error) {
      // In a transaction that has failed nothing is answered; and nothing is read then either.
      if (error instanceof Refusal || readDuckDBError(error).type !== 'TransactionContext') throw error;
    }
  }

  /** With what is stored in it looked at. */
  async #attach(
    connection: DuckDBConnection,
    source: Attachment,
    request: AttachRequest,
    views?: 'schema' | 'database',
  ): Promise<void> {
    const attached = () => attach(connection, source, request, views);
    if (!storesCode(source)) return await attached();
    const code = await this.#storedCode.attach(connection, source, attached);
    await this.guard.checkStored(connection, source, code, request.attachments);
  }

  #withExtensions(): Configure {
    return { ...this.#configure, extensions: this.#extensions.configured };
  }

  #openPlain(): Promise<OpenInstance> {
    this.#plain = quietly(openPlain(this.#configure));
    return this.#plain;
  }

  #openSpare(): Promise<OpenInstance> {
    this.#spare = quietly(openSpare(this.#withExtensions()));
    return this.#spare;
  }
}

/** Bytes that DuckDB can work with. */
const A_SHARE = 128_000_000;

interface OwnLease extends Pick<Lease, 'connection' | 'limits' | 'pipe'> {
  readonly open: OpenInstance;
  readonly purpose: Purpose | undefined;
  /** Has the next one ready. */
  readonly renew?: () => void;
}

/** A rejection is met by whoever leases the instance next, who tries once more; until then it is no unhandled one. */
function quietly<Value>(promise: Promise<Value>): Promise<Value> {
  promise.catch(() => undefined);
  return promise;
}
