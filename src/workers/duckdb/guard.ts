/**
 * The guard: which statements run, decided before any of them does.
 *
 * The instance's own settings close files, network and configuration (instances.ts). They do not close every table function:
 * scanners open servers and files by themselves, and some functions evaluate text as SQL. So table functions are
 * governed by an allow-list, held against the syntax tree that DuckDB itself makes of the statement, and statements that
 * are no reads are refused unless the configuration lets them.
 */
import { type DuckDBConnection, type DuckDBPreparedStatement, StatementType } from '@duckdb/node-api';
import { Refusal } from './refusal.ts';
import { BLANKS, headOf } from './sql-text.ts';

/** Table functions that read what the instance may read anyway, or nothing at all. */
const ALLOWED_FUNCTIONS: ReadonlySet<string> = new Set([
  ...[
    'range',
    'generate_series',
    'unnest',
    'repeat',
    'repeat_row',
    'summary',
    'histogram',
    'histogram_values',
  ],
  ...['read_csv', 'read_csv_auto', 'sniff_csv', 'read_text', 'read_blob', 'glob'],
  ...['read_parquet', 'parquet_scan', 'parquet_metadata', 'parquet_schema', 'parquet_file_metadata'],
  ...['parquet_kv_metadata', 'parquet_bloom_probe'],
  ...['read_json', 'read_json_auto', 'read_json_objects', 'read_json_objects_auto'],
  ...['read_ndjson', 'read_ndjson_auto', 'read_ndjson_objects', 'json_each', 'json_tree'],
  ...['duckdb_columns', 'duckdb_constraints', 'duckdb_databases', 'duckdb_dependencies', 'duckdb_extensions'],
  ...['duckdb_functions', 'duckdb_indexes', 'duckdb_keywords', 'duckdb_memory', 'duckdb_optimizers'],
  ...['duckdb_schemas', 'duckdb_sequences', 'duckdb_settings', 'duckdb_tables', 'duckdb_temporary_files'],
  ...['duckdb_types', 'duckdb_variables', 'duckdb_views'],
  ...['pragma_collations', 'pragma_database_size', 'pragma_metadata_info', 'pragma_platform', 'pragma_show'],
  ...['pragma_storage_info', 'pragma_table_info', 'pragma_user_agent', 'pragma_version'],
  ...['icu_calendar_names', 'pg_timezone_names', 'test_all_types', 'test_vector_types'],
]);

/** Between a function's name and its parenthesis there may be space, also DuckDB's wider idea of it, and comments. */
const BEFORE_CALL = `"?[${BLANKS}]*(?:\\(|/\\*|--)`;

export class Guard {
  readonly #allowed: ReadonlySet<string>;
  readonly #denied = new Set<string>();
  /** Of every name that is denied. */
  #mention = /$^/;
  #call = /$^/;

  private constructor(allowed: ReadonlySet<string>) {
    this.#allowed = allowed;
  }

  /**
   * Learns from an instance with every extension loaded which table functions exist at all.
   * `allowFunctions` are the operators' additions.
   */
  static async create(connection: DuckDBConnection, allowFunctions: readonly string[]): Promise<Guard> {
    const allowed = new Set([...ALLOWED_FUNCTIONS, ...allowFunctions.map((name) => name.toLowerCase())]);
    const guard = new Guard(allowed);
    await guard.learn(connection);
    return guard;
  }

  /** Adds the table functions of an instance that has extensions of its own: nothing that was denied is forgotten. */
  async learn(connection: DuckDBConnection): Promise<void> {
    const reader = await connection.runAndReadAll(
      "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE function_type IN ('table', 'table_macro', 'pragma')",
    );
    for (const [name] of reader.getRows())
      if (!this.#allowed.has(String(name))) this.#denied.add(String(name));
    const names = [...this.#denied].map((name) => name.replace(/[^a-z0-9_]/g, '\\$&')).join('|');
    const name = `(?<![a-z0-9_])(${names})(?![a-z0-9_])`;
    this.#mention = new RegExp(name, 'i');
    this.#call = new RegExp(`${name}${BEFORE_CALL}`, 'i');
  }

  /**
   * Throws a {@link Refusal} where the text of a statement opens a door (files, servers, extensions), or calls a table function
   * that is not allowed. To be asked before DuckDB prepares it, since that alone makes folders and reads files.
   * Text without any name of a function to look for is passed at once; for the rest DuckDB's syntax tree decides (about 0.5 ms),
   * and where there is none, because the statement is no SELECT, whatever looks like a call, in a string or a comment too, is taken for one.
   */
  async checkText(connection: DuckDBConnection, statement: string): Promise<void> {
    const { keyword, explained } = headOf(statement);
    if (DOORS.has(keyword)) throw Refusal.closedDoor(keyword.toUpperCase());
    const mention = this.#mention.exec(statement)?.[1];
    if (mention === undefined) return;
    const reader = await connection.runAndReadAll('SELECT json_serialize_sql($1::VARCHAR)', [
      explained ?? statement,
    ]);
    const tree = JSON.parse(String(reader.getRows()[0]?.[0])) as { error: boolean };
    if (tree.error) {
      const everywhere = keyword === 'pragma' || keyword === 'call';
      const call = everywhere ? mention : this.#call.exec(statement)?.[1];
      if (call !== undefined) throw Refusal.forbiddenFunction(call);
      return;
    }
    for (const name of tableFunctions(tree)) {
      if (!this.#allowed.has(name.toLowerCase())) throw Refusal.forbiddenFunction(name);
    }
  }

  /** Whether a prepared statement only reads. Throws a {@link Refusal} if it does not and `write` is false. */
  checkStatement(prepared: DuckDBPreparedStatement, write: boolean): 'read' | 'write' {
    const type = prepared.statementType;
    if (type === StatementType.SELECT) return 'read';
    const name = StatementType[type] ?? 'unknown';
    if (!write) throw Refusal.forbiddenStatement(name);
    if (DOOR_TYPES.has(type)) throw Refusal.closedDoor(name);
    return 'write';
  }
}

/**
 * Statements that reach files, servers or libraries. The sandbox leaves an instance its spill folder and the folders of its
 * sources, to write to as well: so these are refused even to those who may write.
 */
const DOORS: ReadonlySet<string> = new Set(['attach', 'copy', 'export', 'import', 'install', 'load']);
const DOOR_TYPES: ReadonlySet<StatementType> = new Set([
  StatementType.ATTACH,
  StatementType.COPY,
  StatementType.COPY_DATABASE,
  StatementType.EXPORT,
  StatementType.LOAD,
  StatementType.UPDATE_EXTENSIONS,
]);

/** The names of all table functions in a syntax tree, however deep. */
function* tableFunctions(root: unknown): Generator<string> {
  const pending: unknown[] = [root];
  while (pending.length > 0) {
    const node = pending.pop();
    if (typeof node !== 'object' || node === null) continue;
    if ('type' in node && node.type === 'TABLE_FUNCTION' && 'function' in node) {
      yield String((node.function as { function_name?: unknown }).function_name);
    }
    for (const member of Object.values(node)) pending.push(member);
  }
}
