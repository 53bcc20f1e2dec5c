/** Where the paths of a source begin, and whether it takes what is written. Pure. */
import type { HttpSource, S3Source, SourceConfig } from './sources.ts';

/** `s3://bucket/` or `s3://bucket/prefix/`. */
export function bucketUrl({ bucket, prefix }: Pick<S3Source, 'bucket' | 'prefix'>): string {
  return `s3://${bucket}/${prefix === '' ? '' : `${prefix.replace(/\/+$/, '')}/`}`;
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
