/** Where a query runs, and within which limits: the request's wishes within what the pool allows. Pure. */
import type { Config } from '../config/schema.ts';
import type { SourceKind } from '../config/sources.ts';
import { Failure, forbidden } from '../failures.ts';
import { listed } from '../listed.ts';
import {
  mayUsePool,
  mayUseSource,
  mayWrite,
  type Principal,
  requireInlineSource,
  requirePool,
  requireSource,
} from '../principal.ts';
import type { Attachment } from '../workers/protocol.ts';
import { toAttachment } from './attachment.ts';
import type { Job } from './job.ts';
import type { QueryRequest } from './query.ts';
import { hasInline } from './source-names.ts';

export interface Placement {
  readonly pool: string;
  readonly statement: Job['statement'];
  readonly timeoutMs: number;
  readonly queueTimeoutMs: number;
}

export type PlacementConfig = Pick<Config, 'pools' | 'sources' | 'sql' | 'server'>;

/**
 * Throws a {@link Failure}: `FORBIDDEN` for a pool or a source that the principal may not use, `INVALID_REQUEST` for
 * one that is not there.
 */
export function placeQuery(request: QueryRequest, config: PlacementConfig): Placement {
  const { principal } = request;
  const name = request.pool ?? defaultPool(principal, config);
  requirePool(principal, name);
  const pool = Object.hasOwn(config.pools, name) ? config.pools[name] : undefined;
  if (pool === undefined) {
    const known = Object.keys(config.pools).filter((other) => mayUsePool(principal, other));
    throw invalid('pool', `no pool is named ${JSON.stringify(name)}; there are ${known.join(', ')}`);
  }
  const { memoryLimit, threads, rowLimit, byteLimit, params, output, kept, export: files } = request;
  const write = config.sql.write && mayWrite(principal) && !request.readOnly;
  return {
    pool: name,
    timeoutMs: Math.min(request.timeoutMs ?? pool.timeout, pool.timeout),
    queueTimeoutMs: Math.min(request.queueTimeoutMs ?? pool.queue.timeout, pool.queue.timeout),
    statement: {
      sql: request.sql,
      rowFormat: request.rowFormat,
      maxBytes: config.server.max_result,
      attachments: [
        ...[...new Set(request.sources)].map((alias, index) =>
          attachmentOf(alias, index, config.sources, principal, write),
        ),
        ...inlineAttachments(request, write),
      ],
      write,
      owner: principal.name,
      ...(request.attachAnew === true ? { attachAnew: true } : {}),
      ...(request.allViews === true ? { allViews: true } : {}),
      ...(output === undefined ? {} : { output }),
      ...(kept === undefined ? {} : { kept }),
      ...(files === undefined ? {} : { export: files }),
      ...(params === undefined ? {} : { params: params as never }),
      ...(rowLimit === undefined ? {} : { rowLimit }),
      ...(byteLimit === undefined ? {} : { byteLimit }),
      ...(memoryLimit === undefined || memoryLimit >= pool.memory_limit ? {} : { memoryLimit }),
      ...(threads === undefined || threads >= pool.threads ? {} : { threads }),
    },
  };
}

/** The first of the principal's own; where it may use all: `interactive`, else the first that is not for exports. */
function defaultPool({ name, pools: own }: Principal, { pools }: PlacementConfig): string {
  if (own !== undefined) {
    const [first] = own;
    if (first === undefined) throw forbidden('pool', '*', `${name} may use no pool, and so run no query.`);
    return first;
  }
  const names = Object.keys(pools);
  if (names.includes('interactive')) return 'interactive';
  return names.find((name) => name !== 'exports') ?? (names[0] as string);
}

function attachmentOf(
  alias: string,
  index: number,
  sources: Config['sources'],
  principal: Principal,
  write: boolean,
): Attachment {
  requireSource(principal, alias);
  const source = Object.hasOwn(sources, alias) ? sources[alias] : undefined;
  const attachment = source === undefined ? undefined : toAttachment(alias, source, sources);
  if (attachment !== undefined) return asAllowed(attachment, write);
  const known = Object.keys(sources).filter((other) => mayUseSource(principal, other));
  const message =
    source === undefined
      ? `no source is named ${JSON.stringify(alias)}; there ${known.length === 0 ? 'are none' : `are ${listed(known)}`}`
      : `${alias} needs another source that is not there`;
  throw invalid(`sources[${index}]`, message);
}

/**
 * Such a file, and what a catalog says of its files, is whatever its sender has made, and DuckDB's native code reads it: the credentials
 * of a configured source are not in the same process then.
 */
const UNSEEN: ReadonlySet<SourceKind> = new Set(['sqlite', 'duckdb', 'ducklake']);

/** What an inline source refers to is inline as well. */
function inlineAttachments({ sources, inline = [], principal }: QueryRequest, write: boolean): Attachment[] {
  if (inline.length === 0) return [];
  const own = Object.fromEntries(inline.map(({ alias, source }) => [alias, source]));
  return inline.map(({ alias, source }) => {
    requireInlineSource(principal, alias, source.kind);
    if (UNSEEN.has(source.kind) && sources.length > 0) {
      const message = `${alias} is an inline source of kind ${source.kind}, and these go with no configured source in one query`;
      throw invalid('sources', message);
    }
    const attachment = toAttachment(alias, source, own);
    if (attachment === undefined) throw invalid('sources', `${alias} needs another inline source`);
    return asAllowed(attachment, write);
  });
}

/** A source of a query that may not write is read-only, whatever is said of it. */
function asAllowed(attachment: Attachment, write: boolean): Attachment {
  return 'readOnly' in attachment ? { ...attachment, readOnly: attachment.readOnly || !write } : attachment;
}

/**
 * A job's sources as they are configured by now, for one that begins: it may have waited since it was placed, and credentials
 * have been replaced meanwhile. One that is not there any more stays what it was, and so does one that came with the request.
 */
export function asConfiguredNow(
  { statement: { attachments }, origin }: Pick<Job, 'statement' | 'origin'>,
  { sources }: Pick<Config, 'sources'>,
): Attachment[] {
  return attachments.map((placed) => {
    const { alias } = placed;
    const isConfigured = Object.hasOwn(sources, alias) && !hasInline(origin.sources, alias);
    const source = isConfigured ? sources[alias] : undefined;
    const now = source === undefined ? undefined : toAttachment(alias, source, sources);
    if (now === undefined || now.kind !== placed.kind) return placed;
    if (!('readOnly' in now) || !('readOnly' in placed)) return now;
    return { ...now, readOnly: now.readOnly || placed.readOnly };
  });
}

function invalid(path: string, message: string): Failure {
  return new Failure('INVALID_REQUEST', `${path}: ${message}`, { members: { errors: [{ path, message }] } });
}
