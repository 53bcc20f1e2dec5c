/**
 * Copies of many small pieces of memory in a few buffers, which another thread takes over and hands back. V8 counts each buffer
 * towards its full collections: a chunk of a result alone would be a dozen of them.
 */

const FIRST_BYTES = 64 * 1024;
const MOST_BYTES = 1024 * 1024;
/** Some of the arrays over the copies need it (typed arrays, ECMA-262 23.2.5.1.3). */
const ALIGNMENT = 8;

export class Slab {
  readonly #free: ArrayBuffer[] = [];
  #filled: ArrayBuffer[] = [];
  #current = new ArrayBuffer(0);
  #at = 0;
  #size = FIRST_BYTES;

  readonly copy = (bytes: Uint8Array): Uint8Array => {
    const { length } = bytes;
    if (this.#at + length > this.#current.byteLength) this.#begin(length);
    const own = new Uint8Array(this.#current, this.#at, length);
    own.set(bytes);
    this.#at += (length + ALIGNMENT - 1) & -ALIGNMENT;
    return own;
  };

  /** The buffers that all copies so far are in; later ones go to others. */
  take(): ArrayBuffer[] {
    const taken = this.#filled;
    this.#filled = [];
    this.#current = new ArrayBuffer(0);
    this.#at = 0;
    return taken;
  }

  /** Has later copies go to these again. */
  reuse(buffers: readonly ArrayBuffer[]): void {
    this.#free.push(...buffers);
  }

  #begin(length: number): void {
    const index = this.#free.findIndex(({ byteLength }) => byteLength >= length);
    this.#current =
      index === -1
        ? new ArrayBuffer(Math.max(length, this.#size))
        : (this.#free.splice(index, 1)[0] as ArrayBuffer);
    if (index === -1) this.#size = Math.min(this.#size * 2, MOST_BYTES);
    this.#filled.push(this.#current);
    this.#at = 0;
  }
}
