/**
 * What DuckDB says went wrong, read from its typed errors (`errors_as_json`) and never from the words of a message,
 * which a query can choose: `SELECT error('{"exception_type":"FATAL"}')` must not pass for a dead instance.
 */
import { constants } from 'node:os';
import type { FailedVerdict } from '../protocol.ts';

export interface DuckDBErrorInfo {
  /** DuckDB's exception type, such as `Parser`, `Catalog`, `Out of Memory`. */
  readonly type: string;
  readonly subtype: string | undefined;
  readonly message: string;
  /** Where in the statement's text, in bytes from its start. */
  readonly position: number | undefined;
  readonly candidates: readonly string[];
  readonly name: string | undefined;
  /** Of the system call that failed, where one did (errno(3)). */
  readonly errno: number | undefined;
}

/** The instance is not to be used again: DuckDB invalidates it (FATAL), or trusts itself no more (INTERNAL). */
export function isFatal(error: DuckDBErrorInfo): boolean {
  return error.type === 'FATAL' || error.type === 'INTERNAL';
}

/** What the binding, not the query, puts before DuckDB's own text. */
const BINDING_PREFIX = /^Failed to extract statements: /;
/** How DuckDB names a type before its text, or before its JSON; the query's own words only come after it. */
const TYPE_PREFIX = /^([A-Z][A-Za-z ]*?) Error: /;

export function readDuckDBError(error: unknown): DuckDBErrorInfo {
  const text = (error instanceof Error ? error.message : String(error)).replace(BINDING_PREFIX, '');
  const [prefix = '', type = 'Unknown'] = TYPE_PREFIX.exec(text) ?? [];
  const message = text.slice(prefix.length);
  const info = message.startsWith('{') ? readJson(message) : undefined;
  if (info !== undefined && (prefix === '' || info.type === type)) return info;
  return {
    type: type === 'Invalid' ? 'Invalid Input' : type,
    subtype: undefined,
    message,
    position: undefined,
    candidates: [],
    name: undefined,
    errno: undefined,
  };
}

function readJson(text: string): DuckDBErrorInfo | undefined {
  let json: Readonly<Record<string, unknown>>;
  try {
    json = JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    return undefined;
  }
  if (typeof json.exception_type !== 'string') return undefined;
  const position = Number(json.position);
  return {
    type: json.exception_type,
    subtype: typeof json.error_subtype === 'string' ? json.error_subtype : undefined,
    message: typeof json.exception_message === 'string' ? json.exception_message : '',
    position: json.position === undefined || !Number.isSafeInteger(position) ? undefined : position,
    candidates:
      typeof json.candidates === 'string' && json.candidates !== '' ? json.candidates.split(',') : [],
    name: typeof json.name === 'string' ? json.name : undefined,
    errno: typeof json.errno === 'string' ? Number(json.errno) : undefined,
  };
}

export interface ErrorContext {
  readonly sql: string;
  /** Where in it the statement begins that failed, in bytes. */
  readonly offset: number;
  /** Bytes the statement was allowed, for `MEMORY_LIMIT` and `DISK_LIMIT`. */
  readonly memoryLimit: number;
  readonly tempLimit: number;
  /** Bytes the process holds now. */
  readonly used: number;
  /** Bytes its run folder takes now. */
  readonly diskUsed: () => number;
}

/** The verdict a client hears for an error that a statement caused. */
export function failedVerdict(error: DuckDBErrorInfo, context: ErrorContext): FailedVerdict {
  const failed = (code: FailedVerdict['code'], detail: string, members: Record<string, unknown> = {}) =>
    ({ ok: false, code, detail, members }) satisfies FailedVerdict;
  switch (error.type) {
    case 'INTERRUPT':
      return failed('INTERRUPTED', 'The statement was interrupted.');
    case 'Out of Memory':
      // The type is the same for both; the setting's name is DuckDB's own text and no query's.
      return error.message.includes('max_temp_directory_size')
        ? failed('DISK_LIMIT', spilled(error.message), { limit: context.tempLimit, used: context.tempLimit })
        : memoryLimit(error.message, context);
    case 'IO':
      return NO_ROOM.has(error.errno) ? diskLimit(error.errno, context) : sqlError(error, context);
    case 'Permission':
      return failed(
        'FORBIDDEN',
        `${error.message}. Files and addresses are open only through the request's sources.`,
        {
          denied: { kind: 'source', name: /"([^"]*)"/.exec(error.message)?.[1] ?? '' },
        },
      );
    default:
      return sqlError(error, context);
  }
}

function sqlError(error: DuckDBErrorInfo, { sql, offset }: ErrorContext): FailedVerdict {
  const position = error.position === undefined ? undefined : offset + error.position;
  const duckdb = {
    type: error.type,
    ...(error.subtype === undefined ? {} : { subtype: error.subtype }),
    ...(position === undefined ? {} : { position, line: lineAt(sql, position) }),
  };
  const members = { duckdb, ...(error.candidates.length === 0 ? {} : { did_you_mean: error.candidates }) };
  return { ok: false, code: 'SQL_ERROR', detail: error.message, members };
}

/** A write failed: the file would pass its limit (launch.ts), the disk is full, or somebody's share of it is. */
const NO_ROOM: ReadonlySet<number | undefined> = new Set([
  constants.errno.EFBIG,
  constants.errno.ENOSPC,
  constants.errno.EDQUOT,
]);

/** Without DuckDB's text, which names a file of ours. */
function diskLimit(errno: number | undefined, { tempLimit: limit, diskUsed }: ErrorContext): FailedVerdict {
  const why = errno === constants.errno.EFBIG ? 'no file may be as large' : 'the disk has no room left';
  const detail = `DuckDB could not write to disk what does not fit into memory: ${why}. Make the query hold less at once, or ask an operator.`;
  return { ok: false, code: 'DISK_LIMIT', detail, members: { limit, used: diskUsed() } };
}

/** Without DuckDB's advice, as {@link memoryLimit}. */
function spilled(message: string): string {
  return `${message.split('\n')[0]} Make the query hold less at once, or ask an operator for more room to spill.`;
}

/** Without DuckDB's advice (SET memory_limit, SET threads): that is for somebody who has an instance of their own. */
export function memoryLimit(
  message: string,
  { memoryLimit: limit, used }: Pick<ErrorContext, 'memoryLimit' | 'used'>,
): FailedVerdict {
  const what = message.split('\n\nPossible solutions')[0];
  const detail = `${what}. The query may use ${limit} bytes: make it hold less at once, or ask an operator for a larger pool.`;
  return { ok: false, code: 'MEMORY_LIMIT', detail, members: { limit, used } };
}

/** The line, counted from 1, of a byte position. */
function lineAt(sql: string, position: number): number {
  let line = 1;
  for (const byte of Buffer.from(sql).subarray(0, position)) if (byte === 0x0a) line += 1;
  return line;
}
