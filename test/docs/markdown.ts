/** The fenced blocks of a Markdown file, in their order. */
export interface Block {
  readonly language: string;
  readonly text: string;
  /** Of the opening fence, counted from 1. */
  readonly line: number;
  /** The heading it stands under. */
  readonly heading: string;
  /** The `text` or `json` block behind it: what running it prints. */
  readonly output: { readonly language: string; readonly text: string } | undefined;
}

const OUTPUT = new Set(['text', 'json']);

export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  let open: { language: string; line: number; lines: string[] } | undefined;
  let heading = '';
  for (const [index, line] of markdown.split('\n').entries()) {
    const fence = /^```(\w*)$/.exec(line);
    if (open === undefined) {
      if (fence !== null) open = { language: fence[1] ?? '', line: index + 1, lines: [] };
      else if (line.startsWith('#')) heading = line.replace(/^#+ /, '');
      continue;
    }
    if (fence === null) {
      open.lines.push(line);
      continue;
    }
    const { language, lines, line: start } = open;
    open = undefined;
    const before = blocks.at(-1);
    const text = lines.join('\n');
    if (OUTPUT.has(language)) {
      if (before === undefined || before.output !== undefined)
        throw new Error(`line ${start}: output of nothing`);
      blocks[blocks.length - 1] = { ...before, output: { language, text } };
    } else {
      blocks.push({ language, text, line: start, heading, output: undefined });
    }
  }
  if (open !== undefined) throw new Error(`line ${open.line}: a fence that is never closed`);
  return blocks;
}

/** `...` stands for any text within a line, and on a line of its own for any lines. */
export function textPattern(expected: string): RegExp {
  const lines = expected
    .trim()
    .split('\n')
    .map((line) =>
      line.trim() === '...'
        ? '[\\s\\S]*'
        : line
            .split('...')
            .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
            .join('[^\\n]*'),
    );
  return new RegExp(`^${lines.join('\\n')}$`);
}

/** The string `"..."` stands for any value; a member `"...": "..."` for any further members. */
export function matchesJson(actual: unknown, expected: unknown): boolean {
  if (expected === '...') return true;
  if (Array.isArray(expected)) {
    return (
      Array.isArray(actual) &&
      actual.length === expected.length &&
      expected.every((item, index) => matchesJson(actual[index], item))
    );
  }
  if (typeof expected !== 'object' || expected === null) return Object.is(actual, expected);
  if (typeof actual !== 'object' || actual === null || Array.isArray(actual)) return false;
  const { '...': more, ...members } = expected as Record<string, unknown>;
  const given = actual as Record<string, unknown>;
  const names = Object.keys(members);
  if (more === undefined && Object.keys(given).length !== names.length) return false;
  return names.every((name) => Object.hasOwn(given, name) && matchesJson(given[name], members[name]));
}
