/**
 * What memory a process holds, read from outside: a process that is stuck, or deep in native code, cannot say.
 *
 * One `pread` of `/proc/PID/statm` a reading (proc(5); a few microseconds), of a file that stays open: it is that process's even when
 * its number has gone to another one.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

export interface MemoryReading {
  /** Bytes of the resident set: anonymous pages, and those of files and libraries that are mapped. */
  readonly rssBytes: number;
  /** Bytes of address space that count towards the data-segment limit, and of the stack. */
  readonly dataBytes: number;
}

export class ProcessMemory {
  #file: number | undefined;
  readonly #bytes = Buffer.alloc(128);

  /** Of a process that runs; where there is no /proc every reading is undefined. */
  constructor(pid: number) {
    try {
      this.#file = openSync(`/proc/${pid}/statm`, 'r');
    } catch {
      // Not Linux, or it has ended already.
    }
  }

  /** Undefined once the process has ended. */
  read(): MemoryReading | undefined {
    if (this.#file === undefined) return undefined;
    try {
      const length = readSync(this.#file, this.#bytes, 0, this.#bytes.length, 0);
      const pages = this.#bytes.toString('latin1', 0, length).split(' ');
      const rssBytes = Number(pages[1]) * PAGE_SIZE;
      // A process that has ended and is not reaped yet holds nothing.
      return rssBytes > 0 ? { rssBytes, dataBytes: Number(pages[5]) * PAGE_SIZE } : undefined;
    } catch {
      return undefined;
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }
}

const AT_PAGESZ = 6n;

/** Bytes of a page, from the auxiliary vector of this process (getauxval(3)): pairs of words, type and value. */
const PAGE_SIZE = (() => {
  const usual = 4_096;
  try {
    const vector = readFileSync('/proc/self/auxv');
    const words = new BigUint64Array(
      vector.buffer.slice(vector.byteOffset, vector.byteOffset + vector.length),
    );
    for (let index = 0; index + 1 < words.length; index += 2) {
      if (words[index] === AT_PAGESZ) return Number(words[index + 1]);
    }
  } catch {
    // Not Linux.
  }
  return usual;
})();
