/**
 * SQL of random shape around one call: templates within templates, with names, strings and comments of random spelling between
 * them. The same choices with another call give the same shape, so what is refused of the one can be held against the other.
 */
import fc from 'fast-check';

export interface Call {
  /** Where it stands: a table function as a relation, a scalar one as a value. */
  readonly kind: 'relation' | 'value';
  readonly name: string;
  readonly args: string;
}

type Part = 'relation' | 'value' | 'query' | 'statement';

/** `$` is what it is around, each space any space, `@` a name and `~` a string. */
interface Template {
  readonly of: Part;
  readonly makes: Part;
  readonly text: string;
}

const templates = (of: Part, makes: Part, texts: readonly string[]): Template[] =>
  texts.map((text) => ({ of, makes, text }));

const TEMPLATES: readonly Template[] = [
  ...templates('relation', 'query', [
    ...['SELECT * FROM $', 'FROM $', 'FROM $ SELECT ~', 'SELECT ~, 1 AS @ FROM $', 'SELECT * FROM $ AS @'],
    ...[
      'SELECT 1 FROM $ WHERE ~ IS NOT NULL',
      'SELECT * FROM $ USING SAMPLE 1',
      'PIVOT $ ON 1 USING count(*)',
    ],
    ...['UNPIVOT $ ON COLUMNS(*)', 'SELECT DISTINCT * FROM $ ORDER BY ALL LIMIT 1'],
  ]),
  ...templates('relation', 'relation', [
    ...['$ JOIN range(1) @ ON true', 'range(1) @ LEFT JOIN $ b2 ON true', 'range(1) a2 POSITIONAL JOIN $ b3'],
    ...['range(1) @, $ b4', 'range(1) @, LATERAL (FROM $) b5', '(range(1) @ CROSS JOIN $ b6)'],
    ...['range(1) @ SEMI JOIN $ b7 ON true', '(VALUES (~)) @ ANTI JOIN $ b8 ON true'],
  ]),
  ...templates('query', 'relation', ['($) @', '(WITH @ AS (SELECT 1) $)', '(DESCRIBE $)', '($) AS @(c1)']),
  ...templates('query', 'value', [
    ...['($)', 'EXISTS ($)', 'ARRAY ($)', '1 IN ($)', '1 = ANY ($)', '2 < ALL ($)', 'NOT EXISTS($)'],
  ]),
  ...templates('query', 'query', [
    ...[
      'WITH @ AS ($) SELECT 1',
      'WITH @ AS MATERIALIZED ($) SELECT ~',
      'WITH @ AS (SELECT 1), @ AS NOT MATERIALIZED($) FROM range(1)',
    ],
    ...[
      'WITH RECURSIVE @(i) AS (SELECT 1 UNION ALL ($)) SELECT 1',
      '($) UNION ALL SELECT 1',
      'SELECT 1 UNION BY NAME ($)',
    ],
    ...[
      'SELECT 1 EXCEPT ($)',
      '($) INTERSECT SELECT ~',
      '(($))',
      '($) ORDER BY 1 LIMIT 2',
      'VALUES (~), (($))',
    ],
    ...['PIVOT (SELECT 1 AS a1) ON a1 IN ($) USING count(*)', 'FROM (SUMMARIZE $)'],
  ]),
  ...templates('value', 'value', [
    ...[
      '$ IS NULL',
      '- length($::VARCHAR)',
      'CASE WHEN $ IS NULL THEN ~ ELSE ~ END',
      'CAST ($ AS VARCHAR)',
      'TRY_CAST($ AS INTEGER)',
    ],
    ...[
      '[$, ~]',
      "{ 'k': $}",
      'MAP {1: $}',
      'list_transform([1], lambda x: $)',
      '[$ FOR x IN [1]]',
      'coalesce(~, $)',
    ],
    ...[
      '($, 1)',
      '$ IN (~, ~)',
      '~ LIKE $::VARCHAR ESCAPE ~',
      '1 BETWEEN 2 AND $',
      '$ IS DISTINCT FROM ~',
      '([1, 2])[$:]',
    ],
    ...[
      '$ COLLATE NOCASE',
      'struct_pack(k := $)',
      '(SELECT $)',
      '$ || ~',
      'EXTRACT(year FROM $)',
      'substring(~ FROM $ FOR 1)',
    ],
  ]),
  ...templates('value', 'query', [
    ...[
      'SELECT $',
      'SELECT ~, $ AS @',
      'VALUES ($)',
      'SELECT 1 WHERE $ IS NOT NULL',
      'SELECT 1 ORDER BY $',
      'SELECT 1 LIMIT $',
      'SELECT 1 OFFSET $',
    ],
    ...[
      'SELECT count(*) FROM range(1) GROUP BY $',
      'SELECT count(*) FROM range(1) GROUP BY ROLLUP ($)',
      'SELECT count(*) FROM range(1) HAVING $ IS NULL',
    ],
    ...[
      'SELECT i FROM range(1) t(i) QUALIFY row_number() OVER () > $',
      'SELECT sum(i) OVER (PARTITION BY $ ORDER BY ~) FROM range(1) t(i)',
    ],
    ...[
      'SELECT sum(i) OVER (ROWS BETWEEN $ PRECEDING AND 1 FOLLOWING) FROM range(1) t(i)',
      'SELECT sum(i) OVER w FROM range(1) t(i) WINDOW w AS (ORDER BY $)',
    ],
    ...[
      'SELECT count(*) FILTER (WHERE $ IS NULL) FROM range(1)',
      'SELECT list(i ORDER BY $) FROM range(1) t(i)',
      'SELECT DISTINCT ON ($) i FROM range(1) t(i)',
    ],
    ...[
      'SELECT * REPLACE ($ AS i) FROM range(1) t(i)',
      'SELECT COLUMNS(c -> $ IS NULL) FROM range(1)',
      'FROM range($)',
      'FROM unnest([$])',
      'FROM range(1) a3 JOIN range(1) b9 ON $ IS NULL',
    ],
    ...['SELECT lag(i, 1, $) OVER () FROM range(1) t(i)', 'FROM read_csv(~, delim = $)'],
  ]),
  ...templates('query', 'statement', [
    ...[
      '$',
      '$',
      '$',
      '$',
      ' $ ',
      'EXPLAIN $',
      'EXPLAIN ANALYZE $',
      'EXPLAIN (FORMAT json) $',
      'DESCRIBE $',
      'SUMMARIZE $',
      'SHOW ($)',
    ],
    ...[
      'CREATE TABLE @ AS $',
      'CREATE OR REPLACE TEMP TABLE @ AS ($)',
      'CREATE VIEW @ AS $',
      'CREATE MACRO @(c1) AS TABLE $',
    ],
    ...[
      'CREATE TEMP MACRO @() AS ($)',
      'INSERT INTO @ $',
      'INSERT INTO @ (c1) $',
      'INSERT INTO @ BY NAME $',
      'PREPARE p1 AS $',
    ],
    ...[
      'SELECT ~; $',
      '$ ; SELECT ~',
      'SET VARIABLE v1 = ($)',
      'UPDATE @ SET c1 = ($)',
      'DELETE FROM @ WHERE EXISTS ($)',
    ],
    ...[
      'MERGE INTO @ USING ($) u1 ON true WHEN MATCHED THEN DELETE',
      'CREATE TYPE @ AS ENUM ($)',
      'EXPLAIN CREATE TABLE @ AS $',
    ],
  ]),
  ...templates('value', 'statement', [
    ...[
      'CREATE TABLE @ (c1 VARCHAR DEFAULT ($))',
      'CREATE TABLE @ (c1 VARCHAR CHECK ($ IS NULL))',
      'CREATE TABLE @ (c2 INTEGER, c1 VARCHAR AS ($))',
    ],
    ...[
      'CREATE MACRO @(x) AS $',
      'UPDATE @ SET c1 = $',
      'INSERT INTO @ VALUES (~, $)',
      'EXECUTE p1($)',
      'SET VARIABLE v1 = $',
    ],
    ...['ALTER TABLE @ ALTER c1 TYPE VARCHAR USING $', 'CREATE INDEX i1 ON @ (($))'],
  ]),
];

const SPACES = [
  ...[
    ' ',
    ' ',
    ' ',
    ' ',
    ' ',
    '\n',
    '\t',
    '\r\n',
    ' /**/ ',
    '/* a */',
    '/* /* ( */ \' " $$ */',
    '-- "\'$$ /*\n',
  ],
  ...['\u00a0', '\u2003', '\ufeff', '\u200b', '--\r'],
];
const NAMES = [
  ...[
    'a',
    'b1',
    '_c',
    'Été',
    '列',
    '"query"',
    '"sqlite_scan"',
    '"a""b"',
    '"--"',
    '"/*"',
    '"\'"',
    'query',
    'version',
    'checkpoint',
  ],
];
const STRINGS = [
  ...[
    "''",
    "'a'",
    "'it''s'",
    "';'",
    "'--'",
    "'/*'",
    "'*/'",
    "'\"'",
    "'$$'",
    "'\\'",
    "'query(1)'",
    "'FROM sqlite_scan('",
  ],
  ...["e'\\''", "E'\\\\'", "e'\\'''", '$$;$$', "$a$ ' $a$", '$é$--$é$', '1', "'a'\n'b'"],
];

/** As the call is written: with its schema, in quotes or capitals, with space before its parenthesis. */
const SPELLINGS: readonly ((name: string) => string)[] = [
  ...[(name: string) => name, (name: string) => name, (name: string) => name.toUpperCase()],
  (name) => `"${name}"`,
  (name) => `main.${name}`,
  (name) => `system.main.${name}`,
  (name) => `"SYSTEM"."main"."${name.toUpperCase()}"`,
  (name) => `system/**/.\nmain . "${name}"`,
  (name) => name.replace(/[a-z]/g, (letter, at: number) => (at % 2 === 0 ? letter.toUpperCase() : letter)),
];

/** Random choices; those past the end are all the first. */
export const shapes = fc.array(fc.nat(1_000_000), { minLength: 10, maxLength: 60 });

/** The statements of a shape around a call. */
export function statementOf(shape: readonly number[], call: Call): string {
  let at = 0;
  const pick = <Value>(from: readonly Value[]): Value => {
    const index = (shape[at] ?? 0) % from.length;
    at += 1;
    return from[index] as Value;
  };
  const depth = 1 + ((shape[at] ?? 0) % 6);
  at += 1;
  const fill = (text: string, inner: string): string =>
    text.replace(/[$ @~]/g, (slot) => {
      if (slot === '$') return inner;
      return pick(slot === ' ' ? SPACES : slot === '@' ? NAMES : STRINGS);
    });
  const space = pick(['', '', '', ...SPACES]);
  let part: Part = call.kind;
  let text = `${pick(SPELLINGS)(call.name)}${space}(${call.args})`;
  for (let level = 0; part !== 'statement'; level += 1) {
    const fitting = TEMPLATES.filter(
      (template) => template.of === part && (template.makes === 'statement') === level >= depth,
    );
    const others = TEMPLATES.filter((template) => template.of === part);
    const chosen: Template = pick(fitting.length > 0 ? fitting : others);
    text = fill(chosen.text, text);
    part = chosen.makes;
  }
  return text;
}
