/**
 * The guard against SQL of random shape (grammar.ts): a call that is not allowed is refused wherever it stands, and the same statement
 * with one that is allowed is let through. `DUCKCOOP_FUZZ_CASES=100000` tries as many.
 */
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Guard } from '../../src/workers/duckdb/guard.ts';
import { Refusal } from '../../src/workers/duckdb/refusal.ts';
import { splitStatements } from '../../src/workers/duckdb/sql-text.ts';
import { type Call, shapes, statementOf } from './grammar.ts';
import { loadScanners } from './scanners.ts';

const CASES = Number(process.env.DUCKCOOP_FUZZ_CASES ?? 300);

const relation = (name: string, args: string): Call => ({ kind: 'relation', name, args });
const value = (name: string, args: string): Call => ({ kind: 'value', name, args });
const DENIED: readonly Call[] = [
  relation('sqlite_scan', "'/file', 'table'"),
  relation('postgres_scan', "'host=127.0.0.1', 'public', 't'"),
  relation('postgres_query', "'pg1', 'SELECT 1'"),
  relation('mysql_query', "'my1', $$SELECT 1$$"),
  relation('query', "'SELECT ' || '1'"),
  relation('query_table', "['t']"),
  relation('json_execute_serialized_sql', "json_serialize_sql('SELECT 1')"),
  relation('arrow_scan', '1, 2, 3'),
  relation('seq_scan', "'t'"),
  relation('duckdb_secrets', ''),
  relation('duckdb_logs', ''),
  value('json_serialize_plan', "'SELECT 1'"),
  value('write_log', "'text'"),
];
const ALLOWED = { relation: relation('range', '1'), value: value('lower', "'text'") } as const;

let instance: DuckDBInstance;
let connection: DuckDBConnection;
let guard: Guard;

beforeAll(async () => {
  instance = await DuckDBInstance.create(':memory:');
  connection = await instance.connect();
  await loadScanners(connection);
  guard = await Guard.create(connection, []);
});
afterAll(() => {
  connection.closeSync();
  instance.closeSync();
});

describe('a statement of random shape', () => {
  it(`is refused with a call in it that is not allowed (${CASES} cases)`, async () => {
    const counts = {
      ...{ refused: 0, 'read with other names': 0, 'not SQL': 0 },
      ...{ 'let through without it': 0, 'refused without it': 0 },
    };
    await fc.assert(
      fc.asyncProperty(shapes, fc.constantFrom(...DENIED), async (shape, call) => {
        const sql = statementOf(shape, call);
        const harmless = statementOf(shape, ALLOWED[call.kind]);
        const isSql = await parses(harmless);
        if ((await refusalOf(sql)) === 'function') counts.refused += isSql ? 1 : 0;
        else if (await parses(sql)) {
          const plain = withPlainSpaces(sql);
          expect([plain, plain === sql, await refusalOf(plain)]).toEqual([plain, false, 'function']);
          counts['read with other names'] += 1;
        }
        if (!isSql) counts['not SQL'] += 1;
        else if ((await refusalOf(harmless)) === undefined) counts['let through without it'] += 1;
        else counts['refused without it'] += 1;
      }),
      { numRuns: CASES, endOnFailure: CASES > 10_000 },
    );
    // What is not SQL says nothing of the guard, and what is refused for its looks alone is a nuisance: neither is what mostly happens.
    expect(counts['not SQL']).toBeLessThan(CASES * 0.7);
    expect(counts['read with other names']).toBeLessThan(CASES / 10);
    expect(counts['refused without it']).toBeLessThan(CASES / 10);
    if (process.env.DUCKCOOP_FUZZ_CASES !== undefined) process.stdout.write(`${JSON.stringify(counts)}\n`);
  }, 3_600_000);
});

/**
 * DuckDB makes spaces of those that Unicode has before it reads a text, but not within quotes, and takes a quote in a comment or an
 * escape string for one. What is left of them is a part of a name then, so that the call is another one, which nobody has.
 */
function withPlainSpaces(sql: string): string {
  return sql.replace(/[\u00a0\u2003\u200b\ufeff]/g, ' ');
}

/** What is denied of it; undefined where it may run. */
async function refusalOf(sql: string): Promise<unknown> {
  try {
    for (const { text } of splitStatements(sql)) await guard.checkText(connection, text, []);
    return undefined;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return (error.verdict.members.denied as { kind?: unknown } | undefined)?.kind;
  }
}

async function parses(sql: string): Promise<boolean> {
  return await connection.extractStatements(sql).then(
    ({ count }) => count > 0,
    () => false,
  );
}
