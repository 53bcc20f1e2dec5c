/** Which rows of a vector are meant: one after the other, as nearly always, or in an order of their own. */
export interface Rows {
  readonly start: number;
  readonly count: number;
  /** Undefined where they are `start`, `start + 1`, and so on. */
  readonly order: Int32Array | undefined;
}

export function range(start: number, count: number): Rows {
  return { start, count, order: undefined };
}

export function ordered(order: Int32Array): Rows {
  return { start: 0, count: order.length, order };
}

export function rowAt({ start, order }: Rows, index: number): number {
  return order === undefined ? start + index : (order[index] as number);
}
