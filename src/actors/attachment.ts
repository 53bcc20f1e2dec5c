/** A configured source as a worker attaches it. Pure. */
import { bucketUrl, siteUrl } from '../config/source-urls.ts';
import type { MysqlSource, PostgresSource, S3Source, SourceConfig } from '../config/sources.ts';
import type { Attachment } from '../workers/protocol.ts';

/** What a worker needs to attach a source; undefined for the kinds it cannot attach yet. */
export function toAttachment(alias: string, source: SourceConfig): Attachment | undefined {
  switch (source.kind) {
    case 'postgres':
      return { kind: 'postgres', alias, ...server(source), options: postgresOptions(source) };
    case 'mysql':
      return { kind: 'mysql', alias, ...server(source), options: mysqlOptions(source) };
    case 'sqlite':
      return { kind: 'sqlite', alias, path: source.path, readOnly: source.read_only };
    case 'files':
      return { kind: 'files', alias, path: source.path, views: viewsOf(source.views) };
    case 'duckdb':
      return { kind: 'duckdb', alias, path: source.path };
    case 'http':
      return {
        kind: 'http',
        alias,
        url: siteUrl(source),
        headers: Object.fromEntries(
          Object.entries(source.headers).map(([name, value]) => [name, value.reveal()]),
        ),
        views: viewsOf(source.views),
        ...(source.bearer_token === undefined ? {} : { bearerToken: source.bearer_token.reveal() }),
        ...(source.ssl_ca === undefined ? {} : { sslCa: source.ssl_ca }),
      };
    case 's3':
      return {
        kind: 's3',
        alias,
        url: bucketUrl(source),
        region: source.region,
        urlStyle: source.url_style,
        useSsl: source.use_ssl,
        views: viewsOf(source.views),
        ...(source.endpoint === undefined ? {} : { endpoint: source.endpoint }),
        ...(source.key_id === undefined ? {} : { keyId: source.key_id.reveal() }),
        ...(source.secret === undefined ? {} : { secret: source.secret.reveal() }),
        ...(source.ssl_ca === undefined ? {} : { sslCa: source.ssl_ca }),
        ...(source.session_token === undefined ? {} : { sessionToken: source.session_token.reveal() }),
      };
    default:
      return undefined;
  }
}

function viewsOf(views: S3Source['views']) {
  return Object.entries(views).map(([name, { path, format }]) => ({
    name,
    path,
    ...(format === undefined ? {} : { format }),
  }));
}

type ServerSource = PostgresSource | MysqlSource;

function server(source: ServerSource) {
  return {
    host: source.host,
    port: source.port,
    readOnly: source.read_only,
    remoteQuery: source.remote_query,
    connectTimeoutMs: source.connect_timeout,
    ...(source.user === undefined ? {} : { user: source.user }),
    ...(source.password === undefined ? {} : { password: source.password.reveal() }),
    ...(source.database === undefined ? {} : { database: source.database }),
  };
}

/** libpq's connection parameters (PostgreSQL manual, 34.1.2), none of them secret. */
function postgresOptions(source: PostgresSource): Record<string, string> {
  const seconds = Math.max(1, Math.ceil(source.connect_timeout / 1_000));
  return {
    connect_timeout: String(seconds),
    // A server whose machine is gone, or cut off, says nothing more: the kernel finds out (tcp(7)).
    keepalives_idle: String(seconds),
    keepalives_interval: String(seconds),
    keepalives_count: '2',
    tcp_user_timeout: String(2 * seconds * 1_000),
    ...(source.ssl_mode === undefined ? {} : { sslmode: source.ssl_mode }),
    ...(source.ssl_ca === undefined ? {} : { sslrootcert: source.ssl_ca }),
    ...(source.ssl_cert === undefined ? {} : { sslcert: source.ssl_cert }),
    ...(source.ssl_key === undefined ? {} : { sslkey: source.ssl_key }),
    ...(source.statement_timeout === undefined
      ? {}
      : { options: `-c statement_timeout=${source.statement_timeout}` }),
  };
}

/** Parameters of DuckDB's MySQL extension, none of them secret. */
function mysqlOptions(source: MysqlSource): Record<string, string> {
  return {
    ...(source.ssl_mode === undefined ? {} : { ssl_mode: source.ssl_mode }),
    ...(source.ssl_ca === undefined ? {} : { ssl_ca: source.ssl_ca }),
    ...(source.ssl_cert === undefined ? {} : { ssl_cert: source.ssl_cert }),
    ...(source.ssl_key === undefined ? {} : { ssl_key: source.ssl_key }),
  };
}
