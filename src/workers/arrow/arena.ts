/**
 * Memory for the arrays of a record batch, which the arrays of the next one take over: to have it anew from the system costs more
 * than what is written into it.
 */

/** What is kept from one batch to the next has no more bytes. */
const KEPT_BYTES = 64 * 1024 * 1024;
const SMALLEST_BYTES = 64;

export class Arena {
  readonly #free: ArrayBuffer[] = [];
  #taken: ArrayBuffer[] = [];

  /** At least so many bytes, all zeros. */
  take(bytes: number): Uint8Array<ArrayBuffer> {
    const size = Math.max(SMALLEST_BYTES, 2 ** Math.ceil(Math.log2(bytes)));
    const index = this.#free.findIndex(({ byteLength }) => byteLength === size);
    const buffer = index === -1 ? new ArrayBuffer(size) : (this.#free.splice(index, 1)[0] as ArrayBuffer);
    this.#taken.push(buffer);
    const array = new Uint8Array(buffer);
    return index === -1 ? array : array.fill(0);
  }

  /** Nobody looks at what was taken any more. */
  reset(): void {
    this.#free.push(...this.#taken);
    this.#taken = [];
    let bytes = 0;
    for (const { byteLength } of this.#free) bytes += byteLength;
    if (bytes > KEPT_BYTES) this.#free.length = 0;
  }
}
