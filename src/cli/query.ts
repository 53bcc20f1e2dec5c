/**
 * `duckcoop query`: one query, its result on standard output or in a file, everything else on standard error.
 * Ctrl-C cancels the query on the server before the command ends.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { cancellable } from './cancellable.ts';
import { ProblemError, readText, type Server, send, serverFrom } from './client.ts';
import { CliError, EXIT, messageOf } from './exit.ts';
import type { OutputFormat } from './formats.ts';
import { sourcesFrom } from './inline-sources.ts';
import { interrupt } from './interrupt.ts';
import { fileOutput, type Output, standardOutput } from './output.ts';
import { parseParams } from './params.ts';
import { formatProblem } from './problem.ts';
import { showProgress } from './progress.ts';
import { type Column, formatTable } from './table.ts';

export interface QueryOptions {
  readonly url?: string;
  readonly keyFile?: string;
  readonly format: OutputFormat;
  readonly source?: readonly string[];
  /** Files, each with a source that the request brings along. */
  readonly inlineSource?: readonly string[];
  readonly session?: string;
  readonly param?: readonly string[];
  /** Rows at most; a table has its own default, everything else none. */
  readonly limit?: number;
  /** A file; standard output without. */
  readonly output?: string;
}

/** A table is held in memory and read by a person; whoever wants more asks for it, or for another format. */
const TABLE_ROWS = 10_000;

const BINARY: ReadonlySet<OutputFormat> = new Set(['arrow', 'parquet']);

/** `-` reads the SQL from standard input. Rejects with {@link CliError} for everything that goes wrong. */
export async function queryCommand(sql: string, options: QueryOptions): Promise<void> {
  const server = serverFrom(options);
  const { format } = options;
  if (BINARY.has(format) && options.output === undefined && process.stdout.isTTY) {
    throw new CliError(EXIT.usage, `${format} is not for a terminal: name a file with -o, or pipe it on`);
  }
  const params = parseParams(options.param ?? []);
  const sources = sourcesFrom(options.source, options.inlineSource);
  const output = options.output === undefined ? standardOutput() : await fileOutput(options.output);
  const limit = options.limit ?? (format === 'table' ? TABLE_ROWS : undefined);
  const queryId = randomUUID();
  const body = {
    sql: sql === '-' ? await readText(process.stdin as unknown as IncomingMessage) : sql,
    query_id: queryId,
    format: format === 'table' ? 'json' : format,
    ...(params !== undefined && { params }),
    ...(sources !== undefined && { sources }),
    ...(options.session !== undefined && { session: options.session }),
    ...(limit !== undefined && { row_limit: limit }),
  };

  const interrupted = interrupt();
  try {
    const running = { server, path: pathOf(queryId), name: `query ${queryId}` };
    await cancellable(running, interrupted, async (signal) => {
      const done = showProgress(process.stderr, server, queryId);
      const reply = await send(server, 'POST', 'v1/query', { body, signal }).finally(done);
      if (format === 'table') await writeTable(reply, output, options.output === undefined);
      else await output.write(wholeOnly(reply, format !== 'json'));
    });
  } catch (error) {
    throw await explained(error, server, queryId);
  } finally {
    interrupted.release();
  }
}

interface JsonReply {
  readonly columns: readonly Column[];
  readonly data: readonly (readonly unknown[])[];
  readonly row_count: number;
  readonly truncated?: boolean;
  readonly stats?: { readonly total_ms?: number };
}

async function writeTable(reply: IncomingMessage, output: Output, forPeople: boolean): Promise<void> {
  const result = JSON.parse(await readText(reply)) as JsonReply;
  const width = forPeople && process.stdout.isTTY ? process.stdout.columns : undefined;
  const text = result.columns.length === 0 ? '' : `${formatTable(result.columns, result.data, width)}\n`;
  await output.write(Readable.from([text]));
  const count = `${result.row_count} ${result.row_count === 1 ? 'row' : 'rows'}`;
  const cut =
    result.truncated === true ? ', and there are more: --limit takes them, or another --format' : '';
  const time = result.stats?.total_ms === undefined ? '' : ` in ${result.stats.total_ms} ms`;
  process.stderr.write(`${count}${time}${cut}\n`);
}

/** The bytes of a reply, which fail at their end unless the server says there that the query succeeded, where it does say so. */
function wholeOnly(reply: IncomingMessage, hasTrailers: boolean): Readable {
  return Readable.from(
    (async function* () {
      yield* reply;
      const status = reply.trailers['x-query-status'];
      if (status === 'succeeded' || (status === undefined && !hasTrailers)) return;
      throw new Error(status === undefined ? 'its end is missing' : `the query ended as ${status}`);
    })(),
    { objectMode: false },
  );
}

async function explained(error: unknown, server: Server, queryId: string): Promise<unknown> {
  if (error instanceof ProblemError) {
    const { problem, retryAfter } = error;
    return new CliError(EXIT.failed, formatProblem(problem, retryAfter), {
      code: problem.code,
      cause: error,
    });
  }
  if (error instanceof CliError) return error;
  if (error instanceof SyntaxError) {
    return new CliError(EXIT.failed, `the reply is no JSON: ${error.message}`, { cause: error });
  }
  const why = (await causeOf(server, queryId)) ?? messageOf(error);
  return new CliError(EXIT.failed, `the result is not whole: ${why}`, { cause: error });
}

/** A cut stream carries no reason; the query's entry on the server does. */
async function causeOf(server: Server, queryId: string): Promise<string | undefined> {
  try {
    const reply = await send(server, 'GET', pathOf(queryId), { signal: AbortSignal.timeout(2_000) });
    const { error } = JSON.parse(await readText(reply)) as { error?: { code?: unknown; detail?: unknown } };
    if (typeof error?.code !== 'string') return undefined;
    return `${error.code}: ${formatProblem({ ...error, code: error.code, detail: String(error.detail ?? '') })}`;
  } catch {
    return undefined;
  }
}

function pathOf(queryId: string): string {
  return `v1/queries/${encodeURIComponent(queryId)}`;
}
