/** The kinds of sources that are read by paths of their own: object storage and web servers. */
import type { Attachment } from '../protocol.ts';
import type { RemotePrefix } from './remote-paths.ts';

export type Bucket = Extract<Attachment, { kind: 's3' }>;
export type Site = Extract<Attachment, { kind: 'http' }>;
export type RemoteSource = Bucket | Site;

export function isRemote(source: Attachment): source is RemoteSource {
  return source.kind === 's3' || source.kind === 'http';
}

/** What every path of the source begins with; undefined for sources that have no such paths. */
export function remotePrefixOf(source: Attachment): RemotePrefix | undefined {
  if (source.kind === 'ducklake') return source.bucket === undefined ? undefined : source.dataPath;
  return isRemote(source) ? source.url : undefined;
}
