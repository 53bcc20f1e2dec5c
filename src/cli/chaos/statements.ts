/**
 * Statements of which the right answer is known, and what their clients do. Pure.
 *
 * A statement has a name of its own in it (`AS q17`), since a fingerprint ignores literals: the quarantine would take two of
 * them that crashed for one statement, and hold back all that follow.
 */
import type { FailureCode } from '../../failures.ts';
import type { ExpectedResult } from './contract.ts';

/** How many of each there are, of their sum. Most are short, as in life. */
export const LOAD_KINDS = {
  point: 30,
  get: 6,
  parameters: 12,
  truncated: 6,
  aggregate: 8,
  large: 5,
  spill: 2,
  'sql-error': 9,
  cancel: 5,
  'hang-up': 7,
  timeout: 5,
  'queue-timeout': 5,
} as const;
export type LoadKind = keyof typeof LOAD_KINDS;

/** What a client does beside waiting for its reply, after so many milliseconds. */
export interface Act {
  readonly what: 'cancel' | 'hang-up';
  readonly afterMs: number;
}

export interface Statement {
  readonly fields: { readonly sql: string } & Partial<Record<'timeout_ms' | 'queue_timeout_ms', number>> &
    Readonly<Record<string, unknown>>;
  readonly result?: ExpectedResult | undefined;
  readonly codes?: readonly FailureCode[];
  readonly act?: Act;
}

/** Gives numbers from 0 to below 1. */
type Random = () => number;

interface Chances {
  /** Bytes that one reply may have. */
  readonly maxResult: number;
  readonly random: Random;
}

/** Of one that somebody else is to stop. */
const ENDLESS_MS = 3_000;
/** About what a row of `large` has in JSON. */
const ROW_BYTES = 130;
/** Runs until it is stopped, and stops when it is told to. */
const endless = (q: string) =>
  `SELECT sum(a.range * b.range) AS ${q} FROM range(1000000) a, range(1000000) b`;

/** `q` is a name that no other statement has. */
export function statementOf(kind: LoadKind, q: string, { maxResult, random }: Chances): Statement {
  switch (kind) {
    case 'point':
    case 'get':
      return point(q, random);
    case 'parameters':
      return parameters(q, random);
    case 'truncated':
      return {
        fields: { sql: `SELECT range AS ${q} FROM range(1000)`, row_limit: 10 },
        result: {
          columns: [{ name: q, type: 'BIGINT' }],
          rows: 10,
          row: (index) => [index],
          truncated: true,
        },
      };
    case 'aggregate':
      return aggregate(q, random);
    case 'large':
      return large(q, maxResult, random);
    case 'spill':
      return spill(q, random);
    case 'sql-error':
      return { ...mistake(q, random), codes: ['SQL_ERROR'] };
    case 'cancel':
      return {
        fields: { sql: endless(q), timeout_ms: ENDLESS_MS },
        codes: ['QUERY_CANCELLED'],
        act: { what: 'cancel', afterMs: between(random, 10, 400) },
      };
    case 'hang-up':
      return {
        ...(random() < 0.5
          ? { fields: { sql: endless(q), timeout_ms: ENDLESS_MS } }
          : large(q, maxResult, random)),
        act: { what: 'hang-up', afterMs: between(random, 0, 300) },
      };
    case 'timeout':
      return { fields: { sql: endless(q), timeout_ms: between(random, 20, 300) } };
    case 'queue-timeout': {
      const { fields, result } = point(q, random);
      return { fields: { ...fields, queue_timeout_ms: between(random, 1, 100) }, result };
    }
  }
}

function point(q: string, random: Random): Statement {
  const value = between(random, 0, 2 ** 31 - 1);
  return { fields: { sql: `SELECT ${value} AS ${q}` }, result: oneRow([[q, 'INTEGER', value]]) };
}

function parameters(q: string, random: Random): Statement {
  const [a, b] = [between(random, -1e9, 1e9), between(random, -1e9, 1e9)];
  const text = `Ente "${q}" & Küken 🦆\n`;
  return {
    fields: { sql: `SELECT $1::INTEGER + $2::INTEGER AS ${q}, $3::VARCHAR AS t`, params: [a, b, text] },
    result: oneRow([
      [q, 'INTEGER', a + b],
      ['t', 'VARCHAR', text],
    ]),
  };
}

function aggregate(q: string, random: Random): Statement {
  const rows = between(random, 1, 5_000_000);
  return {
    fields: {
      sql: `SELECT count(*) AS ${q}, sum(range)::BIGINT AS s, count(*) FILTER (range % 3 = 0) AS c FROM range(${rows})`,
    },
    result: oneRow([
      [q, 'BIGINT', rows],
      ['s', 'BIGINT', (rows * (rows - 1)) / 2],
      ['c', 'BIGINT', Math.ceil(rows / 3)],
    ]),
  };
}

function large(q: string, maxResult: number, random: Random): Statement {
  const most = Math.min(50_000, Math.floor(maxResult / ROW_BYTES));
  const rows = between(random, Math.ceil(most / 3), most);
  const dots = '.'.repeat(90);
  return {
    fields: {
      sql: `SELECT range AS ${q}, 'duck ' || range || repeat('.', 90) AS t FROM range(${rows})`,
    },
    result: {
      columns: [
        { name: q, type: 'BIGINT' },
        { name: 't', type: 'VARCHAR' },
      ],
      rows,
      row: (index) => [index, `duck ${index}${dots}`],
      truncated: false,
    },
  };
}

/** More groups than memory: they go to disk, or it is said that they do not fit. */
function spill(q: string, random: Random): Statement {
  const rows = between(random, 500_000, 1_000_000);
  const groups = `SELECT range AS k, count(*) AS n FROM range(${rows}) GROUP BY k`;
  return {
    fields: {
      sql: `SELECT count(*) AS ${q}, sum(n)::BIGINT AS s, max(k) AS m FROM (${groups})`,
      memory_limit: '30MB',
    },
    result: oneRow([
      [q, 'BIGINT', rows],
      ['s', 'BIGINT', rows],
      ['m', 'BIGINT', rows - 1],
    ]),
    codes: ['MEMORY_LIMIT', 'DISK_LIMIT'],
  };
}

function mistake(q: string, random: Random): Statement {
  const mistakes = [
    `SELECT * FROM missing_${q}`,
    `SELEC 1 AS ${q}`,
    `SELECT 'no number'::INTEGER AS ${q}`,
    `SELECT no_function_${q}(1)`,
  ];
  return { fields: { sql: mistakes[between(random, 0, mistakes.length - 1)] as string } };
}

/** A whole number, both ends included. */
function between(random: Random, low: number, high: number): number {
  return low + Math.floor(random() * (high - low + 1));
}

function oneRow(cells: readonly (readonly [name: string, type: string, value: unknown])[]): ExpectedResult {
  return {
    columns: cells.map(([name, type]) => ({ name, type })),
    rows: 1,
    row: () => cells.map(([, , value]) => value),
    truncated: false,
  };
}
