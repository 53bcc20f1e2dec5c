/** Where the paths of a source begin, whose paths they are, and whether it takes what is written. Pure. */
import type { HttpSource, S3Source, SourceConfig } from './sources.ts';

/** `s3://bucket/` or `s3://bucket/prefix/`. */
export function bucketUrl({ bucket, prefix }: Pick<S3Source, 'bucket' | 'prefix'>): string {
  return `s3://${bucket}/${prefix === '' ? '' : `${prefix.replace(/\/+$/, '')}/`}`;
}

/** The `s3` source with the longest prefix that a URL begins with: the one whose keys it is read with. */
export function bucketOf(url: string, sources: Sources): { alias: string; source: S3Source } | undefined {
  const bucket = /^s3:\/\/([^/]+)/.exec(url)?.[1] ?? '';
  let found: { alias: string; source: S3Source; url: string } | undefined;
  for (const { alias, source } of bucketsOf(sources).get(bucket) ?? []) {
    const prefix = bucketUrl(source);
    if (!`${url}/`.startsWith(prefix) || prefix.length <= (found?.url.length ?? 0)) continue;
    found = { alias, source, url: prefix };
  }
  return found;
}

type Sources = Readonly<Record<string, SourceConfig>>;
type Buckets = ReadonlyMap<string, readonly { readonly alias: string; readonly source: S3Source }[]>;

/** Looked for once for all the sources of a configuration, which do not change: there may be ten thousand, and as many who ask. */
const buckets = new WeakMap<Sources, Buckets>();

function bucketsOf(sources: Sources): Buckets {
  const known = buckets.get(sources);
  if (known !== undefined) return known;
  const found = new Map<string, { alias: string; source: S3Source }[]>();
  for (const [alias, source] of Object.entries(sources)) {
    if (source.kind !== 's3') continue;
    const same = found.get(source.bucket);
    if (same === undefined) found.set(source.bucket, [{ alias, source }]);
    else same.push({ alias, source });
  }
  buckets.set(sources, found);
  return found;
}

/** `https://host/` or `https://host/folder/`. */
export function siteUrl({ url }: Pick<HttpSource, 'url'>): string {
  return url.endsWith('/') ? url : `${url}/`;
}

/** What files may be written to below `url`; undefined for a source that takes none. */
export interface Destination {
  /** Ends with a `/`. */
  readonly url: string;
}

/** Only of a bucket that the configuration says `read_only: false` of. */
export function destinationOf(source: SourceConfig): Destination | undefined {
  return source.kind === 's3' && !source.read_only ? { url: bucketUrl(source) } : undefined;
}
