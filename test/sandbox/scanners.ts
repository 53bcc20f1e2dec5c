/** DuckDB's scanners in an instance of the test's own. */
import type { DuckDBConnection } from '@duckdb/node-api';
import { extensionFile } from '../../src/extensions/layout.ts';
import { EXTENSIONS } from '../workers/worker-harness.ts';

export async function loadScanners(
  connection: DuckDBConnection,
  names: readonly string[] = ['postgres_scanner', 'mysql_scanner', 'sqlite_scanner'],
): Promise<void> {
  const reader = await connection.runAndReadAll(
    'SELECT library_version, p.platform FROM pragma_version(), pragma_platform() p',
  );
  const [version, platform] = (reader.getRows()[0] ?? []).map(String) as [string, string];
  for (const name of names)
    await connection.run(`LOAD '${extensionFile(EXTENSIONS, { version, platform }, name)}'`);
}
