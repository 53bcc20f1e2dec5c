/**
 * Our lexer (sql-text.ts) against DuckDB's: where statements begin and end, and what may stand between a name and its
 * parenthesis. `DUCKCOOP_FUZZ_CASES` says how many texts.
 */
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { BLANKS, splitStatements } from '../../src/workers/duckdb/sql-text.ts';
import { syntaxTree } from '../../src/workers/duckdb/syntax-tree.ts';

const CASES = Number(process.env.DUCKCOOP_FUZZ_CASES ?? 300);

let instance: DuckDBInstance;
let connection: DuckDBConnection;
beforeAll(async () => {
  instance = await DuckDBInstance.create(':memory:');
  connection = await instance.connect();
});
afterAll(() => {
  connection.closeSync();
  instance.closeSync();
});

/** What begins or ends something for a lexer. Spaces of Unicode are for the other test: DuckDB leaves some of them in names. */
const PIECES = [
  ...[
    'SELECT ',
    'SELECT ',
    ';',
    ';',
    ';',
    ',',
    ' ',
    '\n',
    '\r',
    '1',
    'a',
    "'",
    "'",
    '"',
    '"',
    '--',
    '/*',
    '*/',
    '\\',
    '$$',
    '$',
    '$a$',
  ],
  ...[
    "e'",
    "E'",
    "x'",
    "b'",
    "u&'",
    'é',
    '🦆',

    '(',
    ')',
    '1.',
    '1e',
    '_',
    '||',
    "''",
    '""',
    'a$b',
    '$1',
    ':',
    '?',
  ],
  ...["'a'", '"b"', 'AS ', "'\n'"],
];
const sqlText = fc
  .array(fc.constantFrom(...PIECES), { minLength: 1, maxLength: 25 })
  .map((pieces) => `SELECT ${pieces.join('')}`);
/** Texts of which more are SQL: what is opened is closed. */
const closedText = fc
  .array(
    fc.tuple(
      fc.constantFrom(
        ...["'$'", '"$"', '/*$*/', '--$\n', '$$$$$', '$q$$$q$', "e'$'", "'$'||'$'", '1/*$*/', '"$"/*$*/'],
      ),
      fc.array(fc.constantFrom(...PIECES), { maxLength: 5 }).map((pieces) => pieces.join('')),
      fc.constantFrom(',', ';SELECT ', ' ;\nSELECT ', ' AS a, ', '||', '\n,'),
    ),
    { minLength: 1, maxLength: 6 },
  )
  .map(
    (parts) =>
      `SELECT ${parts.map(([around, inside, after]) => around.replaceAll(/(?<!\$)\$(?!\$)/g, () => inside) + after).join(' ')} 1`,
  );

it(`ends statements where DuckDB ends them (${CASES} texts)`, async () => {
  const counts = { SQL: 0, 'not SQL': 0, 'several statements': 0 };
  await fc.assert(
    fc.asyncProperty(fc.oneof(sqlText, closedText, closedText), async (sql) => {
      const whole = await statementsOf(sql);
      if (whole === undefined) {
        counts['not SQL'] += 1;
        return;
      }
      const parts = await Promise.all(splitStatements(sql).map(({ text }) => statementsOf(text)));
      expect(parts.flat(), JSON.stringify(sql)).toEqual(whole);
      counts.SQL += 1;
      if (whole.length > 1) counts['several statements'] += 1;
    }),
    { numRuns: CASES },
  );
  expect(counts.SQL).toBeGreaterThan(CASES / 20);
  if (process.env.DUCKCOOP_FUZZ_CASES !== undefined) process.stdout.write(`${JSON.stringify(counts)}\n`);
}, 3_600_000);

it('knows every character that DuckDB takes for space', async () => {
  const known = new RegExp(`^[${BLANKS}]$`);
  const codes = Array.from({ length: 0xffff }, (_, index) => index + 1).filter(
    (code) => code < 0xd800 || code > 0xdfff,
  );
  const reader = await connection.runAndReadAll(
    `SELECT code FROM (SELECT unnest([${codes.join(',')}]) AS code)
     WHERE json_extract_string(json_serialize_sql('SELECT range' || chr(code) || '(1)'), '$.statements[0].node.select_list[0].function_name') = 'range'`,
  );
  const unknown = reader
    .getRows()
    .map(([code]) => String.fromCharCode(Number(code)))
    .filter((character) => !known.test(character));
  expect(unknown).toEqual([]);
});

/** Undefined where it is no SQL. Without the places in the text, which differ between a whole and its parts. */
async function statementsOf(sql: string): Promise<unknown[] | undefined> {
  const tree = (await syntaxTree(connection, sql)) as { statements: unknown[] } | undefined;
  return tree?.statements.map((statement) =>
    JSON.parse(
      JSON.stringify(statement, (key, value: unknown) => (key === 'query_location' ? undefined : value)),
    ),
  );
}
