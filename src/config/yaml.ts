/**
 * A YAML text as plain data, with the place of every value.
 *
 * The tree is walked here and not by the parser's own `toJS`, so that a key given twice, an unknown anchor or tag
 * and a key that is no text are problems with a place, and none is dropped. The parser's messages are replaced:
 * some quote the text they stumble over, and that text may be a password that nobody put in quotes.
 */
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLMap } from 'yaml';
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

/** Anchors may repeat a value, but not grow a small text into a large one. */
const MOST_VALUES = 50_000;

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
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  const place = (offset: number | undefined): Place => {
    const { line, col } = lines.linePos(offset ?? 0);
    return { line, column: col };
  };

  if (document.errors.length > 0) {
    const problems = document.errors.map(({ code, pos }) => ({
      path: '',
      message: `not YAML: ${SYNTAX[code] ?? 'expected something else here'}`,
      ...place(pos[0]),
    }));
    return { data: undefined, places: new Map(), problems, wellFormed: false };
  }

  const places = new Map<string, Place>();
  const problems: ConfigProblem[] = [];
  let values = 0;

  /** `expanding` holds the anchored nodes above this one: an anchor inside itself would never end. */
  function plain(node: unknown, path: Path, expanding: readonly Node[]): unknown {
    if (++values > MOST_VALUES) {
      if (values === MOST_VALUES + 1)
        refuse(path, node, `expected ${MOST_VALUES} values at most, anchors written out`);
      return null;
    }
    if (isAlias(node)) {
      const target = node.resolve(document);
      if (target && !expanding.includes(target)) return plain(target, path, [...expanding, target]);
      refuse(path, node, 'expected an anchor set before it; a text that begins with * needs quotes');
      return null;
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

/** `8080:` and `true:` are keys too; `__proto__` would be no key at all. */
function keyName(value: unknown): string | undefined {
  const name =
    typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
  return name === '' || name === '__proto__' ? undefined : name;
}
