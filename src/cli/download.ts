/**
 * Files of an export, fetched into a folder: each is whole or not there. What is cut goes on where it was, for as long as
 * something comes within {@link PATIENCE_MS}.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { basename, dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { readText } from './client.ts';
import { CliError, EXIT, messageOf } from './exit.ts';

/** As the server tells of it. */
export interface RemoteFile {
  /** Below the folder, its parts parted by `/`. */
  readonly path: string;
  readonly bytes: number;
  /** Null while nobody serves files. */
  readonly url: string | null;
}

export interface DownloadOptions {
  readonly folder: string;
  readonly file: RemoteFile;
  /** Asks the server for the file anew: links expire, and change when the server is started anew. */
  readonly renew: () => Promise<RemoteFile>;
  readonly signal: AbortSignal;
  /** Told of bytes as they come; of as many below zero as were in vain. */
  readonly onBytes: (count: number) => void;
}

/** Milliseconds without a byte after which nothing more is expected. */
const PATIENCE_MS = 30_000;
const RETRY_MS = { first: 200, longest: 3_000 };

/** What a later attempt may do about: the connection was cut, or the link is not good any more. */
class CutError extends Error {
  override readonly name = 'CutError';
  readonly wantsNewLink: boolean;

  constructor(message: string, wantsNewLink: boolean, cause?: unknown) {
    super(message, { cause });
    this.wantsNewLink = wantsNewLink;
  }
}

/** Resolves with the path of the whole file. Rejects with a {@link CliError}, or with the signal's reason. */
export async function download(options: DownloadOptions): Promise<string> {
  const { folder, file } = options;
  const target = join(folder, ...partsOf(file.path));
  const temporary = join(dirname(target), `.${basename(target)}.${randomUUID()}`);
  try {
    await mkdir(dirname(target), { recursive: true });
    const handle = await open(temporary, 'wx');
    try {
      await fill(handle, options);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, target);
    return target;
  } catch (error) {
    await rm(temporary, { force: true });
    if (options.signal.aborted) throw options.signal.reason;
    if (error instanceof CliError) throw error;
    throw new CliError(EXIT.failed, `cannot fetch ${file.path}: ${messageOf(error)}`, { cause: error });
  }
}

/** Of the file that is there and the one that is wanted, the same bytes and as many. */
async function fill(handle: FileHandle, options: DownloadOptions): Promise<void> {
  const { renew, signal, onBytes } = options;
  let { file } = options;
  let has = 0;
  let etag: string | undefined;
  let last = performance.now();
  let pauseMs = RETRY_MS.first;
  for (;;) {
    try {
      if (file.url === null) throw new CutError('nobody serves files at the moment', true);
      const reply = await get(file.url, has, etag, signal);
      if (reply.statusCode === 200 && has > 0) {
        // It is another file by now.
        onBytes(-has);
        has = 0;
        await handle.truncate(0);
      }
      ({ etag } = reply.headers);
      for await (const chunk of pieces(reply)) {
        await handle.write(chunk, 0, chunk.length, has);
        has += chunk.length;
        onBytes(chunk.length);
        last = performance.now();
        pauseMs = RETRY_MS.first;
        if (has > file.bytes) break;
      }
      if (has === file.bytes) return;
      throw new Error(`it has ${has} bytes or more, and the server says ${file.bytes}`);
    } catch (error) {
      if (!(error instanceof CutError) || performance.now() - last > PATIENCE_MS) throw error;
      await pause(pauseMs, undefined, { signal });
      pauseMs = Math.min(RETRY_MS.longest, pauseMs * 2);
      if (error.wantsNewLink) file = await renew();
    }
  }
}

/** A reply with the file from byte `from` on, or with all of it. */
async function get(
  link: string,
  from: number,
  etag: string | undefined,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const url = new URL(link);
  const isPart = from > 0 && etag !== undefined;
  const headers = isPart ? { Range: `bytes=${from}-`, 'If-Range': etag } : {};
  const reply = await new Promise<IncomingMessage>((resolve, reject) => {
    const asked = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, {
      ...{ agent: false, headers, signal, timeout: PATIENCE_MS },
    });
    asked.on('response', resolve);
    asked.on('timeout', () => asked.destroy(new Error('nothing comes')));
    asked.on('error', (error) => reject(new CutError(messageOf(error), false, error)));
    asked.end();
  });
  const { statusCode: status = 0, headers: got } = reply;
  if (status === 200) return reply;
  if (status === 206 && isPart && got['content-range']?.startsWith(`bytes ${from}-`)) return reply;
  const said = await readText(reply).catch(() => '');
  const why = `${url.host} answered ${status}${detailOf(said)}`;
  // Expired; signed by the server as it was before; too many at once, or a proxy before a process that is being started.
  if ([403, 410, 429, 502, 503, 504].includes(status))
    throw new CutError(why, status === 403 || status === 410);
  throw new Error(why);
}

async function* pieces(reply: IncomingMessage): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of reply) yield chunk as Buffer;
  } catch (error) {
    throw new CutError(messageOf(error), false, error);
  }
}

function detailOf(text: string): string {
  try {
    const { detail } = JSON.parse(text) as { detail?: unknown };
    return typeof detail === 'string' ? `: ${detail}` : '';
  } catch {
    return '';
  }
}

/** What a server says of a path never leads out of the folder. */
function partsOf(path: string): string[] {
  const parts = path.split('/');
  if (parts.some((part) => ['', '.', '..'].includes(part) || /[\0\\]/.test(part))) {
    throw new CliError(
      EXIT.failed,
      `the server names a file ${JSON.stringify(path)}, which is no path below a folder`,
    );
  }
  return parts;
}
