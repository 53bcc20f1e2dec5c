/**
 * Whether a text is the name of a type as DuckDB writes it, and nothing that could be anything else: it is put into a CAST.
 *
 * ```
 *  type    = word {word} ["(" args ")"] {word} {"[" [number] "]"}
 *  args    = number {"," number}                 DECIMAL(18,2)
 *          | string {"," string}                 ENUM('a', 'b')
 *          | type {"," type}                     MAP(VARCHAR, INTEGER)
 *          | member type {"," member type}       STRUCT(a INTEGER, "b c" VARCHAR[])
 * ```
 */
import { type Token, tokens } from './sql-text.ts';

/** Deeper than any type that is meant; the check recurses. */
const MAX_DEPTH = 100;

export function isTypeName(text: string): boolean {
  // What is skipped between tokens is not checked: a comment could hide the rest of the CAST.
  if (text.includes('--') || text.includes('/*')) return false;
  const reader = new TypeReader([...tokens(text)]);
  return reader.type(0) && reader.atEnd();
}

class TypeReader {
  readonly #tokens: readonly Token[];
  #next = 0;

  constructor(list: readonly Token[]) {
    this.#tokens = list;
  }

  atEnd(): boolean {
    return this.#next === this.#tokens.length;
  }

  type(depth: number): boolean {
    if (depth > MAX_DEPTH || !this.#accept('word')) return false;
    this.#words();
    if (this.#symbol('(')) {
      if (!this.#list(() => this.#argument(depth + 1)) || !this.#symbol(')')) return false;
      this.#words();
    }
    while (this.#symbol('[')) {
      this.#accept('number');
      if (!this.#symbol(']')) return false;
    }
    return true;
  }

  #words(): void {
    while (this.#accept('word'));
  }

  #argument(depth: number): boolean {
    if (this.#accept('number') || this.#accept('string')) return true;
    // Of two names in a row the first is a member's; a type of two words reads the same and does no harm.
    if (this.#peek()?.kind === 'name') this.#next += 1;
    return this.type(depth);
  }

  #list(item: () => boolean): boolean {
    do if (!item()) return false;
    while (this.#symbol(','));
    return true;
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#next];
  }

  #accept(kind: Token['kind']): boolean {
    if (this.#peek()?.kind !== kind) return false;
    this.#next += 1;
    return true;
  }

  #symbol(text: string): boolean {
    const token = this.#peek();
    if (token?.kind !== 'symbol' || token.text !== text) return false;
    this.#next += 1;
    return true;
  }
}
