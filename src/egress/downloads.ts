/** What the egress process answers: files of finished exports to whoever has a link to them, and to all others why not. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { basename, extname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import contentDisposition from 'content-disposition';
import { Failure, forbidden, toFailure } from '../failures.ts';
import { httpDate, wantedOf } from './conditions.ts';
import { type ExportFile, openExportFile } from './export-file.ts';
import { verifyLink } from './links.ts';

export interface DownloadsOptions {
  /** Of all exports. */
  readonly folder: string;
  /** What the links are signed with. */
  readonly key: Uint8Array;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Told what only the log is to know. */
  readonly onError: (error: unknown) => void;
}

/** Bytes that are read at once. */
const CHUNK = 256 * 1024;

const MEDIA_TYPES: Readonly<Record<string, string>> = {
  '.parquet': 'application/vnd.apache.parquet',
  '.csv': 'text/csv; charset=utf-8',
  '.ndjson': 'application/x-ndjson',
  '.gz': 'application/gzip',
  '.zst': 'application/zstd',
};

export function downloads(options: DownloadsOptions): RequestListener {
  return (request, response) => {
    // Nobody sends a body here; what comes of one is taken off the wire.
    request.resume();
    answer(options, request, response).catch((error: unknown) => refuse(options, request, response, error));
  };
}

async function answer(
  { folder, key, now }: DownloadsOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { method, url = '' } = request;
  if (method !== 'GET' && method !== 'HEAD') {
    throw new Failure('METHOD_NOT_ALLOWED', `Files are read with GET and HEAD, not with ${method}.`, {
      headers: { Allow: 'GET, HEAD' },
    });
  }
  const verdict = verifyLink(key, url, now());
  if (!verdict.ok) throw whyNot(verdict.why);
  const file = await openExportFile(folder, [verdict.exportId, ...verdict.path.split('/')]);
  if (file === undefined) throw unknownFile();
  try {
    await send(method, request, response, file, basename(verdict.path));
  } finally {
    await file.handle.close();
  }
}

async function send(
  method: 'GET' | 'HEAD',
  request: IncomingMessage,
  response: ServerResponse,
  file: ExportFile,
  name: string,
): Promise<void> {
  const { size, etag, modifiedAt } = file;
  const wanted = wantedOf(method, request.headers, file);
  if (wanted.kind === 'unsatisfiable') {
    throw new Failure('RANGE_NOT_SATISFIABLE', `The file has ${size} bytes, and none in that range.`, {
      headers: { 'Content-Range': `bytes */${size}` },
    });
  }
  setCommonHeaders(response);
  // The link is a key: no cache that others use may keep what it opens.
  response.setHeader('Cache-Control', 'private, no-cache');
  response.setHeader('ETag', etag);
  response.setHeader('Last-Modified', httpDate(modifiedAt));
  response.setHeader('Accept-Ranges', 'bytes');
  if (wanted.kind === 'unchanged') {
    response.writeHead(304).end();
    return;
  }
  const { start, end } = wanted.kind === 'part' ? wanted : { start: 0, end: size - 1 };
  response.statusCode = wanted.kind === 'part' ? 206 : 200;
  if (wanted.kind === 'part') response.setHeader('Content-Range', `bytes ${start}-${end}/${size}`);
  response.setHeader('Content-Length', end - start + 1);
  response.setHeader('Content-Type', MEDIA_TYPES[extname(name)] ?? 'application/octet-stream');
  response.setHeader('Content-Disposition', contentDisposition(name));
  if (method === 'HEAD' || size === 0) {
    response.end();
    return;
  }
  const bytes = file.handle.createReadStream({ start, end, highWaterMark: CHUNK, autoClose: false });
  try {
    await pipeline(bytes, response, { end: false });
  } catch {
    // The reader has gone; or the disk failed, and only a cut connection can say so now.
    response.destroy();
    return;
  }
  // A file that has become shorter must not look whole.
  if (bytes.bytesRead === end - start + 1) response.end();
  else response.destroy();
}

function refuse(
  { onError }: DownloadsOptions,
  { method }: IncomingMessage,
  response: ServerResponse,
  error: unknown,
): void {
  const failure = isExhausted(error)
    ? new Failure('OVERLOADED', 'Too many files are being read.', { retryAfter: 5 })
    : toFailure(error);
  if (failure.code === 'INTERNAL') onError(error);
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const body = JSON.stringify(failure.toProblem());
  setCommonHeaders(response);
  for (const [name, value] of Object.entries(failure.headers)) response.setHeader(name, value);
  response.setHeader('Cache-Control', 'no-store');
  response.setHeader('Content-Type', 'application/problem+json');
  response.setHeader('Content-Length', Buffer.byteLength(body));
  response.statusCode = failure.status;
  response.end(method === 'HEAD' ? undefined : body);
}

/** Nothing that is served may run in a browser, nor tell the next server under which link it was found. */
function setCommonHeaders(response: ServerResponse): void {
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('Content-Security-Policy', "default-src 'none'; sandbox");
  response.setHeader('Referrer-Policy', 'no-referrer');
}

function whyNot(why: 'unknown' | 'forged' | 'expired'): Failure {
  switch (why) {
    case 'unknown':
      return unknownFile();
    case 'forged':
      return forbidden(
        'link',
        'signature',
        'This link was not made by the server that runs now, or not as it stands here. Ask for the export again.',
      );
    case 'expired':
      return new Failure('LINK_EXPIRED', 'This link has expired. Ask for the export again: it has new ones.');
  }
}

function unknownFile(): Failure {
  return new Failure('NOT_FOUND', 'There is no such file of a finished export.');
}

/** No descriptor is left (open(2)). */
function isExhausted(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === 'EMFILE' || code === 'ENFILE';
}
