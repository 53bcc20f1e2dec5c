/**
 * A source that a request brings along: what the configuration could say of one, but for what would lend the client something of the
 * server's own. Pure.
 *
 * - References (`${env:NAME}`) are refused and never resolved.
 * - Nothing identifies the server to whom it connects to: no certificate of a client, and no socket of this machine, on which a database
 *   knows a user by their process.
 * - Paths are absolute, so that nobody has to know where the server was started.
 *
 * No message repeats a value, nor a key that is unknown: either may be a password in the wrong place.
 */
import { isIPv6 } from 'node:net';
import { resolve } from 'node:path';
import { nameProblem } from './fields.ts';
import { isMapping, type Path } from './problems.ts';
import { sourceContradictions } from './source-contradictions.ts';
import { bucketUrl } from './source-urls.ts';
import { SOURCE_ALIAS, type SourceConfig, sourceSchema } from './sources.ts';
import { formatDuration } from './units.ts';

export interface InlineSource {
  readonly alias: string;
  readonly source: SourceConfig;
}

export interface InlineProblem {
  /** Within the source. */
  readonly path: Path;
  readonly message: string;
}

/** Milliseconds: each one that keeps silent keeps a worker for as long. */
export const MAX_CONNECT_TIMEOUT_MS = 30_000;
/** Characters of each text. */
const MAX_TEXT = 8_192;

const NO_REFERENCE = 'expected a value as it is: in a request no reference is resolved';
const A_PATH = 'expected an absolute path, without . and .. and //';
const A_HOST = 'expected one host name or address: letters, digits, - and .';
const NO_SOCKET = 'expected an address such as 127.0.0.1: the client library looks for a socket first';
const PRINTABLE = 'expected a text of printable ASCII';
const A_CATALOG = 'expected the alias of an inline source of kind postgres in the same request';
const A_BUCKET = 'expected an absolute path, or one below an inline source of kind s3 in the same request';
const NOT_INLINE = 'is for configured sources alone';

/** The source of an object that a client wrote, or all that is wrong with it. */
export function inlineSource(
  given: Readonly<Record<string, unknown>>,
): InlineSource | { readonly problems: readonly InlineProblem[] } {
  const { alias, ...said } = given;
  const problems: InlineProblem[] = [...aliasProblems(alias), ...textProblems(said, [])];
  const wrong = new Set(problems.map(({ path }) => path[0]));
  const parsed = sourceSchema.safeParse(said);
  if (parsed.success) problems.push(...sourceProblems(parsed.data).filter(({ path }) => !wrong.has(path[0])));
  else
    for (const { path, message } of parsed.error.issues) {
      const place = path.filter((part) => typeof part !== 'symbol');
      if (place.length === 0 || !wrong.has(place[0])) problems.push({ path: place, message });
    }
  if (!parsed.success || problems.length > 0) return { problems };
  return { alias: alias as string, source: withPlainPaths(parsed.data) };
}

/** What is wrong with each of a request's inline sources for what there is no other of them; by its place among them. */
export function inlineContradictions(
  sources: readonly InlineSource[],
): { readonly index: number; readonly problem: InlineProblem }[] {
  return sources.flatMap(({ source }, index) => {
    if (source.kind !== 'ducklake') return [];
    const { catalog, data_path } = source;
    const problems: InlineProblem[] = [];
    if (
      'source' in catalog &&
      !sources.some((other) => other.alias === catalog.source && other.source.kind === 'postgres')
    )
      problems.push({ path: ['catalog'], message: `${A_CATALOG}, or the absolute path of a file` });
    const isBelow = ({ source: other }: InlineSource) =>
      other.kind === 's3' && `${data_path}/`.startsWith(bucketUrl(other));
    if (data_path.includes('://') && !sources.some(isBelow))
      problems.push({ path: ['data_path'], message: A_BUCKET });
    return problems.map((problem) => ({ index, problem }));
  });
}

function aliasProblems(alias: unknown): InlineProblem[] {
  if (typeof alias !== 'string')
    return [{ path: ['alias'], message: 'expected the name of the source in SQL' }];
  // DuckLake calls the databases of its catalogs so.
  const message = alias.startsWith('__')
    ? 'expected a name that does not begin with __'
    : nameProblem(alias, SOURCE_ALIAS);
  return message === undefined ? [] : [{ path: ['alias'], message }];
}

/** Of every text, wherever it stands. */
function textProblems(value: unknown, path: Path): InlineProblem[] {
  if (typeof value === 'string') {
    const message = textProblem(value);
    return message === undefined ? [] : [{ path, message }];
  }
  if (Array.isArray(value)) return value.flatMap((item, index) => textProblems(item, [...path, index]));
  if (!isMapping(value)) return [];
  return Object.entries(value).flatMap(([key, item]) => textProblems(item, [...path, key]));
}

function textProblem(text: string): string | undefined {
  if (text.length > MAX_TEXT) return `expected ${MAX_TEXT} characters at most`;
  if (/\$\{\s*(?:env|file)\s*:/i.test(text)) return NO_REFERENCE;
  // To the client libraries a text ends there.
  if (text.includes('\0')) return 'expected a text without NUL characters';
  return /\p{Surrogate}/u.test(text) ? 'expected a text without half of a surrogate pair' : undefined;
}

function sourceProblems(source: SourceConfig): InlineProblem[] {
  const problems: InlineProblem[] = [];
  const refuse = (key: string, message: string | false | undefined) => {
    if (typeof message === 'string') problems.push({ path: [key], message });
  };
  switch (source.kind) {
    case 'postgres':
    case 'mysql':
      refuse('host', hostProblem(source.host, source.kind));
      refuse('ssl_ca', source.ssl_ca !== undefined && pathProblem(source.ssl_ca));
      refuse('ssl_cert', source.ssl_cert !== undefined && NOT_INLINE);
      refuse('ssl_key', source.ssl_key !== undefined && NOT_INLINE);
      refuse(
        'connect_timeout',
        source.connect_timeout > MAX_CONNECT_TIMEOUT_MS &&
          `expected ${formatDuration(MAX_CONNECT_TIMEOUT_MS)} at most`,
      );
      // A server that is not what it says has the client send it any file in answer to a LOAD DATA LOCAL.
      refuse('remote_query', source.kind === 'mysql' && source.remote_query && NOT_INLINE);
      break;
    case 'sqlite':
    case 'duckdb':
    case 'files':
      refuse('path', pathProblem(source.path));
      break;
    case 'ducklake':
      refuse('catalog', 'path' in source.catalog && pathProblem(source.catalog.path));
      refuse('data_path', !source.data_path.startsWith('s3://') && pathProblem(source.data_path));
      break;
    case 's3':
      // DuckDB has one for all sources of a query.
      refuse('ssl_ca', source.ssl_ca !== undefined && NOT_INLINE);
      refuse('region', !/^[A-Za-z0-9-]{1,64}$/.test(source.region) && 'expected a name such as us-east-1');
      for (const key of ['key_id', 'secret', 'session_token'] as const)
        refuse(key, !isPrintable(source[key]?.reveal()) && PRINTABLE);
      break;
    case 'http':
      refuse('ssl_ca', source.ssl_ca !== undefined && NOT_INLINE);
      refuse('bearer_token', !isPrintable(source.bearer_token?.reveal()) && PRINTABLE);
      break;
    default:
      source satisfies never;
  }
  const known = new Set(problems.map(({ path }) => path[0]));
  for (const { key, message, restsOn } of sourceContradictions(source))
    if (![key, ...restsOn].some((other) => known.has(other))) problems.push({ path: [key], message });
  return problems;
}

/** libpq takes a list, and an empty name in one for the socket of this machine. */
function hostProblem(host: string, kind: 'postgres' | 'mysql'): string | undefined {
  if (!isIPv6(host) && !/^[A-Za-z0-9._-]+$/.test(host)) return A_HOST;
  return kind === 'mysql' && host.toLowerCase() === 'localhost' ? NO_SOCKET : undefined;
}

function pathProblem(path: string): string | undefined {
  const plain = withoutSlash(path);
  return resolve('/', plain) === plain ? undefined : A_PATH;
}

function isPrintable(text: string | undefined): boolean {
  return text === undefined || /^[\x20-\x7e]*$/.test(text);
}

/** Without the slash that a folder may have behind it. */
function withPlainPaths(source: SourceConfig): SourceConfig {
  switch (source.kind) {
    case 'files':
      return { ...source, path: withoutSlash(source.path) };
    case 'ducklake':
      return { ...source, data_path: withoutSlash(source.data_path) };
    default:
      return source;
  }
}

function withoutSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}
