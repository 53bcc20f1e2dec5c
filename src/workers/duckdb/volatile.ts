/** What a session's connection has that is in no file: it goes with the process, and its owner is told the names then. */
import type { DuckDBConnection } from '@duckdb/node-api';
import { readDuckDBError } from './duckdb-error.ts';

/** More names than anybody reads. */
const MAX_NAMES = 200;

const NAMES = `
  SELECT 'temporary table ' || table_name FROM duckdb_tables() WHERE temporary AND NOT internal
  UNION ALL SELECT 'temporary view ' || view_name FROM duckdb_views() WHERE temporary AND NOT internal
  UNION ALL SELECT 'variable ' || name FROM duckdb_variables()
  UNION ALL SELECT 'prepared statement ' || name FROM duckdb_prepared_statements()
  UNION ALL SELECT 'tx ' || txid_current()`;

/** Two statements have the same transaction only where one is open. `unusable` where the workspace answers nothing any more. */
export async function volatileNames(connection: DuckDBConnection): Promise<readonly string[] | 'unusable'> {
  try {
    const rows = (await connection.runAndReadAll(NAMES)).getRows().map(([name]) => String(name));
    const [again] = (await connection.runAndReadAll("SELECT 'tx ' || txid_current()")).getRows();
    const open = rows.includes(String(again?.[0]));
    const names = rows.filter((name) => !name.startsWith('tx ')).slice(0, MAX_NAMES);
    return open ? [...names, 'open transaction'] : names;
  } catch (error) {
    // A transaction that has failed answers nothing until it is rolled back; a database whose checkpoint has failed never does.
    return readDuckDBError(error).type === 'TransactionContext' ? ['open transaction'] : 'unusable';
  }
}
