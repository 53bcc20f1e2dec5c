/** Paths of the configuration are relative to the folder of the file they stand in; once loaded they are absolute. */
import { resolve } from 'node:path';
import type { Config } from './schema.ts';
import type { SourceConfig } from './sources.ts';

export function withAbsolutePaths(config: Config, folder: string): Config {
  const sources = Object.assign(Object.create(null) as Config['sources'], config.sources);
  for (const [alias, source] of Object.entries(sources)) sources[alias] = sourcePaths(source, folder);
  return {
    ...config,
    data_dir: resolve(folder, config.data_dir),
    extensions: { ...config.extensions, directory: resolve(folder, config.extensions.directory) },
    telemetry: {
      ...config.telemetry,
      ...(typeof config.telemetry.audit === 'string' && { audit: resolve(folder, config.telemetry.audit) }),
    },
    sources,
  };
}

function sourcePaths(source: SourceConfig, folder: string): SourceConfig {
  switch (source.kind) {
    case 'postgres':
    case 'mysql':
      return {
        ...source,
        ...(source.ssl_ca !== undefined && { ssl_ca: resolve(folder, source.ssl_ca) }),
        ...(source.ssl_cert !== undefined && { ssl_cert: resolve(folder, source.ssl_cert) }),
        ...(source.ssl_key !== undefined && { ssl_key: resolve(folder, source.ssl_key) }),
      };
    case 'sqlite':
    case 'duckdb':
    case 'files':
      return { ...source, path: resolve(folder, source.path) };
    case 'ducklake':
      return {
        ...source,
        catalog: 'path' in source.catalog ? { path: resolve(folder, source.catalog.path) } : source.catalog,
        data_path: source.data_path.includes('://') ? source.data_path : resolve(folder, source.data_path),
      };
    case 's3':
    case 'http':
      return { ...source, ...(source.ssl_ca !== undefined && { ssl_ca: resolve(folder, source.ssl_ca) }) };
  }
}
