/** The DuckDB extension that a kind of source needs. Known to the API too, which loads no DuckDB. */
import type { Attachment } from './protocol.ts';

export const EXTENSION_OF: Readonly<Record<Attachment['kind'], string | undefined>> = {
  postgres: 'postgres_scanner',
  mysql: 'mysql_scanner',
  sqlite: 'sqlite_scanner',
  files: undefined,
  duckdb: undefined,
  s3: 'httpfs',
  http: 'httpfs',
};
