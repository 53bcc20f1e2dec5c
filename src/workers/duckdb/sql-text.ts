/**
 * As much of SQL's lexical structure as has to be known before DuckDB parses a text: where its statements begin and end, and
 * which word each begins with. Follows DuckDB's lexer (scan.l of libpg_query), in time linear in the text; nothing
 * dangerous rests on it alone, since DuckDB tells what kind of statement it has prepared.
 */

export interface Token {
  /** `name` is a quoted identifier. Comments and space are no tokens. */
  readonly kind: 'word' | 'number' | 'name' | 'string' | 'symbol';
  /** As written, quotes included. */
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

export interface StatementText {
  readonly text: string;
  /** Where it begins in the whole text, in bytes. */
  readonly offset: number;
}

/**
 * What DuckDB takes for space, as the inside of a character class. It is not what JavaScript does: `\s` has U+2028. U+000B is space
 * before a statement, and an error anywhere else.
 */
export const BLANKS = String.raw`\t\n\v\f\r \u00a0\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff`;
const SPACE = new RegExp(`[${BLANKS}]+`, 'y');
const WORD = new RegExp(`(?:[A-Za-z_]|[^\\0-\\x7f${BLANKS}])(?:[\\w$]|[^\\0-\\x7f${BLANKS}])*`, 'y');
const NUMBER = /\d[\w.]*/y;
const DOLLAR_TAG = /\$(?:[A-Za-z_\x80-\uffff][\w\x80-\uffff]*)?\$/y;
const LINE_END = /[\n\r]/g;
const COMMENT_EDGE = /\/\*|\*\//g;

/** The tokens of a text from `start` on. What is not closed (a quote, a comment) reaches to the end. */
export function* tokens(sql: string, start = 0): Generator<Token> {
  let position = start;
  while (position < sql.length) {
    const skipped = skipBlank(sql, position);
    if (skipped > position) {
      position = skipped;
      continue;
    }
    const { kind, end } = tokenAt(sql, position);
    yield { kind, text: sql.slice(position, end), start: position, end };
    position = end;
  }
}

/** The statements of a text, without those of which there is nothing but comments. */
export function splitStatements(sql: string): StatementText[] {
  const statements: StatementText[] = [];
  let start: number | undefined;
  let end = 0;
  let offset = 0;
  let counted = 0;
  const close = () => {
    if (start === undefined) return;
    offset += Buffer.byteLength(sql.slice(counted, start));
    counted = start;
    statements.push({ text: sql.slice(start, end), offset });
    start = undefined;
  };
  for (const token of tokens(sql)) {
    if (token.text === ';') {
      close();
    } else {
      start ??= token.start;
      ({ end } = token);
    }
  }
  close();
  return statements;
}

/** What a statement is about: how what it does begins, in small letters, and the text behind an EXPLAIN. */
export interface Head {
  /** The first word, or `(`. */
  readonly keyword: string;
  /** The words it begins with, as many as a door has. */
  readonly words: readonly string[];
  readonly explained: string | undefined;
}

/** What may stand between a CREATE or DROP and what it is of. */
export const BEFORE_OBJECT: ReadonlySet<string> = new Set([
  'or',
  'replace',
  'temp',
  'temporary',
  'persistent',
]);

/** `CREATE OR REPLACE PERSISTENT SECRET`. */
const HEAD_WORDS = 5;

/** `EXPLAIN ANALYZE SELECT 1` and `PREPARE p AS SELECT 1` are about a `select`. */
export function headOf(statement: string): Head {
  const rest = tokens(statement);
  const next = (): Token | undefined => rest.next().value as Token | undefined;
  const lower = (token: Token | undefined) => (token?.kind === 'word' ? token.text.toLowerCase() : '');
  let token = next();
  let explained: string | undefined;
  if (lower(token) === 'explain') {
    token = next();
    if (EXPLAIN_WORDS.has(lower(token))) token = next();
    else if (token?.text === '(' && hasOptions(statement, token.end)) {
      while (token !== undefined && token.text !== ')') token = next();
      token = next();
    }
    explained = statement.slice(token?.start ?? statement.length);
  }
  if (lower(token) === 'prepare') {
    while (token !== undefined && lower(token) !== 'as') token = next();
    token = next();
  }
  const keyword = token?.text === '(' ? '(' : lower(token);
  const words: string[] = [];
  for (; token?.kind === 'word' && words.length < HEAD_WORDS; token = next()) words.push(lower(token));
  return { keyword, words, explained };
}

const EXPLAIN_WORDS: ReadonlySet<string> = new Set(['analyze', 'analyse', 'verbose']);
/** What a statement in parentheses may begin with; anything else after `EXPLAIN (` is an option. */
const QUERY_WORDS: ReadonlySet<string> = new Set([
  'select',
  'with',
  'from',
  'values',
  'table',
  'pivot',
  'unpivot',
  'describe',
  'show',
  'summarize',
  '(',
]);

function hasOptions(statement: string, position: number): boolean {
  const first = tokens(statement, position).next().value as Token | undefined;
  return first !== undefined && !QUERY_WORDS.has(first.text.toLowerCase());
}

/** Where the space and comments at `position` end; `position` itself where there are none. */
function skipBlank(sql: string, position: number): number {
  if (sql.startsWith('--', position)) {
    LINE_END.lastIndex = position;
    return LINE_END.test(sql) ? LINE_END.lastIndex : sql.length;
  }
  if (sql.startsWith('/*', position)) return skipComment(sql, position);
  SPACE.lastIndex = position;
  return SPACE.test(sql) ? SPACE.lastIndex : position;
}

/** Comments nest. */
function skipComment(sql: string, position: number): number {
  COMMENT_EDGE.lastIndex = position;
  let depth = 0;
  for (let edge = COMMENT_EDGE.exec(sql); edge !== null; edge = COMMENT_EDGE.exec(sql)) {
    depth += edge[0] === '/*' ? 1 : -1;
    if (depth === 0) return COMMENT_EDGE.lastIndex;
  }
  return sql.length;
}

function tokenAt(sql: string, position: number): Pick<Token, 'kind' | 'end'> {
  const first = sql[position] as string;
  if (first === "'") return { kind: 'string', end: closing(sql, position + 1, "'") };
  if (first === '"') return { kind: 'name', end: closing(sql, position + 1, '"') };
  if (first === '$') {
    const tag = match(DOLLAR_TAG, sql, position);
    if (tag === undefined) return { kind: 'symbol', end: position + 1 };
    const end = sql.indexOf(tag, position + tag.length);
    return { kind: 'string', end: end === -1 ? sql.length : end + tag.length };
  }
  if ((first === 'e' || first === 'E') && sql[position + 1] === "'")
    return { kind: 'string', end: closingEscaped(sql, position + 2) };
  const word = match(WORD, sql, position);
  if (word !== undefined) return { kind: 'word', end: position + word.length };
  const number = match(NUMBER, sql, position);
  if (number !== undefined) return { kind: 'number', end: position + number.length };
  return { kind: 'symbol', end: position + 1 };
}

function match(pattern: RegExp, sql: string, position: number): string | undefined {
  pattern.lastIndex = position;
  return pattern.exec(sql)?.[0];
}

/** Behind the closing quote; a doubled one closes nothing. */
function closing(sql: string, position: number, quote: string): number {
  for (let end = sql.indexOf(quote, position); end !== -1; end = sql.indexOf(quote, end + 2)) {
    if (sql[end + 1] !== quote) return end + 1;
  }
  return sql.length;
}

/** Behind the closing quote of `E'...'`, where a backslash takes the next character along. */
function closingEscaped(sql: string, start: number): number {
  for (let position = start; position < sql.length; position += 1) {
    if (sql[position] === '\\') position += 1;
    else if (sql[position] === "'") {
      if (sql[position + 1] !== "'") return position + 1;
      position += 1;
    }
  }
  return sql.length;
}
