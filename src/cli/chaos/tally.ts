/** What a run of chaos has seen, counted as it comes. */
import { RecoveryTimes } from './recovery.ts';

/** Something that the contract does not allow. */
export interface Violation {
  readonly what: string;
  readonly request: string;
  readonly reply: string;
}

/** More than anybody reads; the others are counted. */
const KEPT_VIOLATIONS = 50;
/** Characters of a request or a reply that is told. */
const MAX_TOLD = 2_000;

export class Tally {
  readonly outcomes = new Map<string, number>();
  /** By fault. */
  readonly injected = new Map<string, number>();
  /** By the code that was answered. */
  readonly notInjected = new Map<string, number>();
  /** By cause and signal or exit code. */
  readonly deaths = new Map<string, number>();
  readonly recovery = new RecoveryTimes();
  readonly violations: Violation[] = [];
  violationCount = 0;
  /** When the last fault was injected, or the last worker exited; on `performance.now`'s clock. */
  lastTroubleAt = 0;
  /** Events that the server could not tell any more. */
  lostEvents = 0;

  get requests(): number {
    return sum(this.outcomes);
  }

  get deathCount(): number {
    return sum(this.deaths);
  }

  violation(what: string, request: unknown, reply: unknown): void {
    this.violationCount += 1;
    if (this.violations.length < KEPT_VIOLATIONS)
      this.violations.push({ what, request: told(request), reply: told(reply) });
  }
}

export function countIn(counts: Map<string, number>, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}

function sum(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((total, count) => total + count, 0);
}

function told(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  return text.length <= MAX_TOLD ? text : `${text.slice(0, MAX_TOLD)}... (${text.length} characters)`;
}
