/**
 * The instance of a session and its one connection, kept from statement to statement. Where its sources, or their
 * credentials, are not those it was opened with, it is opened anew: what is attached to a locked instance stays as it is.
 */
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Attachment } from '../protocol.ts';
import { readDuckDBError } from './duckdb-error.ts';
import type { Extensions } from './extensions.ts';
import type { Lease } from './instances.ts';
import { close, lock, type OpenInstance } from './open-instance.ts';
import { literal } from './quote.ts';
import { makeNamedViews } from './sources.ts';
import { storingFirst } from './stored-code.ts';
import { type RanStatement, VolatileNames } from './volatile.ts';

export interface WorkspaceRequest {
  readonly attachments: readonly Attachment[];
  readonly sql: string;
  /** Told each connection that may have to be interrupted. */
  readonly onConnection: (connection: DuckDBConnection) => void;
  /** Runs what attaches a source, and watches over it. */
  readonly connecting: <Value>(source: Attachment, work: () => Promise<Value>) => Promise<Value>;
}

export interface WorkspaceOptions {
  /** The session's database file. */
  readonly file: string;
  readonly open: () => Promise<OpenInstance>;
  readonly extensions: Extensions;
  /** Attaches a source, its views in a database of their own. */
  readonly attach: (
    connection: DuckDBConnection,
    source: Attachment,
    request: WorkspaceRequest,
  ) => Promise<void>;
  /** Has what is attached see what has changed in its sources. */
  readonly refresh: (connection: DuckDBConnection, attachments: readonly Attachment[]) => Promise<void>;
}

/** DuckDB cannot open the file, and that has nothing to do with what this process, or the disk, has left. */
export class DamagedWorkspaceError extends Error {
  override readonly name = 'DamagedWorkspaceError';
}

export class Workspace {
  readonly #options: WorkspaceOptions;
  #kept: Kept | undefined;
  #lost: readonly string[] | undefined;

  constructor(options: WorkspaceOptions) {
    this.#options = options;
  }

  /** Its connection, and how to have another one beside it. */
  async open(request: WorkspaceRequest): Promise<Pick<Lease, 'connection' | 'beside'>> {
    const key = JSON.stringify(request.attachments);
    if (this.#kept !== undefined && this.#kept.key !== key) this.#close(this.#kept);
    const kept = this.#kept;
    if (kept === undefined) this.#kept = await this.#open(key, request);
    else {
      request.onConnection(kept.connection);
      await this.#options.refresh(kept.connection, request.attachments);
    }
    const { connection, open } = this.#kept as Kept;
    request.onConnection(connection);
    await makeNamedViews(connection, request);
    return { connection, beside: () => open.instance.connect() };
  }

  /** What the session would lose with this process, after that statement; undefined where that is what it was before. */
  async volatile(statement: RanStatement): Promise<readonly string[] | 'unusable' | undefined> {
    return await this.#kept?.volatile.after(this.#kept.connection, statement);
  }

  /** Whether there is anything in memory alone, as of the last statement. */
  get isHolding(): boolean {
    return (this.#kept?.volatile.last.length ?? 0) > 0;
  }

  /** What the workspace had in memory alone when it was last opened anew; undefined where that was asked before. */
  takeLost(): readonly string[] | undefined {
    const lost = this.#lost;
    this.#lost = undefined;
    return lost;
  }

  #close({ connection, open, volatile }: Kept): void {
    if (volatile.last.length > 0) this.#lost = volatile.last;
    connection.closeSync();
    close(open);
    this.#kept = undefined;
  }

  async #open(key: string, request: WorkspaceRequest): Promise<Kept> {
    const { file, extensions } = this.#options;
    const open = await this.#options.open();
    let connection: DuckDBConnection | undefined;
    try {
      connection = await open.instance.connect();
      request.onConnection(connection);
      await attachFile(connection, file);
      await connection.run('USE workspace');
      for (const source of storingFirst(request.attachments)) {
        await extensions.require(source, open, connection);
        const attaching = connection;
        // Views are nothing of the workspace: they go with their source, and have no schema of the owner's in their way.
        await request.connecting(source, () => this.#options.attach(attaching, source, request));
      }
      await lock(open.instance, request.attachments, []);
      return { key, open, connection, volatile: new VolatileNames() };
    } catch (error) {
      connection?.closeSync();
      close(open);
      throw error;
    }
  }
}

async function attachFile(connection: DuckDBConnection, file: string): Promise<void> {
  try {
    await connection.run(`ATTACH ${literal(file)} AS workspace`);
  } catch (error) {
    const { type, errno, message } = readDuckDBError(error);
    // A system call that failed says nothing of the file: the disk is full, there are too many files.
    if (type === 'Out of Memory' || type === 'INTERRUPT' || errno !== undefined) throw error;
    const plain = message.replaceAll(file, 'workspace');
    throw new DamagedWorkspaceError(`DuckDB: ${plain}`, { cause: error });
  }
}

interface Kept {
  /** What it was opened with. */
  readonly key: string;
  readonly open: OpenInstance;
  readonly connection: DuckDBConnection;
  readonly volatile: VolatileNames;
}
