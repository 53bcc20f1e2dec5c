/** What there is to read in a source: its tables, and the columns of one. Asked of DuckDB in a worker, as by any query. */
import { randomUUID } from 'node:crypto';
import type { QueryRequest, QueryService } from './actors/query.ts';
import type { SourceConfig } from './config/sources.ts';
import { Failure } from './failures.ts';
import { invalidRequest } from './http/invalid-request.ts';
import type { ColumnView, TablePage, TableRow } from './http/services.ts';
import type { Principal } from './principal.ts';
import { identifier } from './workers/duckdb/quote.ts';

/** Milliseconds: a catalog of many thousand tables is read in whole. */
const CATALOG_TIMEOUT_MS = 30_000;
/** DuckDB has no table with more. */
const MAX_COLUMNS = 10_000;

/** Views over files have one schema, of this name. */
export const VIEW_SCHEMA = 'main';

export interface TableSource {
  readonly alias: string;
  readonly source: SourceConfig;
  readonly principal: Principal;
}

/** A query of our own, in the name of the principal, with nothing but the one source. */
export function ownQuery(
  { alias, principal }: Pick<TableSource, 'alias' | 'principal'>,
  purpose: 'check' | 'tables',
  query: Pick<QueryRequest, 'sql' | 'params'> & { readonly timeoutMs: number },
): QueryRequest {
  return {
    queryId: `${purpose}-${randomUUID()}`,
    ...query,
    rowFormat: 'arrays',
    output: undefined,
    sources: [alias],
    pool: undefined,
    queueTimeoutMs: query.timeoutMs,
    rowLimit: MAX_COLUMNS,
    byteLimit: undefined,
    memoryLimit: undefined,
    threads: undefined,
    readOnly: true,
    tags: {},
    principal,
  };
}

/** In the order of their names. Throws `INVALID_REQUEST` for a cursor that is not ours. */
export async function listTables(
  queries: QueryService,
  of: TableSource,
  page: { readonly limit: number; readonly cursor: string | undefined },
): Promise<TablePage> {
  const { alias, source } = of;
  const after = page.cursor === undefined ? ['', ''] : readCursor(page.cursor);
  const found =
    source.kind === 's3' || source.kind === 'http'
      ? configuredViews(source, after, page.limit + 1)
      : await attachedTables(queries, of, after, page.limit + 1);
  const tables = found.slice(0, page.limit);
  const last = tables.at(-1);
  const next = found.length > page.limit && last !== undefined ? writeCursor(last) : undefined;
  return {
    tables: tables.map((table) => ({ ...table, sql: nameInSql(alias, source, table.schema, table.name) })),
    next,
  };
}

/** Rejects with `NOT_FOUND` where there is no such table. */
export async function describeTable(
  queries: QueryService,
  of: TableSource,
  schema: string,
  table: string,
): Promise<{ readonly sql: string; readonly columns: readonly ColumnView[] }> {
  const { alias, source } = of;
  const name = nameInSql(alias, source, schema, table);
  const missing = () =>
    new Failure('NOT_FOUND', `There is no table ${JSON.stringify(`${schema}.${table}`)} in ${alias}.`);
  if ('views' in source && schema !== VIEW_SCHEMA) throw missing();
  try {
    // A statement of its own: DESCRIBE binds this table, and reads no catalog of others.
    const rows = await rowsOf(
      queries,
      of,
      `SELECT column_name, column_type, "null" FROM (DESCRIBE ${name})`,
      undefined,
    );
    const columns = rows.map(([column, type, nullable]) => ({
      name: String(column),
      type: String(type),
      nullable: nullable !== 'NO',
    }));
    return { sql: name, columns };
  } catch (error) {
    if (error instanceof Failure && error.code === 'SQL_ERROR' && isUnknown(error)) throw missing();
    throw error;
  }
}

function isUnknown({ members }: Failure): boolean {
  return (members.duckdb as { type?: unknown } | undefined)?.type === 'Catalog';
}

function nameInSql(alias: string, source: SourceConfig, schema: string, table: string): string {
  const parts = 'views' in source ? [alias, table] : [alias, schema, table];
  return parts.map(identifier).join('.');
}

function configuredViews(
  { views }: Extract<SourceConfig, { kind: 's3' | 'http' }>,
  [afterSchema = '', afterName = '']: readonly string[],
  limit: number,
): Omit<TableRow, 'sql'>[] {
  return Object.keys(views)
    .filter((name) => afterSchema === '' || name > afterName)
    .sort()
    .slice(0, limit)
    .map((name) => ({ schema: VIEW_SCHEMA, name, kind: 'view' }));
}

const TABLES = `
  SELECT schema_name, name, kind FROM (
    SELECT database_name, schema_name, table_name AS name, 'table' AS kind FROM duckdb_tables() WHERE NOT internal
    UNION ALL
    SELECT database_name, schema_name, view_name, 'view' FROM duckdb_views() WHERE NOT internal
  )`;

async function attachedTables(
  queries: QueryService,
  of: TableSource,
  after: readonly string[],
  limit: number,
): Promise<Omit<TableRow, 'sql'>[]> {
  const inFiles = of.source.kind === 'files';
  const [schema, name] = after;
  const rows = await rowsOf(
    queries,
    of,
    inFiles
      ? `${TABLES} WHERE schema_name = $1 AND name > $3 AND $2::VARCHAR IS NOT NULL ORDER BY name LIMIT $4`
      : `${TABLES} WHERE database_name = $1 AND (schema_name, name) > ($2::VARCHAR, $3::VARCHAR) ORDER BY schema_name, name LIMIT $4`,
    [of.alias, schema, name, limit],
  );
  return rows.map(([foundSchema, foundName, kind]) => ({
    schema: inFiles ? VIEW_SCHEMA : String(foundSchema),
    name: String(foundName),
    kind: kind === 'view' ? 'view' : 'table',
  }));
}

async function rowsOf(
  queries: QueryService,
  of: TableSource,
  sql: string,
  params: QueryRequest['params'],
): Promise<readonly (readonly unknown[])[]> {
  const request = ownQuery(of, 'tables', { sql, params, timeoutMs: CATALOG_TIMEOUT_MS });
  const { body } = await queries.run({ ...request, allViews: true }).result;
  return (JSON.parse(`{${Buffer.concat(body).toString()}}`) as { data: unknown[][] }).data;
}

function writeCursor({ schema, name }: Pick<TableRow, 'schema' | 'name'>): string {
  return Buffer.from(JSON.stringify([schema, name])).toString('base64url');
}

function readCursor(cursor: string): readonly string[] {
  try {
    const value: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    if (Array.isArray(value) && value.length === 2 && value.every((part) => typeof part === 'string'))
      return value;
  } catch {
    // It is none of ours.
  }
  throw invalidRequest([{ path: 'cursor', message: 'this cursor is none of ours; begin without one' }]);
}
