/** The worker's side of results that DuckDB's COPY writes to the pipe the parent reads (result-pipe.ts). */

export interface PipedMessage {
  readonly type: 'piping' | 'piped';
  readonly seq: number;
}

export class PipedResults {
  readonly #send: (message: PipedMessage) => void;
  readonly #waiting = new Map<number, () => void>();

  constructor(send: (message: PipedMessage) => void) {
    this.#send = send;
  }

  /** The statement may write to the pipe from now on: its open waits for the parent. */
  begin(seq: number): void {
    this.#send({ type: 'piping', seq });
  }

  /** It writes no more. Resolves once the parent has taken the last of what it wrote. */
  end(seq: number): Promise<void> {
    const taken = new Promise<void>((resolve) => this.#waiting.set(seq, resolve));
    this.#send({ type: 'piped', seq });
    return taken;
  }

  /** The parent says so. */
  taken(seq: number): void {
    this.#waiting.get(seq)?.();
    this.#waiting.delete(seq);
  }
}
