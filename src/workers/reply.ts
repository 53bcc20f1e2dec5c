/**
 * A statement's result on its way out of the worker.
 *
 * A small one rides with its verdict: one message in place of frames on the data pipe and a message, which is felt by point
 * queries (measured: a third of a worker's time for `SELECT 42`). A result that grows goes down the data pipe, in pieces
 * of at least {@link SMALL} bytes.
 */
export const SMALL = 16 * 1024;

export class Reply {
  readonly #send: (bytes: Uint8Array) => Promise<void>;
  #kept: Uint8Array[] = [];
  #keptBytes = 0;
  #sentBytes = 0;

  /** `send` puts bytes into the data pipe and resolves when there is room for more. */
  constructor(send: (bytes: Uint8Array) => Promise<void>) {
    this.#send = send;
  }

  write(bytes: Uint8Array): Promise<void> {
    this.#kept.push(bytes);
    this.#keptBytes += bytes.length;
    return this.#keptBytes > SMALL ? this.#flush() : DONE;
  }

  /** The rest: what rides with the verdict (text alone can), and how many bytes went down the pipe. */
  async finish(isText: boolean): Promise<{ readonly body: string | undefined; readonly bytes: number }> {
    if (isText && this.#sentBytes === 0)
      return { body: Buffer.concat(this.#kept).toString('utf8'), bytes: 0 };
    if (this.#keptBytes > 0) await this.#flush();
    return { body: undefined, bytes: this.#sentBytes };
  }

  /** Bytes that went down the pipe so far, for a statement that failed in the middle. */
  get sentBytes(): number {
    return this.#sentBytes;
  }

  #flush(): Promise<void> {
    const bytes = this.#kept.length === 1 ? (this.#kept[0] as Uint8Array) : Buffer.concat(this.#kept);
    this.#kept = [];
    this.#keptBytes = 0;
    this.#sentBytes += bytes.length;
    return this.#send(bytes);
  }
}

const DONE = Promise.resolve();
