/** The worker's side of results that go through the pipe the parent reads (result-pipe.ts): DuckDB's COPY writes them, or a lane. */
import { closeSync, open } from 'node:fs';
import { promisify } from 'node:util';

export interface PipedMessage {
  readonly type: 'piping' | 'piped';
  readonly seq: number;
}

export class PipedResults {
  readonly #path: string | undefined;
  readonly #send: (message: PipedMessage) => void;
  readonly #waiting = new Map<number, () => void>();

  /** `path` is that of the pipe, where there is one. */
  constructor(path: string | undefined, send: (message: PipedMessage) => void) {
    this.#path = path;
    this.#send = send;
  }

  /** The statement may write to the pipe from now on: its open waits for the parent. */
  begin(seq: number): void {
    this.#send({ type: 'piping', seq });
  }

  /** As {@link begin}, for what DuckDB does not write by itself: the file descriptor to write to. Undefined where there is no pipe. */
  async open(seq: number): Promise<number | undefined> {
    if (this.#path === undefined) return undefined;
    this.begin(seq);
    return await promisify(open)(this.#path, 'w');
  }

  /** The end of what {@link open} has begun; nobody writes to the descriptor any more. */
  close(seq: number, descriptor: number): Promise<void> {
    closeSync(descriptor);
    return this.end(seq);
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
