import { describe, expect, it } from 'vitest';
import { useRunFolders, useWorker } from './worker-harness.ts';

useRunFolders();
const worker = useWorker();

/** The first row of a statement. */
async function row(sql: string): Promise<readonly unknown[]> {
  return (await worker().rows(sql))[0] as readonly unknown[];
}

const one = async (expression: string) => (await row(`SELECT ${expression}`))[0];

/** Our text for a date or time as DuckDB writes it: years after 9999 without a sign, years before 1 as `(BC)`. */
function asDuckDB(text: string): string {
  const match = /^([+-]\d{6,})(-\d\d-\d\d)(.*)$/.exec(text);
  if (match === null) return text;
  const [, sign = '', date = '', rest = ''] = match;
  const year = Number(sign);
  return year > 0 ? `${year}${date}${rest}` : `${1 - year}${date} (BC)${rest.replace('T', ' ')}`;
}

function asInterval(text: string): string {
  const match = /^P(?:(-?\d+)M)?(?:(-?\d+)D)?(?:T(-?)(\d+)(?:\.(\d+))?S)?$/.exec(text);
  const [, months = '0', days = '0', sign = '', seconds = '0', fraction = ''] = match ?? [];
  return `${months} months ${days} days ${sign}${seconds}${fraction.padEnd(6, '0')} microseconds`;
}

/** How DuckDB is given a value of ours back. */
function literal(type: string, value: unknown): string {
  if (value === null) return `CAST(NULL AS ${type})`;
  const text = String(value).replaceAll("'", "''");
  if (type === 'BLOB') return `from_base64('${text}')`;
  if (type === 'INTERVAL') return `CAST('${asInterval(text)}' AS INTERVAL)`;
  if (type === 'VARCHAR') return `'${text.replaceAll('\0', "' || chr(0) || '")}'`;
  if (/^(DATE|TIME)/.test(type)) return `CAST('${asDuckDB(text)}' AS ${type})`;
  return `CAST('${text}' AS ${type})`;
}

describe('every type comes out of a worker without loss', () => {
  it('is what DuckDB reads back, for the least, the greatest and no value of each', async () => {
    const { columns, data } = await worker().body('SELECT * FROM test_all_types()');
    expect(columns.length).toBeGreaterThan(50);
    const simple = columns.flatMap(({ name, type }, index) =>
      /[[({]/.test(type.replace(/^DECIMAL\(.*\)$/, '')) || type === 'GEOMETRY' ? [] : [{ name, type, index }],
    );
    expect(simple.length).toBeGreaterThan(30);
    const back = simple.map(({ name, type, index }) => {
      const values = data.map((cells) => literal(type, (cells as unknown[])[index]));
      return `(SELECT list(n ORDER BY n) FROM (SELECT "${name}" AS x, row_number() OVER () AS n FROM test_all_types()) WHERE x IS NOT DISTINCT FROM [${values.join(', ')}][n])`;
    });
    const same = await row(`SELECT ${back.join(', ')}`);
    const lost = simple.filter((_, index) => JSON.stringify(same[index]) !== '[1,2,3]');
    expect(lost.map(({ name, type }) => `${name} ${type}`)).toEqual([]);
  });

  it('is a JSON number as long as a double is exact, and a string beyond', async () => {
    const text = (
      await worker().answer(
        `SELECT 9007199254740991::BIGINT, 9007199254740992::BIGINT, -9007199254740991::BIGINT, -9007199254740992::BIGINT,
                9007199254740991::UBIGINT, 18446744073709551615::UBIGINT, 9007199254740992::HUGEINT, 340282366920938463463374607431768211455::UHUGEINT,
                '-170141183460469231731687303715884105728'::HUGEINT, '123456789012345678901234567890123456789012345678901234567890'::BIGNUM, '-7'::BIGNUM`,
      )
    ).text;
    expect(text.slice(text.indexOf('"data":'))).toBe(
      '"data":[[9007199254740991,"9007199254740992",-9007199254740991,"-9007199254740992",9007199254740991,"18446744073709551615",' +
        '"9007199254740992","340282366920938463463374607431768211455","-170141183460469231731687303715884105728",' +
        '"123456789012345678901234567890123456789012345678901234567890",-7]]',
    );
  });

  it('writes decimals of every width digit by digit', async () => {
    const widths = [1, 4, 5, 9, 10, 15, 16, 18, 19, 38];
    const cases = widths.flatMap((width) =>
      [0, 1, width - 1, width].flatMap((scale) => (scale < 0 ? [] : [{ width, scale }])),
    );
    const digits = '98765432109876543210987654321098765432';
    const texts = cases.map(({ width, scale }) => {
      const all = digits.slice(0, width);
      return `${all.slice(0, width - scale) || '0'}${scale === 0 ? '' : `.${all.slice(width - scale)}`}`;
    });
    const casts = cases.flatMap(({ width, scale }, index) => [
      `'${texts[index]}'::DECIMAL(${width},${scale})`,
      `'-${texts[index]}'::DECIMAL(${width},${scale})`,
    ]);
    const { text } = await worker().answer(`SELECT ${casts.join(', ')}`);
    const cells = text.slice(text.indexOf('"data":[[') + 9, -2).split(',');
    const expected = cases.flatMap(({ width }, index) =>
      ['', '-'].map((sign) => {
        const number = `${sign}${texts[index]}`;
        return width <= 15 ? number : `"${number}"`;
      }),
    );
    expect(cells).toEqual(expected);
  });

  it('has doubles and floats to the last bit, and words for those that are no numbers', async () => {
    const { text } = await worker().answer(
      `SELECT 'nan'::DOUBLE, 'inf'::DOUBLE, '-inf'::DOUBLE, '-0'::DOUBLE, 5e-324::DOUBLE, 1.7976931348623157e308::DOUBLE, 0.1::DOUBLE,
              'nan'::FLOAT, 'inf'::FLOAT, '-inf'::FLOAT, '-0'::FLOAT, 1e-45::FLOAT, 3.4028235e38::FLOAT, 0.1::FLOAT`,
    );
    const cells = (JSON.parse(`{${text}}`) as { data: unknown[][] }).data[0] as unknown[];
    expect(cells).toEqual([
      ...['NaN', 'Infinity', '-Infinity', -0, 5e-324, Number.MAX_VALUE, 0.1],
      ...[
        'NaN',
        'Infinity',
        '-Infinity',
        -0,
        Math.fround(1e-45),
        Math.fround(3.4028235e38),
        Math.fround(0.1),
      ],
    ]);
  });

  it('has dates and times of every kind as ISO 8601', async () => {
    expect(
      await row(
        `SELECT DATE '0001-01-01', DATE '0001-12-31 (BC)', DATE '0044-03-15 (BC)', DATE '9999-12-31', DATE '10000-01-01', DATE 'infinity', DATE '-infinity', DATE '2024-02-29'`,
      ),
    ).toEqual([
      ...['0001-01-01', '0000-12-31', '-000043-03-15', '9999-12-31', '+010000-01-01'],
      ...['infinity', '-infinity', '2024-02-29'],
    ]);
    expect(
      await row(
        `SELECT TIMESTAMP '1969-12-31 23:59:59.999999', TIMESTAMP_S '2024-01-02 03:04:05', TIMESTAMP_MS '2024-01-02 03:04:05.678', TIMESTAMP_NS '1900-01-02 03:04:05.678901234',
                TIMESTAMPTZ '2024-01-02 03:04:05.5+05:30', TIMESTAMP '10000-01-01', TIMESTAMP '0044-03-15 (BC) 01:02:03', TIMESTAMP '-infinity', TIMESTAMP_S 'infinity', TIMESTAMP_MS 'infinity', TIMESTAMP_NS '-infinity', TIMESTAMPTZ 'infinity'`,
      ),
    ).toEqual([
      ...['1969-12-31T23:59:59.999999', '2024-01-02T03:04:05', '2024-01-02T03:04:05.678'],
      ...['1900-01-02T03:04:05.678901234', '2024-01-01T21:34:05.5Z', '+010000-01-01T00:00:00'],
      ...['-000043-03-15T01:02:03', '-infinity', 'infinity', 'infinity', '-infinity', 'infinity'],
    ]);
    expect(
      await row(
        `SELECT TIME '00:00:00', TIME '24:00:00', TIME '12:34:56.7', '12:34:56.123456789'::TIME_NS, '01:02:03+05:30'::TIMETZ, '01:02:03.000001-15:59:59'::TIMETZ, '23:59:59+00'::TIMETZ`,
      ),
    ).toEqual([
      ...['00:00:00', '24:00:00', '12:34:56.7', '12:34:56.123456789'],
      ...['01:02:03+05:30', '01:02:03.000001-15:59:59', '23:59:59+00:00'],
    ]);
    expect(
      await row(
        `SELECT INTERVAL 0 DAY, INTERVAL '1 year 2 months -3 days', INTERVAL '-1.5 seconds', INTERVAL '1 month 1 day 1 microsecond'`,
      ),
    ).toEqual(['PT0S', 'P14M-3D', 'PT-1.5S', 'P1M1DT0.000001S']);
  });

  it('has bytes as base64, bits as digits, and identifiers and enumerations as their text', async () => {
    expect(
      await row(
        `SELECT ''::BLOB, '\\x00\\xFF'::BLOB, '0'::BIT, '000000001'::BIT, '10101010'::BIT, '00000000-0000-0000-0000-000000000000'::UUID, '80000000-0000-0000-0000-0000000000ff'::UUID, 'b"\\'::ENUM('a', 'b"\\')`,
      ),
    ).toEqual([
      ...['', 'AP8=', '0', '000000001', '10101010'],
      ...['00000000-0000-0000-0000-000000000000', '80000000-0000-0000-0000-0000000000ff', 'b"\\'],
    ]);
    const bytes = await one(`from_hex(string_agg(printf('%02x', i), '' ORDER BY i)) FROM range(256) t(i)`);
    expect([...Buffer.from(String(bytes), 'base64')]).toEqual(Array.from({ length: 256 }, (_, i) => i));
  });

  it('has text of every kind, escaped as JSON wants it', async () => {
    expect(
      await row(
        `SELECT '', chr(0) || chr(31) || '"\\/' || chr(127), '🦆 ü \u2028', e'line\\nfeed\\ttab', '{"a": [1.50]}'::JSON`,
      ),
    ).toEqual(['', '\0\x1f"\\/\x7f', '🦆 ü \u2028', 'line\nfeed\ttab', '{"a": [1.50]}']);
  });
});

describe('nested values', () => {
  it('are arrays and objects, whatever is null in them', async () => {
    expect(
      await row(
        `SELECT [1, NULL, 3], [], [[NULL], NULL, []], {'a': 1, 'b': NULL}, [{'a': [DATE '2024-01-01', NULL]}, NULL], [1, NULL]::INTEGER[2], [[1, 2], NULL]::INTEGER[2][2],
                {'s': {'t': {'u': [{'v': 9007199254740993::BIGINT}]}}}, NULL::INTEGER[], NULL::STRUCT(a INTEGER), [1.50::DECIMAL(9,2), NULL], [true, NULL], ['nan'::DOUBLE]`,
      ),
    ).toEqual([
      ...[[1, null, 3], [], [[null], null, []], { a: 1, b: null }, [{ a: ['2024-01-01', null] }, null]],
      ...[[1, null], [[1, 2], null], { s: { t: { u: [{ v: '9007199254740993' }] } } }],
      ...[null, null, [1.5, null], [true, null], ['NaN']],
    ]);
  });

  it('have maps as objects where keys are text, and as pairs where they are not', async () => {
    expect(
      await row(
        `SELECT MAP {'a': 1, '"': NULL}, MAP {'__proto__': 1}, MAP {1: 'x', 2: NULL}, MAP {[1]: 2}, MAP {DATE '2024-01-01': [1]}, MAP {}, NULL::MAP(VARCHAR, INTEGER)`,
      ),
    ).toEqual([
      { a: 1, '"': null },
      JSON.parse('{"__proto__": 1}'),
      [
        { key: 1, value: 'x' },
        { key: 2, value: null },
      ],
      [{ key: [1], value: 2 }],
      [{ key: '2024-01-01', value: [1] }],
      [],
      null,
    ]);
  });

  it('have unions as an object with the tag', async () => {
    expect(
      await row(
        `SELECT union_value(k := 1), union_value(__proto__ := DATE '2024-01-01'), 'x'::UNION(n INTEGER, s VARCHAR), 5::UNION(n INTEGER, s VARCHAR), NULL::UNION(n INTEGER, s VARCHAR)`,
      ),
    ).toEqual([{ k: 1 }, JSON.parse('{"__proto__":"2024-01-01"}'), { s: 'x' }, { n: 5 }, null]);
  });

  it('lose no member of a struct, whatever it is called', async () => {
    const { text } = await worker().answer(
      `SELECT row(1, 2), {'__proto__': 1, 'a': 2}, {'__proto__': {'constructor': 3}}, {'0': 'x', '1': 'y'}, {'a"b': 1}, [row(1, [row(2)])]`,
    );
    expect(text.slice(text.indexOf('"data":'))).toBe(
      '"data":[[[1,2],{"__proto__":1,"a":2},{"__proto__":{"constructor":3}},{"0":"x","1":"y"},{"a\\"b":1},[[1,[[2]]]]]]',
    );
  });

  it('have the inside of a VARIANT with its own types', async () => {
    expect(
      await row(
        `SELECT 1::VARIANT, 'x'::VARIANT, 1.50::DECIMAL(4,2)::VARIANT, DATE '2024-01-01'::VARIANT, TIMESTAMP '2024-01-01 01:02:03.5'::VARIANT, TIMESTAMPTZ '2024-01-01 00:00:00+00'::VARIANT, TIME '01:02:03'::VARIANT,
                'infinity'::TIMESTAMP::VARIANT, INTERVAL 1 MONTH::VARIANT, '\\xAA'::BLOB::VARIANT, '101'::BIT::VARIANT, 9007199254740993::VARIANT, true::VARIANT, 'nan'::DOUBLE::VARIANT, [1, NULL]::VARIANT,
                {'value': 1, 'items': [DATE '2024-01-01'], 'days': {'scale': 2}}::VARIANT, NULL::VARIANT, '00000000-0000-0000-0000-000000000001'::UUID::VARIANT, [1::VARIANT, 'a'::VARIANT, NULL], {'v': [DATE '2024-01-01']::VARIANT}`,
      ),
    ).toEqual([
      ...[1, 'x', 1.5, '2024-01-01', '2024-01-01T01:02:03.5', '2024-01-01T00:00:00Z', '01:02:03'],
      ...['infinity', 'P1M', 'qg==', '101', '9007199254740993', true, 'NaN', [1, null]],
      { value: 1, items: ['2024-01-01'], days: { scale: 2 } },
      ...[null, '00000000-0000-0000-0000-000000000001', [1, 'a', null], { v: ['2024-01-01'] }],
    ]);
  });

  it('come out of a lane as they come out without one', async () => {
    const expressions = [
      `TIMESTAMP '2024-01-01 01:02:03.5'::VARIANT`,
      `{'a': [DATE '2024-01-01'], 'b': 1.50::DECIMAL(4,2)}::VARIANT`,
      `[i, NULL]::VARIANT`,
      `row(i, 'x')`,
      `{'__proto__': i, 'm': MAP {'k': [i]}}`,
      `union_value(u := TIMESTAMPTZ '2024-01-01 00:00:00+00')`,
      `INTERVAL (i) MINUTE`,
      `'\\xAA\\xBB'::BLOB`,
      `'10101'::BIT`,
      `'00000000-0000-0000-0000-000000000001'::UUID`,
      `'01:02:03+01'::TIMETZ`,
      `i::HUGEINT * 10000000000000000000`,
      `i::DECIMAL(38,5)`,
      `i::BIGNUM`,
      `CASE i % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'b' END::ENUM('a', 'b')`,
      `'POINT(1 2)'::GEOMETRY`,
      `[[i], NULL]`,
    ];
    const sql = `SELECT i, ${expressions.join(', ')} FROM range(10000) t(i)`;
    const large = await worker().rows(sql);
    expect(large).toHaveLength(10_000);
    const samples = [0, 5_000, 8_192, 9_999];
    expect(samples.map((index) => large[index])).toEqual(
      await worker().rows(`${sql} WHERE i IN (${samples.join(', ')}) ORDER BY i`),
    );
  }, 60_000);
});

describe('the shape of a result', () => {
  it('has its columns when it has no rows', async () => {
    expect(await worker().body("SELECT 1 AS a, DATE '2024-01-01' AS b WHERE false")).toEqual({
      columns: [
        { name: 'a', type: 'INTEGER' },
        { name: 'b', type: 'DATE' },
      ],
      data: [],
      truncated: false,
    });
    expect(await worker().body('SELECT 1 AS a WHERE false', { rowFormat: 'objects' })).toMatchObject({
      data: [],
    });
  });

  it('keeps columns of the same name apart, also as members of objects', async () => {
    const sql = 'SELECT 1 AS a, 2 AS a, 3 AS "a:1", 4 AS a, 5 AS "__proto__"';
    const { columns, data } = await worker().body(sql);
    expect(columns.map(({ name }) => name)).toEqual(['a', 'a', 'a:1', 'a', '__proto__']);
    expect(data).toEqual([[1, 2, 3, 4, 5]]);
    const { text } = await worker().answer(sql, { rowFormat: 'objects' });
    expect(text.slice(text.indexOf('"data":'))).toBe(
      '"data":[{"a":1,"a:2":2,"a:1":3,"a:3":4,"__proto__":5}]',
    );
  });

  it('names types as DuckDB does, JSON too', async () => {
    const { columns } = await worker().body(
      `SELECT 1::DECIMAL(9,2), '{}'::JSON, [1], TIMESTAMPTZ '2024-01-01', {'a': 1}`,
    );
    expect(columns.map(({ type }) => type)).toEqual([
      ...['DECIMAL(9,2)', 'JSON', 'INTEGER[]', 'TIMESTAMP WITH TIME ZONE', 'STRUCT("a" INTEGER)'],
    ]);
  });

  it('writes objects of the same values as arrays', async () => {
    const sql = `SELECT i, i * 1.5 AS f, 'row ' || i AS s, CASE WHEN i % 2 = 0 THEN i END AS n FROM range(10000) t(i)`;
    const arrays = (await worker().rows(sql)) as unknown[][];
    const objects = await worker().rows(sql, { rowFormat: 'objects' });
    expect(objects).toEqual(arrays.map(([i, f, s, n]) => ({ i, f, s, n })));
  });
});
