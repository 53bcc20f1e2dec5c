/** How a command ends: the exit codes that scripts rely on, and the error that carries one. */

export const EXIT = {
  /** The query or the check failed. */
  failed: 1,
  /** Wrong usage, a wrong configuration at `serve` included. */
  usage: 2,
  /** The server cannot be reached. */
  unreachable: 3,
} as const;

/** Ends the command with its message on stderr. Everything a command foresees is one of these. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly exitCode: number;
  /** A problem's code of the wire contract. */
  readonly code: string | undefined;

  constructor(exitCode: number, message: string, options: ErrorOptions & { readonly code?: string } = {}) {
    super(message, options);
    this.exitCode = exitCode;
    this.code = options.code;
  }
}

/** Text of any error for one line on stderr. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
