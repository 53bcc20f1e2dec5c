/**
 * One session as the API process knows it: whose it is, how long it lasts, what it has lost. Its worker and its queue are
 * its slot's (slots.ts); its tables are in its workspace, a file of DuckDB's that outlives its worker.
 *
 * ```
 *               worker ready            worker died
 *   starting ----------------> ready -----------------> recovering
 *       |                       | ^                         |  |
 *       |                       | +------- worker ready ----+  |
 *       +-----------------------+------------------------------+----> ending ----> ended
 *         deleted, expired, idle too long, its worker dies again and again, the server ends
 * ```
 *
 * `busy` is what a ready session is called while a query is with it. What it has of the worker's memory alone (temporary
 * tables, variables, an open transaction) goes with the worker, and is named in `lost` then.
 */
import { requireTransition, type Transitions } from '../supervisors/transitions.ts';
import type { Slot } from './slots.ts';

const TRANSITIONS = {
  starting: ['ready', 'recovering', 'ending'],
  ready: ['recovering', 'ending'],
  recovering: ['ready', 'ending'],
  ending: ['ended'],
  ended: [],
} as const satisfies Transitions<'starting' | 'ready' | 'recovering' | 'ending' | 'ended'>;

export type SessionState = keyof typeof TRANSITIONS;

/** Times in milliseconds on the actor system's clock, `createdAt` since the epoch. */
export interface SessionOptions {
  readonly slot: Slot;
  readonly name: string | undefined;
  readonly owner: string;
  readonly sources: readonly string[];
  readonly idleTimeoutMs: number;
  readonly createdAt: number;
  readonly now: number;
  readonly expiresAt: number;
}

/** In a row: of the one that was ready, and of its successors, none of which became it. */
export const MOST_DEATHS = 8;

export class Session {
  readonly id: string;
  readonly slot: Slot;
  readonly owner: string;
  readonly name: string | undefined;
  readonly createdAt: number;
  sources: readonly string[];
  expiresAt: number;
  idleTimeoutMs: number;
  /** When its last query ended. */
  usedAt: number;
  /** Queries that wait for it or run in it. */
  pending = 0;
  /** Names of what its worker's death would take along, as of the last statement. */
  volatile: readonly string[] = [];
  /** What the last death of its worker, or change of its sources, took along. */
  lost: readonly string[] = [];
  #state: SessionState = 'starting';
  /** Of workers, since the last one that became ready. */
  #deaths = 0;

  constructor(options: SessionOptions) {
    this.id = options.slot.id;
    this.slot = options.slot;
    this.owner = options.owner;
    this.name = options.name;
    this.createdAt = options.createdAt;
    this.sources = options.sources;
    this.expiresAt = options.expiresAt;
    this.idleTimeoutMs = options.idleTimeoutMs;
    this.usedAt = options.now;
  }

  get state(): SessionState {
    return this.#state;
  }

  get shownState(): SessionState | 'busy' {
    return this.#state === 'ready' && this.pending > 0 ? 'busy' : this.#state;
  }

  get isLive(): boolean {
    return this.#state !== 'ending' && this.#state !== 'ended';
  }

  workerReady(): void {
    this.#deaths = 0;
  }

  /** Its worker was replaced in order, by hand: what that had in memory alone is gone. */
  workerReplaced(): void {
    this.lost = this.volatile;
    this.volatile = [];
  }

  /** The same, of one that died. Returns whether there is no use in starting others. */
  workerDied(): boolean {
    // One that never became ready has lost nothing more.
    if (this.#deaths === 0) this.workerReplaced();
    this.#deaths += 1;
    return this.#deaths > MOST_DEATHS;
  }

  to(next: SessionState): void {
    requireTransition(`session ${this.id}`, TRANSITIONS, this.#state, next);
    this.#state = next;
  }

  /** What ends it next, unless something happens, and when. A query that is with it keeps it from being idle. */
  due(now: number): { readonly why: 'expired' | 'idle'; readonly at: number } {
    const idleAt = (this.pending > 0 ? now : this.usedAt) + this.idleTimeoutMs;
    return idleAt < this.expiresAt ? { why: 'idle', at: idleAt } : { why: 'expired', at: this.expiresAt };
  }
}
