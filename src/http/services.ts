/**
 * What the HTTP edge needs of the rest of the server: plain interfaces, so that an edge test scripts them and the
 * composition root fills them in. Types with snake_case members are documents of the wire contract and are sent
 * as they stand; times are milliseconds, sizes bytes.
 */

import type { CancelOutcome, QueryPublicState, QueryRequest, QueryService } from '../actors/query.ts';
import type { ChaosService } from '../chaos.ts';
import type { AuthConfig } from '../config/auth.ts';
import type { CrashReport, CrashSummary } from '../crashes/crash-report.ts';
import type { CrashFilter } from '../crashes/crash-store.ts';
import type { Quarantined } from '../crashes/quarantine.ts';
import type { FailureCode } from '../failures.ts';
import type { Principal } from '../principal.ts';
import type { SupervisionNode } from '../supervisors/supervisor-handle.ts';
import type { EventLog } from '../telemetry/event-log.ts';
import type { ExportSpec } from '../workers/protocol.ts';
import type { AuthFailure } from './auth.ts';
import type {
  Document,
  readinessDocument,
  reloadedDocument,
  restartDocument,
  sessionDocument,
  sourceDocument,
  workerDocument,
} from './documents.ts';
import type { EventStreams } from './event-streams.ts';

/** A configured source, without anything secret. */
export type SourceView = Document<typeof sourceDocument>;

/** A table of a source, or a view. */
export interface TableRow {
  readonly schema: string;
  readonly name: string;
  readonly kind: 'table' | 'view';
  /** What it is called in a statement, quoted. */
  readonly sql: string;
}

export interface TablePage {
  readonly tables: readonly TableRow[];
  /** Continues the listing; undefined at its end. */
  readonly next: string | undefined;
}

export interface ColumnView {
  readonly name: string;
  /** DuckDB's. */
  readonly type: string;
  readonly nullable: boolean;
}

export interface SourceService {
  /** Those that the principal may use, in the order of the configuration. */
  list(principal: Principal): readonly SourceView[];
  /** Whether there is one of this name, for whomever. */
  has(alias: string): boolean;
  /**
   * Puts other credentials in force for queries that begin from now on; rejects with `INVALID_REQUEST` for what are none of the
   * source's kind. `version` is that of the configuration.
   */
  replaceCredentials(
    alias: string,
    credentials: unknown,
    principal: Principal,
  ): Promise<{ readonly version: number }>;
  /** Connects, and says how long that took. Rejects with a `Failure`, `SOURCE_UNAVAILABLE` for the most part. */
  check(alias: string, principal: Principal): Promise<{ readonly ok: true; readonly ms: number }>;
  /** Rejects with `NOT_FOUND` for a source that is not there, and as a query does. */
  tables(
    alias: string,
    page: { readonly limit: number; readonly cursor: string | undefined },
    principal: Principal,
  ): Promise<TablePage>;
  /** Rejects with `NOT_FOUND` for a source or a table that is not there, and as a query does. */
  columns(
    alias: string,
    table: { readonly schema: string; readonly name: string },
    principal: Principal,
  ): Promise<{ readonly sql: string; readonly columns: readonly ColumnView[] }>;
}

/** What a client may say of a session; times in milliseconds, sizes in bytes. */
export interface SessionPatch {
  /** Aliases of configured sources, in place of those it has. */
  readonly sources: readonly string[] | undefined;
  /** From now on. */
  readonly ttlMs: number | undefined;
  readonly idleTimeoutMs: number | undefined;
}

export interface SessionRequest extends SessionPatch {
  readonly name: string | undefined;
  readonly memoryLimit: number | undefined;
  readonly diskLimit: number | undefined;
  readonly threads: number | undefined;
}

/** A session as the contract shows it. */
export type SessionView = Document<typeof sessionDocument>;

/** Each rejects with `NOT_FOUND` for a session that is not the principal's to see, and `SESSION_EXPIRED` for one that has ended. */
export interface SessionService {
  /** Rejects with `OVERLOADED` where there is no room for it. */
  open(request: SessionRequest, principal: Principal): Promise<SessionView>;
  list(principal: Principal): Promise<readonly SessionView[]>;
  get(id: string, principal: Principal): Promise<SessionView>;
  change(id: string, patch: SessionPatch, principal: Principal): Promise<SessionView>;
  /** Resolves once nothing is left of it. */
  close(id: string, principal: Principal): Promise<void>;
}

/** One worker of `GET /v1/workers`. */
export type WorkerView = Document<typeof workerDocument>;

export type Readiness = Document<typeof readinessDocument>;

export type Reloaded = Document<typeof reloadedDocument>;

/** A restart that was accepted, and has not happened yet. */
export type RestartAccepted = Document<typeof restartDocument>;

export interface OperationsService {
  ready(): Readiness;
  metrics(): Promise<{ readonly contentType: string; readonly body: string }>;
  supervision(): Promise<SupervisionNode>;
  /**
   * Accepts that a part of the tree begins anew; `path` with or without `/root/` before it. Throws `NOT_FOUND`,
   * `INVALID_REQUEST` for what is not restarted, `SHUTTING_DOWN`.
   */
  restart(path: string, requestedBy: string): RestartAccepted;
  workers(): readonly WorkerView[];
  /** The configuration in force, its secrets already removed. */
  config(): unknown;
  /** Reads the configuration anew. Rejects with a `Failure`, `INVALID_REQUEST` with its `errors`, when it is wrong. */
  reload(): Promise<Reloaded>;
  /** True once the server is told to stop: new queries are refused from then on. */
  isDraining(): boolean;
}

export interface CrashService {
  /** Newest first. `next` is the id to go on before. */
  list(filter: CrashFilter): { readonly crashes: readonly CrashSummary[]; readonly next: string | undefined };
  get(crashId: string): Promise<CrashReport | undefined>;
  quarantined(): readonly Quarantined[];
  /** Returns how many quarantines have ended. */
  lift(which: { readonly fingerprint: string } | 'all'): number;
}

export interface HttpLimits {
  /** Bytes of a request body. */
  readonly maxBodyBytes: number;
  /** Bytes of a result that is sent inline. */
  readonly maxResultBytes: number;
}

/** Where an error came up. */
export interface ErrorContext {
  readonly method: string;
  /** The pattern, such as `/v1/queries/{id}`, or `unknown`. */
  readonly path: string;
  readonly queryId: string | undefined;
}

/** One answered request, for metrics and the access log. */
export interface RequestEvent {
  readonly method: string;
  /** The pattern, such as `/v1/queries/{id}`, so that there are few different values; undefined for unknown paths. */
  readonly route: string | undefined;
  readonly status: number;
  readonly durationMs: number;
  readonly queryId: string | undefined;
  /** Nobody's name is empty. */
  readonly principal: Principal;
  /** The address that it came from. */
  readonly client: string | undefined;
  /** What the reply failed with. */
  readonly code: FailureCode | undefined;
  /** Of the path. */
  readonly parameters: Readonly<Record<string, string>>;
}

/** What is to become files. Times in milliseconds, sizes in bytes. */
export interface ExportRequest
  extends Pick<
    QueryRequest,
    | 'client'
    | 'sql'
    | 'params'
    | 'sources'
    | 'inline'
    | 'timeoutMs'
    | 'queueTimeoutMs'
    | 'memoryLimit'
    | 'threads'
    | 'tags'
  > {
  readonly files: Omit<ExportSpec, 'folder' | 'maxBytes'>;
  readonly destination:
    | { readonly kind: 'local' }
    /** A source of kind s3; the prefix is below its own, and may be empty. */
    | { readonly kind: 's3'; readonly source: string; readonly prefix: string };
}

/** A file of an export that has succeeded. */
export interface ExportedFile {
  /** Within the export, with slashes. */
  readonly path: string;
  readonly bytes: number;
  /** Good until then; null where nobody serves files at the moment. */
  readonly url: string | null;
  readonly url_expires_at: number | null;
}

/** An export as the contract shows it. */
export interface ExportView {
  readonly export_id: string;
  readonly state: QueryPublicState;
  readonly principal: string;
  readonly format: ExportSpec['format'];
  readonly compression: ExportSpec['compression'];
  readonly partition_by: readonly string[];
  readonly file_size: number | null;
  readonly destination: ExportRequest['destination'];
  readonly created_at: number;
  readonly finished_at: number | null;
  readonly expires_at: number | null;
  readonly rows: number | null;
  readonly bytes: number | null;
  readonly attempts: number;
  readonly worker: string | null;
  readonly progress: {
    readonly percentage: number | null;
    readonly rows: number;
    readonly bytes: number;
    readonly memory_bytes: number;
  } | null;
  readonly error: Readonly<Record<string, unknown>> | null;
  readonly files: readonly ExportedFile[];
  readonly tags: Readonly<Record<string, string>>;
}

/** An export that a principal may not see is to it an export that does not exist: `NOT_FOUND`. */
export interface ExportService {
  /** Resolves once it waits or runs; rejects with a `Failure` where it is refused. */
  create(request: ExportRequest, principal: Principal): Promise<ExportView>;
  /** Newest first. */
  list(principal: Principal): readonly ExportView[];
  get(exportId: string, principal: Principal): ExportView;
  /** Stops it where it runs, deletes its files where it has some; resolves once that is so. */
  delete(
    exportId: string,
    principal: Principal,
  ): Promise<{ readonly outcome: CancelOutcome; readonly files: 'deleted' | 'none' }>;
}

export interface HttpServices {
  readonly queries: QueryService;
  readonly sources: SourceService;
  readonly sessions: SessionService;
  readonly exports: ExportService;
  readonly operations: OperationsService;
  readonly crashes: CrashService;
  readonly chaos: ChaosService;
  /** The keys that count; read anew for each request. Another object where they have changed. */
  readonly auth: () => AuthConfig;
  /** Names in `Host` that are this server's beside those of loopback; undefined where any is. */
  readonly allowedHosts?: () => readonly string[] | undefined;
  /** Streams of those who only watch. */
  readonly eventStreams: EventStreams;
  readonly eventLog: EventLog;
  readonly limits: HttpLimits;
  /** Told of what nobody foresaw (the client hears `INTERNAL` and no more) and of sockets that failed in mid-reply. */
  onError(error: unknown, context: ErrorContext): void;
  /** Told of each request that was refused for its key. */
  onAuthFailure?(why: AuthFailure): void;
  /** Told once the reply has been handed over, or the client has gone. */
  onRequest?(event: RequestEvent): void;
}
