/**
 * `duckcoop export`: a query whose result becomes files on the server; their links, or the files themselves with `-o`.
 * Ctrl-C cancels the export on the server, or, once it is finished, the download.
 */
import type { IncomingMessage } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { bytes, duration } from './amounts.ts';
import { ask, notDuckcoop, type ServerOptions } from './ask.ts';
import { cancellable } from './cancellable.ts';
import { type Problem, readText, type Server, serverFrom } from './client.ts';
import { download, type RemoteFile } from './download.ts';
import { CliError, EXIT } from './exit.ts';
import { sourcesFrom } from './inline-sources.ts';
import { interrupt } from './interrupt.ts';
import { parseParams } from './params.ts';
import { formatProblem } from './problem.ts';
import { showProgress } from './progress.ts';
import { formatTable } from './table.ts';
import { visible, visibleJson } from './visible.ts';

export interface ExportOptions extends ServerOptions {
  readonly format?: string;
  readonly compression?: string;
  readonly partitionBy?: readonly string[];
  readonly fileSize?: string;
  readonly source?: readonly string[];
  /** Files, each with a source that the request brings along. */
  readonly inlineSource?: readonly string[];
  readonly param?: readonly string[];
  /** `s3:ALIAS/PREFIX`; on the server without. */
  readonly to?: string;
  /** A folder that the files are fetched into. */
  readonly output?: string;
  /** The document in place of its links. */
  readonly json?: boolean;
}

export type FetchOptions = ServerOptions & Pick<ExportOptions, 'output' | 'json'>;

/** An export as the server tells of it. */
type Document = Readonly<Record<string, unknown>>;

/** Milliseconds from one question for its state to the next. */
const ASKED_EVERY = { first: 100, longest: 1_000 };

/** `-` reads the SQL from standard input. Rejects with {@link CliError} for everything that goes wrong. */
export async function exportCommand(sql: string, options: ExportOptions): Promise<void> {
  const server = serverFrom(options);
  const params = parseParams(options.param ?? []);
  const sources = sourcesFrom(options.source, options.inlineSource);
  const destination = options.to === undefined ? undefined : destinationFrom(options.to);
  if (destination !== undefined && options.output !== undefined) {
    throw new CliError(EXIT.usage, '-o fetches files that the server keeps; with --to it keeps none');
  }
  const body = {
    sql: sql === '-' ? await readText(process.stdin as unknown as IncomingMessage) : sql,
    params,
    sources,
    format: options.format,
    compression: options.compression,
    partition_by: options.partitionBy,
    file_size: options.fileSize,
    destination,
  };
  const interrupted = interrupt();
  try {
    const { export_id: id } = await ask(server, 'POST', 'v1/exports', { body });
    if (typeof id !== 'string') throw notDuckcoop(server);
    const running = { server, path: pathOf(id), name: `export ${id}` };
    let finished: Document | undefined;
    await cancellable(running, interrupted, async (signal) => {
      const done = showProgress(process.stderr, server, id);
      finished = await ended(server, id, signal).finally(done);
    });
    await deliver(server, id, finished as unknown as Document, options, interrupted.signal);
  } finally {
    interrupted.release();
  }
}

/** The files of an export that has ended, or ends one day; an interrupt stops nothing but the command. */
export async function fetchCommand(id: string, options: FetchOptions): Promise<void> {
  const server = serverFrom(options);
  const interrupted = interrupt();
  try {
    const document = await ended(server, id, interrupted.signal);
    await deliver(server, id, document, options, interrupted.signal);
  } finally {
    interrupted.release();
  }
}

/** Stops it where it runs, and deletes its files. */
export async function deleteCommand(id: string, options: ServerOptions): Promise<void> {
  const server = serverFrom(options);
  const { outcome } = await ask(server, 'DELETE', pathOf(id));
  if (typeof outcome !== 'string') throw notDuckcoop(server);
  process.stdout.write(`${outcome === 'already_finished' ? 'deleted' : visible(outcome)}\n`);
}

/** Once it has ended. Rejects with what it failed of. */
async function ended(server: Server, id: string, signal: AbortSignal): Promise<Document> {
  let pauseMs = ASKED_EVERY.first;
  for (;;) {
    const document = await ask(server, 'GET', pathOf(id), { signal });
    if (document.state === 'succeeded') return document;
    if (document.state !== 'queued' && document.state !== 'running') throw failureOf(server, document);
    await pause(pauseMs, undefined, { signal });
    pauseMs = Math.min(ASKED_EVERY.longest, pauseMs * 1.5);
  }
}

async function deliver(
  server: Server,
  id: string,
  document: Document,
  { output, json = false }: Pick<ExportOptions, 'output' | 'json'>,
  signal: AbortSignal,
): Promise<void> {
  const files = filesOf(server, document);
  const paths = output === undefined ? undefined : await fetchAll(server, id, files, output, signal);
  if (json) process.stdout.write(`${visibleJson(document)}\n`);
  else if (paths !== undefined) for (const path of paths) process.stdout.write(`${visible(path)}\n`);
  else if (files.length > 0) process.stdout.write(`${listOf(files)}\n`);
  process.stderr.write(`${summaryOf(document, files)}\n`);
}

/** One after the other. An interrupt leaves those that are whole, and the export on the server. */
async function fetchAll(
  server: Server,
  id: string,
  files: readonly RemoteFile[],
  folder: string,
  signal: AbortSignal,
): Promise<string[]> {
  const line = downloadLine(files.reduce((sum, file) => sum + file.bytes, 0));
  try {
    const paths: string[] = [];
    for (const file of files) {
      const renew = async () => {
        const again = filesOf(server, await ask(server, 'GET', pathOf(id), { signal }));
        const same = again.find(({ path }) => path === file.path);
        if (same === undefined)
          throw new CliError(EXIT.failed, `export ${id} has no file ${file.path} any more`);
        return same;
      };
      paths.push(await download({ folder, file, renew, signal, onBytes: line.add }));
    }
    return paths;
  } catch (error) {
    if (!signal.aborted) throw error;
    const again = `duckcoop exports get ${id} -o FOLDER`;
    throw new CliError(EXIT.failed, `interrupted; the export stays on the server: ${again}`, {
      cause: error,
    });
  } finally {
    line.end();
  }
}

/** How much of all files is here, on a terminal. */
function downloadLine(total: number): { readonly add: (count: number) => void; readonly end: () => void } {
  const { stderr } = process;
  if (!stderr.isTTY) return { add: () => undefined, end: () => undefined };
  let has = 0;
  const timer = setInterval(() => {
    stderr.write(`\r\x1b[K${bytes(has)} of ${bytes(total)} fetched; Ctrl-C stops`);
  }, 250);
  return {
    add: (count) => {
      has += count;
    },
    end: () => {
      clearInterval(timer);
      stderr.write('\r\x1b[K');
    },
  };
}

function listOf(files: readonly RemoteFile[]): string {
  const columns = [
    { name: 'file', type: 'VARCHAR' },
    { name: 'size', type: 'BIGINT' },
    { name: 'link', type: 'VARCHAR' },
  ];
  // As wide as it is: a link that is cut is none.
  return formatTable(
    columns,
    files.map((file) => [file.path, bytes(file.bytes), file.url ?? '']),
  );
}

function summaryOf(document: Document, files: readonly RemoteFile[]): string {
  const { export_id: id, rows, bytes: size, created_at: from, finished_at: to } = document;
  return [
    String(id),
    `${String(rows)} ${rows === 1 ? 'row' : 'rows'}`,
    ...(typeof size === 'number' ? [bytes(size)] : []),
    `${files.length} ${files.length === 1 ? 'file' : 'files'}`,
    ...(typeof from === 'number' && typeof to === 'number' ? [duration(Math.max(0, to - from))] : []),
  ].join(', ');
}

function filesOf(server: Server, document: Document): RemoteFile[] {
  const { files } = document;
  if (!Array.isArray(files)) throw notDuckcoop(server);
  return files.map((file: unknown) => {
    const { path, bytes: size, url } = (file ?? {}) as Record<string, unknown>;
    const isLink = url === null || (typeof url === 'string' && /^https?:\/\//.test(url) && URL.canParse(url));
    if (typeof path !== 'string' || typeof size !== 'number' || !isLink) throw notDuckcoop(server);
    return { path, bytes: size, url: url as string | null };
  });
}

function failureOf(server: Server, { error, state }: Document): CliError {
  const { code, detail } = (error ?? {}) as Record<string, unknown>;
  if (typeof code !== 'string') return notDuckcoop(server);
  const problem: Problem = { ...(error as Document), code, detail: String(detail ?? state) };
  return new CliError(EXIT.failed, formatProblem(problem), { code });
}

function destinationFrom(text: string) {
  const [, source, prefix] = /^s3:([^/]+)(?:\/(.*))?$/.exec(text) ?? [];
  if (source === undefined) {
    throw new CliError(EXIT.usage, `--to: expected s3:ALIAS/PREFIX, got ${JSON.stringify(text)}`);
  }
  return { kind: 's3', source, prefix: prefix ?? '' };
}

function pathOf(id: string): string {
  return `v1/exports/${encodeURIComponent(id)}`;
}
