/**
 * The whole configuration as one schema: every key optional, no key unknown.
 *
 * Names are those of the file. A duration is a number of milliseconds once parsed and a size a number of bytes,
 * whatever unit the file wrote: `server.drain_timeout` is 10000, `sessions.memory_limit` is 512000000.
 * What one key says about another is in contradictions.ts.
 */
import { z } from 'zod';
import { authSchema } from './auth.ts';
import { flag, host, integer, list, names, oneOf, port, section, text, url } from './fields.ts';
import { limitsSchema } from './limits.ts';
import { poolsSchema } from './pools.ts';
import { sourcesSchema } from './sources.ts';
import { duration, size } from './units.ts';

const SCANNERS = ['postgres_scanner', 'mysql_scanner', 'httpfs', 'sqlite_scanner', 'ducklake'];
const TEN_YEARS_MS = 3_650 * 86_400_000;

export const configSchema = section({
  server: section({
    host: host().default('127.0.0.1'),
    /** 0 picks a free one. */
    port: port(0).default(8480),
    /** Names that clients reach it by beside those of loopback, while it asks for no keys. */
    allowed_hosts: list(host(), 'expected a list of host names').default([]),
    /** Milliseconds that running queries have to end once the server is told to stop. */
    drain_timeout: duration({ min: 0 }).prefault('10s'),
    /** Bytes of a request body. */
    max_body: size().prefault('1MB'),
    /** Milliseconds a client may take no bytes before its reply is given up. */
    client_write_timeout: duration().prefault('30s'),
    /** Bytes of the largest result that is sent inline as JSON. */
    max_result: size().prefault('16MB'),
  }),
  /** Run folders, spill, workspaces, exports, crash reports. Absolute once loaded. */
  data_dir: text().default('./.duckcoop'),
  extensions: section({
    /** Absolute once loaded. */
    directory: text().default('./extensions'),
    load: names('expected a list of extension names').default(SCANNERS),
  }),
  pools: poolsSchema,
  /** Reads whose worker crashed before the first byte are tried again `max` times. */
  retry: section({ max: integer(0).default(1) }),
  /** A statement that crashed workers `crashes` times within `window` ms is refused `for` so many ms. */
  quarantine: section({
    crashes: integer(1).default(2),
    window: duration().prefault('10m'),
    for: duration().prefault('10m'),
  }),
  /** Reports of dead workers, in `data_dir/crashes`. */
  crashes: section({
    keep: integer(1, 10_000).default(200),
    /** Milliseconds. */
    max_age: duration({ max: TEN_YEARS_MS }).prefault('30d'),
    /** With the text of the statement, and not only what is left of it without literals. */
    include_sql: flag().default(false),
  }),
  sources: sourcesSchema,
  sessions: section({
    max: integer(0).default(20),
    /** Workers warm and without a session, as far as `max` and the budget allow. */
    spare: integer(0).default(1),
    /** Milliseconds. */
    ttl: duration().prefault('8h'),
    /** Milliseconds. */
    idle_timeout: duration().prefault('15m'),
    /** Bytes. */
    memory_limit: size().prefault('512MB'),
    /** Bytes. */
    disk_limit: size().prefault('2GB'),
  }),
  /** Of queries that nobody waits for, in `data_dir/results`. */
  results: section({
    /** Milliseconds. */
    retention: duration().prefault('1h'),
    /** Bytes of all of them. */
    disk_limit: size().prefault('4GB'),
  }),
  /** Files made by the pool `exports`, in `data_dir/exports`. */
  exports: section({
    /** Milliseconds. */
    retention: duration().prefault('24h'),
    /** Milliseconds that a link to a file is good for. */
    link_ttl: duration().prefault('1h'),
    /** Bytes of all of them. */
    disk_limit: size().prefault('20GB'),
    /** Where finished files are downloaded from. */
    egress: section({
      /** Null for `server.host`. */
      host: host().nullable().default(null),
      /** 0 picks a free one. */
      port: port(0).default(8481),
      /** What the links begin with where a proxy stands in front; null for where it listens. */
      url: url().nullable().default(null),
    }),
  }),
  /** Bytes: the sum of all hard limits stays within it. */
  budget: section({ memory: size().prefault('8GB') }),
  auth: authSchema,
  limits: limitsSchema,
  sql: section({
    /** Table functions allowed beyond the built-in list. */
    allow_functions: names('expected a list of function names').default([]),
    write: flag().default(false),
  }),
  telemetry: section({
    log_level: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
    otlp_endpoint: url().nullable().default(null),
    /** Milliseconds. */
    slow_query: duration({ min: 0 }).prefault('5s'),
    /** Whether who runs what is written down, in `data_dir/audit.jsonl` or in this file; the path absolute once loaded. */
    audit: z
      .union([z.boolean(), text()], { error: 'expected true, false or the path of a file' })
      .default(false),
    /** With the text of statements, literals and all. */
    audit_sql: flag().default(false),
  }),
  reload: section({
    /** Whether the file is looked at for changes, beside being read anew on request. */
    watch: flag().default(false),
  }),
  chaos: section({ enabled: flag().default(false) }),
});

/** Durations in milliseconds, sizes in bytes, paths absolute, credentials as `Secret`. */
export type Config = z.output<typeof configSchema>;
export type ServerConfig = Config['server'];
export type SessionsConfig = Config['sessions'];
export type TelemetryConfig = Config['telemetry'];
