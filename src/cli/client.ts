/**
 * HTTP to a Duckcoop server, over node:http rather than fetch: a query may take longer than the five minutes after
 * which fetch gives up on a reply, and fetch hides the trailers that say how a stream ended.
 */
import { readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { CliError, EXIT, messageOf } from './exit.ts';

export interface Server {
  readonly url: URL;
  readonly key: string | undefined;
  /** Where the key comes from, to be said where it is refused. */
  readonly keyOrigin: string;
}

export interface RequestOptions {
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

/** The problem document of RFC 9457, as far as the command line reads it. */
export type Problem = Readonly<Record<string, unknown>> & { readonly code: string; readonly detail: string };

/** The server refused or failed the request, and said why. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  readonly problem: Problem;
  /** Seconds from `Retry-After`. */
  readonly retryAfter: string | undefined;

  constructor(problem: Problem, retryAfter?: string) {
    super(problem.detail);
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
}

/**
 * The server that the options and the environment name. The key comes from a file or from `DUCKCOOP_KEY`, never from
 * an argument: everybody on the machine can read those.
 */
export function serverFrom(options: { readonly url?: string; readonly keyFile?: string }): Server {
  const text = options.url ?? process.env.DUCKCOOP_URL ?? 'http://127.0.0.1:8480';
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new CliError(
      EXIT.usage,
      `expected a URL such as http://127.0.0.1:8480, got ${JSON.stringify(text)}`,
    );
  }
  const url = new URL(text);
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  const keyOrigin = options.keyFile ?? 'DUCKCOOP_KEY';
  const key = (options.keyFile === undefined ? process.env.DUCKCOOP_KEY : readKey(options.keyFile))?.trim();
  if (key !== undefined && !/^[\x21-\x7e]+$/.test(key)) {
    throw new CliError(
      EXIT.usage,
      `${keyOrigin} holds no key: expected one line of visible ASCII characters`,
    );
  }
  return { url, key, keyOrigin };
}

function readKey(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new CliError(EXIT.usage, `cannot read the key: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * Sends a request; resolves with a reply of status 2xx, its body unread. Rejects with {@link ProblemError}, with a
 * {@link CliError} when the server cannot be reached or is no Duckcoop server, or with the signal's reason.
 */
export async function send(
  server: Server,
  method: string,
  path: string,
  options: RequestOptions = {},
): Promise<IncomingMessage> {
  const reply = await exchange(server, method, path, options);
  const status = reply.statusCode ?? 0;
  if (status >= 200 && status < 300) return reply;
  const problem = asProblem(await readText(reply));
  if (problem !== undefined)
    throw new ProblemError(withAdvice(problem, server), reply.headers['retry-after']);
  throw new CliError(
    EXIT.failed,
    `${server.url.href} answered ${status} ${reply.statusMessage ?? ''}`.trimEnd() +
      ', and not as Duckcoop does',
  );
}

/** The server says the same of every key it refuses; only this side knows whether there was one. */
function withAdvice(problem: Problem, { key, keyOrigin }: Server): Problem {
  if (problem.code !== 'UNAUTHENTICATED') return problem;
  const detail =
    key === undefined
      ? 'the server asks for a key: set DUCKCOOP_KEY, or name the file that holds it with --key-file'
      : `the server does not take the key of ${keyOrigin}`;
  return { ...problem, detail };
}

function exchange(
  server: Server,
  method: string,
  path: string,
  { body, headers, signal }: RequestOptions,
): Promise<IncomingMessage> {
  const url = new URL(path, server.url);
  const payload = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, {
      method,
      agent: false,
      headers: {
        ...headers,
        ...(payload !== undefined && {
          'Content-Type': 'application/json',
          'Content-Length': Buffer.byteLength(payload),
        }),
        ...(server.key !== undefined && { Authorization: `Bearer ${server.key}` }),
      },
      ...(signal !== undefined && { signal }),
    });
    request.on('response', resolve);
    request.on('error', (error) => {
      if (signal?.aborted === true) reject(signal.reason);
      else {
        const why = `cannot reach ${server.url.href}: ${reasonOf(error)}`;
        reject(new CliError(EXIT.unreachable, why, { cause: error }));
      }
    });
    request.end(payload);
  });
}

/** `localhost` has two addresses, and then the error that says anything is inside another that says nothing. */
function reasonOf(error: Error): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join('; ');
  return error.message;
}

/** The whole body as text; rejects when it is cut. */
export async function readText(reply: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of reply) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function asProblem(text: string): Problem | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    const { code, detail, title } = value as Record<string, unknown>;
    if (typeof code !== 'string') return undefined;
    return { ...value, code, detail: String(detail ?? title ?? '') };
  } catch {
    return undefined;
  }
}
