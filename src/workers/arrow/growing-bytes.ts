/** Bytes that are appended to, and a bitmap that is. */
import type { Arena } from './arena.ts';
import { isValid } from './raw-vector.ts';
import { type Rows, rowAt } from './rows.ts';

export class GrowingBytes {
  readonly #arena: Arena;
  #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;

  constructor(capacity: number, arena: Arena) {
    this.#arena = arena;
    this.#bytes = arena.take(capacity);
  }

  get length(): number {
    return this.#length;
  }

  /**
   * Room for so many bytes more, zeros at first: where they are to go, from which place on. As many behind them as `beyond` may be
   * overwritten; what comes after has them.
   */
  extend(bytes: number, beyond = 0): { readonly into: Uint8Array<ArrayBuffer>; readonly at: number } {
    const at = this.#length;
    this.#length += bytes;
    const needed = this.#length + beyond;
    if (needed > this.#bytes.length) {
      const larger = this.#arena.take(Math.max(needed, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
    }
    return { into: this.#bytes, at };
  }

  append(bytes: Uint8Array): void {
    const { into, at } = this.extend(bytes.length);
    into.set(bytes, at);
  }

  /** All of them, by no copy. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }
}

/** A bit a row, the lowest first (Arrow columnar format, "Validity bitmaps"). */
export class Bitmap {
  readonly #arena: Arena;
  #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;
  #hasZeros = false;

  constructor(rows: number, arena: Arena) {
    this.#arena = arena;
    this.#bytes = arena.take((rows + 7) >> 3);
  }

  get length(): number {
    return this.#length;
  }

  get hasZeros(): boolean {
    return this.#hasZeros;
  }

  /** Null for ones alone. */
  appendBits(bits: Uint8Array | null, rows: Rows): void {
    this.append(rows.count, bits === null ? undefined : (index) => isValid(bits, rowAt(rows, index)));
  }

  append(count: number, isOne: ((index: number) => boolean) | undefined): void {
    const start = this.#length;
    this.#length += count;
    const needed = (this.#length + 7) >> 3;
    if (needed > this.#bytes.length) {
      const larger = this.#arena.take(Math.max(needed, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    const bytes = this.#bytes;
    if (isOne === undefined) {
      this.#fill(start, this.#length);
      return;
    }
    for (let index = 0, at = start; index < count; index += 1, at += 1) {
      if (isOne(index)) bytes[at >> 3] = (bytes[at >> 3] as number) | (1 << (at & 7));
      else this.#hasZeros = true;
    }
  }

  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, (this.#length + 7) >> 3);
  }

  #fill(start: number, end: number): void {
    const bytes = this.#bytes;
    let at = start;
    for (; at < end && (at & 7) !== 0; at += 1) bytes[at >> 3] = (bytes[at >> 3] as number) | (1 << (at & 7));
    const whole = end >> 3;
    if (at >> 3 < whole) {
      bytes.fill(0xff, at >> 3, whole);
      at = whole << 3;
    }
    for (; at < end; at += 1) bytes[at >> 3] = (bytes[at >> 3] as number) | (1 << (at & 7));
  }
}
