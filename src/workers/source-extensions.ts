/** The DuckDB extensions that a source needs. Known to the API too, which loads no DuckDB. */
import type { Attachment } from './protocol.ts';

/** What of a source says so. */
export type Needs =
  | { readonly kind: Exclude<Attachment['kind'], 'ducklake'> }
  | {
      readonly kind: 'ducklake';
      readonly catalog: { readonly kind: 'file' | 'postgres' };
      /** Undefined where its files are in a folder. */
      readonly bucket?: unknown;
    };

export function extensionsOf(source: Needs): readonly string[] {
  switch (source.kind) {
    case 'postgres':
      return ['postgres_scanner'];
    case 'mysql':
      return ['mysql_scanner'];
    case 'sqlite':
      return ['sqlite_scanner'];
    case 's3':
    case 'http':
      return ['httpfs'];
    case 'ducklake':
      return [
        'ducklake',
        ...(source.catalog.kind === 'postgres' ? ['postgres_scanner'] : []),
        ...(source.bucket === undefined ? [] : ['httpfs']),
      ];
    case 'duckdb':
    case 'files':
      return [];
  }
}
