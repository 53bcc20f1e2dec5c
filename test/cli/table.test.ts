import fc from 'fast-check';
import stringWidth from 'string-width';
import { describe, expect, it } from 'vitest';
import { formatTable } from '../../src/cli/table.ts';

const COLUMNS = [
  { name: 'id', type: 'BIGINT' },
  { name: 'text', type: 'VARCHAR' },
];

describe('a table', () => {
  it('cuts its widest columns to fit a terminal, and marks each cut', () => {
    const table = formatTable(COLUMNS, [['1', 'a long text that does not fit']], 20);
    expect(table.split('\n')).toEqual(['id │ text', '───┼────────────────', ' 1 │ a long text th…']);
  });

  it('never cuts inside a character, however many code points it has', () => {
    const table = formatTable([{ name: 'x', type: 'VARCHAR' }], [['👩‍👩‍👧‍👦👩‍👩‍👧‍👦👩‍👩‍👧‍👦👩‍👩‍👧‍👦']], 6);
    expect(table.split('\n').at(-1)).toBe('👩‍👩‍👧‍👦👩‍👩‍👧‍👦…');
  });

  it('tells NULL, an empty text and an empty list apart', () => {
    const rows = [
      [1, null],
      [2, ''],
      [3, []],
    ];
    expect(formatTable(COLUMNS, rows).split('\n').slice(2)).toEqual([' 1 │ NULL', ' 2 │', ' 3 │ []']);
  });

  it('has only its header when there are no rows', () => {
    expect(formatTable(COLUMNS, [])).toBe('id │ text\n───┼─────');
  });

  it('has one line a row, none wider than the terminal, whatever the values are', () => {
    const values = fc.array(fc.tuple(fc.integer(), fc.string({ unit: 'binary' })), { maxLength: 8 });
    fc.assert(
      fc.property(values, fc.integer({ min: 20, max: 60 }), (rows, width) => {
        const lines = formatTable(COLUMNS, rows, width).split('\n');
        expect(lines).toHaveLength(rows.length + 2);
        for (const line of lines) expect(stringWidth(line)).toBeLessThanOrEqual(width);
      }),
    );
  });
});
