/** How long a pool gave no result after one of its workers had died. Pure: times are milliseconds of any one clock. */

export interface Recoveries {
  /** Deaths that were followed by a success. */
  readonly recovered: number;
  /** Deaths that no success has followed yet. */
  readonly open: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export class RecoveryTimes {
  readonly #times: number[] = [];
  #open: number[] = [];

  died(at: number): void {
    this.#open.push(at);
  }

  /** A reply with a right result came. */
  succeeded(at: number): void {
    if (this.#open.length === 0) return;
    for (const death of this.#open) if (death <= at) this.#times.push(at - death);
    this.#open = this.#open.filter((death) => death > at);
  }

  summary(): Recoveries {
    const sorted = this.#times.toSorted((one, other) => one - other);
    return {
      recovered: sorted.length,
      open: this.#open.length,
      p50: quantile(sorted, 0.5),
      p99: quantile(sorted, 0.99),
      max: sorted.at(-1) ?? 0,
    };
  }
}

/** The smallest value that at least this share of them do not pass (nearest rank); 0 of none. */
function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
}
