/**
 * Object storage: its credentials are a secret of the instance, for paths below the source alone, and stay there as long as it
 * does. Nothing is asked of the server before a statement reads from it.
 */
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Attachment } from '../protocol.ts';
import { isNamedIn, readerOf, type SourceView } from './file-views.ts';
import { identifier, literal } from './quote.ts';
import { Refusal } from './refusal.ts';
import type { RemotePrefix } from './remote-paths.ts';
import { unavailable } from './source-failure.ts';

type Bucket = Extract<Attachment, { kind: 's3' }>;
export type RemoteSource = Bucket;

export function isRemote(source: Attachment): source is RemoteSource {
  return source.kind === 's3';
}

/** What every path of the source begins with; undefined for sources that have no such paths. */
export function remotePrefixOf(source: Attachment): RemotePrefix | undefined {
  return isRemote(source) ? source.url : undefined;
}

/** Its secret. Throws a {@link Refusal} where DuckDB could not tell it from another one. */
export async function attachRemote(
  connection: DuckDBConnection,
  source: RemoteSource,
  others: readonly Attachment[],
): Promise<void> {
  const same = others.find((other) => other !== source && remotePrefixOf(other) === source.url);
  if (same !== undefined)
    throw Refusal.invalid('sources', `${source.alias} and ${same.alias} both begin with ${source.url}`);
  await connection.run(
    `CREATE TEMPORARY SECRET ${identifier(`duckcoop_${source.alias}`)} (${secretOf(source).join(', ')})`,
  );
}

function secretOf({
  url,
  keyId,
  secret,
  sessionToken,
  region,
  endpoint,
  urlStyle,
  useSsl,
}: Bucket): string[] {
  const optional = (name: string, value: string | undefined) =>
    value === undefined ? [] : [`${name} ${literal(value)}`];
  return [
    'TYPE s3',
    'PROVIDER config',
    `SCOPE ${literal(url)}`,
    ...optional('KEY_ID', keyId),
    ...optional('SECRET', secret),
    ...optional('SESSION_TOKEN', sessionToken),
    `REGION ${literal(region)}`,
    ...optional('ENDPOINT', endpoint),
    `URL_STYLE ${literal(urlStyle)}`,
    `USE_SSL ${useSsl}`,
  ];
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
