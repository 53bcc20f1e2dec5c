/**
 * Lines at the end of a file that others move away and that may not be writable: whoever adds a line never waits, and never hears
 * of a failure.
 *
 * ```
 *             write                   error
 *   written <-------- lines wait --------------> ailing: told once, tried again every second
 *                          ^                        |
 *                          +------------------------+  written again: told how many lines were lost
 * ```
 * Lines wait in memory up to {@link MAX_WAITING} characters; what comes on top is counted and gone.
 */
import { constants, type FileHandle, open } from 'node:fs/promises';

export const MAX_WAITING = 8_000_000;
const RETRY_MS = 1_000;
/** Milliseconds that a file system has to take the last lines. */
const CLOSE_MS = 2_000;
/** Never waits for the other end of a pipe. */
const FLAGS = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;
const NEWLINE = 0x0a;

export interface AppendFileOptions {
  /** Told once for each time that it cannot be written. */
  readonly onTrouble: (error: unknown, path: string) => void;
  /** It can be written again: the line that says how many were lost meanwhile. */
  readonly gapLine: (lost: number) => string;
}

export class AppendFile {
  readonly #options: AppendFileOptions;
  #path: string | undefined;
  #handle: FileHandle | undefined;
  /** The one at the path may be another file by now. */
  #isStale = false;
  #lines: string[] = [];
  #waiting = 0;
  #lost = 0;
  #ailing = false;
  /** The last write ended within a line. */
  #isTorn = false;
  #pump: Promise<void> | undefined;
  #wake: () => void = () => undefined;
  #closing = false;

  constructor(options: AppendFileOptions) {
    this.#options = options;
  }

  /** Opens the path, anew where it is the one already: what was there is somebody else's to keep. Undefined to write nothing. */
  open(path: string | undefined): void {
    this.#path = path;
    this.#isStale = true;
    if (path === undefined) this.#drop();
    this.#wake();
    this.#start();
  }

  /** `line` has no line end. */
  write(line: string): void {
    if (this.#path === undefined || this.#closing) return;
    if (this.#waiting + line.length > MAX_WAITING) {
      this.#lost += 1;
      return;
    }
    this.#lines.push(line);
    this.#waiting += line.length;
    this.#start();
  }

  /** Resolves when all is written, or the file system did not take it in time. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#wake();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_MS);
    });
    await Promise.race([this.#pump ?? this.#closeHandle(), late]);
    clearTimeout(timer);
  }

  #drop(): void {
    this.#lines = [];
    this.#waiting = 0;
    this.#lost = 0;
  }

  #start(): void {
    if (this.#pump !== undefined || this.#closing) return;
    this.#pump = this.#run().finally(() => {
      this.#pump = undefined;
      // What came in between.
      if (this.#lines.length > 0 || this.#isStale) this.#start();
    });
  }

  async #run(): Promise<void> {
    // Lines of one turn are written together.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#lines.length > 0 || this.#isStale) {
      const path = this.#path;
      try {
        await this.#writeTo(path);
        this.#ailing = false;
      } catch (error) {
        await this.#closeHandle();
        if (!this.#ailing && path !== undefined) this.#options.onTrouble(error, path);
        this.#ailing = true;
        if (this.#closing) break;
        await this.#pause();
      }
    }
    if (this.#closing) await this.#closeHandle();
  }

  async #writeTo(path: string | undefined): Promise<void> {
    if (this.#isStale) {
      this.#isStale = false;
      this.#isTorn = false;
      await this.#closeHandle();
    }
    if (path === undefined) return;
    this.#handle ??= await open(path, FLAGS, 0o600);
    if (this.#lines.length === 0) return;
    const lines = this.#lines;
    this.#lines = [];
    const lost = this.#lost;
    if (lost > 0) lines.push(this.#options.gapLine(lost));
    const torn = this.#isTorn ? 1 : 0;
    const bytes = Buffer.from(`${'\n'.repeat(torn)}${lines.join('\n')}\n`);
    const written = { bytes: 0 };
    try {
      await writeAll(this.#handle, bytes, written);
    } catch (error) {
      // Begun anew at the line that is not whole; the last one is that of the gap.
      const whole = countLines(bytes.subarray(torn, written.bytes));
      this.#isTorn = written.bytes > 0 ? bytes[written.bytes - 1] !== NEWLINE : this.#isTorn;
      if (lost > 0) lines.pop();
      this.#lines = [...lines.slice(whole), ...this.#lines];
      this.#waiting = lengthOf(this.#lines);
      throw error;
    }
    this.#isTorn = false;
    this.#lost -= lost;
    this.#waiting = lengthOf(this.#lines);
  }

  async #closeHandle(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    // What it cannot write any more is told already.
    await handle?.close().catch(() => undefined);
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake(), RETRY_MS);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = () => undefined;
        resolve();
      };
    });
  }
}

async function writeAll(handle: FileHandle, bytes: Buffer, written: { bytes: number }): Promise<void> {
  while (written.bytes < bytes.length)
    written.bytes += (await handle.write(bytes, written.bytes)).bytesWritten;
}

function countLines(bytes: Buffer): number {
  let lines = 0;
  for (const byte of bytes) if (byte === NEWLINE) lines += 1;
  return lines;
}

function lengthOf(lines: readonly string[]): number {
  return lines.reduce((length, line) => length + line.length, 0);
}
