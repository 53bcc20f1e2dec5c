/**
 * Where a statement names what it reads: in its syntax tree, or, for what DuckDB makes no tree of, among its tokens.
 * Whatever stands there and is not written out is told as well, for nobody knows what it will be.
 */
import { type Token, tokens } from './sql-text.ts';

/** What a statement reads. */
export type Place =
  /** A table's name, or a path: DuckDB tells one from the other by looking. */
  | { readonly path: string }
  /** Something that this function will read and that is made by an expression, a parameter or a column. */
  | { readonly computedFor: string };

export interface PathFunctions {
  /** Whether the table function takes a path, or the name of a table, where its arguments have no names. */
  readonly takesPath: (name: string) => boolean;
  /** The text is the body of a macro: what looks like a column may be a parameter. */
  readonly inMacro: boolean;
}

/** They read a table whose name may also stand there as a column would. */
const TAKES_COLUMN: ReadonlySet<string> = new Set(['histogram', 'histogram_values']);
/** What they are given is SQL, or is made a name later. */
const EVALUATES: ReadonlySet<string> = new Set(['query', 'query_table']);

interface Node {
  readonly [key: string]: unknown;
}

/** Of a tree of `json_serialize_sql`. */
export function* placesInTree(root: unknown, functions: PathFunctions): Generator<Place> {
  // Without recursion: a tree may be deeper than the stack.
  const pending: unknown[] = [root];
  while (pending.length > 0) {
    const node = pending.pop();
    if (!isNode(node)) continue;
    const { table_name: table, type } = node;
    if (typeof table === 'string') yield { path: fullName([node.catalog_name, node.schema_name, table]) };
    if (type === 'TABLE_FUNCTION') yield* argumentsOf(node.function, functions);
    for (const member of Object.values(node)) pending.push(member);
  }
}

/** DuckDB puts the parts of a name together again where they may be a path (`ReplacementScan::GetFullPath`). */
function fullName(parts: readonly unknown[]): string {
  return parts.filter((part) => typeof part === 'string' && part !== '').join('.');
}

function* argumentsOf(node: unknown, { takesPath, inMacro }: PathFunctions): Generator<Place> {
  if (!isNode(node) || node.type !== 'FUNCTION') return yield { computedFor: 'a function' };
  const name = String(node.function_name).toLowerCase();
  if (EVALUATES.has(name)) return yield { computedFor: name };
  if (!takesPath(name)) return;
  for (const child of members(node.children)) {
    if (isNamed(child)) {
      for (const text of constantsIn(child)) yield { path: text };
      continue;
    }
    const column = TAKES_COLUMN.has(name) && !inMacro ? columnName(child) : undefined;
    const paths = column === undefined ? writtenOut(child) : [column];
    if (paths === undefined) yield { computedFor: name };
    else for (const path of paths) yield { path };
  }
}

/** `header = true`. */
function isNamed({ type, left }: Node): boolean {
  return type === 'COMPARE_EQUAL' && isNode(left) && left.type === 'COLUMN_REF' && isBare(left);
}

function isBare({ column_names: names }: Node): boolean {
  return Array.isArray(names) && names.length === 1;
}

function columnName({ type, column_names: names }: Node): string | undefined {
  return type === 'COLUMN_REF' && Array.isArray(names) ? fullName(names) : undefined;
}

/** The texts of an argument that is what it looks like; undefined for any other. */
function writtenOut(node: Node): string[] | undefined {
  switch (node.type) {
    case 'VALUE_CONSTANT':
      return stringsIn(node.value);
    case 'OPERATOR_CAST':
      return isNode(node.child) && keepsText(node.cast_type) ? writtenOut(node.child) : undefined;
    case 'ARRAY_CONSTRUCTOR':
      return allWrittenOut(node.children);
    case 'FUNCTION':
      return node.function_name === 'list_value' ? allWrittenOut(node.children) : undefined;
    default:
      return undefined;
  }
}

function allWrittenOut(children: unknown): string[] | undefined {
  const all: string[] = [];
  for (const child of members(children)) {
    const texts = writtenOut(child);
    if (texts === undefined) return undefined;
    all.push(...texts);
  }
  return all;
}

/** A text that is made a BLOB and a text again is another one. A boolean, which `true` is written as, names nothing. */
function keepsText(type: unknown): boolean {
  if (!isNode(type)) return false;
  if (type.id === 'LIST') return isNode(type.type_info) && keepsText(type.type_info.child_type);
  return type.id === 'VARCHAR' || type.id === 'BOOLEAN';
}

function* constantsIn(root: Node): Generator<string> {
  const pending: unknown[] = [root];
  while (pending.length > 0) {
    const node = pending.pop();
    if (!isNode(node)) continue;
    if (node.type === 'VALUE_CONSTANT') yield* stringsIn(node.value);
    else for (const member of Object.values(node)) pending.push(member);
  }
}

/** Every text in a constant, whatever it is made of. */
function stringsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return isNode(value) ? Object.values(value).flatMap(stringsIn) : [];
}

function members(value: unknown): Node[] {
  return Array.isArray(value) ? value.filter(isNode) : [];
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null;
}

/** Before these comes an expression, which names no table. */
const OPERATORS = /^[=<>|+\-*/%^~!&@]$/;
const BEFORE_VALUE: ReadonlySet<string> = new Set([
  ...['like', 'ilike', 'glob', 'to', 'then', 'else', 'when', 'and', 'or', 'not', 'is', 'default', 'escape'],
]);

/** Of a text, or a part of one, that is no SELECT. With `everywhere` a string is a place wherever it stands. */
export function* placesInText(text: string, functions: PathFunctions, everywhere = false): Generator<Place> {
  const all = [...tokens(text)];
  for (const [index, token] of all.entries()) {
    const before = all[index - 1];
    if (token.kind === 'string' && before?.kind === 'string') yield { computedFor: 'the statement' };
    if (isQuoted(token) && (everywhere || namesTable(before))) yield placeAt(all, index);
    if (isName(token) && all[index + 1]?.text === '(') yield* callAt(all, index, functions);
  }
}

/** The query that a statement has at its end, with what comes before it; undefined where there is none. */
export function splitBeforeQuery(
  text: string,
): { readonly head: string; readonly query: string } | undefined {
  let depth = 0;
  const all = [...tokens(text)];
  for (const [index, token] of all.entries()) {
    const first = token.text === '(' ? all[index + 1] : token;
    if (depth === 0 && first?.kind === 'word' && QUERY_WORDS.has(first.text.toLowerCase()))
      return { head: text.slice(0, token.start), query: text.slice(token.start) };
    if (token.text === '(') depth += 1;
    if (token.text === ')') depth -= 1;
  }
  return undefined;
}

const QUERY_WORDS: ReadonlySet<string> = new Set(['select', 'from', 'with', 'values']);

function namesTable(before: Token | undefined): boolean {
  if (before === undefined) return true;
  if (before.kind === 'symbol') return !OPERATORS.test(before.text);
  return before.kind !== 'word' || !BEFORE_VALUE.has(before.text.toLowerCase());
}

/** A name with all that follows it behind dots. */
function placeAt(all: readonly Token[], start: number): Place {
  const parts: string[] = [];
  for (let index = start; ; index += 2) {
    const value = plainValue(all[index]);
    if (value === undefined) return { computedFor: 'the statement' };
    parts.push(value);
    if (all[index + 1]?.text !== '.') return { path: parts.join('.') };
  }
}

/** What a call reads that takes a path: written out, as its first argument. Its texts are places of their own. */
function* callAt(
  all: readonly Token[],
  index: number,
  { takesPath, inMacro }: PathFunctions,
): Generator<Place> {
  const name = (plainValue(all[index]) ?? '').toLowerCase();
  if (EVALUATES.has(name)) yield { computedFor: name };
  else if (takesPath(name) && !isWrittenOut(all, index + 2, TAKES_COLUMN.has(name) && !inMacro))
    yield { computedFor: name };
}

function isWrittenOut(all: readonly Token[], start: number, orName: boolean): boolean {
  let end = start;
  if (all[start]?.text === '[') {
    do end += 2;
    while (all[end - 1]?.kind === 'string' && all[end]?.text === ',');
    if (all[end - 1]?.kind !== 'string' || all[end]?.text !== ']') return false;
    end += 1;
  } else if (all[start]?.kind === 'string') {
    end += 1;
  } else if (orName && isName(all[start])) {
    end += 1;
    while (all[end]?.text === '.') end += 2;
  }
  return all[end]?.text === ',' || all[end]?.text === ')';
}

function isQuoted({ kind }: Token): boolean {
  return kind === 'string' || kind === 'name';
}

function isName(token: Token | undefined): boolean {
  return token?.kind === 'word' || token?.kind === 'name';
}

/** What a token stands for; undefined where there are escapes in it, or it is no name and no text. */
function plainValue(token: Token | undefined): string | undefined {
  if (token === undefined) return undefined;
  const { kind, text } = token;
  if (kind === 'name') return text.slice(1, -1).replaceAll('""', '"');
  if (kind === 'word') return text;
  if (kind !== 'string') return undefined;
  if (text.startsWith('$')) {
    const tag = text.indexOf('$', 1) + 1;
    return text.slice(tag, -tag);
  }
  if (text.startsWith("'")) return text.slice(1, -1).replaceAll("''", "'");
  return text.includes('\\') ? undefined : text.slice(2, -1).replaceAll("''", "'");
}
