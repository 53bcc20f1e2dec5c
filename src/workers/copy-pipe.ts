/**
 * The named pipe through which DuckDB's COPY hands its bytes to this process. One statement at a time uses it, and a COPY blocks
 * in its write for as long as nobody takes what is in the pipe: that is the backpressure.
 */
import { execFile } from 'node:child_process';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { Socket } from 'node:net';
import { promisify } from 'node:util';

/** Makes the pipe. Undefined where that is not possible, and results take another way. */
export async function makePipe(path: string): Promise<string | undefined> {
  try {
    await promisify(execFile)('mkfifo', ['-m', '0600', path], { env: {}, cwd: '/' });
    return path;
  } catch {
    return undefined;
  }
}

/** Bytes of one read; a pipe holds as much (pipe(7)). */
const READ_BYTES = 64 * 1024;

export class CopyPipe {
  readonly #fd: number;
  /** Of our own, so that the pipe does not end when DuckDB closes its end, or end late because a failed COPY did not. */
  readonly #writeEnd: number;
  readonly #socket: Socket;
  readonly #write: (bytes: Uint8Array) => Promise<void>;
  #written: Promise<void> = Promise.resolve();
  #discarding = false;

  /** `write` takes what comes, and resolves when there is room for more. Opened before the COPY, closed after it. */
  constructor(path: string, write: (bytes: Uint8Array) => Promise<void>) {
    this.#write = write;
    // Not blocking: to open one end waits for the other, which is DuckDB's.
    this.#fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    this.#writeEnd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    this.#socket = new Socket({ fd: this.#fd, readable: true, writable: false });
    this.#socket.on('error', () => undefined);
    this.#socket.on('data', this.#take);
  }

  /** From now on what comes is thrown away, so that a COPY that is to stop does not wait for room. */
  discard(): void {
    this.#discarding = true;
    this.#socket.resume();
  }

  /** To be called once the COPY has ended: passes on what is still in the pipe. */
  async finish(): Promise<void> {
    this.#socket.off('data', this.#take);
    this.#socket.pause();
    // At once, before the event loop reads on: what the socket has buffered, then what the pipe holds.
    const rest: Buffer[] = [];
    for (let piece = this.#socket.read(); piece !== null; piece = this.#socket.read()) rest.push(piece);
    for (let piece = this.#read(); piece.length > 0; piece = this.#read()) rest.push(piece);
    await this.#written;
    for (const piece of rest) if (!this.#discarding) await this.#write(piece);
  }

  close(): void {
    closeSync(this.#writeEnd);
    this.#socket.destroy();
  }

  readonly #take = (bytes: Buffer): void => {
    if (this.#discarding) return;
    this.#socket.pause();
    this.#written = this.#write(bytes).then(() => {
      this.#socket.resume();
    });
  };

  #read(): Buffer {
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    try {
      return buffer.subarray(0, readSync(this.#fd, buffer));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      return buffer.subarray(0, 0);
    }
  }
}
