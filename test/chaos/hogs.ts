/** Statements that take memory which DuckDB's `memory_limit` does not count, or not in time. */
export interface Hog {
  readonly sql: string;
  /** It takes about a second to come to its end. */
  readonly quick?: true;
}

export const HOGS: Readonly<Record<string, Hog>> = {
  'repeat, many rows': {
    sql: "SELECT max(length(repeat('a', 10000000) || range::VARCHAR)) FROM range(100000)",
    quick: true,
  },
  'repeat, one string': { sql: "SELECT length(repeat('a', 3000000000))", quick: true },
  'repeat, large cells': { sql: "SELECT repeat('a', 50000000) FROM range(100)", quick: true },
  'repeat, list of strings': { sql: "SELECT list(repeat('abc', 1000000 + range::INT)) FROM range(2000)" },
  'lpad, large strings': { sql: "SELECT sum(length(lpad('x', 100000000, 'y' || i))) FROM range(1000) t(i)" },
  'format, one string': { sql: "SELECT length(format('{:>2000000000}', 'x'))" },
  'range, one list': { sql: 'SELECT length(range(1000000000))', quick: true },
  'range, many lists': { sql: 'SELECT sum(len(range(0, 1000000 + i))) FROM range(10000) t(i)' },
  'range, list of rows': { sql: 'SELECT list(range) FROM range(1000000000)' },
  'list_sort of a range': { sql: 'SELECT len(list_sort(range(200000000)))' },
  'flatten of ranges': { sql: 'SELECT len(flatten([range(50000000) FOR x IN range(10)]))' },
  'unnest of a range': { sql: 'SELECT count(*) FROM (SELECT unnest(range(500000000)))' },
  mode: { sql: 'SELECT mode(hash(range)) FROM range(200000000)' },
  'mode, strings': { sql: 'SELECT mode(md5(range::VARCHAR)) FROM range(50000000)' },
  quantile_disc: { sql: 'SELECT quantile_disc(hash(range), 0.5) FROM range(500000000)' },
  quantile_cont: {
    sql: 'SELECT quantile_cont(range::DOUBLE, [0.1, 0.5, 0.9]) FROM range(500000000)',
    quick: true,
  },
  'median, strings': { sql: 'SELECT median(md5(range::VARCHAR)) FROM range(50000000)' },
  histogram: { sql: 'SELECT len(map_keys(histogram(hash(range)))) FROM range(100000000)' },
  'map of entries': {
    sql: 'SELECT cardinality(map_from_entries(list({k: range, v: range}))) FROM range(100000000)',
  },
  'string_split, one string': { sql: "SELECT length(string_split(repeat('a,', 200000000), ','))" },
  'string_split, many strings': {
    sql: "SELECT sum(len(string_split(repeat('a,', 1000000 + i::INT), ','))) FROM range(5000) t(i)",
    quick: true,
  },
  regexp_extract_all: { sql: "SELECT length(regexp_extract_all(repeat('ab', 100000000), 'a'))" },
  string_agg: { sql: "SELECT length(string_agg(repeat('x', 100000), ',')) FROM range(100000)" },
  json_group_array: { sql: 'SELECT json_group_array(range) FROM range(300000000)' },
  'window of lists': {
    sql: 'SELECT max(s) FROM (SELECT list(range) OVER (ORDER BY range ROWS BETWEEN 100000 PRECEDING AND CURRENT ROW) AS s FROM range(100000))',
  },
  'recursive doubling': {
    sql: "WITH RECURSIVE r(i, s) AS (SELECT 1, 'x' UNION ALL SELECT i + 1, s || s FROM r WHERE i < 40) SELECT max(length(s)) FROM r",
  },
  'constants, folded while preparing': {
    sql: `SELECT ${Array.from({ length: 20_000 }, (_, i) => `repeat('x', 100000) AS c${i}`).join(', ')}`,
  },
  'one cell of a result': { sql: "SELECT repeat('a', 400000000)" },
  bignum: { sql: "SELECT (repeat('9', 100000000))::BIGNUM" },
};
