/**
 * How much was used within a time that moves along: the last minute, the last hour.
 *
 * What was used is kept by slices of the window, so that a million queries a minute take no more room than one; a slice counts
 * until all of it is too old, and so nothing is forgotten early, but up to a slice late. Pure: times are passed in, in
 * milliseconds of which only differences mean anything, and never go back.
 */

const SLICES = 60;

interface Slice {
  /** The number of the slice since the beginning of time. */
  readonly index: number;
  amount: number;
}

export class UsageWindow {
  readonly #sliceMs: number;
  /** Oldest first; none is empty. */
  #slices: Slice[] = [];
  #sum = 0;

  constructor(windowMs: number) {
    this.#sliceMs = windowMs / SLICES;
  }

  add(amount: number, now: number): void {
    const index = this.#forget(now);
    const last = this.#slices.at(-1);
    if (last?.index === index) last.amount += amount;
    else this.#slices.push({ index, amount });
    this.#sum += amount;
  }

  used(now: number): number {
    this.#forget(now);
    return this.#sum;
  }

  /** Milliseconds until less than `limit` counts as used; 0 where that is so. */
  waitFor(limit: number, now: number): number {
    this.#forget(now);
    let left = this.#sum;
    if (left < limit) return 0;
    for (const { index, amount } of this.#slices) {
      left -= amount;
      if (left < limit) return (index + SLICES + 1) * this.#sliceMs - now;
    }
    return 0;
  }

  /** The index of the slice at hand. */
  #forget(now: number): number {
    const index = Math.floor(now / this.#sliceMs);
    while (this.#slices[0] !== undefined && this.#slices[0].index < index - SLICES) {
      this.#sum -= (this.#slices.shift() as Slice).amount;
    }
    return index;
  }
}
