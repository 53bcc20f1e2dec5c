/** The configured sources: which there are, and whether each can be reached. */
import type { QueryService } from './actors/query.ts';
import { type ReplacedCredentials, withCredentials } from './config/credentials.ts';
import type { LiveConfig } from './config/live-config.ts';
import { bucketUrl, siteUrl } from './config/source-urls.ts';
import type { HttpSource, SourceConfig } from './config/sources.ts';
import { Failure } from './failures.ts';
import { invalidRequest } from './http/invalid-request.ts';
import type { SourceService } from './http/services.ts';
import { mayUseSource } from './principal.ts';
import type { Reloader } from './reload.ts';
import { describeTable, listTables, ownQuery } from './source-tables.ts';
import type { Events } from './telemetry/events.ts';
import { literal } from './workers/duckdb/quote.ts';
import { diagnose } from './workers/duckdb/source-diagnosis.ts';

/** A server that answers at all does so well within this. */
const CHECK_TIMEOUT_MS = 15_000;

export interface SourceServiceOptions {
  readonly live: LiveConfig;
  readonly queries: QueryService;
  readonly replaced: ReplacedCredentials;
  readonly reloader: Pick<Reloader, 'change'>;
  readonly events: Events;
}

export function sourceService(options: SourceServiceOptions): SourceService {
  const { live, queries, replaced, reloader, events } = options;
  return {
    list: (principal) =>
      Object.entries(live.current.sources)
        .filter(([alias]) => mayUseSource(principal, alias))
        .map(([alias, { kind }]) => ({ alias, kind })),
    has: (alias) => Object.hasOwn(live.current.sources, alias),
    replaceCredentials: async (alias, credentials, principal) => {
      const version = await reloader.change((current) => {
        const before = Object.hasOwn(current.sources, alias) ? current.sources[alias] : undefined;
        if (before === undefined)
          throw new Failure('NOT_FOUND', `There is no source ${JSON.stringify(alias)}.`);
        const changed = withCredentials(before, credentials);
        if ('problems' in changed) throw invalidRequest(changed.problems);
        replaced.put(alias, before, changed.source);
        const sources = Object.assign(Object.create(null), current.sources, { [alias]: changed.source });
        return { ...current, sources };
      });
      events.emit('source.credentials', { source: alias, version, principal: principal.name });
      return { version };
    },
    check: async (alias, principal) => {
      const source = requireConfigured(alias);
      const started = performance.now();
      // A worker attaches it as for any query: native code, and so whatever it dies of, stays there.
      const query = { sql: checkOf(alias, source), params: undefined, timeoutMs: CHECK_TIMEOUT_MS };
      const request = { ...ownQuery({ alias, principal }, 'check', query), attachAnew: true };
      try {
        await queries.run(request).result;
      } catch (error) {
        if (!isAnswer(error, source)) throw asUnavailable(error, alias, source);
      }
      return { ok: true, ms: Math.round(performance.now() - started) };
    },
    tables: (alias, page, principal) =>
      listTables(queries, { alias, source: requireConfigured(alias), principal }, page),
    columns: (alias, { schema, name }, principal) =>
      describeTable(queries, { alias, source: requireConfigured(alias), principal }, schema, name),
  };

  function requireConfigured(alias: string): SourceConfig {
    const { sources } = live.current;
    const source = Object.hasOwn(sources, alias) ? sources[alias] : undefined;
    if (source === undefined) throw new Failure('NOT_FOUND', `There is no source ${JSON.stringify(alias)}.`);
    return source;
  }
}

/** What makes DuckDB go and see: to attach a database is enough, the rest is asked for nothing before it is read from. */
function checkOf(alias: string, source: SourceConfig): string {
  switch (source.kind) {
    case 's3':
      // A listing of what nobody has: as good as any to show that the keys open the bucket, and short.
      return `SELECT count(*) FROM glob(${literal(`${bucketUrl(source)}.duckcoop-check-*`)})`;
    case 'http':
      return `SELECT size FROM read_blob(${literal(`${siteUrl(source)}${firstView(source)}`)})`;
    case 'sqlite':
      // SQLite reads nothing of a file before it has to.
      return `SELECT count(*) FROM duckdb_tables() WHERE database_name = ${literal(alias)}`;
    default:
      return 'SELECT 1';
  }
}

function firstView({ views }: HttpSource): string {
  return Object.values(views)[0]?.path ?? '';
}

/** The statement of a check has no other fault than that of its source. */
function asUnavailable(error: unknown, alias: string, source: SourceConfig): unknown {
  if (!(error instanceof Failure) || error.code !== 'SQL_ERROR') return error;
  const why = 'path' in source ? error.message.replaceAll(source.path, alias) : error.message;
  const [line = ''] = why.split('\n');
  return new Failure('SOURCE_UNAVAILABLE', `${alias}: ${line}`, {
    members: { source: alias, ...diagnose(why) },
    cause: error,
  });
}

/** A web server that has nothing to show at the address of a folder has answered all the same. */
function isAnswer(error: unknown, source: SourceConfig): boolean {
  return (
    source.kind === 'http' &&
    firstView(source) === '' &&
    error instanceof Failure &&
    error.code === 'SQL_ERROR'
  );
}
