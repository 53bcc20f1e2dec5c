/**
 * A YAML text as plain data, with the place of every value.
 *
 * The tree is walked here and not by the parser's own `toJS`, so that a key given twice, an unknown anchor or tag
 * and a key that is no text are problems with a place, and none is dropped. The parser's messages are replaced:
 * some quote the text they stumble over, and that text may be a password that nobody put in quotes.
 */
import {
  type Alias,
  Composer,
  CST,
  isAlias,
  isCollection,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  Parser,
  type YAMLMap,
} from 'yaml';
import { type ConfigProblem, type Path, pathText } from './problems.ts';

export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface YamlText {
  readonly data: unknown;
  /** By path text: where the key stands, or the value in a list. */
  readonly places: ReadonlyMap<string, Place>;
  readonly problems: readonly ConfigProblem[];
  /** False when the text is no YAML at all, so that `data` means nothing. */
  readonly wellFormed: boolean;
}

/** UTF-16 code units. Ten thousand sources take about a tenth of it, and the parser a hundred times the memory. */
const MOST_CHARACTERS = 10_000_000;
/** Fifty for each of ten thousand sources. Anchors may repeat a value, but not grow a small text into a large one. */
const MOST_VALUES = 500_000;
/** The parser recurses; what is nested by the ten thousand overflows its stack, which can end the process. */
const MOST_LEVELS = 100;

const SYNTAX: Readonly<Record<string, string>> = {
  BAD_DQ_ESCAPE: 'expected a known escape after the backslash; single quotes take backslashes as they are',
  BAD_INDENT: 'expected another indentation',
  BAD_SCALAR_START: 'expected quotes around a text that begins with this character',
  BLOCK_AS_IMPLICIT_KEY:
    'expected one mapping a line: quotes around a text with ": " in it, or a line of its own',
  MISSING_CHAR: 'expected a closing quote or bracket, a comma or a colon',
  MULTILINE_IMPLICIT_KEY: 'expected a key on one line',
  MULTIPLE_DOCS: 'expected a single document, without a second ---',
  TAB_AS_INDENT: 'expected blanks for indentation, not tabs',
};

export function parseYaml(text: string): YamlText {
  const lines = new LineCounter();
  const place = (offset: number | undefined): Place => {
    const { line, col } = lines.linePos(offset ?? 0);
    return { line, column: col };
  };
  const refused = (...problems: ConfigProblem[]): YamlText => {
    return { data: undefined, places: new Map(), problems, wellFormed: false };
  };

  if (text.length > MOST_CHARACTERS) {
    return refused({ path: '', message: `expected ${MOST_CHARACTERS} characters at most` });
  }
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  const deep = tooDeep(tokens);
  if (deep !== undefined) {
    return refused({ path: '', message: `expected ${MOST_LEVELS} levels at most`, ...place(deep) });
  }
  const composer = new Composer({ prettyErrors: false, uniqueKeys: false });
  // As the parser's own `parseDocument`: one document, be it empty.
  const [document, second] = [...composer.compose(tokens, true, text.length)];
  if (document === undefined) return refused({ path: '', message: 'expected a document' });

  const errors = document.errors.map(({ code, pos }) => ({ code: String(code), at: pos[0] }));
  if (second !== undefined) errors.push({ code: 'MULTIPLE_DOCS', at: second.range[0] });
  if (errors.length > 0) {
    return refused(
      ...errors.map(({ code, at }) => ({
        path: '',
        message: `not YAML: ${SYNTAX[code] ?? 'expected something else here'}`,
        ...place(at),
      })),
    );
  }

  const places = new Map<string, Place>();
  const problems: ConfigProblem[] = [];
  /** The anchors set so far: an alias means the last of its name before it (YAML 1.2.2, 7.1). */
  const anchors = new Map<string, Node>();
  /** Each alias is met in the order of the text first, and then wherever what it stands in is repeated. */
  const targets = new Map<Alias, Node | undefined>();
  const met = new Set<Node>();
  let values = 0;
  let tooMuch = false;

  /** `expanding` holds the anchored nodes above this one: an anchor inside itself would never end. */
  function plain(node: unknown, path: Path, expanding: readonly Node[]): unknown {
    values += 1;
    if (values > MOST_VALUES || path.length > MOST_LEVELS) {
      const most = values > MOST_VALUES ? `${MOST_VALUES} values` : `${MOST_LEVELS} levels`;
      if (!tooMuch) refuse(path, node, `expected ${most} at most, anchors written out`);
      tooMuch = true;
      return null;
    }
    if (isAlias(node)) {
      if (!targets.has(node)) targets.set(node, anchors.get(node.source));
      const target = targets.get(node);
      if (target && !expanding.includes(target)) return plain(target, path, [...expanding, target]);
      refuse(path, node, 'expected an anchor set before it; a text that begins with * needs quotes');
      return null;
    }
    if (isAnchored(node) && !met.has(node)) {
      met.add(node);
      anchors.set(node.anchor, node);
    }
    if (isMap(node)) return plainMap(node, path, [...expanding, node]);
    if (isSeq(node)) {
      return node.items.map((item, index) => {
        const inside = [...path, index];
        mark(inside, item);
        return plain(item, inside, [...expanding, node]);
      });
    }
    return isScalar(node) ? node.value : null;
  }

  function plainMap(node: YAMLMap, path: Path, expanding: readonly Node[]): Record<string, unknown> {
    const data: Record<string, unknown> = {};
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? keyName(key.value) : undefined;
      if (name === undefined) {
        refuse(path, key, 'expected keys that are names');
        continue;
      }
      const inside = [...path, name];
      if (Object.hasOwn(data, name)) {
        const first = places.get(pathText(inside));
        refuse(inside, key, `expected each key once; it stands in line ${first?.line ?? '?'} already`);
        continue;
      }
      mark(inside, key);
      data[name] = plain(value, inside, expanding);
    }
    return data;
  }

  function mark(path: Path, node: unknown): void {
    places.set(pathText(path), place((node as Node | null)?.range?.[0]));
  }

  function refuse(path: Path, node: unknown, message: string): void {
    problems.push({ path: pathText(path), message, ...place((node as Node | null)?.range?.[0]) });
  }

  for (const { pos } of document.warnings) {
    problems.push({
      path: '',
      message: 'expected no tag here; a text that begins with ! needs quotes',
      ...place(pos[0]),
    });
  }
  const data = plain(document.contents, [], []);
  return { data, places, problems, wellFormed: true };
}

/** Where the text is nested deeper than the levels there may be; found without recursion. */
function tooDeep(tokens: readonly CST.Token[]): number | undefined {
  const pending = tokens.map((token) => ({ token, level: 0 }));
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { token, level } = next;
    if (level > MOST_LEVELS) return token.offset;
    const items = CST.isCollection(token) ? token.items : token.type === 'document' ? [token] : [];
    for (const item of items) {
      if ('key' in item && item.key) pending.push({ token: item.key, level: level + 1 });
      if (item.value) pending.push({ token: item.value, level: level + 1 });
    }
  }
  return undefined;
}

function isAnchored(node: unknown): node is Node & { readonly anchor: string } {
  return (isScalar(node) || isCollection(node)) && node.anchor !== undefined;
}

/** `8080:` and `true:` are keys too; `__proto__` would be no key at all. */
function keyName(value: unknown): string | undefined {
  const name =
    typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
  return name === '' || name === '__proto__' ? undefined : name;
}
