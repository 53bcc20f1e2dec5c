/**
 * What a DuckDB file, or the catalog of a lake, has stored that DuckDB runs when it is read: views, macros, generated columns. No
 * statement shows it, and whoever wrote the file is not whoever sends the statement: so it is held to what a statement may do
 * (guard.ts), when its source is attached, or no statement reads that source.
 */
import { type BigIntStats, promises as fs } from 'node:fs';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Attachment } from '../protocol.ts';
import { LAKE_CATALOG } from './lake-catalog.ts';
import type { Lake } from './lake-source.ts';
import { identifier, literal } from './quote.ts';
import { Refusal } from './refusal.ts';

export interface StoredCode {
  /** Texts of views and macros, as statements. */
  readonly queries: readonly string[];
  /** Texts of tables with generated columns: in these there are expressions, and no queries. */
  readonly expressions: readonly string[];
}

export type StoringSource = Extract<Attachment, { kind: 'duckdb' | 'ducklake' }>;

export function storesCode(source: Attachment): source is StoringSource {
  return source.kind === 'duckdb' || source.kind === 'ducklake';
}

/**
 * In the order to attach them: to list what a file has stored is to list what is attached already as well, and that of a server
 * takes its time.
 */
export function storingFirst(attachments: readonly Attachment[]): Attachment[] {
  const rank = ({ kind }: Attachment) => (kind === 'duckdb' ? 0 : 1);
  return [...attachments].sort((one, other) => rank(one) - rank(other));
}

/** Files whose code is remembered. */
const MAX_FILES = 16;

/** Listing macros takes DuckDB a tenth of a second: what is in a file that has not changed is remembered. */
export class StoredCodeReader {
  readonly #files = new Map<string, { readonly stamp: string; readonly code: StoredCode }>();

  /** Attaches the source, and tells what it has stored. */
  async attach(
    connection: DuckDBConnection,
    source: StoringSource,
    attach: () => Promise<void>,
  ): Promise<StoredCode> {
    if (source.kind === 'ducklake') {
      await attach();
      return await codeOfLake(connection, source);
    }
    const before = await stampOf(source.path);
    await attach();
    // A file that is replaced meanwhile is one of which nothing is known.
    const stamp = (await stampOf(source.path)) === before ? before : undefined;
    const known = this.#files.get(source.path);
    if (known !== undefined && known.stamp === stamp) return known.code;
    const code = await codeOfFile(connection, source.alias);
    this.#files.delete(source.path);
    if (stamp !== undefined) this.#files.set(source.path, { stamp, code });
    const [oldest] = this.#files.keys();
    if (this.#files.size > MAX_FILES && oldest !== undefined) this.#files.delete(oldest);
    return code;
  }
}

/** Of the file and of its write-ahead log, which may say more; undefined where there is none to be had. */
async function stampOf(path: string): Promise<string | undefined> {
  const stats = [path, `${path}.wal`].map((file) => fs.stat(file, { bigint: true }).catch(() => undefined));
  const [file, wal] = await Promise.all(stats);
  if (file === undefined) return undefined;
  const told = (stat: BigIntStats | undefined) =>
    stat === undefined ? '' : [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join(' ');
  return `${told(file)}, ${told(wal)}`;
}

async function codeOfFile(connection: DuckDBConnection, alias: string): Promise<StoredCode> {
  const of = `database_name = ${literal(alias)}`;
  return {
    queries: [
      ...(await texts(connection, `SELECT sql FROM duckdb_views() WHERE ${of} AND NOT internal`)),
      ...(await texts(
        connection,
        `SELECT CASE function_type WHEN 'macro' THEN 'SELECT ' ELSE '' END || macro_definition FROM duckdb_functions() WHERE ${of} AND macro_definition IS NOT NULL`,
      )),
    ],
    expressions: await texts(
      connection,
      `SELECT sql FROM duckdb_tables() WHERE ${of} AND contains(sql, 'GENERATED ALWAYS')`,
    ),
  };
}

/**
 * Of every snapshot, for each can be read. A lake's catalog also says where its files are: DuckDB takes them for below its bucket if they
 * begin so, and `..` then leads anywhere in it (remote-paths.ts). Throws a {@link Refusal} for these.
 */
export async function codeOfLake(connection: DuckDBConnection, lake: Lake): Promise<StoredCode> {
  const schema = lake.metadataSchema ?? (lake.catalog.kind === 'postgres' ? 'public' : 'main');
  const table = (name: string) =>
    [`${LAKE_CATALOG}${lake.alias}`, schema, `ducklake_${name}`].map(identifier).join('.');
  if (lake.bucket !== undefined) {
    const paths = ['schema', 'table', 'data_file', 'delete_file'].map(
      (name) => `SELECT path FROM ${table(name)}`,
    );
    const ambiguous = String.raw`regexp_matches(path, '(^|/)\.\.?(/|$)|[?#\\\p{Cc}]')`;
    const [path] = await texts(
      connection,
      `SELECT path FROM (${paths.join(' UNION ALL ')}) WHERE ${ambiguous} LIMIT 1`,
    );
    if (path !== undefined) {
      const detail = `${lake.alias} is not read: a path in its catalog may be read in more than one way.`;
      throw new Refusal('FORBIDDEN', detail, { denied: { kind: 'source', name: lake.alias } });
    }
  }
  const stored = await texts(
    connection,
    `SELECT sql FROM ${table('view')}
     UNION ALL SELECT CASE lower(type) WHEN 'scalar' THEN 'SELECT ' ELSE '' END || sql FROM ${table('macro_impl')}
     UNION ALL SELECT 'SELECT ' || default_value FROM ${table('macro_parameters')} WHERE default_value IS NOT NULL`,
  );
  return {
    // As DuckLake puts it in.
    queries: stored.map((text) => text.replaceAll('{DUCKLAKE_CATALOG}', identifier(lake.alias))),
    expressions: [],
  };
}

async function texts(connection: DuckDBConnection, sql: string): Promise<string[]> {
  const reader = await connection.runAndReadAll(sql);
  return reader.getRows().map(([text]) => String(text));
}
