/**
 * Instances of DuckDB as a worker opens and closes them: with their limits, with extensions where they are wanted, and locked before a
 * statement of a client runs on them.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { extensionFile } from '../../extensions/layout.ts';
import type { Attachment, Configure } from '../protocol.ts';
import { readDuckDBError } from './duckdb-error.ts';
import { KEEPS_COUNT } from './progress.ts';
import { globLiteral, literal } from './quote.ts';
import { remotePrefixOf } from './remote-kinds.ts';

export interface OpenInstance {
  readonly instance: DuckDBInstance;
  /** Its own, since an instance may read what is in it. */
  readonly spill: string;
  /** Why extensions it should have are not there. */
  readonly missing: ReadonlyMap<string, string>;
}

/** For a statement of a client. */
export async function connect({ instance }: Pick<OpenInstance, 'instance'>): Promise<DuckDBConnection> {
  const connection = await instance.connect();
  await connection.run(KEEPS_COUNT);
  return connection;
}

export async function openPlain(configure: Configure, pipe?: string): Promise<OpenInstance> {
  const plain = await openBare(configure);
  await lock(plain.instance, [], pipe === undefined ? [] : [pipe]);
  return plain;
}

/** One that is not locked yet. */
export async function openSpare(configure: Configure): Promise<OpenInstance> {
  const spare = await openBare(configure);
  return { ...spare, missing: await loadExtensions(spare.instance, configure.extensions, configure.threads) };
}

let opened = 0;

export async function openBare(configure: Configure): Promise<OpenInstance> {
  opened += 1;
  const spill = join(configure.folder, 'spill', String(opened));
  const instance = await DuckDBInstance.create(':memory:', {
    threads: String(configure.threads),
    memory_limit: `${configure.memoryLimit}B`,
    temp_directory: spill,
    home_directory: configure.folder,
    extension_directory: join(configure.folder, 'extensions'),
    secret_directory: join(configure.folder, 'secrets'),
    allow_persistent_secrets: 'false',
    allow_community_extensions: 'false',
    autoload_known_extensions: 'false',
    autoinstall_known_extensions: 'false',
    errors_as_json: 'true',
  });
  await run(instance, [
    "SET GLOBAL TimeZone='UTC'",
    // Given to an instance that is not open yet it is shown and not enforced (DuckDB 1.5, MaxTempDirectorySizeSetting).
    `SET max_temp_directory_size=${literal(`${configure.tempLimit}B`)}`,
  ]);
  return { instance, spill, missing: new Map() };
}

export function close({ instance, spill }: OpenInstance): void {
  instance.closeSync();
  // The parent wipes the whole run folder in the end: what cannot be removed now goes then.
  rm(spill, { recursive: true, force: true }).catch(() => undefined);
}

/** What an extension is told once it is there. */
const SETTINGS: Readonly<Record<string, (threads: number) => readonly string[]>> = {
  // How many connections it keeps to each server while nothing needs them: what a scan with all threads takes.
  postgres_scanner: (threads) => [`pg_pool_max_connections=${threads}`],
  mysql_scanner: (threads) => [`mysql_pool_size=${threads}`],
  httpfs: () => [
    'enable_server_cert_verification=true',
    'enable_curl_server_cert_verification=true',
    // What a web server is to be told is not for an object storage that happens to be below the same address.
    'merge_http_secret_into_s3_request=false',
    'enable_global_s3_configuration=false',
  ],
};

/**
 * Loads what is there: a source whose extension is missing fails the queries that want it, and no others.
 * LOAD of an absolute path checks the file's signature (DuckDB manual, "Securing Extensions").
 */
export async function loadExtensions(
  instance: DuckDBInstance,
  { directory, names }: Configure['extensions'],
  threads: number,
): Promise<Map<string, string>> {
  const missing = new Map<string, string>();
  if (names.length === 0) return missing;
  const connection = await instance.connect();
  const build = (
    await connection.runAndReadAll(
      'SELECT library_version, p.platform FROM pragma_version(), pragma_platform() p',
    )
  ).getRows()[0];
  const [version, platform] = (build ?? []).map(String) as [string, string];
  for (const name of names) {
    const file = extensionFile(directory, { version, platform }, name);
    try {
      await connection.run(`LOAD ${literal(file)}`);
      for (const setting of SETTINGS[name]?.(threads) ?? []) await connection.run(`SET GLOBAL ${setting}`);
    } catch (error) {
      missing.set(name, readDuckDBError(error).message);
    }
  }
  connection.closeSync();
  return missing;
}

/**
 * Closes files, network and configuration for good (DuckDB manual, "Securing DuckDB"). DuckDB resolves links before it compares
 * a path with the folders that stay open, so a link that leads out of one is closed as well.
 */
export async function lock(
  instance: DuckDBInstance,
  attachments: readonly Attachment[],
  /** Of single files that stay open. */
  paths: readonly string[],
  /** Of folders that do, beside those of the sources. */
  own: readonly string[] = [],
): Promise<void> {
  const folders = [
    ...own,
    ...attachments.flatMap((source) => {
      if (source.kind === 'ducklake') return source.bucket === undefined ? [source.dataPath] : [];
      return source.kind === 'files' ? [source.path] : [];
    }),
  ];
  const remote = attachments.flatMap((source) => remotePrefixOf(source) ?? []);
  await run(instance, [
    `SET allowed_paths=[${paths.map(literal).join(', ')}]`,
    // As a glob as well: views name their files so, and a glob is compared as it is written.
    `SET allowed_directories=[${folders
      .flatMap((path) => [path, globLiteral(path)])
      .concat(remote)
      .map(literal)
      .join(', ')}]`,
    'SET enable_external_access=false',
    'SET lock_configuration=true',
  ]);
}

async function run(instance: DuckDBInstance, statements: readonly string[]): Promise<void> {
  const connection = await instance.connect();
  try {
    for (const statement of statements) await connection.run(statement);
  } finally {
    connection.closeSync();
  }
}
