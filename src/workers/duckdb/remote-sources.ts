/**
 * Object storage and web servers: their credentials are a secret of the instance, for paths below the source alone, and stay there as
 * long as it does. Nothing is asked of the server before a statement reads from it.
 */
import { access, constants } from 'node:fs/promises';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Attachment } from '../protocol.ts';
import { webGateway } from '../web-gateway.ts';
import { isNamedIn, readerOf, type SourceView } from './file-views.ts';
import { identifier, literal } from './quote.ts';
import { Refusal } from './refusal.ts';
import { type Bucket, isRemote, type RemoteSource, type Site } from './remote-kinds.ts';
import { unavailable } from './source-failure.ts';

/** Gives the instance what the source needs. Throws a {@link Refusal} where DuckDB could not tell it from another one. */
export async function attachRemote(
  connection: DuckDBConnection,
  source: RemoteSource,
  others: readonly Attachment[],
): Promise<void> {
  for (const other of others) {
    if (other === source || !isRemote(other)) continue;
    const and = `${source.alias} and ${other.alias}`;
    if (other.url === source.url) throw Refusal.invalid('sources', `${and} both begin with ${source.url}`);
    // DuckDB has one such setting.
    if (source.sslCa !== undefined && other.sslCa !== undefined && other.sslCa !== source.sslCa)
      throw Refusal.invalid('sources', `${and} have another ssl_ca each, and cannot be in one query`);
  }
  if (source.sslCa !== undefined) {
    await access(source.sslCa, constants.R_OK).catch((error: NodeJS.ErrnoException) => {
      throw unavailable(source, `its ssl_ca cannot be read (${error.code})`);
    });
    await connection.run(`SET GLOBAL ca_cert_file=${literal(source.sslCa)}`);
  }
  const fields = source.kind === 's3' ? bucketSecret(source) : await siteSecret(source);
  const secret = identifier(`duckcoop_${source.alias}`);
  await connection.run(
    `CREATE TEMPORARY SECRET ${secret} (${[...fields, `SCOPE ${literal(source.url)}`].join(', ')})`,
  );
}

function bucketSecret(source: Bucket): string[] {
  const { keyId, secret, sessionToken, region, endpoint, urlStyle, useSsl } = source;
  return [
    'TYPE s3',
    'PROVIDER config',
    ...optional('KEY_ID', keyId),
    ...optional('SECRET', secret),
    ...optional('SESSION_TOKEN', sessionToken),
    `REGION ${literal(region)}`,
    ...optional('ENDPOINT', endpoint),
    `URL_STYLE ${literal(urlStyle)}`,
    `USE_SSL ${useSsl}`,
  ];
}

async function siteSecret({ url, bearerToken, headers }: Site): Promise<string[]> {
  const { proxy, user, password } = await webGateway.passFor(url);
  const extra = Object.entries(headers).map(([name, value]) => `${literal(name)}: ${literal(value)}`);
  return [
    'TYPE http',
    ...optional('BEARER_TOKEN', bearerToken),
    ...(extra.length === 0 ? [] : [`EXTRA_HTTP_HEADERS MAP {${extra.join(', ')}}`]),
    `HTTP_PROXY ${literal(proxy)}`,
    `HTTP_PROXY_USERNAME ${literal(user)}`,
    `HTTP_PROXY_PASSWORD ${literal(password)}`,
  ];
}

function optional(name: string, value: string | undefined): string[] {
  return value === undefined ? [] : [`${name} ${literal(value)}`];
}

/**
 * The configured views that a statement may mean. Only those are made, for to make one is to read from the server: what is named so
 * and is something else costs time and nothing more.
 */
export function viewsNamedIn(sql: string, source: RemoteSource): SourceView[] {
  if (!isNamedIn(sql, source.alias)) return [];
  return source.views
    .filter(({ name }) => isNamedIn(sql, name))
    .map(({ name, path, format }) => {
      const reader = format === undefined ? readerOf(path) : `read_${format}`;
      if (reader === undefined)
        throw unavailable(source, `the view ${name} needs a format: its path ${path} does not tell`);
      return { name, files: `${source.url}${path}`, reader };
    });
}
