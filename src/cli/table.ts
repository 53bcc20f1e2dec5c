/** Rows as a table for people: aligned by what a terminal shows, numbers to the right, NULL visible. Pure. */
import stringWidth from 'string-width';
import { visible } from './visible.ts';

export interface Column {
  readonly name: string;
  /** DuckDB's name of the type: `BIGINT`, `DECIMAL(18,2)`, `VARCHAR[]`. */
  readonly type: string;
}

const NUMERIC = /^(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|BIGNUM|FLOAT|DOUBLE|DECIMAL(\(\d+,\s*\d+\))?)$/;

/** A column is never cut below this width, however narrow the terminal. */
const MIN_COLUMN = 6;
const SEPARATOR = ' │ ';

/**
 * The table without a final newline. With `width` (cells of the terminal), long columns are cut to fit, each cut
 * marked by `…`; without it nothing is cut.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly unknown[])[],
  width?: number,
): string {
  const header = columns.map(({ name }) => visible(name));
  const body = rows.map((row) => columns.map((_, index) => cellText(row[index])));
  const natural = columns.map((_, index) =>
    [header, ...body].reduce((widest, cells) => Math.max(widest, stringWidth(cells[index] ?? '')), 1),
  );
  const widths = width === undefined ? natural : fitted(natural, width);
  const right = columns.map(({ type }) => NUMERIC.test(type));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, index) => padded(cut(cell, widths[index] ?? 0), widths[index] ?? 0, right[index] ?? false))
      .join(SEPARATOR)
      .trimEnd();
  const rule = widths.map((columnWidth) => '─'.repeat(columnWidth)).join('─┼─');
  return [line(header), rule, ...body.map(line)].join('\n');
}

function cellText(value: unknown): string {
  if (value === null || value === undefined) return 'NULL';
  if (typeof value === 'string') return visible(value);
  return visible(typeof value === 'object' ? JSON.stringify(value) : String(value));
}

/** The widest columns give way first, and all of them to the same width, until the line fits. */
function fitted(natural: readonly number[], width: number): number[] {
  const room = width - SEPARATOR.length * (natural.length - 1);
  const total = (cap: number) => natural.reduce((sum, column) => sum + Math.min(column, cap), 0);
  let cap = Math.max(MIN_COLUMN, ...natural);
  while (cap > MIN_COLUMN && total(cap) > room) cap--;
  return natural.map((column) => Math.min(column, cap));
}

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

function cut(text: string, width: number): string {
  if (stringWidth(text) <= width) return text;
  let kept = '';
  let used = 1; // the mark
  for (const { segment } of graphemes.segment(text)) {
    used += stringWidth(segment);
    if (used > width) break;
    kept += segment;
  }
  return `${kept}…`;
}

function padded(text: string, width: number, right: boolean): string {
  const space = ' '.repeat(Math.max(0, width - stringWidth(text)));
  return right ? space + text : text + space;
}
