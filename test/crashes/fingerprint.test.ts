import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fingerprint } from '../../src/crashes/fingerprint.ts';
import { NORMALISED_CHARACTERS, normalise } from '../../src/crashes/normalise.ts';
import { cpuTime } from './cpu-time.ts';

describe('a statement is normalised', () => {
  it.each([
    ['SELECT 1', 'select ?'],
    ['  select\t 1 ;; ', 'select ?'],
    ["SELECT 'it''s', E'\\'', x'AB', $$a;b$$, $t$ $$ $t$", 'select ?, ?, ?, ?, ?'],
    ['SELECT $1, ?, $name', 'select ?, ?, ?'],
    ['SELECT 1.5e-3 + .5 - 0x1F', 'select ? + ? - ?'],
    ['SELECT a -- b\n, /* c /* d */ */ "Ab""c"', 'select a, "Ab""c"'],
    ['SELECT A.B, "A"."B" FROM S.T', 'select a.b, "A"."B" from s.t'],
    ['SELECT * FROM t WHERE a IN (1, 2, 3)', 'select * from t where a in (?)'],
    ['SELECT * FROM t WHERE a IN (1)', 'select * from t where a in (?)'],
    ['SELECT a IN (1, b, 2, 3)', 'select a in (?, b, ?)'],
    ["SELECT [1, -2, +.5, NULL, true, 'x']", 'select [?]'],
    ["INSERT INTO t (a, b) VALUES (1, 'x'), (-2, NULL)", 'insert into t(a, b) values (?)'],
    [
      'INSERT INTO t VALUES (1, now()), (2, now()) ON CONFLICT DO NOTHING',
      'insert into t values (?, now()) on conflict do nothing',
    ],
    [
      'INSERT INTO t VALUES (1, now()) ON CONFLICT DO NOTHING',
      'insert into t values (?, now()) on conflict do nothing',
    ],
    ['SELECT (a, b) IN ((1, 2), (3, 4))', 'select (a, b) in ((?))'],
    ["SELECT [{'a': 1}, {'a': 2}]", 'select [{ ? : ? }]'],
    ['SELECT f(1, 2), g(1)', 'select f(?, ?), g(?)'],
    ['SELECT f((1), (1))', 'select f((?), (?))'],
    ['SELECT a IN (1, 2 + a)', 'select a in (?, ? + a)'],
    ['SELECT a IN (a + 1, 2)', 'select a in (a + ?, ?)'],
    ['SELECT a - 1, a -1', 'select a - ?, a - ?'],
    ['SELECT a = -1, (-1)', 'select a = ?, (?)'],
    ['SELECT a IS NULL, a IS NOT NULL', 'select a is null, a is not null'],
    ['SELECT 1 - -1', 'select ? - - ?'],
    ["SELECT x::INT, j->>'$.a', a<>b", 'select x :: int, j ->> ?, a <> b'],
    ["SELECT DATE '2024-01-01', INTERVAL 1 DAY", 'select date ?, interval ? day'],
    ['CREATE TABLE t (d DECIMAL(18, 2))', 'create table t(d decimal(?, ?))'],
    ['SELECT 1; ; SELECT a', 'select ?; select a'],
    [';SELECT 1', 'select ?'],
    ["SELECT 'never closed", 'select ?'],
    ['SELECT ÄÖ FROM ü', 'select ÄÖ from ü'],
    ['SELECT ((((', 'select (((('],
    ['SELECT ))), 1', 'select))), ?'],
    ['', ''],
    ['-- nothing', ''],
  ])('%j', (sql, expected) => {
    expect(normalise(sql)).toBe(expected);
  });
});

/** Tokens with a text that means the same, or another literal. */
const literal = fc.oneof(
  fc.string({ maxLength: 8 }).map((text) => `'${text.replaceAll("'", "''")}'`),
  fc.nat().map(String),
  fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }).map(String),
  fc.constantFrom("E'\\''", "x'00'", '$$;$$', '$q$ -- $q$', '?', '$1', '$name', '.5', '1e+9', '0xFF'),
);
const word = fc.constantFrom(
  'select',
  'from',
  't',
  'in',
  'values',
  'is',
  'and',
  'f',
  'x',
  'e',
  'sum',
  'grüße',
);
const symbol = fc.constantFrom(...'()[]{},;.+-*/<>=|:$!~&^%#@'.split(''));
const name = fc.constantFrom('"a"', '"A b"', '"q""q"', '"--"');
const piece = fc.oneof(
  { arbitrary: word.map((text) => ({ kind: 'word', text })), weight: 4 },
  { arbitrary: literal.map((text) => ({ kind: 'literal', text })), weight: 3 },
  { arbitrary: symbol.map((text) => ({ kind: 'symbol', text })), weight: 5 },
  { arbitrary: name.map((text) => ({ kind: 'name', text })), weight: 1 },
);
const space = fc.constantFrom(' ', '\n', '\t\t', ' -- x\n', '/* y */', '/* /* */ ; */', '\u00a0');

describe('a fingerprint', () => {
  it('has sixteen hexadecimal digits, whatever the text', () => {
    fc.assert(
      fc.property(fc.string(), fc.array(fc.string()), (sql, sources) => {
        expect(fingerprint(sql, sources)).toMatch(/^[0-9a-f]{16}$/);
      }),
    );
  });

  it('of a normalised text is of the same text again', () => {
    const anything = fc.oneof(
      fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.map(({ text }) => text).join(' ')),
      fc.string({ unit: fc.constantFrom(...'aEx1_$\'";()[],/*-. \n\\ü?=<'), maxLength: 40 }),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(anything, (sql) => {
        const once = normalise(sql);
        expect(normalise(once)).toBe(once);
      }),
      { numRuns: 500 },
    );
  });

  it('does not care for space, comments and capitals', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(piece, space, fc.boolean()), { maxLength: 30 }), (parts) => {
        const plain = parts.map(([{ text }]) => text).join(' ');
        const other = parts.map(([{ kind, text }, between, capitals]) => {
          const written =
            kind === 'word' && capitals ? text.replace(/[a-z]+/g, (run) => run.toUpperCase()) : text;
          return between + written;
        });
        expect(fingerprint(`${other.join('')} ;`, [])).toBe(fingerprint(plain, []));
      }),
      { numRuns: 500 },
    );
  });

  it('does not care for literals, and holds none', () => {
    const secret = fc.stringMatching(/^[k-w]{6,12}$/);
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), secret, literal, (pieces, text, other) => {
        const around = (value: string) => [...pieces.map((one) => one.text), '(', value, ')'].join(' ');
        expect(normalise(around(`'${text}'`))).toBe(normalise(around(other)));
        expect(normalise(around(`'${text}' /* ${text} */ -- ${text}`))).not.toContain(text);
      }),
    );
  });

  it('does not care how long a list is', () => {
    const row = (width: number) =>
      `(${Array.from({ length: width }, (_, index) => (index % 2 ? `'${index}'` : -index)).join(', ')})`;
    const list = (count: number, width: number) => Array.from({ length: count }, () => row(width)).join(', ');
    const size = fc.integer({ min: 1, max: 40 });
    fc.assert(
      fc.property(size, size, (count, width) => {
        expect(normalise(`SELECT a IN ${row(width)}`)).toBe('select a in (?)');
        expect(normalise(`INSERT INTO t VALUES ${list(count, width)} RETURNING a`)).toBe(
          'insert into t values (?) returning a',
        );
        expect(normalise(`SELECT b IN (${list(count, width)})`)).toBe('select b in ((?))');
      }),
    );
  });

  it.each([
    ['SELECT a FROM t', 'SELECT b FROM t'],
    ['SELECT a FROM t', 'SELECT "a" FROM t'],
    ['SELECT "a"', 'SELECT "A"'],
    ['SELECT a b', 'SELECT ab'],
    ['SELECT a.b', 'SELECT a, b'],
    ['SELECT f(1)', 'SELECT f(1, 2)'],
    ['SELECT (a - b) - c', 'SELECT a - (b - c)'],
    ['SELECT a IS NULL', 'SELECT a IS TRUE'],
    ['SELECT 1', 'SELECT 1; SELECT 1'],
    ['SELECT * FROM t WHERE a = 1', 'SELECT * FROM t WHERE a = b'],
  ])('tells apart %j and %j', (one, other) => {
    expect(fingerprint(one, [])).not.toBe(fingerprint(other, []));
  });

  it('tells apart what differs in one word or name', () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), fc.array(piece, { maxLength: 20 }), (before, after) => {
        const around = (text: string) =>
          [...before.map((one) => one.text), text, ...after.map((one) => one.text)].join(' ');
        // A `$` makes any word behind it a parameter.
        fc.pre(before.at(-1)?.text !== '$');
        expect(normalise(around('aa'))).not.toBe(normalise(around('bb')));
      }),
    );
  });

  it('knows the sources, in any order', () => {
    const sql = 'SELECT 1';
    expect(fingerprint(sql, ['a', 'b'])).toBe(fingerprint(sql, ['b', 'a']));
    const sets = [[], ['a'], ['a', 'b'], ['a,b'], ['a","b']];
    expect(new Set(sets.map((sources) => fingerprint(sql, sources))).size).toBe(sets.length);
  });

  it('is of the whole text, though only its beginning is looked at closely', () => {
    const long = `SELECT ${'a + '.repeat(NORMALISED_CHARACTERS / 4)}`;
    expect(normalise(`${long}b`)).toBe(normalise(`${long}c`));
    expect(fingerprint(`${long}b`, [])).not.toBe(fingerprint(`${long}c`, []));
  });

  it.each([
    ['opening brackets', '('],
    ['rows', '(1, 2), '],
    ['nested rows', '((1), ('],
    ['brackets that open and close', '(a)[b]{c}'],
    ['quotes', "'"],
    ['names', '"'],
    ['comments', '/*'],
    ['dollars', '$a'],
    ['signs', '(-1e-'],
    ['commas', ','],
    ['words', 'VALUES '],
  ])('takes no long time for ten megabytes of %s', (_, part) => {
    const sql = `SELECT ${part.repeat(10_000_000 / part.length)}`;
    expect(cpuTime(() => fingerprint(sql, []))).toBeLessThan(1_000);
  });
});
