import { DuckDBInstance } from '@duckdb/node-api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { headOf, splitStatements, tokens } from '../../src/workers/duckdb/sql-text.ts';

const texts = (sql: string) => splitStatements(sql).map(({ text }) => text);

describe('a text is taken apart', () => {
  it.each([
    ['', []],
    [' \n;;\t; ', []],
    ['-- nothing', []],
    ['/* nothing /* at */ all */ ;', []],
    ['SELECT 1', ['SELECT 1']],
    [' SELECT 1 ; ; SELECT 2 -- end', ['SELECT 1', 'SELECT 2']],
    ["SELECT ';' ; SELECT '';''", ["SELECT ';'", "SELECT ''", "''"]],
    ["SELECT 'it''s; so' ; SELECT 2", ["SELECT 'it''s; so'", 'SELECT 2']],
    ['SELECT "a"";b"; SELECT 2', ['SELECT "a"";b"', 'SELECT 2']],
    ["SELECT e'\\';' ; SELECT E'\\\\' ; SELECT 3", ["SELECT e'\\';'", "SELECT E'\\\\'", 'SELECT 3']],
    ["SELECT '\\'; SELECT 2", ["SELECT '\\'", 'SELECT 2']],
    [
      'SELECT $$a;b$$; SELECT $x$ $$ ; $x$; SELECT $1',
      ['SELECT $$a;b$$', 'SELECT $x$ $$ ; $x$', 'SELECT $1'],
    ],
    ['SELECT a$b$c; SELECT d$b$', ['SELECT a$b$c', 'SELECT d$b$']],
    ['SELECT 1 -- ; \n + 1; SELECT 2', ['SELECT 1 -- ; \n + 1', 'SELECT 2']],
    ['SELECT 1 /* ; /* ; */ ; */ + 1; SELECT 2', ['SELECT 1 /* ; /* ; */ ; */ + 1', 'SELECT 2']],
    ["SELECT 'open ; SELECT 2", ["SELECT 'open ; SELECT 2"]],
    ['SELECT 1 /* open ; SELECT 2', ['SELECT 1']],
    ['SELECT\u00a01;\u3000SELECT\u200b2', ['SELECT\u00a01', 'SELECT\u200b2']],
  ])('%j', (sql, expected) => {
    expect(texts(sql)).toEqual(expected);
  });

  it('with the place of each statement in bytes', () => {
    const sql = "SELECT 'ü🦆';\n/* é */ SELECT 2; SELECT 3";
    const bytes = Buffer.from(sql);
    for (const { text, offset } of splitStatements(sql))
      expect(bytes.subarray(offset, offset + Buffer.byteLength(text)).toString()).toBe(text);
  });

  it('into tokens that leave out nothing but space and comments', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...'aE1_$\'";()/*- \n\\üé\u00a0'), maxLength: 40 }),
        (sql) => {
          let end = 0;
          for (const token of tokens(sql)) {
            expect(token.start).toBeGreaterThanOrEqual(end);
            expect(sql.slice(token.start, token.end)).toBe(token.text);
            expect(token.text).not.toBe('');
            ({ end } = token);
          }
          expect(end).toBeLessThanOrEqual(sql.length);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it('as DuckDB itself takes it apart', async () => {
    const instance = await DuckDBInstance.create(':memory:');
    const connection = await instance.connect();
    const statement = fc.constantFrom(
      ...[
        'SELECT 1',
        "SELECT ';'",
        "SELECT 'a''b;'",
        "SELECT e'\\';'",
        'SELECT $$;$$',
        'SELECT $t$;$$;$t$',
        'SELECT 1 AS "a;"',
        'SELECT 1 AS "a"";"',
      ],
      ...[
        'SELECT 1 -- ;\n',
        'SELECT /* ; */ 1',
        'SELECT /* /* ; */ ; */ 1',
        "SELECT '\\'",
        'SELECT 1 AS a$b',
        'SELECT 1 AS ü',
        "SELECT 'ü;🦆'",
        'EXPLAIN SELECT 1',
        '',
      ],
    );
    const space = fc.constantFrom('', ' ', '\n', '\t', '--;\n', '/*;*/', '--\r');
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(space, statement, space), { minLength: 1, maxLength: 5 }),
        async (parts) => {
          const sql = parts.map((part) => part.join('')).join(';');
          const expected = splitStatements(sql).length;
          if (expected === 0) return;
          expect((await connection.extractStatements(sql)).count).toBe(expected);
        },
      ),
      { numRuns: 400 },
    );
    connection.closeSync();
    instance.closeSync();
  });

  it.each([
    ['comments that could begin and end in many ways', '/**/'.repeat(50_000)],
    ['comments that are never closed', '/*'.repeat(100_000)],
    ['quotes', "'".repeat(100_001)],
    ['dollars', '$'.repeat(100_001)],
    ['tags that are never closed', '$a'.repeat(100_000)],
    ['dashes', '-'.repeat(200_000)],
    ['space', ' '.repeat(500_000)],
    ['semicolons', ';'.repeat(500_000)],
    ['a string of a megabyte', `'${"x''".repeat(400_000)}'`],
  ])('in a time that grows with the text alone: %s', (_, hard) => {
    const started = performance.now();
    splitStatements(`${hard}x`);
    headOf(`${hard}x`);
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

describe('the head of a statement', () => {
  it.each([
    ['SELECT 1', 'select', undefined],
    ['/* a */ CoPy t TO', 'copy', undefined],
    ['EXPLAIN SELECT 1', 'select', 'SELECT 1'],
    ['explain/**/analyze COPY t TO', 'copy', 'COPY t TO'],
    ['EXPLAIN (ANALYZE, FORMAT json) ATTACH x', 'attach', 'ATTACH x'],
    ['EXPLAIN (SELECT 1)', '(', '(SELECT 1)'],
    ['EXPLAIN ANALYZE (FROM t)', '(', '(FROM t)'],
    ['PREPARE p AS COPY t TO', 'copy', undefined],
    ['EXPLAIN PREPARE p(INTEGER) AS EXPORT DATABASE', 'export', 'PREPARE p(INTEGER) AS EXPORT DATABASE'],
    ['"copy" x', '', undefined],
    ['', '', undefined],
    ['EXPLAIN', '', ''],
  ])('%j', (statement, keyword, explained) => {
    expect(headOf(statement)).toMatchObject({ keyword, explained });
  });
});
