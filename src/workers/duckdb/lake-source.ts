/**
 * A DuckLake: its catalog in a DuckDB file or in PostgreSQL, its data in a folder or a bucket. What DuckDB is told of both are secrets, which are dropped
 * once it is attached, but for that of the bucket.
 */
import { access, constants } from 'node:fs/promises';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Attachment } from '../protocol.ts';
import { identifier, literal } from './quote.ts';
import { attachRemote } from './remote-sources.ts';
import { serverSecret } from './server-secret.ts';
import { settingsOf, unavailable } from './source-failure.ts';

export type Lake = Extract<Attachment, { kind: 'ducklake' }>;

export async function attachLake(connection: DuckDBConnection, lake: Lake): Promise<void> {
  const { alias, catalog, bucket, dataPath, metadataSchema, readOnly } = lake;
  if (bucket !== undefined)
    await attachRemote(connection, { ...bucket, alias: `${alias} data`, url: dataPath }, []);
  const secret = identifier(`duckcoop_${alias}`);
  const server = identifier(`duckcoop_${alias}_catalog`);
  if (catalog.kind === 'file') {
    await access(catalog.path, constants.R_OK).catch((error: NodeJS.ErrnoException) => {
      throw unavailable(lake, `its catalog cannot be read (${error.code})`);
    });
    await connection.run(
      `CREATE TEMPORARY SECRET ${secret} (TYPE ducklake, METADATA_PATH ${literal(catalog.path)})`,
    );
  } else {
    await connection.run(`CREATE TEMPORARY SECRET ${server} (${serverSecret(catalog)})`);
    await connection.run(
      `CREATE TEMPORARY SECRET ${secret} (TYPE ducklake, METADATA_PATH ${literal(settingsOf(catalog))}, METADATA_PARAMETERS MAP {'TYPE': 'postgres', 'SECRET': ${literal(`duckcoop_${alias}_catalog`)}})`,
    );
  }
  // DuckLake does not ask a server that it knows from a secret what its own is.
  const schema = metadataSchema ?? (catalog.kind === 'postgres' ? 'public' : undefined);
  const options = [
    `DATA_PATH ${literal(dataPath)}`,
    'OVERRIDE_DATA_PATH true',
    'CREATE_IF_NOT_EXISTS false',
    ...(schema === undefined ? [] : [`METADATA_SCHEMA ${literal(schema)}`]),
    ...(readOnly ? ['READ_ONLY'] : []),
  ];
  await connection.run(
    `ATTACH ${literal(`ducklake:duckcoop_${alias}`)} AS ${identifier(alias)} (${options.join(', ')})`,
  );
  await connection.run(`DROP SECRET ${secret}`);
  if (catalog.kind !== 'file') await connection.run(`DROP SECRET ${server}`);
}
