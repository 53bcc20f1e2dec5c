/** Views over files, wherever they are. */
import type { DuckDBConnection } from '@duckdb/node-api';
import { identifier, literal } from './quote.ts';

export interface SourceView {
  readonly name: string;
  /** What its reader takes: a glob, or the paths themselves. */
  readonly files: string | readonly string[];
  readonly reader: string;
}

/** Readers of files, by the end of their names. */
const READERS: readonly (readonly [RegExp, string])[] = [
  [/\.parquet$/i, 'read_parquet'],
  [/\.(?:csv|tsv)(?:\.gz)?$/i, 'read_csv'],
  [/\.(?:json|jsonl|ndjson)(?:\.gz)?$/i, 'read_json'],
];

export function readerOf(name: string): string | undefined {
  return READERS.find(([ending]) => ending.test(name))?.[1];
}

/** Does nothing where there is one of the name. */
export async function createView(
  connection: DuckDBConnection,
  alias: string,
  { name, files, reader }: SourceView,
): Promise<void> {
  const read = typeof files === 'string' ? literal(files) : `[${files.map(literal).join(', ')}]`;
  await connection.run(
    `CREATE VIEW IF NOT EXISTS ${identifier(alias)}.${identifier(name)} AS SELECT * FROM ${reader}(${read})`,
  );
}

/** Whether the statement may mean the view: its text has the name in it, and not as a part of a longer one. */
export function isNamedIn(sql: string, view: string): boolean {
  const name = view.replaceAll('"', '""').replace(/[\^$\\.*+?()[\]{}|/]/g, '\\$&');
  return new RegExp(`(?<![\\p{L}\\p{N}_])${name}(?![\\p{L}\\p{N}_])`, 'iu').test(sql);
}
