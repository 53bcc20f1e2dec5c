import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isTypeName } from '../../src/workers/duckdb/type-name.ts';
import type { Run } from '../../src/workers/protocol.ts';
import { useRunFolders, useWorker } from './worker-harness.ts';

useRunFolders();
const worker = useWorker();

type Params = Exclude<Run['params'], undefined>;

async function bound(sql: string, params: Params) {
  const { columns, data } = await worker().body(sql, { params });
  return { types: columns.map(({ type }) => type), row: data[0] };
}

const typed = (type: string, value: unknown) => ({ type, value });

async function refusal(sql: string, params?: Params) {
  const verdict = await worker().failure(sql, params === undefined ? {} : { params });
  return `${verdict.code} ${verdict.detail}`;
}

describe('parameters that are JSON scalars', () => {
  it('have the type that JSON gives them', async () => {
    expect(
      await bound('SELECT ?, ?, ?, ?, ?, ?, ?, ?', [
        1,
        -2_147_483_648,
        2_147_483_648,
        1.5,
        1e300,
        'text',
        true,
        null,
      ]),
    ).toEqual({
      types: ['INTEGER', 'INTEGER', 'BIGINT', 'DOUBLE', 'DOUBLE', 'VARCHAR', 'BOOLEAN', 'INTEGER'],
      row: [1, -2_147_483_648, 2_147_483_648, 1.5, 1e300, 'text', true, null],
    });
  });

  it('come back as they were sent', async () => {
    const scalar = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.maxSafeInteger(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.boolean(),
      fc.constant(null),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(scalar, { minLength: 1, maxLength: 8 }), async (params) => {
        const { row } = await bound(`SELECT ${params.map((_, index) => `$${index + 1}`).join(', ')}`, params);
        // As JSON carries them: it knows one zero, so -0 arrives as 0.
        expect(row).toEqual(JSON.parse(JSON.stringify(params)));
      }),
      { numRuns: 60 },
    );
  });

  it('are data, whatever SQL they look like', async () => {
    const text = `'); DROP TABLE t; SELECT * FROM query('SELECT 1') --`;
    expect((await bound('SELECT ? AS x', [text])).row).toEqual([text]);
    expect((await bound('SELECT $q AS x', { q: text })).row).toEqual([text]);
  });

  it('may be used more than once, and by number or by name', async () => {
    expect((await bound('SELECT $1 + $1, $2', [2, 'b'])).row).toEqual([4, 'b']);
    expect((await bound('SELECT $2, $1', ['a', 'b'])).row).toEqual(['b', 'a']);
    expect((await bound('SELECT $n + $n, $m', { m: 'x', n: 3 })).row).toEqual([6, 'x']);
    expect((await bound('SELECT ?', { 1: 'one' })).row).toEqual(['one']);
    expect((await bound('SELECT i FROM range(10) t(i) WHERE i > ? LIMIT ?', [3, 1])).row).toEqual([4]);
  });

  it('belong to the last of several statements', async () => {
    expect((await bound('SELECT 1; SELECT ?', ['last'])).row).toEqual(['last']);
    expect(await refusal('SELECT ?; SELECT 1', [1])).toMatch('INVALID_REQUEST params: only the last');
  });
});

describe('parameters with a type', () => {
  it.each([
    ['DECIMAL(18,2)', '1.10', 1.1],
    ['DECIMAL(38, 3)', '-12345678901234567890.125', '-12345678901234567890.125'],
    ['HUGEINT', '170141183460469231731687303715884105727', '170141183460469231731687303715884105727'],
    ['UBIGINT', '18446744073709551615', '18446744073709551615'],
    ['TINYINT', 5, 5],
    ['FLOAT', 'nan', 'NaN'],
    ['DATE', '2024-02-29', '2024-02-29'],
    ['TIME', '24:00:00', '24:00:00'],
    ['TIMESTAMP', 'infinity', 'infinity'],
    ['TIMESTAMP_NS', '2024-01-01 00:00:00.123456789', '2024-01-01T00:00:00.123456789'],
    ['TIMESTAMP WITH TIME ZONE', '2024-01-01 00:00:00+02', '2023-12-31T22:00:00Z'],
    ['timestamptz', '2024-01-01', '2024-01-01T00:00:00Z'],
    ['TIME WITH TIME ZONE', '01:00:00+02', '01:00:00+02:00'],
    ['INTERVAL', '1 day 2 hours', 'P1DT7200S'],
    ['UUID', '00000000-0000-0000-0000-0000000000ff', '00000000-0000-0000-0000-0000000000ff'],
    ['BLOB', '\\xAA', 'qg=='],
    ['BIT', '0101', '0101'],
    ['BIGNUM', '123456789012345678901234567890', '123456789012345678901234567890'],
    ["ENUM('a', 'b''c')", "b'c", "b'c"],
    ['BOOLEAN', 'yes', true],
    ['VARCHAR', 5, '5'],
    ['JSON', { a: [1] }, '{"a":[1]}'],
    ['INTEGER[]', [1, null, 3], [1, null, 3]],
    ['INTEGER[2]', [1, 2], [1, 2]],
    ['DATE[][]', [['2024-01-01'], []], [['2024-01-01'], []]],
    ['STRUCT(a INTEGER, "b c" VARCHAR[])', { a: 1, 'b c': ['x'] }, { a: 1, 'b c': ['x'] }],
    ['MAP(VARCHAR, INTEGER)', { k: 1 }, { k: 1 }],
    ['UNION(n INTEGER, s VARCHAR)', 'x', { s: 'x' }],
    ['DOUBLE', null, null],
  ])('%s take what DuckDB casts to it', async (type, value, expected) => {
    expect((await bound('SELECT ?', [typed(type, value)])).row).toEqual([expected]);
  });

  it('are refused by their path when they are none', async () => {
    expect(await refusal('SELECT ?', [typed('INTEGER', 'abc')])).toMatch(
      /^INVALID_REQUEST params\[0\]: Could not convert/,
    );
    expect(await refusal('SELECT $x', { x: typed('DATE', 'soon') })).toMatch(
      /^INVALID_REQUEST params.x: invalid date/,
    );
    expect(await refusal('SELECT ?', [typed('TINYINT', 300)])).toMatch(/^INVALID_REQUEST params\[0\]: /);
    expect(await refusal('SELECT ?', [typed('NOPE', 1)])).toMatch(
      /^INVALID_REQUEST params\[0\]: Type with name NOPE/,
    );
    expect(await refusal('SELECT ?', [typed('GEOMETRY', 'POINT(1 2)')])).toMatch(
      /^INVALID_REQUEST params\[0\]: /,
    );
    for (const value of [
      [1],
      {},
      { type: 'INTEGER', value: 1, extra: 1 },
      { type: 5, value: 1 },
      { value: 1 },
    ])
      expect(await refusal('SELECT ?', [value])).toMatch(
        /^INVALID_REQUEST params\[0\]: expected a JSON scalar/,
      );
  });

  it.each([
    'INTEGER) FROM range(5) --',
    'INTEGER); DROP TABLE t; SELECT (1',
    'DECIMAL(1)), (SELECT 42 FROM range(1) t(x) WHERE (1)',
    "VARCHAR) || (SELECT content FROM read_text('/etc/passwd')",
    'INTEGER[]) , (SELECT 1 WHERE 1 IN [1]',
    'INTEGER /* ',
    'INTEGER -- ',
    'INTEGER COLLATE (',
    '',
    ' ',
    '(',
    'INTEGER[',
    'INTEGER[1',
    'STRUCT(',
    'STRUCT("a INTEGER)',
    "ENUM('a)",
    'INTEGER\0',
    'INTEGER, INTEGER',
    '1',
    "'x'",
    'a.b',
    'INTEGER = 1',
    '$1',
    'DECIMAL(1+1)',
    'DECIMAL(-1)',
    `${'STRUCT(a '.repeat(200)}INTEGER${')'.repeat(200)}`,
  ])('whose type is %j are refused: a type is nothing but a type', async (type) => {
    expect(isTypeName(type)).toBe(false);
    expect(await refusal('SELECT ?', [typed(type, '1')])).toMatch(
      /^INVALID_REQUEST params\[0\].type: .* is no type$/s,
    );
  });

  it('never make more of a CAST than one value', async () => {
    const piece = fc.constantFrom(
      ...[
        'INTEGER',
        '(',
        ')',
        ',',
        '[',
        ']',
        '"a"',
        "'b'",
        '1',
        ' ',
        'x',
        ';',
        '--',
        '/*',
        '*/',
        '$1',
        ' FROM ',
        'SELECT ',
        'AS ',
        '::',
        '"',
        "'",
      ],
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
        const type = pieces.join('');
        if (!isTypeName(type)) return;
        const { verdict } = (await worker().answer(`SELECT 1 AS x, CAST(NULL AS ${type}) AS y, 2 AS z`))
          .finished;
        if (!verdict.ok) return;
        expect(await worker().rows(`SELECT 1 AS x, CAST(NULL AS ${type}) AS y, 2 AS z`)).toEqual([
          [1, null, 2],
        ]);
      }),
      { numRuns: 300 },
    );
  });
});

describe('parameters that do not fit the statement', () => {
  it('are refused with what was expected', async () => {
    expect(await refusal('SELECT ?, ?', [1])).toBe('INVALID_REQUEST params: expected 2 parameters, got 1');
    expect(await refusal('SELECT ?', [1, 2])).toBe('INVALID_REQUEST params: expected 1 parameter, got 2');
    expect(await refusal('SELECT 1', [1])).toBe('INVALID_REQUEST params: expected 0 parameters, got 1');
    expect(await refusal('SELECT ?')).toBe('INVALID_REQUEST params: expected 1 parameter, got none');
    expect(await refusal('SELECT $a, $b', { a: 1 })).toBe('INVALID_REQUEST params: no value for $b');
    expect(await refusal('SELECT $a', { a: 1, b: 2 })).toBe(
      'INVALID_REQUEST params: the statement has no $b',
    );
    expect(await refusal('SELECT $a', [1])).toBe(
      'INVALID_REQUEST params: expected an object with a, got an array',
    );
    expect(await refusal('SELECT 1', { a: 1 })).toBe('INVALID_REQUEST params: the statement has no $a');
    expect(await refusal('SELECT $2', [1, 2])).toMatch(/^INVALID_REQUEST params: .* gaps/);
    expect(await refusal('SELECT $__proto__', { toString: 1 })).toMatch(
      /^INVALID_REQUEST params: no value for \$__proto__/,
    );
  });

  it('leave the worker as it was', async () => {
    expect(await worker().rows('SELECT 42')).toEqual([[42]]);
  });
});
