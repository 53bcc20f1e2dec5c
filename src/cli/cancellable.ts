/** Work on a server that Ctrl-C stops there first, and only then here. */
import { ProblemError, readText, type Server, send } from './client.ts';
import { CliError, EXIT, messageOf } from './exit.ts';
import type { Interrupt } from './interrupt.ts';
import { ReaderGone } from './output.ts';

/** What runs on the server: deleting its path stops it. */
export interface Running {
  readonly server: Server;
  /** `v1/queries/ID`. */
  readonly path: string;
  /** `query ID`, for people. */
  readonly name: string;
}

/** How long the server may take to confirm that it has stopped it. */
const CANCEL_TIMEOUT = 10_000;

/**
 * Runs `work`. An interrupt, or a reader that has gone, first stops what runs on the server, and only then the
 * connection, so that the server's answer is an answer about it.
 */
export async function cancellable(
  running: Running,
  interrupted: Interrupt,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const connection = new AbortController();
  let cancelling: Promise<CliError> | undefined;
  const stop = () => {
    cancelling = cancel(running).then((result) => {
      connection.abort(result);
      return result;
    });
  };
  if (interrupted.signal.aborted) stop();
  interrupted.signal.addEventListener('abort', stop);
  try {
    await work(connection.signal);
  } catch (error) {
    if (error instanceof ReaderGone) {
      await cancel(running);
      return;
    }
    if (cancelling === undefined) throw error;
  } finally {
    interrupted.signal.removeEventListener('abort', stop);
  }
  if (cancelling !== undefined) throw await cancelling;
}

/** The end of an interrupted command: what the server said about its work. */
async function cancel({ server, path, name }: Running): Promise<CliError> {
  try {
    const reply = await send(server, 'DELETE', path, { signal: AbortSignal.timeout(CANCEL_TIMEOUT) });
    const { outcome } = JSON.parse(await readText(reply)) as { outcome?: unknown };
    return cancelled(`interrupted; the server says: ${String(outcome)}`);
  } catch (error) {
    const why = error instanceof ProblemError ? oneLine(error) : messageOf(error);
    return cancelled(`interrupted, but the server did not confirm it (${why}); ${name} may still run`, error);
  }
}

function cancelled(message: string, cause?: unknown): CliError {
  return new CliError(EXIT.failed, message, { code: 'QUERY_CANCELLED', cause });
}

function oneLine({ problem }: ProblemError): string {
  return `${problem.code}: ${problem.detail}`;
}
