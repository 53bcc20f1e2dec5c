/**
 * What the readings of a worker's memory mean. Pure: readings and the time are given to it.
 *
 * ```
 *  rss
 *   |  - - - - - - - - - - - - - - -  limit: exceeded
 *   |            __
 *   |           /  \___________       half of the room it had when it was new: swollen, when it stays there with nothing to do
 *   |  - - - - / - - - - - - - -
 *   |  _______/                       as it was when it was new
 *   +----------------------------- time
 *             ^query^  nothing to do
 * ```
 */
import type { MemoryReading } from './process-memory.ts';

/** For so long an allocator may take to give pages back once nothing runs any more. */
const SETTLE_MS = 1_000;

export class MemoryGauge {
  readonly #limit: number;
  #last: MemoryReading | undefined;
  #peakBytes: number | undefined;
  /** Bytes, the lowest reading since it became ready. */
  #lowest: number | undefined;
  /** Since when it has held too much with nothing to do. */
  #highSince: number | undefined;
  #swollen = false;

  /** `limit` in bytes. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get last(): MemoryReading | undefined {
    return this.#last;
  }

  /** The highest resident set of all readings, in bytes. */
  get peakBytes(): number | undefined {
    return this.#peakBytes;
  }

  /**
   * Notes a reading and says what is to be done about it: `exceeded` asks for an end at once; `swollen`, said once, for a
   * new process when there is time. `state` is what the process is at, `now` in milliseconds.
   */
  note(
    reading: MemoryReading,
    state: 'starting' | 'idle' | 'busy',
    now: number,
  ): 'exceeded' | 'swollen' | undefined {
    const { rssBytes } = reading;
    this.#last = reading;
    this.#peakBytes = Math.max(this.#peakBytes ?? 0, rssBytes);
    if (rssBytes > this.#limit) return 'exceeded';
    if (state !== 'starting') this.#lowest = Math.min(this.#lowest ?? rssBytes, rssBytes);
    // What a query holds while it runs is its own affair up to the limit.
    if (state !== 'idle' || this.#swollen) return undefined;
    return this.#settle(rssBytes, now);
  }

  #settle(rssBytes: number, now: number): 'swollen' | undefined {
    const room = this.#limit - (this.#lowest ?? rssBytes);
    if (rssBytes <= this.#limit - room / 2) {
      this.#highSince = undefined;
      return undefined;
    }
    this.#highSince ??= now;
    if (now - this.#highSince < SETTLE_MS) return undefined;
    this.#swollen = true;
    return 'swollen';
  }
}
