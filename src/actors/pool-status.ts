/**
 * The state of a pool as others see it: a circuit breaker made of supervision.
 *
 * ```
 *                  enough workers serve
 *    starting ----------------------------> up <---------> degraded      fewer serve than take queries
 *        |                                  | ^                |
 *        | gave up                  gave up | |  one serves    | gave up
 *        +----------------------> down <----+-|----------------+
 *                                 |  ^        |
 *        its backoff is over      v  |        |
 *                               probing ------+     (one worker is started; the others once it serves)
 * ```
 *
 * `starting` is the first start only. A pool whose workers are all being replaced is `degraded`: it takes queries, which wait.
 */
import { Failure } from '../failures.ts';
import type { Clock } from './actor.ts';

export type PoolState = 'starting' | 'up' | 'degraded' | 'down' | 'probing';

const TRANSITIONS: Readonly<Record<PoolState, readonly PoolState[]>> = {
  starting: ['up', 'degraded', 'down'],
  up: ['degraded', 'down'],
  degraded: ['up', 'down'],
  down: ['probing'],
  probing: ['up', 'degraded', 'down'],
};

export interface PoolStatusOptions {
  readonly pool: string;
  readonly clock: Clock;
  /** Workers that can take a query, or have one, and how many of them the pool is to have. */
  readonly workers: () => { readonly serving: number; readonly size: number };
  /** Every state but `down`, which is told once it is known for how long. */
  readonly onChange: (from: PoolState, to: PoolState) => void;
  readonly onDown: (from: PoolState, retryAfterMs: number) => void;
}

export class PoolStatus {
  readonly #options: PoolStatusOptions;
  #state: PoolState = 'starting';
  /** What it was before it was `down`. */
  #before: PoolState = 'starting';
  #retryAt = 0;

  constructor(options: PoolStatusOptions) {
    this.#options = options;
  }

  get pool(): string {
    return this.#options.pool;
  }

  get state(): PoolState {
    return this.#state;
  }

  /** Whether a query that comes now is likely to be run at once. */
  get isReady(): boolean {
    return (this.#state === 'up' || this.#state === 'degraded') && this.#options.workers().serving > 0;
  }

  /** To be told whenever workers came or went, or their wanted number changed. */
  workersChanged(): void {
    const { serving, size } = this.#options.workers();
    if (this.#state === 'down') return;
    if (serving >= size) this.#to('up');
    else if (serving > 0 || this.#state === 'up') this.#to('degraded');
  }

  /** It passed its restart intensity, or its probe failed; its workers are being stopped. */
  gaveUp(): void {
    this.#retryAt = 0;
    this.#to('down');
  }

  /** What is left of it is gone, and it is tried again after so many milliseconds. */
  willRetry(afterMs: number): void {
    this.#retryAt = this.#options.clock.now() + afterMs;
    if (this.#state !== 'down') this.#to('down');
    this.#options.onDown(this.#before, afterMs);
  }

  /** Its backoff is over: one worker is being started. */
  probes(): void {
    if (this.#state === 'down') this.#to('probing');
  }

  /** Why it takes no query now. */
  unavailable(): Failure {
    const leftMs = Math.max(0, this.#retryAt - this.#options.clock.now());
    const retryAfter = Math.max(1, Math.ceil(leftMs / 1_000));
    const why =
      this.#state === 'down'
        ? 'is down: its workers died too often and are being replaced'
        : 'is being started again';
    const detail = `Pool ${this.pool} ${why}; try again in ${retryAfter} s.`;
    return new Failure('POOL_DOWN', detail, { retryAfter, members: { pool: this.pool } });
  }

  #to(next: PoolState): void {
    const from = this.#state;
    if (from === next) return;
    if (!TRANSITIONS[from].includes(next)) {
      throw new Error(`pool ${this.pool}: no transition from ${from} to ${next}`);
    }
    this.#before = from;
    this.#state = next;
    if (next !== 'down') this.#options.onChange(from, next);
  }
}
