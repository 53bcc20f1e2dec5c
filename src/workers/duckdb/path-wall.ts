/**
 * The wall between a statement and what it may not read of object storage and web servers (remote-paths.ts says why DuckDB's own
 * is not enough): with such a source attached every path stands in the statement as it is, and is below a source.
 *
 * A view or a macro of a session outlives what was attached when it was made, so its text is held to that in any case.
 */
import { realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Attachment } from '../protocol.ts';
import { LAKE_CATALOG } from './lake-catalog.ts';
import {
  type PathFunctions,
  type Place,
  placesInText,
  placesInTree,
  splitBeforeQuery,
} from './path-places.ts';
import { Refusal } from './refusal.ts';
import { remotePrefixOf } from './remote-kinds.ts';
import { isRemotePath, type RemotePrefix, remotePathProblem } from './remote-paths.ts';
import { BEFORE_OBJECT, type Head, tokens } from './sql-text.ts';
import { syntaxTree } from './syntax-tree.ts';

/** Table functions that read no path, whatever they are given. */
const WITHOUT_PATH: ReadonlySet<string> = new Set([
  ...['range', 'generate_series', 'unnest', 'repeat', 'repeat_row', 'summary', 'json_each', 'json_tree'],
  ...['test_all_types', 'test_vector_types', 'icu_calendar_names', 'pg_timezone_names'],
  ...['postgres_query', 'mysql_query'],
]);

export interface PathWallOptions {
  /** Whether there is such a table function before anybody has made one. */
  readonly isBuiltIn: (name: string) => boolean;
  /** Views and macros outlive the request that makes them. */
  readonly keepsDefinitions: boolean;
}

export class PathWall {
  readonly #options: PathWallOptions;

  constructor(options: PathWallOptions) {
    this.#options = options;
  }

  /** Throws a {@link Refusal} where the statement, of which `head` is the beginning, may read what it must not. */
  async check(
    connection: DuckDBConnection,
    text: string,
    { keyword, words }: Head,
    attachments: readonly Attachment[],
  ): Promise<void> {
    const hasLake = attachments.some(({ kind }) => kind === 'ducklake');
    const catalogs = attachments.flatMap((source) =>
      source.kind === 'ducklake' && source.catalog.kind === 'file' ? [source.catalog.path] : [],
    );
    if (hasLake || this.#options.keepsDefinitions) refuseLakeCatalog(text, keyword, hasLake);
    const prefixes = attachments.flatMap((source) => remotePrefixOf(source) ?? []);
    const defined =
      keyword === 'create' ? words.find((word, index) => index > 0 && !BEFORE_OBJECT.has(word)) : undefined;
    const outlives = this.#options.keepsDefinitions && defined !== undefined && !PLAIN_OBJECTS.has(defined);
    if (prefixes.length === 0 && !outlives && !hasLake) return;
    const inMacro = defined === 'macro' || defined === 'function';
    if (inMacro && nameOfMacro(text) === LIST) throw Refusal.forbiddenFunction(LIST);
    const functions: PathFunctions = { takesPath: (name) => this.#takesPath(name), inMacro };
    const places = await placesOf(connection, text, keyword, functions);
    for (const place of places) {
      if ('path' in place) refuseLakeCatalog(place.path, keyword, hasLake);
      if (catalogs.length > 0) await requireOther(place, catalogs);
      if (prefixes.length > 0 || outlives) requirePlain(place, prefixes.length === 0 ? undefined : prefixes);
    }
  }

  #takesPath(name: string): boolean {
    return !WITHOUT_PATH.has(name) && !name.startsWith('duckdb_') && this.#options.isBuiltIn(name);
  }
}

/** What DuckDB makes `['a', 'b']` of: a macro of that name would stand for every list. */
const LIST = 'list_value';
/** They keep what a query has read, and not the query. */
const PLAIN_OBJECTS: ReadonlySet<string> = new Set([
  'table',
  'sequence',
  'schema',
  'index',
  'unique',
  'type',
]);
/** A string is an argument wherever it stands. */
const CALLS: ReadonlySet<string> = new Set(['call', 'pragma']);

async function placesOf(
  connection: DuckDBConnection,
  text: string,
  keyword: string,
  functions: PathFunctions,
): Promise<readonly Place[]> {
  const tree = await syntaxTree(connection, text);
  if (tree !== undefined) return [...placesInTree(tree, functions)];
  const { head, query } = splitBeforeQuery(text) ?? { head: text, query: '' };
  const queryTree = query === '' || head === '' ? undefined : await syntaxTree(connection, query);
  if (queryTree === undefined) return [...placesInText(text, functions, CALLS.has(keyword))];
  return [...placesInText(head, functions), ...placesInTree(queryTree, functions)];
}

/** What a name without its database means is told by these alone. */
const RENAMES = /search_path|schema/i;

/** The database of a lake's catalog has no other door than its name, which nothing in a name can hide. */
function refuseLakeCatalog(text: string, keyword: string, hasLake: boolean): void {
  if (text.toLowerCase().includes(LAKE_CATALOG)) throw catalogRefusal();
  const renames = keyword === 'use' || ((keyword === 'set' || keyword === 'pragma') && RENAMES.test(text));
  if (hasLake && renames) throw Refusal.forbiddenStatement(keyword.toUpperCase());
}

function catalogRefusal(): Refusal {
  return new Refusal('FORBIDDEN', 'The catalog of a lake is not read by itself.', {
    denied: { kind: 'source', name: LAKE_CATALOG },
  });
}

function nameOfMacro(text: string): string | undefined {
  let last: string | undefined;
  for (const { text: token } of tokens(text)) {
    if (token === '(') return last?.replaceAll('"', '').toLowerCase();
    last = token;
  }
  return undefined;
}

/** DuckDB leaves every file open that is attached, and of a lake that is the catalog, with the names of all there ever was. */
async function requireOther(place: Place, catalogs: readonly string[]): Promise<void> {
  if ('computedFor' in place) throw computed(place.computedFor);
  if (!/[./]/.test(place.path)) return;
  const path = resolve(place.path.replace(/^file:(\/\/(localhost)?(?=\/))?/i, ''));
  const [real, ...files] = await Promise.all(
    [path, ...catalogs].map((file) => realpath(file).catch(() => file)),
  );
  const isCatalog = [...files, ...catalogs].some((file) =>
    [path, real].some((each) => each === file || each?.startsWith(`${file}.wal`)),
  );
  if (isCatalog) throw catalogRefusal();
}

function computed(name: string): Refusal {
  const detail = `${name} reads what is not written out here: with a source of object storage or the web, or a lake, and in views and macros of a session, a path is a text as it stands.`;
  return new Refusal('FORBIDDEN', detail, { denied: { kind: 'function', name } });
}

function requirePlain(place: Place, prefixes: readonly RemotePrefix[] | undefined): void {
  if ('computedFor' in place) throw computed(place.computedFor);
  if (!isRemotePath(place.path)) return;
  const problem = remotePathProblem(place.path, prefixes);
  if (problem === undefined) return;
  throw new Refusal('FORBIDDEN', `${place.path} is not read: ${problem}.`, {
    denied: { kind: 'source', name: place.path },
  });
}
