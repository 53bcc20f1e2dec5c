/** What a session's connection has that is in no file: it goes with the process, and its owner is told the names then. */
import type { DuckDBConnection } from '@duckdb/node-api';
import { readDuckDBError } from './duckdb-error.ts';

/** More names than anybody reads. */
const MAX_NAMES = 200;

const TEMPORARY = `
  SELECT 'temporary table ' || table_name FROM duckdb_tables() WHERE temporary AND NOT internal
  UNION ALL SELECT 'temporary view ' || view_name FROM duckdb_views() WHERE temporary AND NOT internal`;

/** What may make a table or view that is temporary, or end one. */
const TOUCHES_TEMPORARY = /temp|create|drop|alter|execute|rollback|abort/i;

const OTHERS = `
  SELECT 'variable ' || name FROM duckdb_variables()
  UNION ALL SELECT 'prepared statement ' || name FROM duckdb_prepared_statements()
  UNION ALL SELECT 'tx ' || txid_current()`;

export interface RanStatement {
  readonly sql: string;
  /** All of it was reads, to their end. */
  readonly readOnly: boolean;
}

export class VolatileNames {
  #temporary: readonly string[] = [];
  #isNew = true;
  #last: readonly string[] = [];

  /** As of the last statement. */
  get last(): readonly string[] {
    return this.#last;
  }

  /**
   * All names after a statement; undefined where it has left them as they were, `unusable` where the workspace answers nothing any
   * more. DuckDB lists tables of every database that is attached, which takes reading the catalogs of remote ones: temporary ones
   * are looked for only where there may be others than before.
   */
  async after(
    connection: DuckDBConnection,
    { sql, readOnly }: RanStatement,
  ): Promise<readonly string[] | 'unusable' | undefined> {
    const isNew = this.#isNew;
    this.#isNew = false;
    if (readOnly) return isNew ? [] : undefined;
    const others = await otherNames(connection);
    if (others === 'unusable') return others;
    // A source that is not there is no reason to forget what was there before.
    if (TOUCHES_TEMPORARY.test(sql))
      this.#temporary = await namesOf(connection, TEMPORARY).catch(() => this.#temporary);
    this.#last = [...this.#temporary, ...others].slice(0, MAX_NAMES);
    return this.#last;
  }
}

/** Two statements have the same transaction only where one is open. */
async function otherNames(connection: DuckDBConnection): Promise<readonly string[] | 'unusable'> {
  try {
    const names = await namesOf(connection, OTHERS);
    const [again = ''] = await namesOf(connection, "SELECT 'tx ' || txid_current()");
    const left = names.filter((name) => !name.startsWith('tx '));
    return names.includes(again) ? [...left, 'open transaction'] : left;
  } catch (error) {
    // A transaction that has failed answers nothing until it is rolled back; a database whose checkpoint has failed never does.
    return readDuckDBError(error).type === 'TransactionContext' ? ['open transaction'] : 'unusable';
  }
}

async function namesOf(connection: DuckDBConnection, sql: string): Promise<readonly string[]> {
  return (await connection.runAndReadAll(sql)).getRows().map(([name]) => String(name));
}
