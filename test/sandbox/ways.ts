/** Other words for the same attack: what a filter of names in a text, or a hasty look at a tree, would let pass. */
import { type Attack, titleOf } from './attacks.ts';

export interface Way {
  readonly name: string;
  readonly of: ReadonlySet<Attack['kind']>;
  /** It only says what would be done. Of what DuckDB refuses by itself, that may be answered. */
  readonly defers: boolean;
  readonly say: (attack: Attack) => string;
}

type Call = { readonly name: string; readonly args: string };

/** A call spelt in another way. */
const SPELLINGS: Readonly<Record<string, (call: Call) => string>> = {
  'its catalog and schema': ({ name, args }) => `system.main.${name}(${args})`,
  'its schema': ({ name, args }) => `main.${name}(${args})`,
  'all names quoted': ({ name, args }) => `"system"."main"."${name}"(${args})`,
  'quoted capitals': ({ name, args }) => `"SYSTEM"."MAIN"."${name.toUpperCase()}"(${args})`,
  'mixed case': ({ name, args }) => `${mixed(name)}(${args})`,
  'a comment before the parenthesis': ({ name, args }) => `${name}/* /* ( */ ) */(${args})`,
  'a comment to the end of the line': ({ name, args }) => `${name}-- (\n(${args})`,
  'spaces of Unicode': ({ name, args }) => `${name}\u00a0\u3000\u200b(${args})`,
  'lines and tabs': ({ name, args }) => `system\n.\tmain /**/ .${name}\n\n(${args})`,
  'a byte order mark': ({ name, args }) => `${name}\ufeff(${args})`,
  'comments between the arguments': ({ name, args }) => `${name}(/* ) */${args}-- )\n)`,
};

/** Where a relation stands; `$` is the call. */
const RELATIONS: Readonly<Record<string, string>> = {
  'a subquery': 'SELECT * FROM (SELECT * FROM $) s',
  'a scalar subquery': 'SELECT (SELECT COLUMNS(*)::VARCHAR FROM $ LIMIT 1)',
  EXISTS: 'SELECT EXISTS (FROM $)',
  'an ARRAY': 'SELECT ARRAY(FROM $)',
  IN: 'SELECT 1 WHERE 1 IN (SELECT 1 FROM $)',
  'a CTE': 'WITH w AS (FROM $) FROM w',
  'a materialised CTE': 'WITH w AS MATERIALIZED (FROM $) FROM w',
  'a CTE named as what is allowed': 'WITH range AS (FROM $) FROM range',
  'a recursive CTE': 'WITH RECURSIVE w AS (SELECT 1 AS i UNION ALL SELECT 2 FROM $ WHERE false) FROM w',
  'a recursive CTE with a key':
    'WITH RECURSIVE w(i) USING KEY (i) AS (SELECT 1 UNION SELECT 1 FROM $) FROM w',
  'a CTE in a subquery': 'SELECT * FROM (WITH w AS (FROM $) SELECT * FROM w) s',
  'a lateral join': 'SELECT * FROM range(1) r, LATERAL (FROM $) s',
  'a left join': 'SELECT * FROM range(1) r LEFT JOIN $ s ON true',
  'a positional join': 'SELECT * FROM range(1) r POSITIONAL JOIN $ s',
  'a join condition': 'SELECT * FROM range(1) a JOIN range(1) b ON EXISTS (FROM $)',
  'a union': 'SELECT 1 UNION ALL BY NAME FROM $',
  'a set operation of three': 'SELECT 1 EXCEPT (SELECT 2 INTERSECT SELECT 3 FROM $)',
  'ORDER BY': 'SELECT 1 ORDER BY (SELECT count(*) FROM $)',
  LIMIT: 'SELECT 1 LIMIT (SELECT count(*) FROM $)',
  OFFSET: 'SELECT 1 OFFSET (SELECT count(*) FROM $)',
  'GROUP BY': 'SELECT count(*) FROM range(1) GROUP BY (SELECT count(*) FROM $)',
  HAVING: 'SELECT count(*) FROM range(1) HAVING EXISTS (FROM $)',
  QUALIFY: 'SELECT i FROM range(1) t(i) QUALIFY row_number() OVER () >= (SELECT count(*) FROM $)',
  'a window': 'SELECT sum(i) OVER (ORDER BY (SELECT count(*) FROM $)) FROM range(1) t(i)',
  'a named window': 'SELECT sum(i) OVER w FROM range(1) t(i) WINDOW w AS (PARTITION BY EXISTS (FROM $))',
  FILTER: 'SELECT count(*) FILTER (WHERE EXISTS (FROM $)) FROM range(1)',
  'an ordered aggregate': 'SELECT list(i ORDER BY (SELECT count(*) FROM $)) FROM range(1) t(i)',
  'DISTINCT ON': 'SELECT DISTINCT ON ((SELECT count(*) FROM $)) i FROM range(1) t(i)',
  'a star that is replaced': 'SELECT * REPLACE ((SELECT count(*) FROM $) AS i) FROM range(1) t(i)',
  COLUMNS: 'SELECT COLUMNS(c -> EXISTS (FROM $)) FROM range(1)',
  'a list comprehension': 'SELECT [x FOR x IN (SELECT list(1) FROM $)]',
  'a lambda': 'SELECT list_transform([1], lambda x: x + (SELECT count(*) FROM $))',
  'a struct': "SELECT {'a': (SELECT count(*) FROM $)}",
  CASE: 'SELECT CASE WHEN EXISTS (FROM $) THEN 1 END',
  'a cast': 'SELECT CAST((SELECT count(*) FROM $) AS VARCHAR)',
  VALUES: 'VALUES ((SELECT count(*) FROM $))',
  'an argument of a table function': 'SELECT * FROM range((SELECT count(*) FROM $))',
  PIVOT: 'PIVOT (FROM $) ON 1 USING count(*)',
  'a PIVOT of the standard': 'SELECT * FROM (SELECT 1 AS a, 1 AS b FROM $) PIVOT (sum(b) FOR a IN (1, 2))',
  'the values of a PIVOT': 'PIVOT (SELECT 1 AS a) ON a IN (SELECT 1 FROM $) USING count(*)',
  UNPIVOT: 'UNPIVOT (FROM $) ON COLUMNS(*)',
  DESCRIBE: 'DESCRIBE FROM $',
  SUMMARIZE: 'SUMMARIZE FROM $',
  'a described subquery': 'SELECT * FROM (DESCRIBE FROM $)',
  SHOW: 'SHOW (FROM $)',
  EXPLAIN: 'EXPLAIN FROM $',
  'EXPLAIN ANALYZE': 'EXPLAIN ANALYZE FROM $',
  'EXPLAIN with options': 'EXPLAIN (ANALYZE, FORMAT json) FROM $',
  parentheses: '((FROM $))',
  'FROM first': 'FROM $ SELECT 42',
  'an alias as what is allowed': 'SELECT * FROM $ AS range',
  'a sample': 'SELECT * FROM $ USING SAMPLE 1',
  'behind another statement': 'SELECT 1; FROM $',
  'before another statement': 'FROM $; SELECT 1',
  'behind a string that looks like a comment': "SELECT '/*' FROM $ -- */",
  'behind dollars': 'SELECT $$ -- $$ FROM $',
  'behind a backslash': "SELECT '\\' FROM $ -- '",
  'behind an escape string': "SELECT e'\\'' FROM $ -- '",
  'behind a name with quotes': 'SELECT 1 AS """--" FROM $',
  'CREATE TABLE AS': 'CREATE TABLE taken AS FROM $',
  'CREATE TEMP TABLE AS': 'CREATE OR REPLACE TEMP TABLE taken AS (WITH w AS (FROM $) FROM w)',
  'CREATE VIEW': 'CREATE VIEW taken AS FROM $',
  'CREATE MACRO': 'CREATE MACRO taken() AS TABLE FROM $',
  'CREATE MACRO of a value': 'CREATE FUNCTION taken() AS (SELECT count(*) FROM $)',
  INSERT: 'INSERT INTO shown FROM $',
  'INSERT RETURNING': 'INSERT INTO shown SELECT 1 RETURNING (SELECT count(*) FROM $)',
  UPDATE: 'UPDATE shown SET a = (SELECT count(*) FROM $)',
  'DELETE USING': 'DELETE FROM shown USING $ u WHERE true',
  MERGE: 'MERGE INTO shown USING $ u ON true WHEN MATCHED THEN DELETE',
  PREPARE: 'PREPARE taken AS FROM $',
  'SET VARIABLE': 'SET VARIABLE taken = (SELECT count(*) FROM $)',
  'CREATE TYPE': 'CREATE TYPE taken AS ENUM (SELECT COLUMNS(*)::VARCHAR FROM $)',
  'COPY TO': "COPY (FROM $) TO 'spill/new.csv'",
  'EXPLAIN of a write': 'EXPLAIN ANALYZE CREATE TABLE taken AS FROM $',
};

/** Where a value stands. */
const VALUES: Readonly<Record<string, string>> = {
  WHERE: 'SELECT 1 WHERE $ IS NOT NULL',
  'a method': 'SELECT (FROM (SELECT $ AS a) SELECT a.lower())',
  'the lambda of a value': 'SELECT list_transform([1], lambda x: $)',
  'the list of a value': 'SELECT [$ FOR x IN [1]]',
  'a value in a subquery': 'SELECT (SELECT $)',
  'a value in a CTE': 'WITH w AS (SELECT $ AS a) FROM w',
  'ORDER BY a value': 'SELECT 1 ORDER BY $',
  'LIMIT a value': 'SELECT 1 LIMIT length($)',
  'VALUES of a value': 'VALUES ($)',
  'an aggregate': 'SELECT max($) OVER (PARTITION BY $)',
  'a table of a value': 'CREATE TABLE taken AS SELECT $ AS a',
  DEFAULT: 'CREATE TABLE taken (a VARCHAR DEFAULT ($))',
  'a generated column': 'CREATE TABLE taken (b INTEGER, a VARCHAR AS ($))',
  CHECK: "CREATE TABLE taken (a VARCHAR CHECK ($ <> ''))",
  'a macro of a value': 'CREATE MACRO taken() AS $',
  'EXPLAIN of a value': 'EXPLAIN ANALYZE SELECT $',
  'an argument of EXECUTE': 'EXECUTE taken($)',
  'an argument of CALL': 'CALL range(length($))',
};

/** What stands around a whole statement. */
const AROUND: Readonly<Record<string, string>> = {
  'comments before': '/* SELECT 1; */ -- SELECT 1\n $',
  'a vertical tab before': '\u000b$',
  'spaces of Unicode before': '\u00a0\u2003\ufeff$',
  'an empty statement before': ';; $',
  'a statement before': 'SELECT 1; $',
  'a statement behind': '$; SELECT 1',
  'EXPLAIN of it': 'EXPLAIN $',
  'EXPLAIN ANALYZE of it': 'EXPLAIN ANALYZE $',
  'EXPLAIN of it with options': 'EXPLAIN (FORMAT json) $',
  'PREPARE of it': 'PREPARE taken AS $',
  'a transaction': 'BEGIN; $; COMMIT',
  'a CTE before it': 'WITH w AS (SELECT 1) $',
};

const FUNCTIONS = new Set<Attack['kind']>(['table function', 'path']);
const SCALARS = new Set<Attack['kind']>(['scalar function']);

const call = (attack: Attack): Call => {
  if (attack.kind === 'statement') throw new Error('a statement is no call');
  return attack;
};
const mixed = (name: string) =>
  name.replace(/[a-z]/g, (letter, index: number) => (index % 2 === 0 ? letter.toUpperCase() : letter));
const into = (template: string, text: string) => template.replace(/\$(?!\$)(?<!\$\$)/g, () => text);

/** They bind and do not run what they are given: DuckDB's lock meets it when it is run, and nothing of a file is in the answer. */
const DEFERS = /^CREATE MACRO|^EXPLAIN of it|^EXPLAIN$|^DESCRIBE$|^SHOW$|^a described subquery$/;

const SAID: readonly Omit<Way, 'defers'>[] = [
  ...Object.entries(SPELLINGS).flatMap(([name, spell]) => [
    { name, of: FUNCTIONS, say: (attack: Attack) => `SELECT * FROM ${spell(call(attack))}` },
    { name, of: SCALARS, say: (attack: Attack) => `SELECT ${spell(call(attack))}` },
  ]),
  ...Object.entries(RELATIONS).map(([name, template]) => ({
    name,
    of: FUNCTIONS,
    say: (attack: Attack) => into(template, `${call(attack).name}(${call(attack).args})`),
  })),
  {
    name: 'CALL',
    of: new Set<Attack['kind']>(['table function', 'path']),
    say: (attack) => `CALL ${call(attack).name}(${call(attack).args})`,
  },
  ...Object.entries(VALUES).map(([name, template]) => ({
    name,
    of: SCALARS,
    say: (attack: Attack) => into(template, `${call(attack).name}(${call(attack).args})`),
  })),
  ...Object.entries(AROUND).map(([name, template]) => ({
    name,
    of: new Set<Attack['kind']>(['statement']),
    say: (attack: Attack) => into(template, titleOf(attack)),
  })),
];

export const WAYS: readonly Way[] = SAID.map((way) => ({ ...way, defers: DEFERS.test(way.name) }));
