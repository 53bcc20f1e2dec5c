/** When a worker is to be replaced in peace: after so many statements, so long a time, or for memory that does not come back. */
import type { Clock } from './actor.ts';

export interface RetirementOptions {
  readonly clock: Clock;
  /** It is replaced after so many statements, or milliseconds. */
  readonly recycle: () => { readonly maxQueries: number; readonly maxAgeMs: number };
  /** Whether what its process was started with is not what is configured any more. */
  readonly isOutdated: () => boolean;
  /** Tells the worker later that it may be old; returns what cancels that. */
  readonly after: (ms: number, message: { readonly type: 'old' }) => () => void;
}

/** A timer holds no more than 24 days. */
const LOOK_AGAIN_MS = 86_400_000;

export class Retirement {
  readonly #options: RetirementOptions;
  #readyAt: number | undefined;
  #finished = 0;
  #swollen = false;
  #cancelAge: () => void = () => undefined;

  constructor(options: RetirementOptions) {
    this.#options = options;
  }

  /** Statements it has finished. */
  get finished(): number {
    return this.#finished;
  }

  get isDue(): boolean {
    const { recycle, isOutdated } = this.#options;
    const { maxQueries, maxAgeMs } = recycle();
    return this.#swollen || this.#finished >= maxQueries || this.#served() >= maxAgeMs || isOutdated();
  }

  /** It serves from now on: a slow start makes no worker old. */
  begin(): void {
    this.#readyAt = this.#options.clock.now();
    this.watchAge();
  }

  countStatement(): void {
    this.#finished += 1;
  }

  /** It holds memory that does not come back. */
  swell(): void {
    this.#swollen = true;
  }

  /** Its age, or the one it may have, is another by now. */
  watchAge(): void {
    const { recycle, after } = this.#options;
    this.#cancelAge();
    const left = recycle().maxAgeMs - this.#served();
    this.#cancelAge = left > 0 ? after(Math.min(left, LOOK_AGAIN_MS), { type: 'old' }) : () => undefined;
  }

  /** Milliseconds. */
  #served(): number {
    return this.#readyAt === undefined ? 0 : this.#options.clock.now() - this.#readyAt;
  }
}
