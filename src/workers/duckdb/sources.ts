/**
 * Sources attached to an instance that still has its doors open, before any statement of a user runs on it.
 *
 * Credentials go into a temporary secret, which of a database is dropped as soon as it is attached, and never into a connection
 * string: `duckdb_databases()` and error texts show those.
 */
import { access, constants } from 'node:fs/promises';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Attachment } from '../protocol.ts';
import { readDuckDBError } from './duckdb-error.ts';
import { createView } from './file-views.ts';
import { attachFolder } from './folder-source.ts';
import { attachLake, type Lake } from './lake-source.ts';
import { identifier, literal } from './quote.ts';
import { Refusal } from './refusal.ts';
import { isRemote } from './remote-kinds.ts';
import { attachRemote, viewsNamedIn } from './remote-sources.ts';
import { serverSecret } from './server-secret.ts';
import { type Server, settingsOf, sourceFailure, unavailable, withoutSecrets } from './source-failure.ts';

export interface AttachRequest {
  readonly sql: string;
  readonly attachments: readonly Attachment[];
  /** Every view of a folder is made, be it named or not. */
  readonly allViews?: boolean;
}

/**
 * Attaches one source, of all that the statement has. `sql` is the text that will run: a folder of many files becomes views only as
 * far as it names them. Views are a schema of the database in use, or a database of their own in memory.
 */
export async function attach(
  connection: DuckDBConnection,
  source: Attachment,
  { sql, attachments, allViews = false }: AttachRequest,
  views: 'schema' | 'database' = 'schema',
): Promise<void> {
  try {
    switch (source.kind) {
      case 'postgres':
      case 'mysql':
        await attachServer(connection, source);
        return;
      case 'sqlite':
        await requireFile(source);
        await connection.run(
          `ATTACH ${literal(source.path)} AS ${identifier(source.alias)} (TYPE sqlite${source.readOnly ? ', READ_ONLY' : ''})`,
        );
        return;
      case 'files':
        await makeRoom(connection, source, views);
        await attachFolder(connection, source, allViews ? undefined : sql);
        return;
      case 'duckdb':
        await requireFile(source);
        await connection.run(
          `ATTACH ${literal(source.path)} AS ${identifier(source.alias)} (TYPE duckdb, READ_ONLY)`,
        );
        return;
      case 'ducklake':
        await attachLake(connection, source);
        return;
      case 's3':
      case 'http':
        await makeRoom(connection, source, views);
        await attachRemote(connection, source, attachments);
        return;
      default:
        source satisfies never;
    }
  } catch (error) {
    throw failureOf(source, error);
  }
}

async function makeRoom(
  connection: DuckDBConnection,
  { alias }: Attachment,
  views: 'schema' | 'database',
): Promise<void> {
  const name = identifier(alias);
  await connection.run(views === 'schema' ? `CREATE SCHEMA ${name}` : `ATTACH ':memory:' AS ${name}`);
}

/** Of something that was asked of the source alone. */
function failureOf(source: Attachment, error: unknown): unknown {
  if (error instanceof Refusal) return error;
  const info = readDuckDBError(error);
  if (info.type === 'INTERRUPT') return error;
  const message = withoutSecrets(info.message, [source]);
  // Where a file of the server's lies is nobody's business.
  const path = 'path' in source ? source.path : source.kind === 'ducklake' ? pathOf(source) : undefined;
  const plain = path === undefined ? message : message.replaceAll(path, source.alias);
  return sourceFailure(info, [source]) ?? unavailable(source, plain);
}

function pathOf({ catalog }: Lake): string | undefined {
  return catalog.kind === 'file' ? catalog.path : undefined;
}

/** Makes the views of remote sources that the statement names and that are not there yet. */
export async function makeNamedViews(
  connection: DuckDBConnection,
  { sql, attachments }: { readonly sql: string; readonly attachments: readonly Attachment[] },
): Promise<void> {
  for (const source of attachments) {
    if (!isRemote(source)) continue;
    for (const view of viewsNamedIn(sql, source)) {
      try {
        await createView(connection, source.alias, view);
      } catch (error) {
        // In a transaction that has failed nothing is made; the statement hears so itself.
        if (readDuckDBError(error).type !== 'TransactionContext') throw failureOf(source, error);
      }
    }
  }
}

async function attachServer(connection: DuckDBConnection, source: Server): Promise<void> {
  const secret = identifier(`duckcoop_${source.alias}`);
  await connection.run(`CREATE TEMPORARY SECRET ${secret} (${serverSecret(source)})`);
  await connection.run(
    `ATTACH ${literal(settingsOf(source))} AS ${identifier(source.alias)} (TYPE ${source.kind}, SECRET ${secret}${source.readOnly ? ', READ_ONLY' : ''})`,
  );
  await connection.run(`DROP SECRET ${secret}`);
}

/** SQLite makes a file that is not there, and does so only when it is first read from. */
export async function requireFile(source: Attachment): Promise<void> {
  if (source.kind !== 'sqlite' && source.kind !== 'duckdb') return;
  await access(source.path, constants.R_OK).catch((error: NodeJS.ErrnoException) => {
    throw unavailable(source, `the file cannot be read (${error.code})`);
  });
}

/**
 * Has what is kept attached see its sources as they are. The scanners of servers trust the catalog they have read, and crash on, or
 * misread, a table that was changed since: they forget it. That of SQLite opens its file anew for each statement.
 */
export async function refreshCatalogs(
  connection: DuckDBConnection,
  attachments: readonly Attachment[],
): Promise<void> {
  const kinds = new Set(attachments.map(({ kind }) => kind));
  // In a transaction that has failed nothing is answered; and nothing is read then either.
  if (kinds.has('postgres')) await connection.run('CALL pg_clear_cache()').catch(() => undefined);
  if (kinds.has('mysql')) await connection.run('CALL mysql_clear_cache()').catch(() => undefined);
}
