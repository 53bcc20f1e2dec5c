/** A configured source as a worker attaches it. Pure. */
import { bucketOf, bucketUrl, siteUrl } from '../config/source-urls.ts';
import type {
  DucklakeSource,
  MysqlSource,
  PostgresSource,
  S3Source,
  SourceConfig,
} from '../config/sources.ts';
import type { Attachment } from '../workers/protocol.ts';

type Sources = Readonly<Record<string, SourceConfig>>;

/** What a worker needs to attach a source; undefined where that needs another of the `sources` that is not there. */
export function toAttachment(alias: string, source: SourceConfig, sources: Sources): Attachment | undefined {
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
      return bucketAt(alias, source);
    case 'ducklake':
      return lakeOf(alias, source, sources);
  }
}

function lakeOf(
  alias: string,
  { catalog, data_path, metadata_schema, read_only }: DucklakeSource,
  sources: Sources,
): Attachment | undefined {
  const database =
    'path' in catalog ? ({ kind: 'file', path: catalog.path } as const) : serverOf(catalog.source, sources);
  const below = data_path.startsWith('s3://') ? bucketOf(data_path, sources) : undefined;
  const bucket = below && bucketAt(below.alias, below.source);
  if (database === undefined || (bucket === undefined && data_path.includes('://'))) return undefined;
  return {
    kind: 'ducklake',
    alias,
    catalog: database,
    dataPath: `${data_path.replace(/\/+$/, '')}/`,
    readOnly: read_only,
    ...(metadata_schema === undefined ? {} : { metadataSchema: metadata_schema }),
    ...(bucket === undefined ? {} : { bucket }),
  };
}

type Server = Extract<Attachment, { kind: 'postgres' }>;
type Bucket = Extract<Attachment, { kind: 's3' }>;

function serverOf(alias: string, sources: Sources): Server | undefined {
  const source = Object.hasOwn(sources, alias) ? sources[alias] : undefined;
  const attachment = source?.kind === 'postgres' ? toAttachment(alias, source, sources) : undefined;
  return attachment?.kind === 'postgres' ? attachment : undefined;
}

function bucketAt(alias: string, source: S3Source): Bucket {
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
