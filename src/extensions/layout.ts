/**
 * Where extension files lie: `<directory>/v<duckdb version>/<platform>/<name>.duckdb_extension`, which is the
 * layout of DuckDB's own `extension_directory`. Pure; nothing here touches the disk or loads DuckDB.
 */
import { join } from 'node:path';

/** What an extension file must match: DuckDB refuses a file made for another version or platform. */
export interface DuckdbBuild {
  /** With the leading `v`, as `PRAGMA version` says it: `v1.5.5`. */
  readonly version: string;
  /** As `PRAGMA platform` says it: `linux_amd64`. */
  readonly platform: string;
}

/** The scanners behind the source kinds; what the binding lacks. */
export const DEFAULT_EXTENSIONS = [
  'postgres_scanner',
  'mysql_scanner',
  'httpfs',
  'sqlite_scanner',
  'ducklake',
] as const;

/** `INSTALL postgres` gives `postgres_scanner.duckdb_extension`: DuckDB's short names, and the files' names. */
const SHORT_NAMES: Readonly<Record<string, string>> = {
  postgres: 'postgres_scanner',
  mysql: 'mysql_scanner',
  sqlite: 'sqlite_scanner',
};

/** The extension's name as its file has it, or undefined when `text` cannot be one. */
export function extensionName(text: string): string | undefined {
  if (!/^[a-z][a-z0-9_]{0,63}$/.test(text)) return undefined;
  return SHORT_NAMES[text] ?? text;
}

export function extensionFolder(directory: string, build: DuckdbBuild): string {
  return join(directory, build.version, build.platform);
}

export function extensionFileName(name: string): string {
  return `${name}.duckdb_extension`;
}

export function extensionFile(directory: string, build: DuckdbBuild, name: string): string {
  return join(extensionFolder(directory, build), extensionFileName(name));
}
