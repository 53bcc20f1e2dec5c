/**
 * Sources: what a query may be given to read, one schema a kind.
 * Credentials are {@link Secret}s; paths are absolute once the configuration is loaded; durations are milliseconds.
 */
import { z } from 'zod';
import {
  flag,
  host,
  IDENTIFIER,
  mapping,
  type NameRule,
  named,
  oneOf,
  port,
  secret,
  text,
  url,
} from './fields.ts';
import { duration } from './units.ts';

/** Aliases become database names in DuckDB, which has these already. */
export const SOURCE_ALIAS: NameRule = {
  ...IDENTIFIER,
  taken: ['main', 'temp', 'system', 'memory', 'pg_catalog', 'information_schema'],
};

const readOnly = flag().default(true);

const RELATIVE =
  'expected a path below the source, such as "events/*.parquet", without ".." and not absolute';

/** Names for what lies under a source: `events: "events/*.parquet"`, or with its format where the name does not tell. */
const views = named(
  z.preprocess(
    (value) => (typeof value === 'string' ? { path: value } : value),
    mapping({
      /** Path or glob below the source. */
      path: text(RELATIVE).refine(staysBelow, { error: RELATIVE }),
      format: oneOf(['parquet', 'csv', 'json']).optional(),
    }),
  ),
  IDENTIFIER,
);

/** Keys of every database server. */
const server = {
  host: host(),
  user: text(),
  password: secret().optional(),
  /** Path of the certificate authority's certificate. */
  ssl_ca: text().optional(),
  /** Path of the client's certificate; needs `ssl_key`. */
  ssl_cert: text().optional(),
  /** Path of the client's key; needs `ssl_cert`. */
  ssl_key: text().optional(),
  /** Milliseconds it has to answer, when it is connected to and whenever it is asked whether it is there. */
  connect_timeout: duration().prefault('5s'),
  /** Milliseconds the server itself gives a statement; without it the query's own deadline rules. */
  statement_timeout: duration().optional(),
  read_only: readOnly,
  /** SQL of the server's own may be run on it, with `postgres_query` or `mysql_query`. */
  remote_query: flag().default(false),
};

const postgres = mapping({
  kind: z.literal('postgres'),
  ...server,
  port: port(1).default(5432),
  database: text(),
  /** libpq's `sslmode`. */
  ssl_mode: oneOf(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']).default('prefer'),
});

const mysql = mapping({
  kind: z.literal('mysql'),
  ...server,
  port: port(1).default(3306),
  database: text().optional(),
  ssl_mode: oneOf(['disabled', 'preferred', 'required', 'verify_ca', 'verify_identity']).default('preferred'),
});

const sqlite = mapping({ kind: z.literal('sqlite'), path: text(), read_only: readOnly });

const duckdb = mapping({
  kind: z.literal('duckdb'),
  path: text(),
  read_only: z
    .literal(true, {
      error: 'expected true: a DuckDB file that somebody writes to can be read by nobody else',
    })
    .default(true),
});

const ENDPOINT =
  'expected host or host:port, without https:// before it (use_ssl says that) or a path behind it';

const PREFIX = `${RELATIVE}, and without * ? [ # % and \\`;

const s3 = mapping({
  kind: z.literal('s3'),
  bucket: text('expected the name of a bucket').regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, {
    error: 'expected the name of a bucket',
  }),
  /** `host` or `host:port`; Amazon's own when not given. */
  endpoint: text(ENDPOINT)
    .regex(/^(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?$/, { error: ENDPOINT })
    .optional(),
  region: text().default('us-east-1'),
  /** With `secret`, or neither for a bucket that is open to all. */
  key_id: secret().optional(),
  secret: secret().optional(),
  session_token: secret().optional(),
  /** Path of the certificate authority's certificate. */
  ssl_ca: text().optional(),
  url_style: oneOf(['vhost', 'path']).default('vhost'),
  use_ssl: flag().default(true),
  /** Only paths below it may be read; the whole bucket when empty. */
  prefix: z
    .string({ error: PREFIX })
    .refine((value) => staysBelow(value) && isPlain(value), { error: PREFIX })
    .default(''),
  views,
  read_only: readOnly,
});

/** Field names (RFC 9110, 5.1), of which some belong to the message and not to whoever sends it. */
const HEADER: NameRule = {
  pattern: /^[A-Za-z][A-Za-z0-9-]{0,62}$/,
  expected: 'expected the name of a header',
  taken: ['host', 'range', 'connection', 'content-length', 'transfer-encoding', 'proxy-authorization'],
};

const http = mapping({
  kind: z.literal('http'),
  /** Only addresses below it may be read. */
  url: url().refine((value) => isPlain(value.replace(/^https?:\/\/[^/?#]*/i, '')), {
    error: 'expected the URL of a folder, without ?, #, %, * and ..',
  }),
  bearer_token: secret().optional(),
  /** Sent with each request. */
  headers: named(
    secret().refine((value) => /^[\t\x20-\x7e]*$/.test(value.reveal()), {
      error: 'expected a text of printable ASCII',
    }),
    HEADER,
  ),
  /** Path of the certificate authority's certificate. */
  ssl_ca: text().optional(),
  views,
  read_only: z.literal(true, { error: 'expected true: http sources are only read' }).default(true),
});

const files = mapping({
  kind: z.literal('files'),
  /** A folder. */
  path: text(),
  views,
  read_only: readOnly,
});

const CATALOG =
  'expected the path of a catalog file (with a / or a . in it), or the alias of a configured database';

const DATA_PATH = 'expected the path of a folder, or s3://bucket/folder below a configured s3 source';

const ducklake = mapping({
  kind: z.literal('ducklake'),
  /** Alias of a configured database, or path of a catalog file: an alias has no `/` and no `.`. */
  catalog: text(CATALOG)
    .regex(/^[^:=\s][^:=]*$/, { error: CATALOG })
    .transform((value) => (IDENTIFIER.pattern.test(value) ? { source: value } : { path: value })),
  /** A folder, or a URL below a configured `s3` source, such as `s3://bucket/prefix`. */
  data_path: text(DATA_PATH).refine(
    (path) => !path.includes('://') || (/^s3:\/\/[^/]+\/./.test(path) && isPlain(path.slice('s3:/'.length))),
    { error: DATA_PATH },
  ),
  /** The schema of the catalog's tables in its database. */
  metadata_schema: text(IDENTIFIER.expected)
    .regex(IDENTIFIER.pattern, { error: IDENTIFIER.expected })
    .optional(),
  read_only: readOnly,
});

export const SOURCE_KINDS = [
  'postgres',
  'mysql',
  'sqlite',
  'duckdb',
  's3',
  'http',
  'files',
  'ducklake',
] as const;

/** One source, told apart by `kind`. For inline sources too: relative paths are left as they are. */
export const sourceSchema = z.discriminatedUnion(
  'kind',
  [postgres, mysql, sqlite, duckdb, s3, http, files, ducklake],
  {
    error: (issue) =>
      issue.code === 'invalid_union'
        ? `expected one of ${SOURCE_KINDS.join(', ')}`
        : 'expected a mapping with a kind',
  },
);

export const sourcesSchema = named(sourceSchema, SOURCE_ALIAS);

/** Durations in milliseconds. */
export type SourceConfig = z.output<typeof sourceSchema>;
export type SourceKind = SourceConfig['kind'];
export type PostgresSource = z.output<typeof postgres>;
export type MysqlSource = z.output<typeof mysql>;
export type SqliteSource = z.output<typeof sqlite>;
export type DuckdbSource = z.output<typeof duckdb>;
export type S3Source = z.output<typeof s3>;
export type HttpSource = z.output<typeof http>;
export type FilesSource = z.output<typeof files>;
export type DucklakeSource = z.output<typeof ducklake>;

/** It is read in one way by DuckDB, which looks for globs, and by the server. */
function isPlain(path: string): boolean {
  return !/[*?[\]#%\\\p{Cc}]/u.test(path) && !/(^|\/)\.\.?(\/|$)/.test(path);
}

function staysBelow(path: string): boolean {
  return !/^[/\\]|:\/\/|(^|[/\\])\.\.([/\\]|$)/.test(path);
}
