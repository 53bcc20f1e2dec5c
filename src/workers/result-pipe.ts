/**
 * The named pipe through which DuckDB's COPY hands its bytes to the parent, past the worker's own event loop: what a COPY
 * writes is copied by nobody in between. One statement at a time uses it, and a COPY blocks in its write for as long as nobody takes what
 * is in the pipe: that is the backpressure.
 *
 * ```
 *   worker                                        parent
 *     | -- piping(3) ------------------------------> |   opens the pipe; DuckDB's own open waits for that (fifo(7))
 *     | == bytes ==================================> |
 *     | <----------------------------- flowing(3) -- |   with the first of them
 *     | -- piped(3), the COPY has ended -----------> |   takes what is left in the pipe, and closes it
 *     | <-------------------- taken(3) -- |
 *     | -- finished(3) ----------------------------> |
 * ```
 */
import { execFile } from 'node:child_process';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { Socket, type SocketConstructorOpts } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { giveBack, lend } from './read-buffers.ts';

/** The pipe of the worker with this run folder. */
export function resultPipe(folder: string): string {
  return join(folder, 'result');
}

/** Makes the pipe. Undefined where that is not possible, and results take another way. */
export async function makePipe(path: string): Promise<string | undefined> {
  try {
    await promisify(execFile)('mkfifo', ['-m', '0600', path], { env: {}, cwd: '/' });
    return path;
  } catch {
    return undefined;
  }
}

/** The parent's end, for one statement. */
export class ResultPipe {
  readonly seq: number;
  readonly #fd: number;
  readonly #socket: Socket;
  readonly #onBytes: (bytes: Uint8Array) => void;

  /**
   * Throws where there is no such pipe. Bytes come on later turns of the event loop, and in {@link end}; they are the caller's, who
   * may give them back (read-buffers.ts).
   */
  constructor(path: string, seq: number, onBytes: (bytes: Uint8Array) => void) {
    this.seq = seq;
    this.#onBytes = onBytes;
    // For writing as well: it is no end of the pipe that nobody writes to it yet, or any more. Not blocking, and no link: the worker
    // has the folder.
    this.#fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    if (!fstatSync(this.#fd).isFIFO()) {
      closeSync(this.#fd);
      throw new Error(`${path} is no pipe`);
    }
    const onread = {
      buffer: lend,
      callback: (length: number, buffer: Uint8Array) => {
        this.#onBytes(buffer.subarray(0, length));
        return true;
      },
    };
    // An option of every socket (net.js, "onread"), though the types know it of those that connect alone.
    const options: SocketConstructorOpts = { fd: this.#fd, readable: true, writable: false };
    this.#socket = new Socket(Object.assign(options, { onread }));
    this.#socket.on('error', () => undefined);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** To be called once the COPY has ended, or its process: passes on what is left. */
  end(): void {
    this.#socket.pause();
    // At once, before the event loop reads on.
    for (let piece = this.#read(); piece.length > 0; piece = this.#read()) this.#onBytes(piece);
    this.close();
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(): Buffer {
    const buffer = lend();
    try {
      return buffer.subarray(0, readSync(this.#fd, buffer));
    } catch (error) {
      giveBack(buffer);
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      return buffer.subarray(0, 0);
    }
  }
}
