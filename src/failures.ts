/**
 * What can go wrong, as the client hears it: one class, one table of codes (the wire contract's, "Errors").
 *
 * Everything that fails a request is, or is coerced at the edge into, a {@link Failure}. A client decides on
 * `code` and `retryable` alone; `detail` is for people and never holds a credential or a stack trace.
 */

interface FailureKind {
  readonly status: number;
  readonly title: string;
  readonly retryable: boolean;
}

export const FAILURE_KINDS = {
  INVALID_REQUEST: { status: 400, title: 'The request is not valid', retryable: false },
  SQL_ERROR: { status: 400, title: 'DuckDB refused or failed the statement', retryable: false },
  UNAUTHENTICATED: { status: 401, title: 'A valid key is needed', retryable: false },
  FORBIDDEN: { status: 403, title: 'This is not allowed', retryable: false },
  NOT_FOUND: { status: 404, title: 'There is no such thing here', retryable: false },
  METHOD_NOT_ALLOWED: { status: 405, title: 'This method is not available here', retryable: false },
  NOT_ACCEPTABLE: { status: 406, title: 'The result is not available in this format', retryable: false },
  QUERY_CANCELLED: { status: 409, title: 'The query was cancelled', retryable: false },
  RESULT_NOT_READY: { status: 409, title: 'The query has not ended yet', retryable: true },
  SESSION_BUSY: { status: 409, title: 'The session is at another query', retryable: true },
  QUERY_ID_REUSED: { status: 409, title: 'This query_id is taken', retryable: false },
  SESSION_EXPIRED: { status: 410, title: 'The session has ended', retryable: false },
  LINK_EXPIRED: { status: 410, title: 'The link has expired', retryable: false },
  PAYLOAD_TOO_LARGE: { status: 413, title: 'The request body is too large', retryable: false },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, title: 'The request body has an unknown type', retryable: false },
  RANGE_NOT_SATISFIABLE: { status: 416, title: 'The file has no such range', retryable: false },
  MEMORY_LIMIT: { status: 422, title: 'The query needed more memory than it may use', retryable: false },
  DISK_LIMIT: { status: 422, title: 'The query needed more disk than it may use', retryable: false },
  QUERY_QUARANTINED: {
    status: 422,
    title: 'The statement has crashed workers and is held back',
    retryable: false,
  },
  RESULT_TOO_LARGE: { status: 422, title: 'The result is too large for one reply', retryable: false },
  QUOTA_EXCEEDED: { status: 429, title: 'More was asked for than may be', retryable: true },
  CRASH_BUDGET_EXCEEDED: {
    status: 429,
    title: 'The queries of this principal cost too many workers',
    retryable: true,
  },
  INTERNAL: { status: 500, title: 'Something is wrong on our side', retryable: false },
  WORKER_CRASHED: { status: 502, title: 'The worker died while it ran the query', retryable: false },
  SOURCE_UNAVAILABLE: { status: 502, title: 'A source could not be reached', retryable: true },
  POOL_DOWN: { status: 503, title: 'The pool has no workers at the moment', retryable: true },
  OVERLOADED: { status: 503, title: 'Too many queries are waiting', retryable: true },
  SHUTTING_DOWN: { status: 503, title: 'The server is shutting down', retryable: true },
  QUERY_TIMEOUT: { status: 504, title: 'The query ran longer than it may', retryable: false },
  QUEUE_TIMEOUT: { status: 504, title: 'The query waited longer than it may', retryable: true },
} as const satisfies Record<string, FailureKind>;

export type FailureCode = keyof typeof FAILURE_KINDS;

export interface FailureOptions {
  /** Members of the problem document that belong to the code, such as `worker` or `limit_ms`. */
  readonly members?: Readonly<Record<string, unknown>>;
  /** Whole seconds for the `Retry-After` header. */
  readonly retryAfter?: number;
  /** Response headers the failure needs, such as `Allow`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

export class Failure extends Error {
  override readonly name = 'Failure';
  readonly code: FailureCode;
  readonly status: number;
  readonly retryable: boolean;
  readonly members: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;

  /** `detail` says what happened, where, and what to do. */
  constructor(code: FailureCode, detail: string, options: FailureOptions = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    const kind: FailureKind = FAILURE_KINDS[code];
    this.code = code;
    this.status = kind.status;
    this.retryable = kind.retryable;
    this.members = options.members ?? {};
    this.headers = {
      ...(options.retryAfter === undefined
        ? {}
        : { 'Retry-After': String(Math.max(1, Math.ceil(options.retryAfter))) }),
      ...options.headers,
    };
  }

  /** The problem document of RFC 9457, section 3. */
  toProblem(queryId?: string): Record<string, unknown> {
    return {
      type: `urn:duckcoop:problem:${this.code.toLowerCase().replaceAll('_', '-')}`,
      title: FAILURE_KINDS[this.code].title,
      status: this.status,
      code: this.code,
      detail: this.message,
      ...(queryId === undefined ? {} : { query_id: queryId }),
      retryable: this.retryable,
      ...this.members,
    };
  }
}

/** What a principal was refused. */
export type Denied = 'function' | 'source' | 'statement' | 'pool' | 'endpoint' | 'host' | 'origin' | 'link';

export function forbidden(kind: Denied, name: string, detail: string): Failure {
  return new Failure('FORBIDDEN', detail, { members: { denied: { kind, name } } });
}

/** Seconds after which a refused client may find the server that took this one's place. */
const RETRY_AFTER_DRAIN = 5;

export function shuttingDown(headers: Readonly<Record<string, string>> = {}): Failure {
  return new Failure('SHUTTING_DOWN', 'The server is shutting down.', {
    retryAfter: RETRY_AFTER_DRAIN,
    headers,
  });
}

/** Any thrown value as a {@link Failure}; what nobody foresaw is `INTERNAL`, its text kept from the client. */
export function toFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  return new Failure('INTERNAL', 'The server failed to handle the request; its log has the cause.', {
    cause: error,
  });
}
