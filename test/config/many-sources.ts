/** Configurations of many sources, of every kind in turn; none of them is asked for anything until a query names it. */
import { SOURCE_KINDS } from '../../src/config/sources.ts';

type Source = Readonly<Record<string, unknown>>;

/** `source_0`, `source_1` and so on, each with credentials of its own where its kind has some. */
export function manySources(count: number): Record<string, Source> {
  return Object.fromEntries(Array.from({ length: count }, (_, n) => [`source_${n}`, sourceOf(n)]));
}

function sourceOf(n: number): Source {
  const kind = SOURCE_KINDS[n % SOURCE_KINDS.length] as (typeof SOURCE_KINDS)[number];
  const server = { kind, host: `db${n}.example`, user: 'app', password: `password-of-${n}`, database: 'app' };
  switch (kind) {
    case 'postgres':
    case 'mysql':
      return server;
    case 'sqlite':
    case 'duckdb':
      return { kind, path: `./file-${n}.db` };
    case 's3':
      return {
        kind,
        bucket: `bucket-${n}`,
        key_id: `key-of-${n}`,
        secret: `secret-of-${n}`,
        views: { events: 'events/*.parquet' },
      };
    case 'http':
      return { kind, url: `https://host${n}.example/`, bearer_token: `token-of-${n}` };
    case 'files':
      return { kind, path: `./folder-${n}` };
    case 'ducklake': {
      const first = n - SOURCE_KINDS.indexOf(kind);
      const bucket = first + SOURCE_KINDS.indexOf('s3');
      return { kind, catalog: `source_${first}`, data_path: `s3://bucket-${bucket}/lake` };
    }
  }
}
