/**
 * The last events of something, numbered, for streams that are read, lost and taken up again.
 *
 * An id is `<run>-<n>`: the n-th event of one run of the server. Whoever has seen up to an id is told what came after it, or how
 * much of that is gone; an id of another run is recognised as such.
 *
 * ```ts
 * const ring = new EventRing({ run: 'a1b2', keep: 100 });
 * ring.append('running', { worker: 'interactive-1' });
 * const { after, gap } = ring.position('a1b2-0');
 * ring.read(after, 100); // 1, ...
 * ```
 */

export interface LoggedEvent {
  /** From 1, without gaps. */
  readonly number: number;
  readonly type: string;
  /** The event as one line of JSON: `type`, `at` (milliseconds since the epoch), and its members. */
  readonly json: string;
}

/** Events that a reader has missed for good. */
export interface Gap {
  /** How many, of any type; undefined where the id is of another run, of which nothing is known. */
  readonly lost: number | undefined;
}

export interface Position {
  /** The number of the last event that is not to be read (again). */
  readonly after: number;
  readonly gap: Gap | undefined;
}

export interface EventRingOptions {
  /** Tells this run of the server from all others: letters and digits. */
  readonly run: string;
  /** How many events are kept. */
  readonly keep: number;
  /** Milliseconds since the epoch. */
  readonly now?: (() => number) | undefined;
}

export class EventRing {
  readonly #run: string;
  readonly #keep: number;
  readonly #now: () => number;
  /** The n-th event is at n - 1 modulo what is kept. */
  readonly #ring: LoggedEvent[] = [];
  readonly #listeners = new Set<() => void>();
  #last = 0;
  #ended = false;

  constructor({ run, keep, now = Date.now }: EventRingOptions) {
    this.#run = run;
    this.#keep = keep;
    this.#now = now;
  }

  /** The number of the latest event; 0 before the first. */
  get last(): number {
    return this.#last;
  }

  /** Whether the latest event is the last one there will be. */
  get ended(): boolean {
    return this.#ended;
  }

  idOf(number: number): string {
    return `${this.#run}-${number}`;
  }

  /** The current time as events have it. */
  now(): number {
    return this.#now();
  }

  append(type: string, members: Readonly<Record<string, unknown>>): void {
    this.#last += 1;
    const json = JSON.stringify({ type, at: this.#now(), ...members });
    this.#ring[(this.#last - 1) % this.#keep] = { number: this.#last, type, json };
    this.#tell();
  }

  /** Nothing comes after this: streams of it end. */
  end(): void {
    this.#ended = true;
    this.#tell();
  }

  /**
   * Where a reader goes on who has seen up to `lastEventId`; at the end without one. `0` is before the first event, and
   * an id that this run has not given out is of another one: all that is kept is read.
   */
  position(lastEventId: string | undefined): Position {
    if (lastEventId === undefined) return { after: this.#last, gap: undefined };
    const kept = this.#last - this.#ring.length;
    const seen = lastEventId === '0' ? 0 : this.#numberOf(lastEventId);
    if (seen === undefined) return { after: kept, gap: { lost: undefined } };
    if (seen < kept) return { after: kept, gap: { lost: kept - seen } };
    return { after: seen, gap: undefined };
  }

  /** The events after a number, oldest first, at most `max`. Undefined if the first of them is gone. */
  read(after: number, max: number): readonly LoggedEvent[] | undefined {
    if (after < this.#last - this.#ring.length) return undefined;
    const count = Math.min(max, this.#last - after);
    return Array.from({ length: count }, (_, index) => this.#at(after + 1 + index));
  }

  /** Calls back, at once and briefly, whenever there is an event more, or no more to come. Returns the end of it. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  #at(number: number): LoggedEvent {
    return this.#ring[(number - 1) % this.#keep] as LoggedEvent;
  }

  #numberOf(id: string): number | undefined {
    const match = /^([A-Za-z0-9]+)-(\d{1,15})$/.exec(id);
    const number = Number(match?.[2]);
    return match?.[1] === this.#run && number <= this.#last ? number : undefined;
  }
}
