/**
 * A statement without what differs from one run to the next: comments, space, case, literals, the lengths of lists.
 *
 * ```ts
 * normalise("SELECT * FROM T WHERE a IN (1, 2) -- all");  // 'select * from t where a in (?)'
 * normalise("INSERT INTO t VALUES (1, 'x'), (-2, NULL);"); // 'insert into t values (?)'
 * ```
 *
 * It is lexical: the API process never parses SQL with DuckDB. So it knows no more than the tokens, and is fit to recognise a
 * statement that was seen before, not to tell what a statement does. The result holds no literal and no comment; it holds
 * the names. It is the same for itself, and for every text that differs in the above alone.
 */
import { type Token, tokens } from '../workers/duckdb/sql-text.ts';

/** Characters that are looked at. What a stranger sends is longer at times, and this runs where everybody's queries pass. */
export const NORMALISED_CHARACTERS = 16_384;

/** What lies behind the first {@link NORMALISED_CHARACTERS} is left out. */
export function normalise(sql: string): string {
  const shape = new Shape();
  for (const lexeme of lexemes([...tokens(sql.slice(0, NORMALISED_CHARACTERS))])) shape.add(lexeme);
  return printed(shape.lexemes());
}

const LITERAL = '?';

/** Right behind one of these stands a value: a sign there belongs to its number, and `null` is no part of `IS NULL`. */
const BEFORE_VALUES: ReadonlySet<string> = new Set(['(', ',', '=', '<', '>', '[', '{', ':']);
const CONSTANTS: ReadonlySet<string> = new Set(['null', 'true', 'false']);
/** `x'...'` and the like; `e'...'` is a single token. */
const STRING_PREFIXES: ReadonlySet<string> = new Set(['x', 'b', 'n']);

/** Tokens as they count: folded to small letters, and `?` for each literal and parameter. */
function* lexemes(all: readonly Token[]): Generator<string> {
  let before = '';
  for (let index = 0; index < all.length; index += 1) {
    const { kind, text } = all[index] as Token;
    const last = lastOfLiteral(all, index, before);
    before = last !== undefined ? LITERAL : kind === 'word' ? folded(text) : text;
    index = last ?? index;
    yield before;
  }
}

/** As DuckDB compares names: ASCII alone. */
function folded(text: string): string {
  return text.replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase());
}

/** The index of the last token of the literal or parameter that begins here. */
function lastOfLiteral(all: readonly Token[], index: number, before: string): number | undefined {
  const token = all[index] as Token;
  const next = all[index + 1];
  switch (token.kind) {
    case 'string':
      return index;
    case 'number':
      return lastOfNumber(all, index);
    case 'word':
      if (BEFORE_VALUES.has(before) && CONSTANTS.has(folded(token.text))) return index;
      return STRING_PREFIXES.has(folded(token.text)) && isNext(token, next) && next.text.startsWith("'")
        ? index + 1
        : undefined;
    case 'name':
      return undefined;
    case 'symbol':
      if (token.text === LITERAL) return index;
      if (token.text === '$') return next?.kind === 'number' || next?.kind === 'word' ? index + 1 : undefined;
      if (token.text === '.') return isNumberNext(all, index) ? lastOfNumber(all, index + 1) : undefined;
      if ((token.text !== '-' && token.text !== '+') || !BEFORE_VALUES.has(before)) return undefined;
      if (next?.kind === 'number') return lastOfNumber(all, index + 1);
      return next?.text === '.' && isNumberNext(all, index + 1) ? lastOfNumber(all, index + 2) : undefined;
  }
}

/** `1e-5` comes as three tokens. */
function lastOfNumber(all: readonly Token[], index: number): number {
  const token = all[index] as Token;
  const sign = all[index + 1];
  if (!/^[\d._]+[eE]$/.test(token.text) || !isNext(token, sign)) return index;
  return (sign.text === '-' || sign.text === '+') && isNumberNext(all, index + 1) ? index + 2 : index;
}

function isNumberNext(all: readonly Token[], index: number): boolean {
  const next = all[index + 1];
  return isNext(all[index] as Token, next) && next.kind === 'number';
}

/** With nothing between the two. */
function isNext(token: Token, next: Token | undefined): next is Token {
  return next !== undefined && next.start === token.end;
}

/** What is between two brackets, or at the top: where its elements begin, as indices of the lexemes so far. */
interface Level {
  /** The opening bracket. */
  readonly open: number;
  /** A list, and not the arguments of a function, of which each place means something else. */
  readonly isList: boolean;
  /** After `VALUES`, until something else than a row comes. */
  hasRows: boolean;
  element: number;
  /** The element before this one, if there is one that can be compared. */
  before: number | undefined;
  /** The last group in brackets. */
  group: { readonly start: number; readonly end: number } | undefined;
}

const OPENING: ReadonlySet<string> = new Set(['(', '[', '{']);
const CLOSING: ReadonlySet<string> = new Set([')', ']', '}']);

/** Folds neighbours of a list that are the same, be they literals or groups such as rows, into one. */
class Shape {
  readonly #out: string[] = [];
  #levels: Level[] = [topLevel(0)];

  add(lexeme: string): void {
    if (lexeme === ';') this.#endStatement();
    else if (lexeme === ',') this.#nextElement();
    else if (OPENING.has(lexeme)) this.#open(lexeme);
    else if (CLOSING.has(lexeme) && this.#levels.length > 1) this.#close(lexeme);
    else this.#push(lexeme);
  }

  /** Without the `;` at the end. */
  lexemes(): readonly string[] {
    return this.#out.at(-1) === ';' ? this.#out.slice(0, -1) : this.#out;
  }

  get #level(): Level {
    return this.#levels.at(-1) as Level;
  }

  #push(lexeme: string): void {
    const level = this.#level;
    this.#out.push(lexeme);
    level.hasRows = lexeme === 'values';
    if (!level.hasRows) return;
    level.element = this.#out.length;
    level.before = undefined;
  }

  #endStatement(): void {
    const last = this.#out.at(-1);
    if (last !== undefined && last !== ';') this.#out.push(';');
    this.#levels = [topLevel(this.#out.length)];
  }

  #nextElement(): void {
    const level = this.#level;
    if (level.isList) this.#foldElement(level);
    this.#out.push(',');
    level.before = level.element;
    level.element = this.#out.length;
  }

  #open(bracket: string): void {
    const outer = this.#level;
    if (outer.element !== this.#out.length) outer.hasRows = false;
    const isList = bracket === '[' || (bracket === '(' && !isFunction(this.#out.at(-1)));
    this.#levels.push({ ...topLevel(this.#out.length + 1), open: this.#out.length, isList });
    this.#out.push(bracket);
  }

  #close(bracket: string): void {
    const inner = this.#levels.pop() as Level;
    if (inner.isList) this.#foldElement(inner);
    this.#out.push(bracket);
    const outer = this.#level;
    outer.group = { start: inner.open, end: this.#out.length };
    // A row may be the last one, with more of the statement behind it: it is folded when it ends.
    if (outer.hasRows) this.#foldElement(outer);
  }

  /** Takes the current element away where it is the same as the one before it. */
  #foldElement(level: Level): void {
    const { element, before, group } = level;
    const end = this.#out.length;
    const isLiteral = end - element === 1 && this.#out[element] === LITERAL;
    const isGroup = group !== undefined && group.start === element && group.end === end;
    if (before === undefined || !(isLiteral || isGroup) || !this.#isSame(before, element)) return;
    this.#out.length = element - 1;
    level.element = before;
    level.before = undefined;
    level.group = isGroup ? { start: before, end: this.#out.length } : undefined;
  }

  /** The two elements, with the comma between them, are all there is from `before` on. */
  #isSame(before: number, element: number): boolean {
    const length = element - 1 - before;
    if (this.#out.length - element !== length) return false;
    for (let index = 0; index < length; index += 1) {
      if (this.#out[before + index] !== this.#out[element + index]) return false;
    }
    return true;
  }
}

function topLevel(element: number): Level {
  return { open: -1, isList: false, hasRows: false, element, before: undefined, group: undefined };
}

/** Words that stand before a parenthesis without being the name of a function. */
const NO_FUNCTIONS: ReadonlySet<string> = new Set(
  'all and any array as between by case distinct else except exists from having ilike in intersect join like limit not offset on or over qualify returning select set some then union using values when where with'.split(
    ' ',
  ),
);

function isFunction(lexeme: string | undefined): boolean {
  if (lexeme === undefined || NO_FUNCTIONS.has(lexeme)) return false;
  return /^["A-Za-z_\x80-\uffff]/.test(lexeme);
}

/** Written together, so that people can read them. Never `--` or `/*`: the text would mean something else. */
const OPERATORS: ReadonlySet<string> = new Set('<= >= <> != == :: := || -> >> << => ** // ~~ !~'.split(' '));

function printed(all: readonly string[]): string {
  let text = '';
  let before: string | undefined;
  for (const lexeme of all) {
    if (before !== undefined && !isJoined(before, lexeme)) text += ' ';
    text += lexeme;
    before = lexeme;
  }
  return text;
}

function isJoined(before: string, lexeme: string): boolean {
  if (before === '(' || before === '[' || before === '.') return true;
  if (lexeme === '(' || lexeme === '[') return isFunction(before);
  return [',', ')', ']', '.', ';'].includes(lexeme) || OPERATORS.has(before + lexeme);
}
