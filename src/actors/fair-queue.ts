/**
 * What waits for a pool, in the order in which it is to begin: fair between principals, first come first served within one.
 *
 * Each principal has a lane, ordered by ticket. The next one comes from the lane of whoever has the fewest running; of those
 * with as many, from that which was served longest ago. So one who sends a thousand queries delays another one's single query by
 * no more than what runs, and where there is one principal this is a plain queue.
 *
 * Lanes are there while something waits in them: somebody who comes back is like somebody new. Pure.
 */

export interface Waiter {
  readonly queryId: string;
  /** Rises in the order of admission. */
  readonly ticket: number;
  /** The name of whoever sent it. */
  readonly principal: string;
}

interface Lane<Item> {
  readonly principal: string;
  readonly items: Item[];
  /** The number of the turn in which it was last served; 0 for not yet. */
  servedAt: number;
}

export class FairQueue<Item extends Waiter> {
  readonly #lanes = new Map<string, Lane<Item>>();
  readonly #running: (principal: string) => number;
  #size = 0;
  #turn = 0;

  /** `running` says how many of a principal's are running at the moment. */
  constructor(running: (principal: string) => number) {
    this.#running = running;
  }

  get size(): number {
    return this.#size;
  }

  /** How many of the principal's wait. */
  waitingOf(principal: string): number {
    return this.#lanes.get(principal)?.items.length ?? 0;
  }

  has({ principal, queryId }: Pick<Waiter, 'principal' | 'queryId'>): boolean {
    return this.#lanes.get(principal)?.items.some((item) => item.queryId === queryId) ?? false;
  }

  /** Takes its place by its ticket, also when it comes back. */
  add(item: Item): void {
    let lane = this.#lanes.get(item.principal);
    if (lane === undefined) {
      lane = { principal: item.principal, items: [], servedAt: 0 };
      this.#lanes.set(item.principal, lane);
    }
    const before = lane.items.findLastIndex(({ ticket }) => ticket < item.ticket);
    lane.items.splice(before + 1, 0, item);
    this.#size += 1;
  }

  /** The first of each lane, the one whose turn it is first. */
  heads(): readonly Item[] {
    if (this.#lanes.size === 1) {
      for (const { items } of this.#lanes.values()) return items.slice(0, 1);
    }
    return this.#inTurn().map(({ items }) => items[0] as Item);
  }

  /** Takes out one whose turn has come: the others of its lane have to wait for theirs. */
  serve(item: Item): void {
    const lane = this.#lanes.get(item.principal);
    if (this.remove(item.queryId) === undefined || lane === undefined) return;
    this.#turn += 1;
    lane.servedAt = this.#turn;
  }

  /** Takes one out that does not wait any more. */
  remove(queryId: string): Item | undefined {
    for (const { principal, items } of this.#lanes.values()) {
      const index = items.findIndex((item) => item.queryId === queryId);
      if (index === -1) continue;
      const [item] = items.splice(index, 1);
      if (items.length === 0) this.#lanes.delete(principal);
      this.#size -= 1;
      return item;
    }
    return undefined;
  }

  /** The one to turn away when too many wait: the last of the longest lane, and of several such lanes the newest one. */
  surplus(): Item | undefined {
    let found: { readonly length: number; readonly last: Item } | undefined;
    for (const { items } of this.#lanes.values()) {
      const last = items[items.length - 1] as Item;
      const isLonger = found === undefined || items.length > found.length;
      if (isLonger || (items.length === found?.length && last.ticket > found.last.ticket)) {
        found = { length: items.length, last };
      }
    }
    return found?.last;
  }

  /** All of them, in the order in which they would begin if each lane had its turn. */
  inOrder(): readonly Item[] {
    const lanes = this.#inTurn();
    const rounds = Math.max(0, ...lanes.map(({ items }) => items.length));
    return Array.from({ length: rounds }, (_, round) =>
      lanes.flatMap(({ items }) => items.slice(round, round + 1)),
    ).flat();
  }

  /** Takes out everything. */
  clear(): readonly Item[] {
    const all = this.inOrder();
    this.#lanes.clear();
    this.#size = 0;
    return all;
  }

  #inTurn(): Lane<Item>[] {
    const lanes = [...this.#lanes.values()].map((lane) => ({ lane, running: this.#running(lane.principal) }));
    const ticketOf = ({ items }: Lane<Item>) => (items[0] as Item).ticket;
    lanes.sort(
      (one, other) =>
        one.running - other.running ||
        one.lane.servedAt - other.lane.servedAt ||
        ticketOf(one.lane) - ticketOf(other.lane),
    );
    return lanes.map(({ lane }) => lane);
  }
}
