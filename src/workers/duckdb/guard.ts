/**
 * The guard: which statements run, decided before any of them does.
 *
 * The instance's own settings close files, network and configuration (instances.ts). They do not close every function:
 * scanners open servers and files by themselves, and some functions evaluate text as SQL. So table functions are
 * governed by an allow-list, held against the syntax tree that DuckDB itself makes of the statement, and statements that
 * are no reads are refused unless the configuration lets them. docs/sandbox-attacks.md shows what is tried against it.
 */
import { type DuckDBConnection, type DuckDBPreparedStatement, StatementType } from '@duckdb/node-api';
import type { Attachment } from '../protocol.ts';
import { splitBeforeQuery } from './path-places.ts';
import { PathWall } from './path-wall.ts';
import { Refusal } from './refusal.ts';
import { isServer, type Server } from './source-failure.ts';
import { BEFORE_OBJECT, BLANKS, headOf } from './sql-text.ts';
import type { StoredCode } from './stored-code.ts';
import { type FunctionCall, functionCalls, syntaxTree } from './syntax-tree.ts';

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

/**
 * The scalar functions that are no pure reads of their arguments. `json_serialize_plan` binds a text as SQL, and binding is what
 * opens files and servers; `write_log` writes into the log of the instance.
 */
const DENIED_SCALARS: readonly string[] = ['json_serialize_plan', 'write_log'];

/** What runs a text on a database server, and the kind of source that server must be. */
const REMOTE_QUERIES: Readonly<Record<string, Attachment['kind']>> = {
  postgres_query: 'postgres',
  mysql_query: 'mysql',
};

/** Between a function's name and its parenthesis there may be space, also DuckDB's wider idea of it, and comments. */
const BEFORE_CALL = `"?[${BLANKS}]*(?:\\(|/\\*|--)`;

/** Texts that were looked at by their tree, and are to be looked at no more. */
const MAX_PASSED = 256;
const MAX_PASSED_LENGTH = 4_096;

/**
 * What may stand before the part of a statement that is judged by its tree alone: words, quoted names and lists of them. Nobody reads
 * that in two ways, so that part begins where we say; whatever has more in it is judged as a whole.
 */
const PLAIN_HEAD = /^[\w\t\n\r .,()"]*$/;

/** What a statement was found to do that its type does not tell. */
export interface Findings {
  /** It has a database server run a text of its own, which may change something there. */
  readonly remoteWrite: boolean;
}

const NOTHING: Findings = { remoteWrite: false };

export class Guard {
  readonly #allowed: ReadonlySet<string>;
  readonly #denied: Set<string>;
  /** Those of them that can be called in an expression or in place of a table. A PRAGMA has a statement of its own. */
  readonly #callable: Set<string>;
  readonly #passed = new Set<string>();
  /** Of every name that is denied. */
  #mention = /$^/;
  #call = /$^/;

  readonly #wall: PathWall;
  /** For what goes with its source. */
  readonly #storedWall: PathWall;

  private constructor(allowed: ReadonlySet<string>, keepsDefinitions: boolean) {
    this.#allowed = allowed;
    this.#callable = new Set(DENIED_SCALARS.filter((name) => !allowed.has(name)));
    this.#denied = new Set(this.#callable);
    const isBuiltIn = (name: string) => allowed.has(name) || this.#denied.has(name);
    this.#wall = new PathWall({ isBuiltIn, keepsDefinitions });
    this.#storedWall = new PathWall({ isBuiltIn, keepsDefinitions: false });
  }

  /**
   * Learns from an instance with every extension loaded which table functions exist at all.
   * `allowFunctions` are the operators' additions; `keepsDefinitions` is for a session, whose views and macros stay.
   */
  static async create(
    connection: DuckDBConnection,
    allowFunctions: readonly string[],
    keepsDefinitions = false,
  ): Promise<Guard> {
    const allowed = new Set([...ALLOWED_FUNCTIONS, ...allowFunctions.map((name) => name.toLowerCase())]);
    const guard = new Guard(allowed, keepsDefinitions);
    await guard.learn(connection);
    return guard;
  }

  /** Adds the table functions of an instance that has extensions of its own: nothing that was denied is forgotten. */
  async learn(connection: DuckDBConnection): Promise<void> {
    const reader = await connection.runAndReadAll(
      "SELECT DISTINCT lower(function_name), function_type FROM duckdb_functions() WHERE function_type IN ('table', 'table_macro', 'pragma')",
    );
    for (const [name, type] of reader.getRows().map((row) => row.map(String)) as [string, string][]) {
      if (this.#allowed.has(name)) continue;
      this.#denied.add(name);
      if (type !== 'pragma') this.#callable.add(name);
    }
    this.#mention = new RegExp(anyOf(this.#denied), 'i');
    this.#call = new RegExp(`${anyOf(this.#callable)}${BEFORE_CALL}`, 'i');
    this.#passed.clear();
  }

  /**
   * Throws a {@link Refusal} where the text of a statement opens a door (files, servers, secrets, extensions), or calls a function
   * that is not allowed. To be asked before DuckDB prepares it, since that alone makes folders and reads files.
   *
   * Text without any name of a function to look for is passed at once; for the rest DuckDB's syntax tree decides (about 0.5 ms): of
   * the statement, or of the query at its end. Where there is none whatever looks like a call, in a string or a comment too, is taken for one.
   */
  async checkText(
    connection: DuckDBConnection,
    statement: string,
    attachments: readonly Attachment[],
  ): Promise<Findings> {
    const head = headOf(statement);
    const { keyword, words, explained } = head;
    const door = doorOf(words);
    if (door !== undefined) throw Refusal.closedDoor(door);
    if (!STATEMENTS.has(keyword)) await refuseMisread(connection, statement);
    await this.#wall.check(connection, explained ?? statement, head, attachments);
    const mention = this.#mention.exec(statement)?.[1];
    if (mention === undefined || this.#passed.has(statement)) return NOTHING;
    if (keyword === 'pragma' || keyword === 'call') throw Refusal.forbiddenFunction(mention);
    const { before, tree } = await treeOf(connection, statement, explained);
    const call = /pragma/i.test(before) ? mention : this.#call.exec(before)?.[1];
    if (call !== undefined) throw Refusal.forbiddenFunction(call);
    if (tree === undefined) return NOTHING;
    const remote = [...functionCalls(tree)]
      .filter((call) => this.#isDenied(call))
      .map((call) => requireRemote(call, attachments));
    if (remote.length === 0) this.#pass(statement);
    return { remoteWrite: remote.some((source) => !source.readOnly) };
  }

  /**
   * Throws a {@link Refusal} where what a source has stored may do what no statement may. Nothing in it is given the benefit of the
   * doubt: of a text that names what it must not, and of which there is no tree, nothing is known.
   */
  async checkStored(
    connection: DuckDBConnection,
    source: Attachment,
    { queries, expressions }: StoredCode,
    attachments: readonly Attachment[],
  ): Promise<void> {
    for (const text of queries) {
      await this.#storedWall.check(connection, text, headOf(text), attachments);
      const mention = this.#mention.exec(text)?.[1];
      if (mention === undefined || this.#passed.has(text)) continue;
      const { tree } = await treeOf(connection, text);
      const denied =
        tree === undefined ? mention : [...functionCalls(tree)].find((call) => this.#isDenied(call))?.name;
      if (denied !== undefined) throw storedRefusal(source, denied);
      this.#pass(text);
    }
    for (const text of expressions) {
      const name = DENIED_SCALARS.find((each) => this.#denied.has(each) && text.toLowerCase().includes(each));
      if (name !== undefined) throw storedRefusal(source, name);
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

  /** A PRAGMA may have the name of a scalar function that only reads, as `version` does. */
  #isDenied({ name, isTable }: FunctionCall): boolean {
    const lower = name.toLowerCase();
    return this.#denied.has(lower) && (isTable || DENIED_SCALARS.includes(lower));
  }

  #pass(statement: string): void {
    if (statement.length > MAX_PASSED_LENGTH) return;
    const [oldest] = this.#passed;
    if (this.#passed.size >= MAX_PASSED && oldest !== undefined) this.#passed.delete(oldest);
    this.#passed.add(statement);
  }
}

/**
 * Statements that reach files, servers or libraries. The sandbox leaves an instance its spill folder and the folders of its
 * sources, to write to as well: so these are refused even to those who may write. A DETACH takes away a source.
 */
const DOORS: ReadonlySet<string> = new Set([
  'attach',
  'copy',
  'detach',
  'export',
  'import',
  'install',
  'load',
]);
const DOOR_TYPES: ReadonlySet<StatementType> = new Set([
  StatementType.ATTACH,
  StatementType.COPY,
  StatementType.COPY_DATABASE,
  StatementType.DETACH,
  StatementType.EXPORT,
  StatementType.LOAD,
  StatementType.UPDATE_EXTENSIONS,
]);

/** Other statements that begin as these do are DuckDB's to name. */
const STATEMENTS: ReadonlySet<string> = new Set([
  ...['select', 'with', 'from', 'values', 'table', 'pivot', 'unpivot', 'pivot_wider', 'pivot_longer'],
  ...['describe', 'desc', 'show', 'summarize', 'explain', '(', 'prepare', 'execute', 'deallocate'],
  ...['insert', 'update', 'delete', 'merge', 'truncate', 'create', 'alter', 'drop', 'comment'],
  ...['begin', 'start', 'commit', 'end', 'rollback', 'abort', 'set', 'reset', 'use', 'pragma', 'call'],
  ...['vacuum', 'analyze', 'analyse', 'checkpoint', 'force'],
]);

/** A secret sends what a source reads to a server of somebody's choice. */
function doorOf([keyword = '', ...rest]: readonly string[]): string | undefined {
  if (DOORS.has(keyword)) return keyword.toUpperCase();
  if (keyword !== 'create' && keyword !== 'drop' && keyword !== 'alter') return undefined;
  const object = rest.find((word) => !BEFORE_OBJECT.has(word));
  return object === 'secret' ? `${keyword.toUpperCase()} SECRET` : undefined;
}

/** A beginning that is none to us has to be none to DuckDB: else the two read the text differently, and nothing that was found counts. */
async function refuseMisread(connection: DuckDBConnection, statement: string): Promise<void> {
  const parsed = await connection.extractStatements(statement).then(
    ({ count }) => count > 0,
    () => false,
  );
  if (parsed) throw Refusal.forbiddenStatement('unknown');
}

/** The tree of a SELECT, or of the one at the end of another statement, and what is before it: all of the text where there is none. */
async function treeOf(
  connection: DuckDBConnection,
  statement: string,
  explained = statement,
): Promise<{ readonly before: string; readonly tree: unknown }> {
  const split = splitBeforeQuery(explained);
  for (const query of [explained, ...(split === undefined ? [] : [split.query])]) {
    const before = statement.slice(0, statement.length - query.length);
    const tree = PLAIN_HEAD.test(before) ? await syntaxTree(connection, query) : undefined;
    if (tree !== undefined) return { before, tree };
  }
  return { before: statement, tree: undefined };
}

function anyOf(names: ReadonlySet<string>): string {
  const escaped = [...names].map((name) => name.replace(/[^a-z0-9_]/g, '\\$&'));
  return `(?<![a-z0-9_])(${escaped.join('|')})(?![a-z0-9_])`;
}

function storedRefusal({ alias }: Attachment, name: string): Refusal {
  const detail = `${alias} is not read: a view, a macro or a column that is stored in it calls ${name}, which is not allowed here.`;
  return new Refusal('FORBIDDEN', detail, { denied: { kind: 'function', name } });
}

/**
 * With a text that begins so, and no other, MySQL's client sends the server whatever file of this machine the server then asks for
 * (MariaDB Connector/C, local_infile).
 */
const SENDS_FILES = /^\s*load/i;

/** The source whose server runs the text, where operators let it. Throws a {@link Refusal} for any other call. */
function requireRemote(
  { name, isTable, texts: [source, text] }: FunctionCall,
  attachments: readonly Attachment[],
): Server {
  const kind = REMOTE_QUERIES[name.toLowerCase()];
  const alias = source?.toLowerCase();
  const server = attachments
    .filter(isServer)
    .find((other) => other.kind === kind && other.alias.toLowerCase() === alias);
  const sendsFiles = kind === 'mysql' && (text === undefined || SENDS_FILES.test(text));
  if (!isTable || server?.remoteQuery !== true || sendsFiles) throw Refusal.forbiddenFunction(name);
  return server;
}
