/**
 * The DuckDB instances of a worker: one that is open for plain reads, and a spare for what needs its own.
 *
 * ```
 *   spare (unlocked, extensions loaded) --attach, limits, lock--> one statement with sources --> closed
 *   plain (locked) --reads--> plain        plain --anything else--> dirty --> closed, a new plain in its place
 * ```
 *
 * An instance is locked before a statement of a user runs on it: no files, no network, no configuration. New ones are made off
 * the request's path. State never crosses from one statement to another: only a pure read leaves an instance in use.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { extensionFile } from '../../extensions/layout.ts';
import type { Attachment, Configure } from '../protocol.ts';
import { EXTENSION_OF } from '../source-extensions.ts';
import { readDuckDBError } from './duckdb-error.ts';
import { Guard } from './guard.ts';
import { KEPT } from './kept-database.ts';
import { PreparedCache } from './prepared-cache.ts';
import { KEEPS_COUNT } from './progress.ts';
import { Refusal } from './refusal.ts';
import { attach, globLiteral, identifier, literal } from './sources.ts';
import { volatileNames } from './volatile.ts';

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
  /** The pipe that COPY may write to, where the statement may run beside it. */
  readonly pipe: string | undefined;
  /** Gives it back, saying what may not be used again: nothing (only reads ran, to their end), its connection, or all of it. */
  release(spoiled: 'nothing' | 'connection' | 'instance'): void;
}

export interface LeaseRequest {
  readonly attachments: readonly Attachment[];
  /** Undefined where the worker's own limits do. */
  readonly memoryLimit: number | undefined;
  readonly threads: number | undefined;
  readonly sql: string;
  /** The result is to go through the pipe, and nothing in the statement can open that by itself. */
  readonly copies: boolean;
  /** Told each connection that may have to be interrupted. */
  readonly onConnection: (connection: DuckDBConnection) => void;
}

export class Instances {
  #configure: Configure;
  /** Why extensions were not there at the start. */
  readonly #missing: ReadonlyMap<string, string>;
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
  #workspace: OpenWorkspace | undefined;

  private constructor(
    configure: Configure,
    guard: Guard,
    plain: OpenInstance,
    spare: OpenInstance,
    pipe: string | undefined,
  ) {
    this.#configure = configure;
    this.#missing = spare.missing;
    this.guard = guard;
    this.#pipe = pipe;
    this.#plain = Promise.resolve(plain);
    this.#spare = Promise.resolve(spare);
  }

  /**
   * Opens the first instances. `pipe` is the path that COPY may write to, if there is one. Rejects where an extension or
   * a setting is refused.
   */
  static async open(configure: Configure, pipe?: string): Promise<Instances> {
    const spare = await openSpare(configure);
    const connection = await spare.instance.connect();
    const guard = await Guard.create(connection, configure.allowFunctions);
    connection.closeSync();
    return new Instances(withLoaded(configure, spare), guard, await openPlain(configure), spare, pipe);
  }

  /** A connection for one statement, on an instance that is locked. */
  async lease(request: LeaseRequest): Promise<Lease> {
    const { workspace } = this.#configure;
    if (workspace !== undefined) return await this.#leaseWorkspace(workspace, request);
    const ownLimits = request.memoryLimit !== undefined || request.threads !== undefined;
    if (request.attachments.length > 0 || ownLimits) return await this.#leaseOwn(request);
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
        const half = Math.floor(this.#configure.memoryLimit / 2);
        await connection.run(`SET memory_limit=${literal(`${half}B`)}`);
      }
      if (file !== undefined) await connection.run(`ATTACH ${literal(file.path)} AS ${KEPT} (${mode})`);
      await lock(own.instance, [], this.#pipe);
    } catch (error) {
      release();
      throw error;
    }
    return { connection, kept: undefined, limits: this.#configure, pipe: this.#pipe, release };
  }

  /** What a session would lose with this process; undefined where there is none. */
  async volatile(): Promise<readonly string[] | undefined> {
    const open = this.#workspace;
    return open === undefined ? undefined : await volatileNames(open.connection);
  }

  /**
   * The session's instance and its one connection, kept from statement to statement. Where its sources, or their
   * credentials, are not those it was opened with, it is opened anew: what is attached to a locked instance stays as it is.
   */
  async #leaseWorkspace(file: string, request: LeaseRequest): Promise<Lease> {
    const key = JSON.stringify(request.attachments);
    if (this.#workspace !== undefined && this.#workspace.key !== key) {
      this.#workspace.connection.closeSync();
      close(this.#workspace.open);
      this.#workspace = undefined;
    }
    const kept = this.#workspace;
    if (kept === undefined) this.#workspace = await this.#openWorkspace(file, key, request);
    else await refresh(kept.connection, request);
    const { connection } = this.#workspace as OpenWorkspace;
    request.onConnection(connection);
    return {
      connection,
      kept: undefined,
      limits: this.#configure,
      pipe: undefined,
      release: () => undefined,
    };
  }

  async #openWorkspace(file: string, key: string, request: LeaseRequest): Promise<OpenWorkspace> {
    const open = await openSpare(this.#configure);
    let connection: DuckDBConnection | undefined;
    try {
      connection = await open.instance.connect();
      request.onConnection(connection);
      await connection.run(`ATTACH ${literal(file)} AS workspace`);
      await connection.run('USE workspace');
      for (const source of request.attachments) {
        requireExtension(source, open.missing);
        await this.#loadOnDemand(source, open, connection);
        // Views of a folder are a schema of the workspace, and made anew.
        if (source.kind === 'files')
          await connection.run(`DROP SCHEMA IF EXISTS ${identifier(source.alias)} CASCADE`);
        await attach(connection, source, request.sql);
      }
      await lock(open.instance, request.attachments, undefined);
      return { key, open, connection };
    } catch (error) {
      connection?.closeSync();
      close(open);
      throw error;
    }
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
    const usesSpare = request.attachments.some((source) => EXTENSION_OF[source.kind] !== undefined);
    const own = await (usesSpare ? this.#spare.catch(() => this.#openSpare()) : openBare(this.#configure));
    const { instance, missing } = own;
    // Only one statement runs at a time, so the next one finds the promise of the next spare.
    const replace = () => {
      close(own);
      if (usesSpare) void this.#openSpare();
    };
    const limits: Limits = {
      memoryLimit: Math.min(request.memoryLimit ?? Number.POSITIVE_INFINITY, this.#configure.memoryLimit),
      threads: Math.min(request.threads ?? Number.POSITIVE_INFINITY, this.#configure.threads),
    };
    const pipe = request.copies ? this.#pipe : undefined;
    let connection: DuckDBConnection | undefined;
    try {
      connection = await instance.connect();
      request.onConnection(connection);
      for (const source of request.attachments) {
        requireExtension(source, missing);
        requireExtension(source, this.#missing);
        await this.#loadOnDemand(source, own, connection);
        await attach(connection, source, request.sql);
      }
      await connection.run(`SET memory_limit=${literal(`${limits.memoryLimit}B`)}`);
      await connection.run(`SET threads=${limits.threads}`);
      connection.closeSync();
      await lock(instance, request.attachments, pipe);
      connection = await connect(own);
      request.onConnection(connection);
    } catch (error) {
      connection?.closeSync();
      replace();
      throw error;
    }
    const locked = connection;
    return {
      connection: locked,
      kept: undefined,
      limits,
      pipe,
      release: () => {
        locked.closeSync();
        replace();
      },
    };
  }

  /** For a source that was configured after this worker had started. Spares that are made from then on have it. */
  async #loadOnDemand(source: Attachment, { instance }: OpenInstance, connection: DuckDBConnection) {
    const { directory, names, onDemand = [] } = this.#configure.extensions;
    const name = EXTENSION_OF[source.kind];
    if (name === undefined || names.includes(name) || !onDemand.includes(name)) return;
    requireExtension(source, await loadExtensions(instance, { directory, names: [name] }));
    await this.guard.learn(connection);
    this.#configure = { ...this.#configure, extensions: { directory, names: [...names, name], onDemand } };
  }

  #openPlain(): Promise<OpenInstance> {
    this.#plain = quietly(openPlain(this.#configure));
    return this.#plain;
  }

  #openSpare(): Promise<OpenInstance> {
    this.#spare = quietly(openSpare(this.#configure));
    return this.#spare;
  }
}

/**
 * An extension that was not there at the start is not looked for again by this worker. */
function withLoaded(configure: Configure, { missing }: OpenInstance): Configure {
  const { extensions } = configure;
  const names = extensions.names.filter((name) => !missing.has(name));
  return { ...configure, extensions: { ...extensions, names } };
}

/** A rejection is met by whoever leases the instance next, who tries once more; until then it is no unhandled one. */
function quietly<Value>(promise: Promise<Value>): Promise<Value> {
  promise.catch(() => undefined);
  return promise;
}

interface OpenWorkspace {
  /** What it was opened with. */
  readonly key: string;
  readonly open: OpenInstance;
  readonly connection: DuckDBConnection;
}

/**
 * Scanners trust the catalog they have read, and crash on, or misread, a table that was changed since: what is kept attached
 * forgets it before each use.
 */
async function refresh(
  connection: DuckDBConnection,
  { attachments, onConnection }: LeaseRequest,
): Promise<void> {
  onConnection(connection);
  const kinds = new Set(attachments.map(({ kind }) => kind));
  // In a transaction that has failed nothing is answered; and nothing is read then either.
  if (kinds.has('postgres')) await connection.run('CALL pg_clear_cache()').catch(ignore);
  if (kinds.has('mysql')) await connection.run('CALL mysql_clear_cache()').catch(ignore);
}

const ignore = () => undefined;

interface OpenInstance {
  readonly instance: DuckDBInstance;
  /** Its own, since an instance may read what is in it. */
  readonly spill: string;
  /** Why extensions it should have are not there. */
  readonly missing: ReadonlyMap<string, string>;
}

/** For a statement of a client. */
async function connect({ instance }: Pick<OpenInstance, 'instance'>): Promise<DuckDBConnection> {
  const connection = await instance.connect();
  await connection.run(KEEPS_COUNT);
  return connection;
}

async function openPlain(configure: Configure, pipe?: string): Promise<OpenInstance> {
  const plain = await openBare(configure);
  await lock(plain.instance, [], pipe);
  return plain;
}

/** One that is not locked yet. */
async function openSpare(configure: Configure): Promise<OpenInstance> {
  const spare = await openBare(configure);
  return { ...spare, missing: await loadExtensions(spare.instance, configure.extensions) };
}

let opened = 0;

async function openBare(configure: Configure): Promise<OpenInstance> {
  opened += 1;
  const spill = join(configure.folder, 'spill', String(opened));
  const instance = await DuckDBInstance.create(':memory:', {
    threads: String(configure.threads),
    memory_limit: `${configure.memoryLimit}B`,
    temp_directory: spill,
    home_directory: configure.folder,
    extension_directory: join(configure.folder, 'extensions'),
    secret_directory: join(configure.folder, 'secrets'),
    allow_persistent_secrets: 'false',
    allow_community_extensions: 'false',
    autoload_known_extensions: 'false',
    autoinstall_known_extensions: 'false',
    errors_as_json: 'true',
  });
  await run(instance, [
    "SET GLOBAL TimeZone='UTC'",
    // Given to an instance that is not open yet it is shown and not enforced (DuckDB 1.5, MaxTempDirectorySizeSetting).
    `SET max_temp_directory_size=${literal(`${configure.tempLimit}B`)}`,
  ]);
  return { instance, spill, missing: new Map() };
}

function close({ instance, spill }: OpenInstance): void {
  instance.closeSync();
  // The parent wipes the whole run folder in the end: what cannot be removed now goes then.
  rm(spill, { recursive: true, force: true }).catch(() => undefined);
}

/**
 * Loads what is there: a source whose extension is missing fails the queries that want it, and no others.
 * LOAD of an absolute path checks the file's signature (DuckDB manual, "Securing Extensions").
 */
async function loadExtensions(
  instance: DuckDBInstance,
  { directory, names }: Configure['extensions'],
): Promise<Map<string, string>> {
  const missing = new Map<string, string>();
  if (names.length === 0) return missing;
  const connection = await instance.connect();
  const build = (
    await connection.runAndReadAll(
      'SELECT library_version, p.platform FROM pragma_version(), pragma_platform() p',
    )
  ).getRows()[0];
  const [version, platform] = (build ?? []).map(String) as [string, string];
  for (const name of names) {
    const file = extensionFile(directory, { version, platform }, name);
    await connection.run(`LOAD ${literal(file)}`).catch((error: unknown) => {
      missing.set(name, readDuckDBError(error).message);
    });
  }
  connection.closeSync();
  return missing;
}

function requireExtension(source: Attachment, missing: ReadonlyMap<string, string>): void {
  const name = EXTENSION_OF[source.kind];
  const why = name === undefined ? undefined : missing.get(name);
  if (why === undefined) return;
  const detail = `${source.alias}: the DuckDB extension ${name} cannot be loaded (${why}). An operator installs it with \`duckcoop extensions install\` and starts the server anew.`;
  throw new Refusal('SOURCE_UNAVAILABLE', detail, { source: source.alias });
}

/**
 * Closes files, network and configuration for good (DuckDB manual, "Securing DuckDB"). DuckDB resolves links before it compares
 * a path with the folders that stay open, so a link that leads out of one is closed as well.
 */
async function lock(
  instance: DuckDBInstance,
  attachments: readonly Attachment[],
  pipe: string | undefined,
): Promise<void> {
  const folders = attachments.flatMap((source) => (source.kind === 'files' ? [source.path] : []));
  await run(instance, [
    ...(pipe === undefined ? [] : [`SET allowed_paths=[${literal(pipe)}]`]),
    // As a glob as well: views name their files so, and a glob is compared as it is written.
    `SET allowed_directories=[${folders
      .flatMap((path) => [path, globLiteral(path)])
      .map(literal)
      .join(', ')}]`,
    'SET enable_external_access=false',
    'SET lock_configuration=true',
  ]);
}

async function run(instance: DuckDBInstance, statements: readonly string[]): Promise<void> {
  const connection = await instance.connect();
  try {
    for (const statement of statements) await connection.run(statement);
  } finally {
    connection.closeSync();
  }
}
