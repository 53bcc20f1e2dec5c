/** A question to the server that is answered with one JSON document. */
import { ProblemError, type RequestOptions, readText, type Server, send } from './client.ts';
import { CliError, EXIT, messageOf } from './exit.ts';
import { formatProblem } from './problem.ts';

/** What every command that talks to a server takes. */
export interface ServerOptions {
  readonly url?: string;
  readonly keyFile?: string;
}

/** The document, which is whatever the server sent. Rejects with a {@link CliError}, or with the signal's reason. */
export async function ask(
  server: Server,
  method: string,
  path: string,
  options: RequestOptions = {},
): Promise<Readonly<Record<string, unknown>>> {
  try {
    const reply = await send(server, method, path, options);
    const value: unknown = JSON.parse(await readText(reply));
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch (error) {
    if (options.signal?.aborted === true) throw options.signal.reason;
    throw explained(error, server);
  }
  throw notDuckcoop(server);
}

/** The list in a document. Throws a {@link CliError} where there is none. */
export function listIn<Item>(
  server: Server,
  document: Readonly<Record<string, unknown>>,
  name: string,
): readonly Item[] {
  const list = document[name];
  if (!Array.isArray(list)) throw notDuckcoop(server);
  return list as Item[];
}

/** Anything that went wrong between here and the server, for people. */
export function explained(error: unknown, server: Server): CliError {
  if (error instanceof CliError) return error;
  if (error instanceof ProblemError) {
    const { problem, retryAfter } = error;
    return new CliError(EXIT.failed, formatProblem(problem, retryAfter), {
      code: problem.code,
      cause: error,
    });
  }
  if (error instanceof SyntaxError) return notDuckcoop(server);
  return new CliError(EXIT.failed, `the reply of ${server.url.href} is not whole: ${messageOf(error)}`, {
    cause: error,
  });
}

export function notDuckcoop(server: Server): CliError {
  return new CliError(EXIT.failed, `${server.url.href} did not answer as Duckcoop does`);
}
